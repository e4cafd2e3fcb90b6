# SPDX-License-Identifier: GPL-3.0-or-later
"""A memory that doubtful frames don't enter, and the guess that an object is absent; torch, sam2.

SAM 2 remembers every frame it tracks, the ones that it got wrong too. Where the object is hidden
it may take a look-alike for it, remember that, and stay with it. Which frames are fit to be
remembered is judged here by what DAM4SAM judges it by (Videnovic, Lukezic and Kristan, "A
Distractor-Aware Memory for Visual Object Tracking with SAM2", CVPR 2025): the model's own estimate
of the mask and its size beside those of the frames before. The thresholds are ours, and so is that
a frame far below them is taken for one without the object.

The frames that were let in stand in memory as if they had followed one another.
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
"""Frames on which the object was seen last, which the next one is measured by."""

ABSENT_SCORE: Final = 0.4
"""Part of the median score below which a frame is taken for one without the object.

Objects of which a quarter was left were seen down to 0.43, mattes of something else came with 0.38
at most. A low estimate, alone or with a score that is somewhat low, says less: it also comes with
an object that is hard to tell from its surroundings.
"""

FIT_SCORE: Final = 0.75
FIT_IOU: Final = 0.7
FIT_AREA: Final = 1.7
"""Parts of the medians from which on a frame is fit to be remembered; the area also not below its
inverse."""

_NO_OBJECT: Final = -1024.0  # sam2's NO_OBJ_SCORE
_ABSENT: Final = -1.0  # the object score of a frame that was turned down


class GuardedBank(MemoryBank):
    """The memories of one object in one pass, doubtful frames left out.

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
        """Judge a tracked frame, and measure the next ones by it if the object is seen there.

        Returns
        -------
        tuple
            The prediction, or that the object is absent, and whether to remember it.
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
        """The remembered frames, right before this one."""
        newest_first = reversed(self._recent.values())
        return {
            index + self._step * away: entry for away, entry in enumerate(newest_first, start=1)
        }


def _absent(prediction: Prediction) -> Prediction:
    """What the model gives of a frame on which it does not see the object."""
    return dataclasses.replace(
        prediction,
        logits=torch.full_like(prediction.logits, _NO_OBJECT),
        logits_at_input=torch.full_like(prediction.logits_at_input, _NO_OBJECT),
        object_score=torch.full_like(prediction.object_score, _ABSENT),
    )
