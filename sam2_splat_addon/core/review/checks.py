# SPDX-License-Identifier: GPL-3.0-or-later
"""What speaks against a matte: the model's own scores, and the mattes beside it; core, numpy.

Every doubt has a weight from 0 to 1, made so that `LISTED` of it alone puts the frame on the list.
Weights are mostly measured against the object's other frames, because how high a good frame scores
differs from model to model and from object to object. `tools/research/bench/review.py` measures how well the
list agrees with the truth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .measures import MatteShape, agreement

LISTED = 0.5
"""Badness from which a frame is worth a look."""

# What a doubt weighs at most, so that a frame with two grave ones is worse than one with one.
_MOST = 0.95


@dataclass(frozen=True)
class Doubt:
    """One reason to look at a frame.

    Attributes
    ----------
    weight
        0 to 1; `LISTED` alone puts the frame on the list.
    reason
        In words, without a full stop.
    short
        In a word or two, for a narrow list.
    """

    weight: float
    reason: str
    short: str


@dataclass(frozen=True)
class Usual:
    """What is usual for an object on the frames where it is seen."""

    predicted_iou: float
    object_score: float
    sureness: float
    agreement: float
    parts: float
    border: float


class MatteSequence:
    """An object's mattes, rising, and how each fits those beside it."""

    def __init__(self, shapes: Sequence[MatteShape]) -> None:
        self.shapes = shapes
        self._first_prompted = next((one.frame for one in shapes if one.prompted), 0)
        # Agreement of each matte with the next one, where that is the next frame's.
        self._with_next: list[float | None] = [
            agreement(one, other) if other.frame == one.frame + 1 else None
            for one, other in itertools.pairwise(shapes)
        ]
        self.usual = self._find_usual()

    def beside(self, at: int) -> list[tuple[MatteShape, float]]:
        """The mattes on the frames before and after, with their agreement, as far as there are."""
        found = []
        for pair, other in ((at - 1, at - 1), (at, at + 1)):
            if 0 <= pair < len(self._with_next):
                value = self._with_next[pair]
                if value is not None:
                    found.append((self.shapes[other], value))
        return found

    def best_agreement(self, at: int) -> float:
        """With the better of both neighbours; 1 without any."""
        return max((value for _, value in self.beside(at)), default=1.0)

    def origin(self, at: int) -> MatteShape | None:
        """The neighbour that the matte was propagated from, if any.

        Mattes before the first prompted frame come from the frame after, others from the one
        before; a prompted frame comes from its prompts. One of two sides may come from either: of
        these the one nearer in size, so that only what fits neither counts as a change.
        """
        shape = self.shapes[at]
        if shape.prompted:
            return None
        beside = [one for one, _ in self.beside(at)]
        if shape.scores.agreement is not None:
            seen = [one for one in beside if not one.absent] or beside
            return min(seen, key=lambda one: abs(one.area - shape.area), default=None)
        wanted = shape.frame + (1 if shape.frame < self._first_prompted else -1)
        return next((one for one in beside if one.frame == wanted), None)

    def _find_usual(self) -> Usual:
        seen = [one for one in self.shapes if not one.absent]
        if not seen:
            return Usual(1.0, 1.0, 1.0, 1.0, 1.0, 0.0)
        agreements = [value for value in self._with_next if value]
        return Usual(
            # Three quarters up: a good frame as long as a quarter of the frames are good, and not
            # one of the few prompted ones, which score higher than the others can.
            float(np.quantile([one.scores.predicted_iou for one in seen], 0.75)),
            float(np.median([one.scores.object_score for one in seen])),
            float(np.quantile([one.sureness for one in seen], 0.75)),
            float(np.median(agreements)) if agreements else 1.0,
            float(np.median([one.parts for one in seen])),
            float(np.median([one.border for one in seen])),
        )


def _ramp(value: float, none: float, full: float) -> float:
    """0 where value is at ``none`` or beyond, near 1 at ``full`` or beyond, straight between."""
    return min(_MOST, max(0.0, (value - none) / (full - none)))


def doubts_about(sequence: MatteSequence, at: int) -> list[Doubt]:
    """Everything that speaks against the matte at that place of the sequence, in no order."""
    shape, usual = sequence.shapes[at], sequence.usual
    beside = sequence.beside(at)
    if shape.absent:
        return [_absence([one for one, _ in beside]), _both_sides(shape)]
    return [
        _unsure(shape, usual),
        _unseen(shape, usual),
        _soft(shape, usual),
        _parts(shape, usual),
        _border(shape, usual),
        _size(shape, sequence.origin(at)),
        _other_shape(beside, usual),
        _both_sides(shape),
    ]


