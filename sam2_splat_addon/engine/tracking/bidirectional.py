# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose one matte of two, for a frame that was tracked from both sides.

Two passes reach such a frame, one from each side. One of them may have lost the object, or may
follow something else. On each frame we believe the pass whose mask has the better estimate by the
model. We also tried the average of both, and the pass with the nearer prompted frame. On rendered
orbits neither was better.

The results of both sides are kept. So a change that reaches only one side recomputes only that
side.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ...core.errors import StoreError
from ...core.mattes.store import Logits, MatteRecord, MatteStore
from .cache_keys import MatteKeys
from .plan import DIRECTIONS, Direction, ObjectPlan, Step

ABSENT_ESTIMATE: Final = 0.8
"""The estimate that counts for a pass that does not see the object.

Sometimes one pass sees nothing and the other sees something. Then it is mostly something else: its
estimates went up to 0.78. Nine of ten good mattes had more than 0.8.
"""


def better(forward: MatteRecord, backward: MatteRecord, key: str) -> MatteRecord:
    """Return the better of the results that two passes give for one object on one frame.

    Parameters
    ----------
    forward, backward
        Records of the same object, frame and size.
    key
        The key of the result.

    Returns
    -------
    MatteRecord
        One of the two, with the agreement of both and the key. The forward one if they are equal.
    """
    chosen = forward if _estimate(forward) >= _estimate(backward) else backward
    agreement = overlap(forward.logits, backward.logits)
    return replace(chosen, scores=replace(chosen.scores, agreement=agreement), key=key)


def overlap(one: Logits, other: Logits) -> float:
    """Return the IoU of two mattes of one photo, (h, w) each. It is 1 when both are empty.

    One may have a finer grid: only larger subjects are looked at in parts.
    """
    grid = max(one.shape, other.shape)
    first, second = _inside(one, grid), _inside(other, grid)
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0


def _inside(logits: Logits, grid: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return what lies inside, on a grid of that many rows and columns."""
    if logits.shape == grid:
        return logits > 0
    finer = cv2.resize(logits.astype(np.float32), (grid[1], grid[0]))
    return np.asarray(finer) > 0


class Sides:
    """The results of each side, for the frames of one object that are tracked from both sides.

    Parameters
    ----------
    plan, keys
        The plan and the keys of the object.
    store
        The mattes. If only one side has reached a frame, the store holds that side's result.
    """

    def __init__(self, plan: ObjectPlan, keys: MatteKeys, store: MatteStore) -> None:
        self._plan = plan
        self._keys = keys
        self._store = store
        folder = store.state_folder(plan.object_id) / "sides"
        self._kept: dict[Direction, MatteStore] = {
            direction: MatteStore(folder / direction, within=store.folder)
            for direction in DIRECTIONS
        }

    def find(self, step: Step) -> MatteRecord | None:
        """Return what a side gave, if its key is still valid. A damaged file counts as missing."""
        at, key = (self._plan.object_id, step.frame), self._keys.steps[step]
        for store in (self._kept[step.direction], self._store):
            if store.key(*at) == key:
                try:
                    return store.read(*at)
                except StoreError:
                    continue
        return None

    def settled(self, step: Step, record: MatteRecord) -> MatteRecord:
        """Return the record for the store: the better of both sides, or the only one.

        Parameters
        ----------
        step
            The frame and the side that gave the record.
        record
            What this side gave.

        Raises
        ------
        StoreError
            The results of the sides can't be written.
        """
        other = self.find(step.other_side)
        if other is None:
            return record
        for side, given in ((step, record), (step.other_side, other)):
            self._kept[side.direction].write(given)
        forward, backward = (record, other) if step.direction == "forward" else (other, record)
        return better(forward, backward, self._keys.mattes[step.frame])

    def sweep(self) -> None:
        """Remove results whose key is no longer valid; raises StoreError."""
        for direction, kept in self._kept.items():
            frames = kept.frames(self._plan.object_id)
            old = {
                frame
                for frame in frames
                if frame not in self._plan.twice
                or kept.key(self._plan.object_id, frame) != self._keys.steps[Step(direction, frame)]
            }
            kept.remove(self._plan.object_id, old)


def _estimate(record: MatteRecord) -> float:
    absent = record.scores.object_score <= 0 or not np.any(record.logits > 0)
    return ABSENT_ESTIMATE if absent else record.scores.predicted_iou
