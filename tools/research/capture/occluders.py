# SPDX-License-Identifier: GPL-3.0-or-later
"""Things that stand between camera and subject for some frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from .mesh import Array, Model, rotation
from .orbit import Pose
from .subjects import KINDS

OCCLUDERS = ("pole", "board", "hanging plant", "walker", "porter", "ladder")


@dataclass(frozen=True)
class Passage:
    """Where the occluder stands, on the frames that have it.

    Attributes
    ----------
    model
        Its shape in metres, at the origin, facing -y.
    places
        Frame index to position (shape (3,), metres) and turn about z (radians).
    """

    model: Model
    places: dict[int, tuple[Array, float]]


def plan_passage(rng: Random, poses: list[Pose], points: Array, kind: str | None = None) -> Passage:
    """Return an occluder that crosses the view of a subject.

    In the middle of its way, a board or a porter hides nearly all of the subject (vertices
    `points`, shape (N, 3)). It enters over the frames before, and leaves over the frames after.
    """
    kind = kind or rng.choice(OCCLUDERS)
    frames = len(poses)
    partial = 3 if frames >= 24 else rng.randint(1, 2)
    full = 2 if frames >= 24 else 1
    length = 2 * partial + full
    first = rng.randint(max(1, frames // 5), max(1, frames - length - 1))
    middle = poses[min(first + partial, frames - 1)]
    share = rng.uniform(0.45, 0.62)  # of the way from the camera to the subject

    def on_the_way(pose: Pose) -> Array:
        spot = pose.position * (1 - share)
        return np.array([spot[0], spot[1], 0.0])

    local = (points - middle.position) @ middle.axes
    width = float(np.ptp(local[:, 0])) * share
    top = float(middle.position[2] * (1 - share) + points[:, 2].max() * share)
    bottom = float(middle.position[2] * (1 - share) + points[:, 2].min() * share)
    model = _build(rng, kind, width, bottom, top)
    hides_much = kind in ("board", "porter")
    half = (model.bounds()[1][0] - model.bounds()[0][0]) / 2
    if hides_much:
        half = min(half, width * 0.52)  # the parcel counts, not the porter's arms
    travel = half + width / 2
    places: dict[int, tuple[Array, float]] = {}
    direction = rng.choice([-1, 1])
    for step in range(length):
        index = first + step
        if index >= frames:
            break
        pose = poses[index]
        if step < partial:
            aside = width * (step + 1) / (partial + 1) - travel
        elif step < partial + full:
            aside = (
                width * 0.05 * (step - partial) if hides_much else width * rng.uniform(-0.4, 0.4)
            )
        else:
            aside = travel - width * (length - step) / (partial + 1)
        side = pose.axes[:, 0] * direction
        side = side / math.hypot(side[0], side[1])
        spot = on_the_way(pose) + side * aside
        facing = math.atan2(pose.position[1], pose.position[0]) + math.pi / 2
        places[index] = (np.array([spot[0], spot[1], 0.0]), facing)
    return Passage(model, places)


def _build(rng: Random, kind: str, width: float, bottom: float, top: float) -> Model:
    """Return the occluder. `width`, `bottom` and `top` (metres) bound the subject at the
    occluder's distance."""
    model = Model()
    tall = max(top * 1.25, 0.4)
    if kind == "pole":
        radius = width * rng.uniform(0.06, 0.22)
        model.bar("pole", (0, 0, 0), (0, 0, tall * 1.6), radius, sides=14)
        model.bar(
            "band", (0, 0, bottom), (0, 0, bottom + (top - bottom) * 0.15), radius * 1.03, sides=14
        )
    elif kind == "board":
        w = width * 1.12
        low = max(bottom - 0.1 * (top - bottom), 0.03)
        high = top + 0.08 * (top - bottom)
        model.box("board", (0, 0, (low + high) / 2), (w, 0.03, high - low))
        model.box("print", (0, 0, (low + high) / 2), (w * 0.7, 0.034, (high - low) * 0.6))
        for s in (-1, 1):
            model.bar("legs", (s * w * 0.4, 0.03, high), (s * w * 0.4, 0.03, 0), 0.012, sides=6)
    elif kind == "hanging plant":
        z = (top + bottom) / 2
        size = (top - bottom) * rng.uniform(0.2, 0.35)
        model.lathe("pot", [(size * 0.3, z), (size * 0.45, z + size * 0.5), (1e-5, z + size * 0.5)])
        for i in range(3):
            a = 2.1 * i
            model.bar(
                "cord",
                (size * 0.4 * math.cos(a), size * 0.4 * math.sin(a), z + size * 0.5),
                (0, 0, z + size * 4),
                size * 0.015,
                sides=5,
            )
        for i in range(16):
            with model.placed(rotation("z", 2.4 * i), (0, 0, z + size * 0.5)):
                drop, out = rng.uniform(-0.9, 0.5) * size, rng.uniform(0.5, 0.9) * size
                leaf = size * 0.12
                model.tube(
                    "leaves",
                    [(0, 0, 0), (out * 0.6, 0, size * 0.25), (out, 0, drop)],
                    [leaf * 0.3, leaf, leaf * 0.2],
                    sides=5,
                )
    elif kind == "ladder":
        model = KINDS["ladder"](rng)
        _scale_to(model, tall * 1.1)
    else:
        model = KINDS["figure"](rng)
        model.transform(rotation("z", rng.choice([0.0, math.pi])))
        _scale_to(model, max(tall * 1.15, top + 0.25))
        if kind == "porter":
            low, high = bottom + 0.16 * (top - bottom), top - 0.02 * (top - bottom)
            middle = (low + high) / 2
            model.box("parcel", (0, -0.22, middle), (width, 0.25, high - low), bevel=0.01)
            model.box("tape", (0, -0.22, middle), (width * 0.1, 0.256, high - low + 0.006), 0.003)
    return model


def _scale_to(model: Model, height: float) -> None:
    low, high = model.bounds()
    model.transform(np.eye(3) * (height / float(high[2] - low[2])))
