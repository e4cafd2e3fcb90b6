# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures with things that look like the subject.

Three things of the subject's own kind and colours stand nearby, one of them its twin. From photo to
photo they pass in front of it and behind it. This confuses a tracker most.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from tools.research.bench.evaluation import orbits
from tools.research.capture.identity import FIRST_DISTRACTOR
from tools.research.capture.mesh import Array
from tools.research.capture.stage import Stage, StagePlan
from tools.research.capture.subjects import build_subject

FIRST_SEED: Final = 740
"""Above the seeds of the plain orbits, below those of all training."""

KINDS: Final = ("office_chair", "stool", "lamp", "plant", "basket", "statue", "sign", "bench")
COUNT: Final = 3


def plans(count: int, frames: int, size: tuple[int, int]) -> tuple[StagePlan, ...]:
    """What each capture shows: kinds in turn, seeds rising, every other orbit in the other direction.

    Parameters
    ----------
    count
        Number of captures.
    frames
        Photos of each.
    size
        Width and height of the photos, px.
    """
    return tuple(
        StagePlan(
            KINDS[number % len(KINDS)],
            FIRST_SEED + number,
            size,
            frames,
            orbits.STEP * frames * (-1 if number % 2 else 1),
            occluder="",
        )
        for number in range(count)
    )


def rendered(plan: StagePlan, root: Path, report: Callable[[str], None]) -> Path:
    """Return the folder of a capture under ``root``. It is rendered now if it is not there yet."""
    return orbits.rendered_stage(AmongLookalikes, plan, root, report, suffix="_alike")


def rendered_hidden(plan: StagePlan, root: Path, report: Callable[[str], None]) -> Path:
    """The same, with a screen that hides the subject for five frames, but not its look-alikes."""
    clear = rendered(plan, root, report)
    return orbits.rendered_stage(
        HiddenAmongLookalikes, plan, root, report, suffix="_alike_hidden", clear=clear
    )


class AmongLookalikes(Stage):
    """A stage whose other things are like the subject."""

    def _add_distractors(self, rng: Random, distances: Array) -> None:
        height = float(self.subject.bounds()[1][2])
        radius = self.subject.radius()
        first = rng.uniform(-math.pi, math.pi)
        for number in range(COUNT):
            model = build_subject(self.plan.kind, self._stream("subject") if number == 0 else rng)
            factor = height * (1.0 if number == 0 else rng.uniform(0.85, 1.1))
            model.transform(np.eye(3) * (factor / float(model.bounds()[1][2])))
            away = radius + model.radius() + rng.uniform(0.05, 0.3) * radius
            # Outside the cameras' way, even if their circle is small.
            away = min(away, float(distances.min()) * 0.8 - model.radius())
            turn = first + number * math.tau / COUNT + rng.uniform(-0.3, 0.3)
            spot = (away * math.cos(turn), away * math.sin(turn), 0.0)
            item = self._painted(f"Distractor {number}", model, FIRST_DISTRACTOR + number)
            own = self.items[0].finishes  # the subject's
            finishes = {role: own.get(role, finish) for role, finish in item.finishes.items()}
            facing = rng.uniform(-math.pi, math.pi)
            self.items.append(replace(item, finishes=finishes, at=spot, turn=facing))
            self.distractors.append(self.plan.kind)


class HiddenAmongLookalikes(AmongLookalikes, orbits.HiddenStage):
    """The same, and a screen that hides the subject for a while."""
