# SPDX-License-Identifier: GPL-3.0-or-later
"""Wheels, brooms, boxes, signs and other loose things."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import numpy as np

from ..mesh import Model, rotation, rounded_rectangle


def bicycle(rng: Random) -> Model:
    """Return a bicycle of tubes, or a unicycle-like wheel on a stand."""
    model = Model()
    r = rng.uniform(0.2, 0.3)
    upright = rotation("x", math.pi / 2)
    thick = rng.uniform(0.012, 0.02)
    pair = rng.random() < 0.65
    gap = r * rng.uniform(2.6, 3.1)
    for x in (-gap / 2, gap / 2) if pair else (0.0,):
        model.ring("tyre", (x, 0, r + thick), r, thick, upright)
        model.ring("rim", (x, 0, r + thick), r - thick, 0.006, upright, sides=6)
        model.bar("hub", (x, -0.03, r + thick), (x, 0.03, r + thick), 0.018)
        spokes = rng.choice([8, 12, 16])
        for i in range(spokes):
            a = 2 * math.pi * i / spokes
            tip = (x + (r - thick) * math.cos(a), 0, r + thick + (r - thick) * math.sin(a))
            model.bar("rim", (x, 0, r + thick), tip, 0.0028, sides=4)
    z = r + thick
    tube = rng.uniform(0.01, 0.016)
    if pair:
        crank, seat, head = (
            (-gap * 0.05, 0, z * 0.9),
            (-gap * 0.16, 0, z * 2.3),
            (gap * 0.3, 0, z * 2.4),
        )
        rear, front = (-gap / 2, 0, z), (gap / 2, 0, z)
        for start, end in (
            (crank, seat),
            (crank, head),
            (seat, head),
            (rear, crank),
            (rear, seat),
            (front, head),
        ):
            model.bar("frame", start, end, tube)
        model.bar("frame", head, (head[0] - 0.03, 0, z * 2.75), tube)
        model.bar("grips", (head[0] - 0.03, -0.2, z * 2.75), (head[0] - 0.03, 0.2, z * 2.75), 0.013)
        model.ellipsoid("saddle", (seat[0], 0, z * 2.42), (0.11, 0.055, 0.03), sides=12)
        model.bar("hub", (crank[0], -0.09, z * 0.9), (crank[0], 0.09, z * 0.9), 0.012)
        for sign in (-1, 1):
            model.box("grips", (crank[0] + sign * 0.08, sign * 0.1, z * 0.9), (0.08, 0.05, 0.015))
        model.anchors |= {
            "frame": (gap * 0.07, -tube, (seat[2] + head[2]) / 2),
            "saddle": (seat[0], 0.0, z * 2.42 + 0.03),
            "tyre": (-gap / 2 - r, 0.0, z),
        }
    else:
        for y in (-0.06, 0.06):
            model.bar("frame", (0, y, z), (0, y * 2.5, 0.0), tube)
            model.bar("frame", (0, y, z), (0, y * 0.3, z * 2.5), tube)
        model.ellipsoid("saddle", (0, 0, z * 2.6), (0.12, 0.06, 0.035), sides=12)
        model.anchors |= {
            "saddle": (0.0, 0.0, z * 2.6 + 0.035),
            "tyre": (-r, 0.0, z),
            "frame": (0.0, -0.06, z * 1.6),
        }
    return model


def broom(rng: Random) -> Model:
    """Return a broom, a rake or a spade that leans in a stand."""
    model = Model()
    h = rng.uniform(0.9, 1.3)
    kind = rng.choice(["broom", "rake", "spade"])
    lean = rng.uniform(-0.15, 0.15)
    top = (math.sin(lean) * h, 0.0, h)
    radius = rng.uniform(0.011, 0.017)
    model.bar("stick", (0, 0, 0.15), top, radius)
    if kind == "broom":
        w = rng.uniform(0.12, 0.2)
        model.box("head", (0, 0, 0.15), (w * 2, 0.05, 0.04))
        for i in range(22):
            x = -w + 2 * w * (i + 0.5) / 22
            model.bar(
                "bristles",
                (x, 0, 0.14),
                (x * 1.15, rng.uniform(-0.02, 0.02), 0.0),
                0.009,
                0.006,
                sides=5,
            )
        model.anchors["head"] = (w * 0.4, -0.025, 0.15)
        model.anchors["bristles"] = (-w * 0.5, -0.01, 0.07)
    elif kind == "rake":
        model.box("head", (0, 0, 0.15), (0.4, 0.03, 0.025))
        for i in range(11):
            model.bar(
                "head",
                (-0.19 + 0.038 * i, 0, 0.14),
                (-0.19 + 0.038 * i, -0.05, 0.0),
                0.007,
                0.004,
                sides=5,
            )
        model.anchors["head"] = (0.1, -0.015, 0.15)
        model.anchors["head left"] = (-0.13, -0.015, 0.15)
    else:
        outline = rounded_rectangle(0.2, 0.28, 0.07)
        with model.placed(rotation("x", math.pi / 2), (0, 0, 0.14)):
            model.slab("head", outline, 0.012)
        model.bar("grips", (top[0] - 0.06, 0, h), (top[0] + 0.06, 0, h), 0.014)
        model.anchors["head"] = (0.0, -0.006, 0.14)
        model.anchors["head left"] = (-0.06, -0.006, 0.12)
    model.anchors["stick"] = (math.sin(lean) * h * 0.55, 0.0, 0.15 + (h - 0.15) * 0.5)
    return model


def boxes(rng: Random) -> Model:
    """Return a few boxes and parcels stacked on each other."""
    model = Model()
    z = 0.0
    size = rng.uniform(0.3, 0.5)
    for i in range(rng.randint(1, 4)):
        w, d, h = (
            size * rng.uniform(0.8, 1),
            size * rng.uniform(0.7, 1),
            size * rng.uniform(0.4, 0.8),
        )
        role = rng.choice(["card", "other card"])
        turn = rotation("z", rng.uniform(-0.3, 0.3))
        with model.placed(turn, (0, 0, z + h / 2)):
            model.box(role, (0, 0, 0), (w, d, h), bevel=0.006)
            model.box("tape", (0, 0, 0), (0.05, d + 0.003, h + 0.003), bevel=0.001)
        if i == 0:
            model.anchors["front"] = (w * 0.25, -d / 2, h * 0.5)
            model.anchors["front left"] = (-w * 0.25, -d / 2, h * 0.5)
        z += h
        size *= rng.uniform(0.65, 0.95)
    model.anchors["top"] = (0.0, 0.0, z)
    return model


def sign(rng: Random) -> Model:
    """Return a road sign or an easel: a board on thin legs."""
    model = Model()
    h = rng.uniform(0.8, 1.2)
    w, tall = rng.uniform(0.35, 0.55), rng.uniform(0.3, 0.5)
    upright = rotation("x", math.pi / 2)
    corner = rng.choice([0.01, 0.05, 0.25])
    with model.placed(upright, (0, -0.03, h - tall / 2)):
        model.slab("board", rounded_rectangle(w, tall, corner, 6), 0.015)
        model.slab("print", rounded_rectangle(w * 0.75, tall * 0.6, corner * 0.6, 6), 0.02)
    radius = rng.uniform(0.01, 0.018)
    if rng.random() < 0.5:
        for x in (-1, 1):
            model.bar(
                "legs", (x * w * 0.3, -0.02, h * 0.98), (x * w * 0.5, -0.12, 0), radius, sides=4
            )
        model.bar("legs", (0, 0, h * 0.95), (0, 0.35, 0), radius, sides=4)
        leg = (-w * 0.46, -0.1, h * 0.2)
    else:
        model.bar("legs", (0, 0, 0), (0, 0, h), radius)
        model.lathe("foot", [(0.17, 0), (0.17, 0.03), (0.03, 0.05), (1e-5, 0.05)])
        leg = (0.0, -radius, (h - tall) * 0.5)
    model.anchors |= {
        "board": (w * 0.15, -0.04, h - tall * 0.5),
        "board corner": (-w * 0.25, -0.04, h - tall * 0.35),
        "leg": leg,
    }
    return model


def machine(rng: Random) -> Model:
    """Return a fan, a wheelbarrow-like cart or a heap of pipes: odd shapes with holes."""
    model = Model()
    kind = rng.choice(["fan", "cart", "pipes"])
    upright = rotation("x", math.pi / 2)
    if kind == "fan":
        h, r = rng.uniform(0.5, 1.0), rng.uniform(0.16, 0.24)
        model.lathe("foot", [(0.15, 0), (0.15, 0.02), (0.03, 0.05), (1e-5, 0.05)])
        model.bar("pole", (0, 0, 0.02), (0, 0, h), 0.014)
        for k in range(3):
            model.ring("cage", (0, -0.03, h), r * (k + 1) / 3, 0.006, upright, sides=6)
        for i in range(12):
            a = math.pi * 2 * i / 12
            model.bar(
                "cage", (0, -0.03, h), (r * math.cos(a), -0.03, h + r * math.sin(a)), 0.003, sides=4
            )
        for i in range(3):
            turn = upright @ rotation("z", 2.1 * i)
            with model.placed(turn, (0, 0.0, h)):
                model.slab(
                    "blades",
                    [
                        (x * 1.0 + r * 0.5, y, z)
                        for x, y, z in rounded_rectangle(r * 0.9, r * 0.5, r * 0.2)
                    ],
                    0.006,
                )
        model.bar("motor", (0, 0.0, h), (0, 0.12, h), 0.05)
        model.anchors |= {
            "blade": (r * 0.5, -0.0, h),
            "pole": (0.0, -0.014, h * 0.4),
            "foot": (0.0, -0.1, 0.03),
        }
    elif kind == "cart":
        w, d, z = rng.uniform(0.4, 0.6), rng.uniform(0.3, 0.4), rng.uniform(0.16, 0.25)
        deep = rng.uniform(0.12, 0.22)
        model.box("tray", (0, 0, z), (w, d, 0.02))
        for s in (-1, 1):
            model.box("tray", (0, s * d / 2, z + deep / 2), (w, 0.015, deep))
            model.box("tray", (s * w / 2, 0, z + deep / 2), (0.015, d, deep))
            for t in (-1, 1):
                model.ring("wheels", (t * w * 0.35, s * (d / 2 + 0.04), 0.09), 0.07, 0.02, upright)
        path = [
            (w / 2, -d * 0.3, z),
            (w * 0.8, -d * 0.3, z + 0.5),
            (w * 0.8, d * 0.3, z + 0.5),
            (w / 2, d * 0.3, z),
        ]
        model.tube("bail", path, 0.012)
        model.anchors |= {
            "side": (0.0, -d / 2 - 0.008, z + deep * 0.5),
            "side left": (-w * 0.3, -d / 2 - 0.008, z + deep * 0.5),
            "wheel": (w * 0.35, -d / 2 - 0.06, 0.16),
        }
    else:
        points = [np.array([0.0, 0.0, 0.05])]
        for i in range(rng.randint(4, 7)):
            step = np.zeros(3)
            step[[2, 0, 2, 1, 0, 2, 1][i]] = rng.uniform(0.15, 0.3) * rng.choice([1, 1, -1])
            if step[2] < 0:
                step[2] *= -1
            points.append(points[-1] + step)
        radius = rng.uniform(0.025, 0.045)
        for start, end in pairwise(points):
            model.bar("pipe", start.tolist(), end.tolist(), radius)
            model.ellipsoid(
                "joint",
                (float(end[0]), float(end[1]), float(end[2])),
                (radius * 1.3, radius * 1.3, radius * 1.3),
                sides=12,
            )
        model.lathe("foot", [(0.16, 0), (0.16, 0.03), (0.05, 0.06), (1e-5, 0.06)])
        for k, name in ((0, "pipe"), (2, "second pipe"), (3, "third pipe")):
            m = (points[k] + points[k + 1]) / 2
            model.anchors[name] = (float(m[0]), float(m[1]), float(m[2]))
    return model
