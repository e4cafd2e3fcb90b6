# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables, lamps, shelves, ladders and other furniture."""

from __future__ import annotations

import math
from random import Random

import numpy as np

from ..mesh import Model, Point, ellipse, rotation, rounded_rectangle


def table(rng: Random) -> Model:
    """Return a table on four legs or on a column."""
    model = Model()
    height = rng.uniform(0.4, 0.76)
    width, depth = rng.uniform(0.5, 1.0), rng.uniform(0.45, 0.7)
    thick = rng.uniform(0.018, 0.045)
    is_round = rng.random() < 0.4
    outline = ellipse(width, width, 36) if is_round else rounded_rectangle(width, depth, 0.03)
    with model.placed(np.eye(3), (0, 0, height - thick / 2)):
        model.slab("top", outline, thick, bevel=0.006)
    model.anchors["top"] = (0.0, 0.0, height)
    model.anchors["top edge"] = (-width * 0.35, 0.0, height)
    if is_round and rng.random() < 0.6:
        foot = width * rng.uniform(0.25, 0.36)
        model.lathe("legs", [(foot, 0), (foot, 0.02), (0.04, 0.05), (0.03, height - thick)])
        model.anchors["leg"] = (0.0, -0.035, height * 0.5)
        return model
    radius = rng.uniform(0.012, 0.03)
    splay = rng.uniform(0.0, 0.06)
    x, y = width * 0.42, (width if is_round else depth) * 0.42
    if is_round:
        x, y = x * 0.75, y * 0.75
    for sx in (-1, 1):
        for sy in (-1, 1):
            foot_at = (sx * (x + splay), sy * (y + splay), 0)
            model.bar(
                "legs",
                (sx * x, sy * y, height - thick),
                foot_at,
                radius * 1.2,
                radius,
                sides=rng.choice([4, 10]),
            )
    if rng.random() < 0.4:
        model.box("shelf", (0, 0, height * 0.3), (2 * x, 2 * y, 0.018))
    model.anchors["leg"] = (-(x + splay / 2), -(y + splay / 2), height * 0.45)
    return model


def lamp(rng: Random) -> Model:
    """Return a lamp with a foot, a stem (straight, bent or jointed) and a shade."""
    model = Model()
    height = rng.uniform(0.5, 1.3)
    foot = rng.uniform(0.1, 0.17)
    stem = rng.uniform(0.007, 0.016)
    shade = rng.uniform(0.1, 0.2)
    shade_height = rng.uniform(0.14, 0.26)
    model.lathe("foot", [(foot, 0), (foot, 0.018), (stem * 2, 0.035), (1e-5, 0.036)])
    style = rng.choice(["straight", "arc", "joint"])
    path: list[Point] = [(0, 0, 0.02)]
    if style == "straight":
        path += [(0, 0, height - shade_height * 0.7)]
        head = (0.0, 0.0, height - shade_height)
    elif style == "arc":
        reach = rng.uniform(0.15, 0.35)
        turns = [math.pi * k / 8 for k in range(9)]
        path += [(0, 0, height - reach)]
        path += [
            (reach / 2 * (1 - math.cos(a)), 0, height - reach + reach * 0.6 * math.sin(a))
            for a in turns[1:7]
        ]
        head = (path[-1][0], 0.0, path[-1][2] - shade_height)
    else:
        elbow = (-rng.uniform(0.1, 0.25), 0.0, height * 0.55)
        path += [elbow, (0.1, 0, height)]
        head = (0.1, 0.0, height - shade_height)
    model.tube("stem", path, stem)
    top = shade * rng.uniform(0.35, 0.95)
    wall = [(shade, 0.0), (top, shade_height), (top - 0.006, shade_height), (shade - 0.006, 0.004)]
    model.lathe("shade", wall, head, smooth=False)
    model.lathe("stem", [(top, shade_height - 0.012), (1e-5, shade_height - 0.01)], head)
    middle = (shade + top) / 2
    model.anchors |= {
        "shade": (head[0], head[1] - middle, head[2] + shade_height / 2),
        "stem": (path[1][0] * 0.5, 0.0, (path[0][2] + path[1][2]) / 2),
        "foot": (0.0, -foot * 0.8, 0.02),
    }
    return model


def shelf(rng: Random) -> Model:
    """Return an open shelf with boards, two sides and things on it."""
    model = Model()
    width, depth = rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.32)
    height = rng.uniform(0.7, 1.3)
    thick = rng.uniform(0.014, 0.024)
    boards = rng.randint(3, 5)
    if rng.random() < 0.6:
        for s in (-1, 1):
            model.box("sides", (s * width / 2, 0, height / 2), (thick, depth, height))
    else:
        for sx in (-1, 1):
            for sy in (-1, 1):
                model.bar(
                    "sides",
                    (sx * width / 2, sy * depth * 0.47, 0),
                    (sx * width / 2, sy * depth * 0.47, height),
                    0.011,
                    sides=4,
                )
    if rng.random() < 0.3:
        model.box("panel", (0, depth / 2, height / 2), (width, 0.008, height))
    for i in range(boards):
        z = 0.05 + (height - 0.07) * i / (boards - 1)
        model.box("boards", (0, 0, z), (width - thick, depth, thick))
        if i == boards - 1:
            break
        gap = (height - 0.07) / (boards - 1) - thick
        x = -width / 2 + 0.03
        while x < width / 2 - 0.1:
            book = rng.uniform(0.02, 0.05)
            tall = gap * rng.uniform(0.5, 0.9)
            if rng.random() < 0.65:
                role = rng.choice(["book", "other book", "third book"])
                model.box(
                    role,
                    (x + book / 2, -depth * 0.1, z + thick / 2 + tall / 2),
                    (book, depth * 0.7, tall),
                    bevel=0.002,
                )
            x += book + rng.uniform(0.0, 0.05)
    model.anchors |= {
        "board": (0.0, -depth / 2, 0.05 + (height - 0.07) / (boards - 1)),
        "side": (-width / 2, -depth * 0.47, height * 0.55),
        "top": (0.0, -depth * 0.2, height - 0.02 + thick / 2),
    }
    return model


