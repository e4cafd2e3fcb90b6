# SPDX-License-Identifier: GPL-3.0-or-later
"""Floors, walls, open air, and things far away.

Everything here has the id of the ground.
"""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from .finishes import (
    BRICKS,
    FLOORS,
    NOISE,
    STRIPES,
    Finish,
    draw_colour,
    draw_floor,
    mottled,
    plain,
    shade,
    wood,
)
from .identity import GROUND
from .mesh import Model
from .scene import Item

WALL_HEIGHT = 3.2  # metres
WALL_CLEARANCE = 1.3  # metres between the farthest camera and the nearest wall


def surroundings(rng: Random, reach: float, indoors: bool) -> list[Item]:
    """Return the floor and the things around it.

    Parameters
    ----------
    reach
        Distance from the middle to the farthest camera, in metres. Walls stand beyond it.
    """
    floor = Model()
    half = reach + 3.0 if indoors else 60.0
    floor.add(
        "floor",
        [(-half, -half, 0), (half, -half, 0), (half, half, 0), (-half, half, 0)],
        [(0, 1, 2, 3)],
    )
    finish = draw_floor(rng, rng.choice(FLOORS[:6] if indoors else FLOORS))
    items = [Item("Floor", floor, GROUND, {"floor": finish})]
    if rng.random() < 0.35:
        items.append(_rug(rng, reach))
    items += _room(rng, reach) if indoors else [_distance(rng, reach)]
    return items


def _rug(rng: Random, reach: float) -> Item:
    rug = Model()
    w, d = rng.uniform(0.5, 1.0) * reach, rng.uniform(0.4, 0.8) * reach
    rug.box("rug", (0, 0, 0.004), (w, d, 0.008))
    rug.box("border", (0, 0, 0.0035), (w * 1.12, d * 1.15, 0.007))
    finishes = {
        "rug": draw_floor(rng, rng.choice(["carpet", "stripes", "checker"])),
        "border": draw_floor(rng, "carpet"),
    }
    at = (rng.gauss(0, 0.2), rng.gauss(0, 0.2), 0.0)
    return Item("Rug", rug, GROUND, finishes, at, rng.uniform(0, math.pi))


def _wallpaper(rng: Random, style: str) -> Finish:
    base = draw_colour(rng, rng.choice(["pastel", "neutral", "stone"]))
    light = shade(base, 1.25)
    if style == "stripes":
        return Finish(
            STRIPES,
            (base, shade(base, 0.8), base),
            rng.uniform(2, 7),
            (1.0, 0.0, 0.0),
            roughness=0.9,
        )
    if style == "bricks":
        return Finish(
            BRICKS, (base, shade(base, 0.7), light), 12.0, edge=3.0, roughness=0.9, upright=True
        )
    return replace(mottled(base, 0.88, 1.0, 2.0), roughness=0.9)


def _room(rng: Random, reach: float) -> list[Item]:
    """Return four walls with skirting, pictures, doors and sideboards."""
    style = rng.choice(["plain", "plain", "stripes", "bricks", "dado"])
    wood_colour = draw_colour(rng, "wood")
    finishes = {
        "wall": _wallpaper(rng, style),
        "trim": plain(draw_colour(rng, rng.choice(["neutral", "wood"])), 0.5),
        "frame": wood(rng, wood_colour),
        "front": plain(shade(wood_colour, 0.8), 0.4),
    }
    for i in range(3):
        colours = (draw_colour(rng), draw_colour(rng), draw_colour(rng))
        finishes[f"print {i}"] = Finish(NOISE, colours, rng.uniform(3, 12), roughness=0.4)
    half = reach + 2.9
    items = []
    for side in range(4):
        away = reach + rng.uniform(WALL_CLEARANCE, 2.7)
        wall = Model()
        wall.box("wall", (0, 0.05, WALL_HEIGHT / 2), (2 * half, 0.1, WALL_HEIGHT))
        wall.box("trim", (0, -0.008, 0.05), (2 * half, 0.016, 0.1))
        if style == "dado":
            wall.box("trim", (0, -0.01, 0.95), (2 * half, 0.02, 0.06))
        _furnish(rng, wall, half)
        turn = side * math.pi / 2
        at = (-away * math.sin(turn), away * math.cos(turn), 0.0)
        items.append(
            Item(f"Wall {side}", wall, GROUND, finishes, at, turn, lets_light_through=True)
        )
    return items


