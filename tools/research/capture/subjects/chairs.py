# SPDX-License-Identifier: GPL-3.0-or-later
"""Chairs with every kind of leg, seat, back and armrest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from ..mesh import Model, Point, ellipse, rotation, rounded_rectangle


@dataclass(frozen=True)
class _Seat:
    """Measures that the legs, the back and the arms depend on, in metres. The back is at +y."""

    width: float
    depth: float
    height: float
    thickness: float


def chair(rng: Random) -> Model:
    """Return a chair on four legs, a sled, a cross or a cantilever tube."""
    model = Model()
    seat = _Seat(
        width=rng.uniform(0.38, 0.5),
        depth=rng.uniform(0.38, 0.48),
        height=rng.uniform(0.42, 0.52),
        thickness=rng.choice([0.018, 0.025, 0.035, 0.06]),
    )
    _add_seat(model, rng, seat)
    rng.choice([_four_legs, _four_legs, _four_legs, _sled, _cantilever, _crossed_legs])(
        model, rng, seat
    )
    top = _add_back(model, rng, seat)
    if rng.random() < 0.25:
        _add_arms(model, rng, seat, top)
    return model


def office_chair(rng: Random) -> Model:
    """Return a swivel chair on a star base with castors."""
    model = Model()
    seat = _Seat(rng.uniform(0.42, 0.52), rng.uniform(0.42, 0.5), rng.uniform(0.44, 0.54), 0.07)
    _add_seat(model, rng, seat)
    arms = rng.choice([4, 5, 5, 5])
    reach = rng.uniform(0.26, 0.34)
    for i in range(arms):
        angle = 2 * math.pi * i / arms + 0.3
        tip = (reach * math.cos(angle), reach * math.sin(angle), 0.07)
        model.bar("legs", (0, 0, 0.12), tip, 0.024, 0.014, sides=6)
        model.ellipsoid("castors", (tip[0], tip[1], 0.03), (0.03, 0.03, 0.03), sides=12)
    model.bar("legs", (0, 0, 0.06), (0, 0, seat.height), 0.028, 0.02)
    top = _add_back(model, rng, seat)
    if rng.random() < 0.6:
        _add_arms(model, rng, seat, top)
    model.anchors["leg"] = (0.0, 0.0, 0.22)
    return model


def stool(rng: Random) -> Model:
    """Return a stool: a round or square top on three or four legs with a ring or rungs."""
    model = Model()
    height = rng.uniform(0.4, 0.78)
    width = rng.uniform(0.28, 0.42)
    thick = rng.choice([0.025, 0.04, 0.08])
    outline = ellipse(width, width) if rng.random() < 0.6 else rounded_rectangle(width, width, 0.03)
    with model.placed(np.eye(3), (0, 0, height - thick / 2)):
        model.slab("seat", outline, thick, bevel=0.01)
    legs = rng.choice([3, 4, 4])
    splay = rng.uniform(0.0, 0.1)
    radius = rng.uniform(0.009, 0.02)
    inset = width * 0.36
    feet: list[Point] = []
    for i in range(legs):
        a = 2 * math.pi * (i + 0.5) / legs
        foot = ((inset + splay) * math.cos(a), (inset + splay) * math.sin(a), 0.0)
        feet.append(foot)
        head = (inset * math.cos(a), inset * math.sin(a), height - thick)
        model.bar("legs", head, foot, radius * 1.2, radius, sides=rng.choice([4, 10]))
    level = rng.uniform(0.25, 0.5)
    if rng.random() < 0.5:
        model.ring("rung", (0, 0, level * height), inset + splay * (1 - level), 0.008)
    else:
        share = 1 - level * splay / (inset + splay)
        for i in range(legs):
            start, end = feet[i], feet[(i + 1) % legs]
            z = level * height
            model.bar(
                "rung",
                (start[0] * share, start[1] * share, z),
                (end[0] * share, end[1] * share, z),
                0.008,
            )
    foot = feet[0]
    model.anchors |= {
        "seat": (0.0, 0.0, height),
        "seat edge": (width * 0.3, 0.0, height),
        "leg": (foot[0] * 0.93, foot[1] * 0.93, height * 0.3),
    }
    return model


def _add_seat(model: Model, rng: Random, seat: _Seat) -> None:
    shape = rng.choice(["rounded", "rounded", "round", "square"])
    if shape == "round":
        outline = ellipse(seat.width, seat.depth, 28)
    else:
        corner = 0.012 if shape == "square" else rng.uniform(0.03, 0.12)
        outline = rounded_rectangle(seat.width, seat.depth, corner, 5)
    taper = rng.uniform(0.0, 0.12)
    outline = [(x * (1 - taper * (y / seat.depth + 0.5)), y, z) for x, y, z in outline]
    with model.placed(np.eye(3), (0, 0, seat.height - seat.thickness / 2)):
        model.slab("seat", outline, seat.thickness, bevel=0.008)
    if rng.random() < 0.3:
        small = [(x * 0.92, y * 0.92, z) for x, y, z in outline]
        with model.placed(np.eye(3), (0, 0, seat.height + 0.015)):
            model.slab("cushion", small, 0.035, bevel=0.012)
    model.anchors["seat"] = (0.0, -0.12 * seat.depth, seat.height)


def _four_legs(model: Model, rng: Random, seat: _Seat) -> None:
    radius = rng.uniform(0.009, 0.02)
    sides = rng.choice([4, 10, 10])
    taper = rng.uniform(0.55, 1.0)
    splay_x, splay_y = rng.uniform(0.0, 0.07), rng.uniform(0.0, 0.08)
    x, y = seat.width * 0.41, seat.depth * 0.41
    top = seat.height - seat.thickness * 0.6
    for sx in (-1, 1):
        for sy in (-1, 1):
            foot = (sx * (x + splay_x), sy * (y + splay_y), 0.0)
            model.bar("legs", (sx * x, sy * y, top), foot, radius * 1.15, radius * taper, sides)
    level = rng.uniform(0.3, 0.6)
    fx, fy = x + splay_x * (1 - level), y + splay_y * (1 - level)
    z = level * top
    rungs = rng.choice(["none", "none", "sides", "around", "middle"])
    if rungs in ("sides", "around", "middle"):
        for sx in (-1, 1):
            model.bar("legs", (sx * fx, -fy, z), (sx * fx, fy, z), radius * 0.7, sides=sides)
    if rungs == "around":
        for sy in (-1, 1):
            model.bar("legs", (-fx, sy * fy, z + 0.04), (fx, sy * fy, z + 0.04), radius * 0.7)
    if rungs == "middle":
        model.bar("legs", (-fx, 0, z), (fx, 0, z), radius * 0.7, sides=sides)
    if rng.random() < 0.4:
        apron = rng.uniform(0.03, 0.06)
        z = top - apron / 2
        for sign in (-1, 1):
            model.box("seat frame", (sign * x, 0, z), (0.016, 2 * y, apron))
            model.box("seat frame", (0, sign * y, z), (2 * x, 0.016, apron))
    model.anchors["leg"] = (-(x + splay_x * 0.6), -(y + splay_y * 0.6), top * 0.4)


def _sled(model: Model, rng: Random, seat: _Seat) -> None:
    radius = rng.uniform(0.008, 0.013)
    x, y = seat.width * 0.43, seat.depth * 0.44
    z = seat.height - seat.thickness
    splay = rng.uniform(0.0, 0.05)
    for s in (-1, 1):
        xs = s * (x + splay)
        path = [
            (s * x, -y, z),
            (xs, -y - splay, 0.05),
            (xs, -y - splay + 0.03, radius),
            (xs, y + splay - 0.03, radius),
            (xs, y + splay, 0.05),
            (s * x, y, z),
        ]
        model.tube("legs", path, radius)
    for sy in (-1, 1):
        model.bar("legs", (-x, sy * y, z - radius), (x, sy * y, z - radius), radius)
    model.anchors["leg"] = (-(x + splay * 0.5), -y - splay * 0.5, z * 0.5)


def _cantilever(model: Model, rng: Random, seat: _Seat) -> None:
    radius = rng.uniform(0.01, 0.015)
    x, y = seat.width * 0.46, seat.depth * 0.46
    z = seat.height - seat.thickness - radius
    for s in (-1, 1):
        path = [
            (s * x, y, z),
            (s * x, -y + 0.04, z),
            (s * x, -y, z - 0.05),
            (s * x, -y, 0.05),
            (s * x, -y + 0.05, radius),
            (s * x, y, radius),
        ]
        model.tube("legs", path, radius)
    model.bar("legs", (-x, y, radius), (x, y, radius), radius)
    model.bar("legs", (-x, y * 0.6, z), (x, y * 0.6, z), radius)
    model.anchors["leg"] = (-x, -y, z * 0.5)


def _crossed_legs(model: Model, rng: Random, seat: _Seat) -> None:
    radius = rng.uniform(0.01, 0.017)
    x, y = seat.width * 0.42, seat.depth * 0.45
    z = seat.height - seat.thickness
    for s in (-1, 1):
        model.bar("legs", (s * x, -y, z), (s * x, y, 0), radius, sides=4)
        model.bar("legs", (s * (x - 0.03), y, z), (s * (x - 0.03), -y, 0), radius, sides=4)
    for end in (-1, 1):
        model.bar("legs", (-x, end * y, 0.02), (x, end * y, 0.02), radius * 0.8)
    model.anchors["leg"] = (-x, -y * 0.5, z * 0.75)


def _add_back(model: Model, rng: Random, seat: _Seat) -> float:
    """Add the back and its posts, and return the height of its top above the ground."""
    height = rng.uniform(0.34, 0.52)
    lean = rng.uniform(0.05, 0.22)
    width = seat.width * rng.uniform(0.82, 0.98)
    bottom = rng.uniform(0.05, 0.16)
    panel = height - bottom
    radius = rng.uniform(0.009, 0.017)
    thick = rng.uniform(0.014, 0.028)
    upright = rotation("x", math.pi / 2)  # a slab drawn in x and y stands up in x and z
    style = rng.choice(["hole", "hole", "hole", "slats", "rungs", "spindles", "solid", "loop"])
    first = len(model.vertices)
    half = width / 2
    middle = bottom + panel / 2
    if style in ("hole", "solid"):
        corner = rng.uniform(0.02, 0.1)
        outline = rounded_rectangle(width, panel, corner, 6)
        hole: list[Point] | None = None
        if style == "hole":
            margin = rng.uniform(0.035, 0.075)
            hole_height = panel - 2 * margin if rng.random() < 0.7 else panel * 0.35
            hole = rounded_rectangle(width - 2 * margin, hole_height, corner * 0.8, 6)
            shift = rng.choice([0.0, 0.0, 0.5]) * (panel / 2 - margin - hole_height / 2)
            hole = [(x, y + shift, z) for x, y, z in hole]
            model.anchors["back"] = (-half + margin / 2, 0.0, middle)
            model.anchors["back top"] = (0.0, 0.0, bottom + panel - margin / 2)
        else:
            model.anchors["back"] = (0.0, 0.0, middle)
        with model.placed(upright, (0, 0, middle)):
            model.slab("back", outline, thick, hole=hole)
        inset = half * rng.uniform(0.5, 0.85)
        for s in (-1, 1):
            model.bar("posts", (s * inset, 0.005, -0.02), (s * inset, 0.005, middle), radius)
    elif style == "loop":
        corner = min(0.16, panel * 0.4)
        path = [(x, 0.0, y + height / 2) for x, y, _ in rounded_rectangle(width, height, corner, 6)]
        model.tube("posts", path, max(radius, 0.012), closed=True)
        bars = rng.randint(0, 3)
        for i in range(bars):
            z = height * (i + 1) / (bars + 1)
            model.box("back", (0, 0, z), (width, 0.012, rng.uniform(0.02, 0.06)))
        model.anchors["back"] = (0.0, 0.0, height)
    else:
        for s in (-1, 1):
            model.bar("posts", (s * half, 0, -0.02), (s * half, 0, height), radius * 1.2)
        rail = rng.uniform(0.04, 0.09)
        model.box("back", (0, 0, height - rail / 2), (width + 0.03, thick, rail), bevel=0.008)
        model.anchors["back"] = (0.0, 0.0, height - rail / 2)
        if style == "rungs":
            count = rng.randint(1, 3)
            for i in range(count):
                z = (height - rail) * (i + 1) / (count + 1)
                model.box("back", (0, 0, z), (width, thick * 0.8, rng.uniform(0.025, 0.05)))
        else:
            count = rng.randint(3, 7)
            for i in range(count):
                x = -half + width * (i + 1) / (count + 1)
                if style == "slats":
                    model.box("back", (x, 0, height / 2), (0.03, thick * 0.6, height - 0.03))
                else:
                    model.bar("back", (x, 0, -0.01), (x * 1.05, 0, height - rail), 0.006, sides=6)
    turn = rotation("x", -lean)
    offset = (0.0, seat.depth * 0.45, seat.height)
    model.transform(turn, offset, first=first)
    for name in ("back", "back top"):
        if name in model.anchors:
            x, y, z = turn @ np.array(model.anchors[name]) + np.array(offset)
            model.anchors[name] = (float(x), float(y), float(z))
    return seat.height + height * math.cos(lean)


def _add_arms(model: Model, rng: Random, seat: _Seat, top: float) -> None:
    z = min(seat.height + rng.uniform(0.17, 0.25), top - 0.05)
    x = seat.width * 0.5 + 0.012
    y = seat.depth * 0.42
    radius = rng.uniform(0.009, 0.016)
    for s in (-1, 1):
        model.bar("posts", (s * x, -y * 0.8, seat.height - 0.03), (s * x, -y * 0.8, z), radius)
        model.box("arms", (s * x, 0.02, z), (0.045, seat.depth * 1.0, 0.022), bevel=0.008)
    model.anchors["arm"] = (-x, -y * 0.5, z)
