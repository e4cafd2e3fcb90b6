# SPDX-License-Identifier: GPL-3.0-or-later
"""The look of a surface, drawn from a seed and independent of any renderer."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from random import Random

Colour = tuple[float, float, float]
Vector = tuple[float, float, float]

PLAIN, NOISE, CHECKER, STRIPES, SPOTS, BRICKS = range(6)


@dataclass(frozen=True)
class Finish:
    """A pattern in the object's own coordinates (metres), and how the surface reflects.

    Attributes
    ----------
    pattern
        PLAIN shows `colours[0]`. NOISE mixes `colours` 0 to 2 by soft noise. CHECKER and STRIPES
        alternate between them, STRIPES along x. SPOTS puts dots of 1 on 0. BRICKS lays rows along x
        that vary from 0 to 1, with joints of 2.
    colours
        Linear RGB, three of them.
    scale
        Repeats per metre, or a brick's rows per metre.
    stretch, turn
        Factors on the coordinates, and radians about z. Both are applied before the scale.
    edge
        STRIPES: part of the first colour. SPOTS: size of the dots. BRICKS: length of a brick in
        rows.
    grain, grain_scale
        How strongly (0 to 1) and how finely (per metre) noise darkens the pattern.
    roughness, metallic
        Roughness is 0 for a mirror to 1 for matt. Metallic is 0 or 1.
    upright
        The pattern's rows run up along z instead of along y, as on a wall.
    """

    pattern: int
    colours: tuple[Colour, Colour, Colour]
    scale: float = 1.0
    stretch: Vector = (1.0, 1.0, 1.0)
    turn: float = 0.0
    edge: float = 0.5
    grain: float = 0.0
    grain_scale: float = 20.0
    roughness: float = 0.6
    metallic: float = 0.0
    upright: bool = False


def draw_colour(rng: Random, mood: str = "any") -> Colour:
    """Return a linear RGB colour; `mood` is wood, neutral, stone, vivid, pastel, dark or any."""
    if mood == "any":
        mood = rng.choice(["wood", "neutral", "vivid", "vivid", "pastel", "dark"])
    hue = rng.random()
    hsv = {
        "wood": (rng.uniform(0.045, 0.1), rng.uniform(0.35, 0.75), rng.uniform(0.12, 0.6)),
        "neutral": (hue, rng.uniform(0.0, 0.12), rng.uniform(0.12, 0.85)),
        "stone": (rng.uniform(0.05, 0.15), rng.uniform(0.0, 0.22), rng.uniform(0.2, 0.65)),
        "vivid": (hue, rng.uniform(0.55, 0.92), rng.uniform(0.25, 0.8)),
        "pastel": (hue, rng.uniform(0.15, 0.4), rng.uniform(0.5, 0.85)),
        "dark": (hue, rng.uniform(0.0, 0.6), rng.uniform(0.015, 0.08)),
    }[mood]
    return colorsys.hsv_to_rgb(*hsv)


def shade(colour: Colour, factor: float) -> Colour:
    """Return the colour made lighter or darker."""
    r, g, b = (min(c * factor, 0.95) for c in colour)
    return (r, g, b)


def plain(colour: Colour, roughness: float = 0.6) -> Finish:
    """Return one colour all over."""
    return Finish(PLAIN, (colour, colour, colour), roughness=roughness)


def mottled(colour: Colour, low: float, high: float, scale: float) -> Finish:
    """Return a colour that varies softly between `low` and `high` times itself."""
    colours = (shade(colour, low), colour, shade(colour, high))
    return Finish(NOISE, colours, scale=scale, roughness=0.85)


def wood(rng: Random, colour: Colour) -> Finish:
    """Return a grain along a drawn axis."""
    stretch = [1.0, 1.0, 1.0]
    stretch[rng.randrange(3)] = 0.08
    finish = mottled(colour, 0.55, 1.35, rng.uniform(28, 56))
    return replace(
        finish, stretch=(stretch[0], stretch[1], stretch[2]), roughness=rng.uniform(0.35, 0.7)
    )


def draw_finish(rng: Random) -> Finish:
    """Return the look of one part of a thing: plain, glossy, metal, wood or patterned."""
    style = rng.choice(
        [
            "plain",
            "plain",
            "plain",
            "gloss",
            "metal",
            "wood",
            "wood",
            "checker",
            "stripes",
            "spots",
            "mottled",
        ]
    )
    base, other, third = draw_colour(rng), draw_colour(rng), draw_colour(rng)
    roughness = rng.uniform(0.45, 0.9)
    if style == "wood":
        return wood(rng, draw_colour(rng, "wood"))
    if style == "metal":
        metal = plain(draw_colour(rng, "neutral"), rng.uniform(0.2, 0.5))
        return replace(metal, metallic=1.0)
    if style == "checker":
        return Finish(CHECKER, (base, other, third), rng.uniform(8, 30), roughness=roughness)
    if style == "stripes":
        stretch = rng.choice([(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.7, 0.0, 0.7)])
        return Finish(
            STRIPES,
            (base, other, base),
            rng.uniform(6, 28),
            stretch,
            edge=rng.uniform(0.3, 0.7),
            roughness=roughness,
        )
    if style == "spots":
        return Finish(
            SPOTS,
            (base, other, third),
            rng.uniform(25, 90),
            edge=rng.uniform(0.2, 0.4),
            roughness=roughness,
        )
    if style == "mottled":
        return mottled(base, rng.uniform(0.35, 0.7), rng.uniform(1.0, 1.8), rng.uniform(5, 30))
    return plain(base, rng.uniform(0.08, 0.3) if style == "gloss" else roughness)


FLOORS = ("tiles", "checker", "planks", "carpet", "stripes", "concrete", "paving", "grass")


def draw_floor(rng: Random, style: str) -> Finish:
    """Return the look of a floor of one of `FLOORS`."""
    turn = rng.uniform(0, 3.14159)
    base = draw_colour(rng, rng.choice(["stone", "neutral", "any", "wood"]))
    other = (
        shade(base, rng.choice([0.35, 0.6, 1.6, 2.2])) if rng.random() < 0.6 else draw_colour(rng)
    )
    third = draw_colour(rng)
    roughness = rng.uniform(0.35, 0.9)
    size = rng.uniform(0.18, 0.5)
    joint = shade(base, rng.choice([0.25, 0.35, 1.8]))
    if style == "planks":
        base = draw_colour(rng, "wood")
        return Finish(
            BRICKS,
            (base, shade(base, rng.uniform(0.55, 0.85)), shade(base, 0.2)),
            1 / rng.uniform(0.09, 0.16),
            turn=turn,
            edge=rng.uniform(7, 12),
            grain=0.35,
            grain_scale=18.0,
            roughness=roughness,
        )
    if style in ("tiles", "paving"):
        second = other if style == "paving" else shade(base, rng.uniform(0.6, 0.95))
        return Finish(
            BRICKS,
            (base, second, joint),
            1 / size,
            turn=turn,
            edge=rng.choice([1.0, 2.0]),
            grain=0.3,
            grain_scale=rng.uniform(9, 40),
            roughness=roughness,
        )
    if style == "checker":
        return Finish(
            CHECKER,
            (base, other, third),
            1 / size,
            turn=turn,
            grain=0.25,
            grain_scale=rng.uniform(9, 40),
            roughness=roughness,
        )
    if style == "stripes":
        return Finish(
            STRIPES,
            (base, other, third),
            rng.uniform(0.8, 4),
            (1.0, 0.0, 0.0),
            turn,
            grain=0.2,
            roughness=roughness,
        )
    if style == "carpet":
        finish = Finish(SPOTS, (base, other, third), rng.uniform(4, 20), turn=turn, edge=0.35)
        return replace(finish, grain=0.55, grain_scale=220.0, roughness=0.95)
    if style == "grass":
        green = (rng.uniform(0.05, 0.2), rng.uniform(0.15, 0.3), rng.uniform(0.02, 0.07))
        return replace(mottled(green, 0.6, 1.3, rng.uniform(0.8, 3)), grain=0.75, grain_scale=110.0)
    return replace(mottled(base, 0.6, 1.25, rng.uniform(0.8, 3)), grain=0.3, grain_scale=60.0)