def _absence(neighbours: Sequence[MatteShape]) -> Doubt:
    beside = [one.frame for one in neighbours if not one.absent]
    if len(beside) == 2:
        return Doubt(
            0.99, f"Object lost, though frames {beside[0]} and {beside[1]} have it", "lost"
        )
    if beside:
        return Doubt(_MOST, f"Object lost, though frame {beside[0]} has it", "lost")
    return Doubt(0.6, "Object lost", "lost")


def _unsure(shape: MatteShape, usual: Usual) -> Doubt:
    # SAM 2 learns to predict the IoU itself, so it has a meaning of its own as well: a matte below
    # 0.8 deserves a look, and the prediction is a little too high where it matters.
    value = shape.scores.predicted_iou
    weight = max(_ramp(value, 0.96, 0.76), _ramp(usual.predicted_iou - value, 0.02, 0.10))
    return Doubt(weight, f"SAM 2 is unsure (predicted overlap {value:.2f})", f"unsure {value:.2f}")


def _unseen(shape: MatteShape, usual: Usual) -> Doubt:
    score = shape.scores.object_score
    weight = _ramp(score, 0.8 * max(usual.object_score, 1.0), 0.0)
    return Doubt(weight, f"SAM 2 hardly sees the object (score {score:.1f})", "hardly seen")


def _soft(shape: MatteShape, usual: Usual) -> Doubt:
    # Logits promise too much, but one model's about as much as another's: most mattes of an IoU
    # under 0.8 come with less than 0.91.
    weight = max(
        _ramp(shape.sureness, 0.96, 0.86),
        0.7 * _ramp(usual.sureness - shape.sureness, 0.04, 0.2),
    )
    return Doubt(weight, "The edge is vague", "vague edge")


def _parts(shape: MatteShape, usual: Usual) -> Doubt:
    weight = 0.5 * _ramp(shape.parts - usual.parts, 1.0, 6.0)
    return Doubt(weight, f"Falls into {shape.parts} parts", f"{shape.parts} parts")


def _border(shape: MatteShape, usual: Usual) -> Doubt:
    weight = 0.5 * _ramp(shape.border - usual.border, 0.02, 0.2)
    return Doubt(weight, "The mask runs into the picture's border", "at the border")


def _size(shape: MatteShape, origin: MatteShape | None) -> Doubt:
    if origin is None or origin.absent:
        return Doubt(0.0, "", "")
    ratio = shape.area / origin.area
    weight = _ramp(abs(math.log(ratio)), math.log(1.15), math.log(2.0))
    return Doubt(weight, _changed(ratio, origin.frame), "shrank" if ratio < 1.0 else "grew")


def _changed(ratio: float, frame: int) -> str:
    if ratio < 1.0:
        how = "by half" if 0.4 <= ratio <= 0.6 else f"to {ratio:.0%}"
        return f"The mask shrank {how} from frame {frame}"
    how = "to double" if 1.75 <= ratio <= 2.25 else f"to {ratio:.0%}"
    return f"The mask grew {how} from frame {frame}"


def _other_shape(beside: Sequence[tuple[MatteShape, float]], usual: Usual) -> Doubt:
    seen = [(one.frame, value) for one, value in beside if not one.absent]
    if not seen:
        return Doubt(0.0, "", "")
    best = max(value for _, value in seen)
    weight = _ramp(best / max(usual.agreement, 1e-6), 0.85, 0.35)
    frames = " and ".join(str(frame) for frame, _ in seen)
    what = "frames" if len(seen) > 1 else "frame"
    return Doubt(weight, f"Another shape than on {what} {frames}", "other shape")


def _both_sides(shape: MatteShape) -> Doubt:
    # The better of both mattes was taken, but one of them is wrong for certain.
    value = shape.scores.agreement
    if value is None:
        return Doubt(0.0, "", "")
    weight = _ramp(value, 0.9, 0.5)
    return Doubt(
        weight,
        f"Forward and backward tracking disagree (overlap {value:.2f})",
        f"sides disagree {value:.2f}",
    )