def ladder(rng: Random) -> Model:
    """Return a step ladder."""
    model = Model()
    height = rng.uniform(0.7, 1.3)
    width = rng.uniform(0.3, 0.42)
    spread = rng.uniform(0.18, 0.3)
    radius = rng.uniform(0.013, 0.022)
    steps = rng.randint(3, 5)
    flat = rng.random() < 0.6
    for s in (-1, 1):
        model.bar(
            "rails", (s * width / 2, -spread, 0), (s * width * 0.38, 0, height), radius, sides=4
        )
        model.bar(
            "rear",
            (s * width / 2, spread, 0),
            (s * width * 0.38, 0.02, height),
            radius * 0.8,
            sides=4,
        )
    for i in range(steps):
        t = (i + 0.7) / (steps + 0.2)
        half = width / 2 * (1 - t) + width * 0.38 * t
        centre = (0, -spread * (1 - t), height * t)
        if flat:
            model.box("steps", centre, (2 * half, 0.09, 0.02))
        else:
            model.bar("steps", (-half, *centre[1:]), (half, *centre[1:]), 0.013)
        if i % 2 == 0:
            model.bar(
                "rear",
                (-half, spread * (1 - t), height * t),
                (half, spread * (1 - t), height * t),
                0.009,
            )
    model.box("top", (0, 0, height), (width * 0.85, 0.14, 0.03))
    t = 0.7 / (steps + 0.2)
    model.anchors |= {
        "step": (0.0, -spread * (1 - t) - 0.02, height * t + 0.01),
        "top": (0.0, 0.0, height + 0.015),
        "rail": (-width * 0.44, -spread * 0.5, height * 0.5),
    }
    return model


def bench(rng: Random) -> Model:
    """Return a bench of planks with or without a back."""
    model = Model()
    width, height = rng.uniform(0.8, 1.2), rng.uniform(0.4, 0.48)
    planks = rng.randint(2, 4)
    plank = 0.38 / planks
    for i in range(planks):
        y = -0.19 + plank * (i + 0.5)
        model.box("planks", (0, y, height), (width, plank * 0.85, 0.03), bevel=0.006)
    for s in (-1, 1):
        x = s * width * 0.4
        for y in (-0.16, 0.16):
            model.bar("legs", (x, y, height - 0.01), (x, y * 1.2, 0), 0.022, sides=4)
        model.bar("legs", (x, -0.18, height - 0.03), (x, 0.18, height - 0.03), 0.018, sides=4)
    if rng.random() < 0.6:
        for s in (-1, 1):
            model.bar(
                "legs",
                (s * width * 0.4, 0.16, height),
                (s * width * 0.4, 0.25, height + 0.4),
                0.018,
                sides=4,
            )
        for i in range(rng.randint(1, 3)):
            z = height + 0.38 - 0.12 * i
            model.box(
                "planks", (0, 0.16 + 0.22 * (z - height), z), (width, 0.02, 0.08), bevel=0.006
            )
    model.anchors |= {
        "seat": (0.0, -0.19 + plank * 0.5, height + 0.015),
        "seat side": (-width * 0.3, -0.19 + plank * 0.5, height + 0.015),
        "leg": (-width * 0.4, -0.178, height * 0.5),
    }
    return model


def rack(rng: Random) -> Model:
    """Return a coat rack: a pole on three feet with hooks, and sometimes a hat."""
    model = Model()
    height = rng.uniform(1.0, 1.5)
    radius = rng.uniform(0.012, 0.022)
    model.bar("pole", (0, 0, 0.08), (0, 0, height), radius)
    for i in range(rng.choice([3, 4])):
        turn = rotation("z", 2 * math.pi * i / 3 + 0.4)
        with model.placed(turn):
            model.tube("feet", [(0, 0, 0.2), (0.12, 0, 0.12), (0.25, 0, 0.012)], radius * 0.8)
    for level in range(rng.randint(1, 3)):
        for i in range(rng.choice([2, 3, 4])):
            z = height * (0.95 - 0.14 * level)
            with model.placed(rotation("z", 2 * math.pi * i / 3 + level)):
                model.tube("hooks", [(0, 0, z), (0.1, 0, z + 0.02), (0.14, 0, z + 0.09)], 0.009)
    if rng.random() < 0.5:
        model.lathe(
            "hat",
            [(0.15, 0), (0.15, 0.01), (0.085, 0.02), (0.075, 0.11), (1e-5, 0.12)],
            (0.0, 0.0, height),
        )
    model.anchors |= {
        "pole": (0.0, -radius, height * 0.5),
        "pole top": (0.0, -radius, height * 0.8),
        "foot": (0.12, -0.0, 0.13),
    }
    return model
