# SPDX-License-Identifier: GPL-3.0-or-later
"""What a session returns: one object on one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.mattes.store import MatteScores
from .panorama import View, as_photo
from .plan import Direction, Step
from .sam2_adapter import Prediction
from .unsure_parts import without_unsure_parts

_HALF_MAX: Final = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class FrameResult:
    """One object on one frame. Frames count from 1.

    Attributes
    ----------
    logits
        (h, w) float32, inside is > 0. A side is a quarter of the model's input. In a panorama's
        near view, w is twice as wide.
    scores
        The model's own scores.
    prompted
        Whether the user prompted this object on this frame.
    direction
        The pass that tracked it. None on a conditioning frame.
    """

    object_id: int
    frame: int
    logits: NDArray[np.float32]
    scores: MatteScores
    prompted: bool
    direction: Direction | None = None

    @property
    def step(self) -> Step | None:
        """The frame together with its pass. None on a conditioning frame."""
        return None if self.direction is None else Step(self.direction, self.frame)

    def half_logits(self) -> NDArray[np.float16]:
        """Return the logits as the store keeps them: (h, w) float16, clipped to what float16 holds."""
        return np.clip(self.logits, -_HALF_MAX, _HALF_MAX).astype(np.float16)


def frame_result(
    object_id: int,
    frame: int,
    prediction: Prediction,
    *,
    prompted: bool,
    view: View,
    leaves_crumbs: bool = False,
) -> FrameResult:
    """Turn a prediction that was made in this view into a result.

    If the model ``leaves_crumbs``, small parts that it is unsure of are removed (`unsure_parts`).
    """
    seen = prediction.logits[0, 0].to(torch.float32).cpu().numpy()  # (h, w)
    logits = as_photo(without_unsure_parts(seen) if leaves_crumbs else seen, view)
    scores = MatteScores(
        object_score=float(prediction.object_score),
        predicted_iou=prediction.predicted_iou,
        area=float((logits > 0).mean()),
    )
    return FrameResult(object_id, frame, logits, scores, prompted)
