# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of mattes: equal keys mean equal bytes.

The key of a conditioning frame is made from its own prompts. The key of a tracked frame is made
from:

- the key of the frame tracked before it with the same memory;
- the keys of the conditioning and refined frames that it attends to;
- its corrections.

So a changed prompt changes exactly the keys that it reaches. For this, conditioning frames out of
reach must be left out: see `_ShownFrames`. The key of a frame tracked from both sides is made from
the keys of both sides.
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
"""Frames. No model's memory of tracked frames reaches further.

A conditioning frame beyond the limit counts as a tracked frame (see `memory_bank.MemoryBank`). So
it has an effect only within this distance.
"""

_DIGITS: Final = 32  # of 64: enough that no two meet by chance


@dataclass(frozen=True)
class MatteKeys:
    """The keys of one object.

    Attributes
    ----------
    mattes
        Frame -> key of the matte in the store, for all frames of the plan, tracked or conditioning.
    steps
        Step -> key of what a pass gives on a frame, and of the memories that it then has.
    """

    mattes: Mapping[int, str]
    steps: Mapping[Step, str]


def matte_keys(plan: ObjectPlan, run_key: str) -> MatteKeys:
    """Return the keys of every frame of the plan.

    Parameters
    ----------
    plan
        The plan of one object.
    run_key
        The key of everything that all mattes of a run share
        (`core.mattes.run_manifest.RunManifest.key`).
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
    """The prompted frames of a segment, found by distance: there may be thousands."""

    def __init__(self) -> None:
        self._keys: dict[int, str] = {}
        self._places: dict[int, int] = {}  # order of adding: sam2 decides ties by it
        self._rising: list[int] = []

    def add(self, frame: int, key: str) -> None:
        """Add a frame, or give it a new key."""
        if frame not in self._keys:
            self._places[frame] = len(self._places)
            insort(self._rising, frame)
        self._keys[frame] = key

    def shown(self, frame: int) -> list[str]:
        """Return the keys of the frames that attention can reach from this frame."""
        around = {at: self._keys[at] for at in self._around(frame)}
        selected, others = select_closest_cond_frames(frame, around, MAX_CONDITIONING)
        near = {at: key for at, key in others.items() if abs(at - frame) <= NEAR}
        return [*selected.values(), "near", *near.values()]

    def _around(self, frame: int) -> list[int]:
        """Return enough frames for the same choice as among all, in the order of adding."""
        here = bisect_left(self._rising, frame)
        start = min(here - MAX_CONDITIONING - 1, bisect_left(self._rising, frame - NEAR))
        stop = max(here + MAX_CONDITIONING + 1, bisect_right(self._rising, frame + NEAR))
        return sorted(self._rising[max(start, 0) : stop], key=self._places.__getitem__)


def _hash(*parts: str) -> str:
    """Hash the parts in their order. The encoding keeps the parts apart."""
    data = msgspec.json.encode(parts)
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
