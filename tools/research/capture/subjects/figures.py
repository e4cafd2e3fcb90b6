# SPDX-License-Identifier: GPL-3.0-or-later
"""Toy animals, figures and statues of plain solids."""

from __future__ import annotations

import math
from random import Random

from ..mesh import Model, rotation


def animal(rng: Random) -> Model:
    """Return a toy animal on four legs, of round or of boxy parts."""
    model = Model()
    length, girth = rng.uniform(0.3, 0.5), rng.uniform(0.09, 0.15)
    leg = rng.uniform(0.15, 0.34)
    z = leg + girth
    boxy = rng.random() < 0.4
    if boxy:
        model.box("body", (0, 0, z), (length, girth * 1.7, girth * 1.8), bevel=0.015)
    else:
        model.ellipsoid("body", (0, 0, z), (length / 2, girth, girth))
    radius = rng.uniform(0.018, 0.036)
    for sx in (-1, 1):
        for sy in (-1, 1):
            head = (sx * length * 0.33, sy * girth * 0.55, z - girth * 0.3)
            model.bar("legs", head, (head[0] * 1.1, head[1] * 1.15, 0.02), radius, radius * 0.8)
            model.ellipsoid(
                "feet",
                (head[0] * 1.1, head[1] * 1.15, 0.022),
                (radius * 1.3, radius * 1.1, 0.022),
                sides=10,
            )
    neck = rng.uniform(0.05, 0.35)
    at = (-length * 0.5 - neck * 0.35, 0.0, z + girth * 0.4 + neck)
    model.bar("body", (-length * 0.36, 0, z + girth * 0.2), at, girth * 0.55, girth * 0.4)
    size = rng.uniform(0.065, 0.1)
    model.ellipsoid("head", at, (size * 1.2, size, size))
    model.ellipsoid(
        "nose",
        (at[0] - size * 1.1, 0, at[2] - size * 0.2),
        (size * 0.5, size * 0.5, size * 0.4),
        sides=12,
    )
    ear = rng.uniform(0.04, 0.14)
    for s in (-1, 1):
        base = (at[0] + size * 0.2, s * size * 0.6, at[2] + size * 0.7)
        model.bar("ears", base, (base[0], s * (size * 0.6 + ear * 0.4), base[2] + ear), 0.03, 0.008)
        model.ellipsoid(
            "eyes",
            (at[0] - size * 0.85, s * size * 0.5, at[2] + size * 0.3),
            (0.014, 0.014, 0.014),
            sides=8,
        )
    tail = [
        (length * 0.45, 0, z + girth * 0.3),
        (length * 0.65, 0, z + 0.05),
        (length * 0.75, 0, z + rng.uniform(-0.1, 0.25)),
    ]
    model.tube("legs", tail, [0.02, 0.015, 0.01])
    if rng.random() < 0.3:
        model.box(
            "saddle", (0, 0, z + girth * 0.75), (length * 0.35, girth * 1.5, girth * 0.7), 0.02
        )
    model.anchors |= {
        "body": (0.0, -girth * (0.85 if boxy else 1.0), z),
        "head": (at[0], -size, at[2]),
        "leg": (-length * 0.35, -girth * 0.6 - radius, leg * 0.4),
    }
    return model


def figure(rng: Random) -> Model:
    """Return a person of simple solids in a walking or a waving pose."""
    model = Model()
    h = rng.uniform(0.5, 0.7)  # shoulder height; the stride and the limbs follow from it
    stride = rng.uniform(-0.45, 0.45)
    broad = h * rng.uniform(0.16, 0.2)
    hip = h * 0.56
    for s, swing in ((-1, stride), (1, -stride)):
        foot = (math.sin(swing) * hip, s * broad * 0.5, 0.02)
        model.bar("trousers", (0, s * broad * 0.45, hip), foot, h * 0.075, h * 0.05)
        model.box("shoes", (foot[0] + 0.02, foot[1], 0.02), (0.11, 0.055, 0.04), bevel=0.01)
        hand = (-math.sin(swing) * h * 0.4, s * broad * 1.5, h * rng.choice([0.5, 0.5, 0.55, 1.1]))
        model.bar("shirt", (0, s * broad * 0.95, h * 0.95), hand, h * 0.05, h * 0.035)
        model.ellipsoid("skin", hand, (h * 0.045, h * 0.035, h * 0.045), sides=10)
    if rng.random() < 0.5:
        model.box("shirt", (0, 0, (hip + h) / 2), (broad * 1.1, broad * 2, h - hip + 0.05), 0.03)
    else:
        model.lathe("shirt", [(broad * 0.8, hip - 0.04), (broad, h * 0.9), (broad * 0.4, h * 1.01)])
    model.bar("skin", (0, 0, h * 0.98), (0, 0, h * 1.1), h * 0.05)
    model.ellipsoid("skin", (0, 0, h * 1.17), (h * 0.1, h * 0.09, h * 0.12))
    model.ellipsoid("hair", (-h * 0.02, 0, h * 1.21), (h * 0.105, h * 0.1, h * 0.1))
    model.anchors |= {
        "chest": (broad * 0.55, 0.0, h * 0.8),
        "back": (-broad * 0.55, 0.0, h * 0.8),
        "leg": (math.sin(stride) * hip * 0.5, -broad * 0.5 - h * 0.06, hip * 0.5),
        "head": (h * 0.1, 0.0, h * 1.15),
    }
    return model


def statue(rng: Random) -> Model:
    """Return blobs stacked on a plinth, some of them with a hole through."""
    model = Model()
    base = rng.uniform(0.14, 0.2)
    plinth = rng.uniform(0.08, 0.3)
    model.box("plinth", (0, 0, plinth / 2), (base * 2, base * 2, plinth), bevel=0.008)
    z = plinth
    first = (0.0, 0.0, 0.0)
    for i in range(rng.randint(2, 5)):
        rx, ry, rz = (rng.uniform(0.08, 0.17) * (0.92**i) for _ in range(3))
        x, y = rng.gauss(0, 0.02), rng.gauss(0, 0.02)
        role = rng.choice(["stone", "other stone"])
        if rng.random() < 0.3:
            facing = rotation("z", rng.uniform(0, 3.1)) @ rotation("x", math.pi / 2)
            size = rx * 0.9
            model.ring(role, (x, y, z + size * 1.25), size, size * 0.33, facing, sides=10)
            z += size * 2.4
        else:
            model.ellipsoid(role, (x, y, z + rz * 0.95), (rx, ry, rz))
            if first == (0.0, 0.0, 0.0):
                first = (x, y - ry, z + rz)
            z += rz * 1.8
    model.anchors |= {
        "plinth": (0.0, -base, plinth * 0.5),
        "top": (0.0, 0.0, z - 0.03),
        "plinth edge": (-base * 0.7, -base, plinth * 0.5),
    }
    if first != (0.0, 0.0, 0.0):
        model.anchors["stone"] = first
    return model
