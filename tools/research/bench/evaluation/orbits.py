# SPDX-License-Identifier: GPL-3.0-or-later
"""Render, once, the captures on which models are measured.

Their seeds start at `FIRST_SEED`. All training uses seeds of 1000 and more, so no training has seen
these shapes or rooms. Every kind takes part except the chair, because the sample is a chair.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from tools.research.capture.capture import make_capture, plain_layout
from tools.research.capture.mesh import Array, Model
from tools.research.capture.occluders import Passage
from tools.research.capture.orbit import Pose
from tools.research.capture.quick import QuickRenderer
from tools.research.capture.stage import Stage, StagePlan
from tools.research.capture.subjects import KINDS

FIRST_SEED: Final = 700
STEP: Final = math.radians(8.0)  # from photo to photo: 45 photos for a full circle
HIDDEN_FRAMES: Final = 5

_SHARE: Final = 0.5  # place of the screen on the way from the camera to the subject, 0 to 1
_LARGE: Final = 4000  # px of the longer side; from this size on each pixel gets one sample
_MARGIN: Final = 0.06  # the screen is larger on each side by this part of the subject's size


def orbit_plans(count: int, frames: int, size: tuple[int, int]) -> tuple[StagePlan, ...]:
    """What each orbit shows: kinds evenly spread, without the chair.

    Parameters
    ----------
    count
        Number of orbits.
    frames
        Photos of each.
    size
        Width and height of the photos, px.
    """
    kinds = [kind for kind in KINDS if kind != "chair"]
    plans = []
    for number in range(count):
        kind = kinds[number * len(kinds) // count if count < len(kinds) else number % len(kinds)]
        sweep = STEP * frames * (-1 if number % 2 else 1)
        plans.append(StagePlan(kind, FIRST_SEED + number, size, frames, sweep, occluder=""))
    return tuple(plans)


def hidden_range(frames: int) -> range:
    """Return the indices of the frames on which the subject is wholly hidden. The first is 0."""
    first = (frames - HIDDEN_FRAMES) // 2 + 1
    return range(first, first + HIDDEN_FRAMES)


def rendered_orbit(plan: StagePlan, root: Path, report: Callable[[str], None]) -> Path:
    """Return the folder of an orbit under ``root``. It is rendered now if it is not there yet.

    A folder gets its name when it is complete. `tools.research.capture.train_set` explains its
    files.
    """
    return rendered_stage(Stage, plan, root, report)


def hidden_orbit(plan: StagePlan, root: Path, report: Callable[[str], None]) -> Path:
    """The same orbit with a screen that comes in, hides the subject for five frames, and leaves."""
    clear = rendered_orbit(plan, root, report)
    return rendered_stage(HiddenStage, plan, root, report, suffix="_hidden", clear=clear)


def rendered_stage(
    stage: type[Stage],
    plan: StagePlan,
    root: Path,
    report: Callable[[str], None],
    *,
    suffix: str = "",
    clear: Path | None = None,
) -> Path:
    """Return the folder of any kind of stage of a plan. It is rendered now if it is not there yet.

    Parameters
    ----------
    stage, plan
        The kind of stage, and its plan.
    root
        Where the folder lies.
    report
        Gets a line for each photo.
    suffix
        Added to the folder's name, different for each kind of stage.
    clear
        The folder of the same stage without occluder. Its photos are used for frames without the
        occluder.
    """
    target = root / f"{_name(plan)}{suffix}"
    if not target.exists():
        _render(stage(plan), target, clear, report)
    return target


def _name(plan: StagePlan) -> str:
    return f"{plan.kind}_{plan.seed}_{plan.size[0]}x{plan.size[1]}_{plan.frames}"


def _render(stage: Stage, target: Path, clear: Path | None, report: Callable[[str], None]) -> None:
    """Render into a temporary folder. Frames without the screen are taken from ``clear`` if it has them."""
    part = target.parent / "part" / target.name
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    # Large photos are fine enough without oversampling, and four times the pixels would not fit.
    looks = 1 if max(stage.plan.size) > _LARGE else 2
    layout = plain_layout(stage.plan.frames, looks=looks)
    if clear is not None:
        for index, name in enumerate(layout.names):
            if stage.occluder(index) is None:
                for file in (name, f"{Path(name).stem}.png"):
                    shutil.copyfile(clear / file, part / file)
    make_capture(
        stage,
        lambda wanted: QuickRenderer(wanted, looks),
        layout,
        part,
        resume=True,
        report=lambda line: report(f"{target.name} {line}"),
    )
    os.replace(part, target)


class HiddenStage(Stage):
    """A stage with a screen in front for some frames. Everything else is the same."""

    def _plan_occluder(self, points: Array) -> Passage:
        return _screen_passage(
            self._stream("screen"), self.poses, points, hidden_range(self.plan.frames)
        )


def _screen_passage(rng: Random, poses: list[Pose], points: Array, hidden: range) -> Passage:
    """Return a screen just large enough for the subject (``points``, (N, 3) m) on all hidden frames.

    On the frame before and the frame after, it stands half aside.
    """
    shown = np.concatenate([_on_screen(pose, points) for pose in (poses[i] for i in hidden)])
    (left, low), (right, high) = shown.min(axis=0), shown.max(axis=0)
    width, height = float(right - left), float(high - low)
    bottom, top = max(low - _MARGIN * height, 0.01), high + _MARGIN * height
    wide = width * (1 + 2 * _MARGIN)
    model = Model()
    model.box("board", (0, 0, (bottom + top) / 2), (wide, 0.03, top - bottom))
    model.box("print", (0, 0, (bottom + top) / 2), (wide * 0.6, 0.034, (top - bottom) * 0.5))
    for side in (-1, 1):
        model.bar("legs", (side * wide * 0.4, 0.03, top), (side * wide * 0.4, 0.03, 0), 0.012)
    comes_from = rng.choice([-1, 1])
    places: dict[int, tuple[Array, float]] = {}
    for index in range(hidden.start - 1, hidden.stop + 1):
        aside = (left + right) / 2
        if index not in hidden:
            aside += width / 2 * (comes_from if index < hidden.start else -comes_from)
        pose = poses[index]
        forward, across = _bearing(pose)
        distance = float(np.hypot(*pose.position[:2])) * _SHARE
        spot = pose.position + forward * distance + across * aside
        facing = math.atan2(pose.position[1], pose.position[0]) + math.pi / 2
        places[index] = (np.array([spot[0], spot[1], 0.0]), facing)
    return Passage(model, places)


def _on_screen(pose: Pose, points: Array) -> Array:
    """Return where the subject's points appear on the screen: (N, 2), metres aside and above the ground."""
    forward, across = _bearing(pose)
    rays = points - pose.position  # (N, 3)
    reach = float(np.hypot(*pose.position[:2])) * _SHARE / (rays @ forward)  # (N,)
    return np.stack([rays @ across * reach, pose.position[2] + rays[:, 2] * reach], axis=1)


def _bearing(pose: Pose) -> tuple[Array, Array]:
    """Return level unit vectors from the camera to the subject's foot, and to its right."""
    x, y = pose.position[:2] / np.hypot(*pose.position[:2])
    return np.array([-x, -y, 0.0]), np.array([-y, x, 0.0])
