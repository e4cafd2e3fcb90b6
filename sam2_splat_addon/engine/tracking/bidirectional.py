# SPDX-License-Identifier: GPL-3.0-or-later
"""One matte of two: a frame tracked from both sides; imports core, numpy and its siblings.

Of two passes that come to a frame from either side, one may have lost the object or gone over to
something else on its way. Which one to believe is told frame by frame, by the model's own estimate
of its mask. Averages of the two were no better than the better one, on rendered orbits, and neither
was a preference for the nearer prompted frame.

What each side gave is kept, so that a change that reaches one of them alone costs no more than that.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec.structs import replace

from ...core.errors import StoreError
from ...core.mattes.store import Logits, MatteRecord, MatteStore
from .cache_keys import MatteKeys
from .plan import DIRECTIONS, Direction, ObjectPlan, Step

ABSENT_ESTIMATE: Final = 0.8
"""The estimate that a pass which does not see the object counts with.

Where one pass sees nothing and the other something, it is mostly something else: those came with
estimates up to 0.78, and nine of ten good mattes with more than 0.8.
"""


def better(forward: MatteRecord, backward: MatteRecord, key: str) -> MatteRecord:
    """The better of what two passes give one object on one frame.

    Parameters
    ----------
    forward, backward
        Of one object, frame and size.
    key
        Of the result.

    Returns
    -------
    MatteRecord
        One of them as it is, the forward one if in doubt, with their agreement and the key.
    """
    chosen = forward if _estimate(forward) >= _estimate(backward) else backward
    agreement = overlap(forward.logits, backward.logits)
    return replace(chosen, scores=replace(chosen.scores, agreement=agreement), key=key)


def overlap(one: Logits, other: Logits) -> float:
    """The IoU of two mattes, (h, w) each; 1 when both are empty."""
    union = int(((one > 0) | (other > 0)).sum())
    return int(((one > 0) & (other > 0)).sum()) / union if union else 1.0


class Sides:
    """What each side gave the frames of one object that are tracked from both.

    Parameters
    ----------
    plan, keys
        Of the object.
    store
        The mattes. A frame that has been reached from one side alone shows what that gave.
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
        """What a side gave, if it is known under the key of now; a damaged file is none."""
        at, key = (self._plan.object_id, step.frame), self._keys.steps[step]
        for store in (self._kept[step.direction], self._store):
            if store.key(*at) == key:
                try:
                    return store.read(*at)
                except StoreError:
                    continue
        return None

    def settled(self, step: Step, record: MatteRecord) -> MatteRecord:
        """What the store gets when a side has given this: the better of both, or the only one.

        Raises StoreError when the sides can't be kept.
        """
        other = self.find(step.other_side)
        if other is None:
            return record
        for side, given in ((step, record), (step.other_side, other)):
            self._kept[side.direction].write(given)
        forward, backward = (record, other) if step.direction == "forward" else (other, record)
        return better(forward, backward, self._keys.mattes[step.frame])

    def sweep(self) -> None:
        """Forget what stands under another key than now; raises StoreError."""
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
