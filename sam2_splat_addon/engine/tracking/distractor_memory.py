# SPDX-License-Identifier: GPL-3.0-or-later
"""A memory without doubtful frames, and a rule for when the object is absent.

SAM 2 remembers every frame it tracks, even the wrong ones. Where the object is hidden, it may take
a look-alike for the object, remember it, and stay with it.

We choose the frames to remember by the same measures as DAM4SAM (Videnovic, Lukezic and Kristan, "A
Distractor-Aware Memory for Visual Object Tracking with SAM2", CVPR 2025). These are the model's own
estimate of the mask, and the mask's size compared with earlier frames. The thresholds are ours. The
rule for an absent object is ours too: a frame far below the thresholds counts as one without the
object.

The frames that were accepted stand in memory as if they followed one another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

import torch
from torch import Tensor

from .memory_bank import FrameMemory, FrameQuality, MemoryBank, MemoryReach
from .sam2_adapter import Prediction

SEEN: Final = 7
"""The next frame is compared with this many last frames where the object was seen."""

ABSENT_SCORE: Final = 0.4
"""If a score is below this part of the median, the object counts as absent.

Objects with a quarter still visible had 0.43 or more. Mattes of something else had 0.38 or less. A
low estimate of the mask says less: it also comes with objects that look like their surroundings.
"""

FIT_SCORE: Final = 0.75
FIT_IOU: Final = 0.7
FIT_AREA: Final = 1.7
"""A frame is remembered if its values reach these parts of the medians. The area must also not
be below the inverse of ``FIT_AREA``."""

_NO_OBJECT: Final = -1024.0  # sam2's NO_OBJ_SCORE
_ABSENT: Final = -1.0  # the object score of a frame that was rejected


class GuardedBank(MemoryBank):
    """The memories of one object in one pass, without doubtful frames.

    Parameters
    ----------
    reach, position, conditioning
        As in `MemoryBank`.
    reverse
        Whether the pass goes backwards.
    """

    def __init__(
        self,
        reach: MemoryReach,
        position: Tensor,
        conditioning: Mapping[int, FrameMemory],
        *,
        reverse: bool,
    ) -> None:
        super().__init__(reach, position, conditioning)
        self._step = 1 if reverse else -1

    def judge(self, prediction: Prediction) -> tuple[Prediction, bool]:
        """Judge a tracked frame. If the object is seen there, later frames are compared with it too.

        Returns
        -------
        tuple
            The prediction, or one that says the object is absent; and whether to remember it.
        """
        now = FrameQuality(
            float(prediction.object_score),
            prediction.predicted_iou,
            float((prediction.logits > 0).float().mean()),
        )
        if now.score <= 0 or now.area == 0:
            return prediction, False
        fit = True
        if self.qualities:
            score = now.score / median(entry.score for entry in self.qualities)
            iou = now.iou / max(median(entry.iou for entry in self.qualities), 1e-6)
            area = now.area / median(entry.area for entry in self.qualities)
            if score < ABSENT_SCORE:
                return _absent(prediction), False
            fit = score >= FIT_SCORE and iou >= FIT_IOU and 1 / FIT_AREA <= area <= FIT_AREA
        self.qualities = (*self.qualities, now)[-SEEN:]
        return prediction, fit

    def add(self, index: int, memory: FrameMemory) -> None:
        """Remember a tracked frame, and forget the oldest that no later frame can reach."""
        self._recent[index] = memory
        reach = self._reach
        newest = list(self._recent.items())[-max(reach.features, reach.pointers) :]
        far = len(newest) - reach.features
        self._recent = {
            at: FrameMemory(None, entry.pointer) if place < far else entry
            for place, (at, entry) in enumerate(newest)
        }

    def _tracked(self, index: int, left_out: Iterable[int]) -> Mapping[int, FrameMemory]:
        """Return the remembered frames as if they came directly before this one."""
        newest_first = reversed(self._recent.values())
        return {
            index + self._step * away: entry for away, entry in enumerate(newest_first, start=1)
        }


def _absent(prediction: Prediction) -> Prediction:
    """Return what the model gives on a frame where it does not see the object."""
    return dataclasses.replace(
        prediction,
        logits=torch.full_like(prediction.logits, _NO_OBJECT),
        logits_at_input=torch.full_like(prediction.logits_at_input, _NO_OBJECT),
        object_score=torch.full_like(prediction.object_score, _ABSENT),
    )