def _furnish(rng: Random, wall: Model, half: float) -> None:
    """Hang pictures on a wall from -half to half, and stand doors and sideboards before it."""
    x = -half + rng.uniform(0.3, 1.5)
    while x < half - 0.8:
        kind = rng.choice(["picture", "picture", "door", "sideboard", "none"])
        w = rng.uniform(0.4, 1.0)
        if kind == "picture":
            h, z = rng.uniform(0.4, 0.9), rng.uniform(1.3, 1.7)
            wall.box("frame", (x + w / 2, -0.012, z), (w, 0.024, h))
            role = f"print {rng.randrange(3)}"
            wall.box(role, (x + w / 2, -0.02, z), (w - 0.08, 0.02, h - 0.08))
        elif kind == "door":
            w = 0.9
            wall.box("trim", (x + w / 2, -0.02, 1.02), (w + 0.14, 0.04, 2.06))
            wall.box("frame", (x + w / 2, -0.03, 1.0), (w, 0.04, 2.0))
            for z in (0.55, 1.45):
                wall.box("front", (x + w / 2, -0.045, z), (w * 0.7, 0.02, 0.7))
        elif kind == "sideboard":
            wall.box("frame", (x + w / 2, -0.17, 0.46), (w, 0.3, 0.76), bevel=0.01)
            wall.box("trim", (x + w / 2, -0.18, 0.85), (w + 0.04, 0.34, 0.03))
            for k in range(3):
                wall.box("front", (x + w / 2, -0.325, 0.22 + 0.24 * k), (w * 0.92, 0.02, 0.21))
        x += w + rng.uniform(0.3, 1.5)


def _distance(rng: Random, reach: float) -> Item:
    """Return houses, hedges, fences and trees, well behind the cameras."""
    finishes = {
        "house": mottled(draw_colour(rng, "stone"), 0.7, 1.2, 2.0),
        "other house": mottled(draw_colour(rng, "pastel"), 0.7, 1.2, 2.0),
        "roof": mottled(draw_colour(rng, "wood"), 0.6, 1.2, 4.0),
        "window": plain(draw_colour(rng, "dark"), 0.15),
        "trunk": mottled(draw_colour(rng, "wood"), 0.5, 1.2, 9.0),
    }
    for role in ("leaf", "other leaf"):
        green = (rng.uniform(0.03, 0.15), rng.uniform(0.1, 0.25), rng.uniform(0.02, 0.06))
        finishes[role] = replace(mottled(green, 0.3, 1.4, 9.0), grain=0.6, grain_scale=40.0)
    model = Model()
    count = rng.randint(14, 30)
    for i in range(count):
        a = 2 * math.pi * (i + rng.uniform(0, 0.8)) / count
        away = reach * rng.uniform(1.6, 2.2) + rng.uniform(1.0, 12.0)
        x, y = away * math.cos(a), away * math.sin(a)
        kind = rng.choice(["house", "tree", "tree", "hedge", "fence", "none"])
        if kind == "house" and away > reach + 5:
            w, h = rng.uniform(2, 4), rng.uniform(2.5, 5)
            model.box(rng.choice(["house", "other house"]), (x, y, h / 2), (w, w, h))
            model.box("roof", (x, y, h + 0.15), (w * 1.15, w * 1.15, 0.3))
            for k in range(2):
                model.box("window", (x, y, 1.1 + 1.6 * k), (w + 0.02, w * 0.3, 0.9))
                model.box("window", (x, y, 1.1 + 1.6 * k), (w * 0.3, w + 0.02, 0.9))
        elif kind == "tree":
            h = rng.uniform(1.8, 4)
            model.bar("trunk", (x, y, 0), (x, y, h * 0.6), 0.09, 0.05, sides=8)
            for _ in range(6):
                s = rng.uniform(0.3, 0.7)
                centre = (x + rng.gauss(0, 0.4), y + rng.gauss(0, 0.4), h * rng.uniform(0.6, 1))
                model.ellipsoid(
                    rng.choice(["leaf", "other leaf"]), centre, (s, s, s * 0.8), sides=12
                )
        elif kind == "hedge":
            model.box("leaf", (x, y, 0.5), (rng.uniform(0.8, 2.5), rng.uniform(0.8, 2.5), 1.0), 0.1)
        elif kind == "fence":
            for k in range(7):
                model.box(
                    "trunk",
                    (x + 0.16 * k * math.sin(a), y - 0.16 * k * math.cos(a), 0.5),
                    (0.08, 0.08, 1.0),
                )
    return Item("Distance", model, GROUND, finishes)
