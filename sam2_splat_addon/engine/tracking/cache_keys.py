# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of mattes: equal keys, equal bytes; imports core, sam2.

The key of a conditioning frame is made of its own prompts. That of a tracked frame is made of the
key of the frame tracked before it with the same memory, and of what else it is shown: conditioning
and refined frames (by their keys) and corrections. So a changed prompt changes exactly the keys that it
reaches, as long as conditioning frames out of reach are left out: see `_ShownFrames`. The key of a
frame that is tracked from both sides is made of those that each side gives it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from sam2.modeling.sam2_utils import select_closest_cond_frames

from .plan import DIRECTIONS, ObjectPlan, Step
from .session import MAX_CONDITIONING

NEAR: Final = 32
"""Frames; no model's memory reaches further over tracked frames.

A conditioning frame beyond the limit counts as a tracked one (see `memory_bank.MemoryBank`), and so
shows only when it is as near as that.
"""

_DIGITS: Final = 32  # of 64: enough that no two meet by chance


@dataclass(frozen=True)
class MatteKeys:
    """The keys of one object.

    Attributes
    ----------
    mattes
        Of what is to be in the store, by frame: all frames of the plan, tracked or conditioning.
    steps
        Of what a pass gives a frame, and of the memories that it then has.
    """

    mattes: Mapping[int, str]
    steps: Mapping[Step, str]


def matte_keys(plan: ObjectPlan, run_key: str) -> MatteKeys:
    """The keys of every frame of the plan.

    Parameters
    ----------
    plan
        Of one object.
    run_key
        What decides all mattes alike (`core.manifest.RunManifest.key`).
    """
    if plan.near:
        run_key = _hash(run_key, "near")
    mattes = {
        entry.frame: _hash(run_key, "conditioning", msgspec.json.encode(entry).decode())
        for entry in plan.conditioning
    }
    steps: dict[Step, str] = {}
    for segment in plan.segments:
        before = _hash(run_key, segment.direction)
        shown = _ShownFrames()
        for at in segment.conditioning:
            shown.add(at, mattes[at])
        for frame in segment.frames:
            parts = [before, str(frame), *shown.shown(frame)]
            correction = plan.correction(frame)
            if correction is not None:
                parts.append(msgspec.json.encode(correction).decode())
            before = mattes[frame] = steps[Step(segment.direction, frame)] = _hash(*parts)
            if correction is not None:
                shown.add(frame, before)
    for frame in plan.twice:
        mattes[frame] = _hash(*(steps[Step(direction, frame)] for direction in DIRECTIONS))
    return MatteKeys(mattes, steps)


class _ShownFrames:
    """The prompted frames of a segment, found by nearness: there may be thousands of them."""

    def __init__(self) -> None:
        self._keys: dict[int, str] = {}
        self._places: dict[int, int] = {}  # in the order of adding, by which sam2 decides ties
        self._rising: list[int] = []

    def add(self, frame: int, key: str) -> None:
        """Add a frame, or give one another key."""
        if frame not in self._keys:
            self._places[frame] = len(self._places)
            insort(self._rising, frame)
        self._keys[frame] = key

    def shown(self, frame: int) -> list[str]:
        """The keys of those that attention may reach from a frame."""
        around = {at: self._keys[at] for at in self._around(frame)}
        selected, others = select_closest_cond_frames(frame, around, MAX_CONDITIONING)
        near = {at: key for at, key in others.items() if abs(at - frame) <= NEAR}
        return [*selected.values(), "near", *near.values()]

    def _around(self, frame: int) -> list[int]:
        """Those among which the choice is the same as among all, in the order of adding."""
        here = bisect_left(self._rising, frame)
        start = min(here - MAX_CONDITIONING - 1, bisect_left(self._rising, frame - NEAR))
        stop = max(here + MAX_CONDITIONING + 1, bisect_right(self._rising, frame + NEAR))
        return sorted(self._rising[max(start, 0) : stop], key=self._places.__getitem__)


def _hash(*parts: str) -> str:
    """Of the parts, in their order; none of them can run into the next."""
    data = msgspec.json.encode(parts)
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
