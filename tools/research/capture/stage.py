# SPDX-License-Identifier: GPL-3.0-or-later
"""One whole scene, drawn from a kind and a seed. It does not depend on the renderer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from .finishes import draw_finish
from .grounds import WALL_CLEARANCE, surroundings
from .identity import FIRST_DISTRACTOR, OCCLUDER, SUBJECT
from .lights import Weather
from .mesh import Array, Model
from .occluders import Passage, plan_passage
from .orbit import plan_orbit
from .scene import Item
from .subjects import KINDS, build_subject


@dataclass(frozen=True)
class StagePlan:
    """The settings of a scene.

    Attributes
    ----------
    kind, seed
        The subject's kind, and the seed of everything.
    size
        Width and height of the pictures in px.
    frames
        Number of frames.
    sweep
        The orbit's whole angle in radians. None is a full circle.
    indoors, occluder
        A room or open air; the occluder that passes, ``""`` for none. None draws from the seed.
    """

    kind: str
    seed: int
    size: tuple[int, int]
    frames: int
    sweep: float | None = None
    indoors: bool | None = None
    occluder: str | None = None


class Stage:
    """A scene: its things, and camera, light and occluder on each frame.

    Attributes
    ----------
    items
        Everything but the occluder. The subject is the first.
    poses
        The camera of each frame.
    weather
        The light of each frame.
    distractors
        Their kinds. The first has id 2.
    """

    def __init__(self, plan: StagePlan) -> None:
        self.plan = plan
        self.subject = build_subject(plan.kind, self._stream("subject"))
        points = np.array(self.subject.vertices)  # (N, 3), metres
        sweep = 2 * math.pi if plan.sweep is None else plan.sweep
        self.poses = plan_orbit(self._stream("orbit"), points, plan.size, plan.frames, sweep)
        ways = np.array([pose.position for pose in self.poses])
        distances = np.hypot(ways[:, 0], ways[:, 1])
        rng = self._stream("surroundings")
        indoors = rng.random() < 0.6
        indoors = indoors if plan.indoors is None else plan.indoors
        self.weather = Weather(self._stream("light"), indoors)
        self.items = [self._painted("Subject", self.subject, SUBJECT)]
        self.distractors: list[str] = []
        self._add_distractors(self._stream("distractors"), distances)
        self.items += surroundings(rng, float(distances.max()), indoors)
        self._occluder: Item | None = None
        self._passage = self._plan_occluder(points)
        if self._passage is not None:
            self._occluder = self._painted("Occluder", self._passage.model, OCCLUDER)

    @property
    def has_occluder(self) -> bool:
        """Whether an occluder passes on any frame."""
        return self._occluder is not None

    def occluder(self, index: int) -> Item | None:
        """Return the occluder at its place on a frame, or None if it is not there."""
        if self._occluder is None or self._passage is None or index not in self._passage.places:
            return None
        at, turn = self._passage.places[index]
        return replace(self._occluder, at=(float(at[0]), float(at[1]), float(at[2])), turn=turn)

    def progress(self, index: int) -> float:
        """Return how far through the capture a frame is, 0 to 1."""
        return index / self.plan.frames

    def _stream(self, part: str) -> Random:
        """Return the random numbers of one part. So a change to one part leaves the others the same."""
        return Random(f"{self.plan.kind}/{self.plan.seed}/{part}")

    def _painted(self, name: str, model: Model, instance: int) -> Item:
        rng = self._stream(f"paint {name}")
        return Item(name, model, instance, {role: draw_finish(rng) for role in model.roles})

    def _add_distractors(self, rng: Random, distances: Array) -> None:
        """Place up to four other things outside the cameras' way."""
        taken = [(0.0, 0.0, self.subject.radius())]
        height = float(self.subject.bounds()[1][2])
        inner, outer = float(distances.min()) * 0.72, float(distances.max())
        wanted = rng.randint(2, 4)
        for number in range(4 * wanted):  # some don't find a place
            if len(self.distractors) == wanted:
                break
            kind = self.plan.kind if rng.random() < 0.2 else rng.choice(list(KINDS))
            model = build_subject(kind, rng)
            factor = height * rng.uniform(0.35, 1.1) / float(model.bounds()[1][2])
            model.transform(np.eye(3) * factor)
            spot = _free_spot(rng, taken, model.radius(), inner, outer)
            if spot is None:
                continue
            taken.append((*spot, model.radius()))
            item = self._painted(
                f"Distractor {number}", model, FIRST_DISTRACTOR + len(self.distractors)
            )
            turn = rng.uniform(-math.pi, math.pi)
            self.items.append(replace(item, at=(*spot, 0.0), turn=turn))
            self.distractors.append(kind)

    def _plan_occluder(self, points: Array) -> Passage | None:
        rng = self._stream("occluder")
        kind = self.plan.occluder
        if kind == "" or self.plan.frames < 4:
            return None
        if kind is None and self.plan.frames < 24 and rng.random() < 0.45:
            return None
        return plan_passage(rng, self.poses, points, kind)


def _free_spot(
    rng: Random, taken: list[tuple[float, float, float]], radius: float, inner: float, outer: float
) -> tuple[float, float] | None:
    """Return a place for a thing of `radius` that touches none of `taken` (x, y, radius).

    It lies within `inner` of the middle, or between `outer` and a wall. The cameras pass between
    these.
    """
    nearest = taken[0][2] + radius + 0.03
    for _ in range(40):
        turn = rng.uniform(-math.pi, math.pi)
        if rng.random() < 0.7:
            away = rng.uniform(nearest, max(inner, nearest + 0.07))
            if away + radius >= inner:
                continue
        else:
            away = rng.uniform(outer + 0.3 + radius, outer + 0.8 + radius)
            if away + radius >= outer + WALL_CLEARANCE - 0.4:  # room for a sideboard at the wall
                continue
        x, y = away * math.cos(turn), away * math.sin(turn)
        if all(math.hypot(x - a, y - b) > r + radius for a, b, r in taken):
            return x, y
    return None
