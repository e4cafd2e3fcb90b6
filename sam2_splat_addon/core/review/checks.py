# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what speaks against a matte: the scores of the model, and the mattes on the frames beside it.

Every warning has a weight from 0 to 1. A weight of `LISTED` alone puts the frame on the list. Most
weights compare a frame with the other frames of its object, because the scores of good frames differ
from model to model and from object to object. `tools/research/bench/review.py` measures how well the
list agrees with the truth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .agreement import Agreement, FrameAgreement
from .measures import MatteShape, agreement

LISTED = 0.5
"""A frame with this badness or more is worth a look."""

# From what on other photos contradict a matte: in shares of it and of the subject more than usual, and in
# the usual overlap.
_EXTRA = 0.06
_MISSING = 0.1
_OVERLAP = 0.85

_HIDDEN = 0.3  # weight of a lost subject that something seems to hide

# The greatest weight of one warning: so a frame with two serious warnings is worse than one with one.
_MOST = 0.95


@dataclass(frozen=True)
class Warning:
    """One reason to look at a frame.

    Attributes
    ----------
    weight
        0 to 1; `LISTED` alone puts the frame on the list.
    reason
        A sentence without a full stop, for the user.
    short
        A few words, for a narrow list.
    """

    weight: float
    reason: str
    short: str


@dataclass(frozen=True)
class Usual:
    """The usual values of an object on the frames where it is visible."""

    predicted_iou: float
    object_score: float
    sureness: float
    agreement: float
    parts: float
    border: float


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0


class MatteSequence:
    """The mattes of an object in rising order of frames, and how well each fits its neighbours."""

    def __init__(self, shapes: Sequence[MatteShape], in_space: Agreement | None = None) -> None:
        self.shapes = shapes
        agreements = in_space.by_frame() if in_space is not None else {}
        self._agreements = {
            shape.frame: agreements[shape.frame]
            for shape in shapes
            if shape.frame in agreements and agreements[shape.frame].key == shape.key
        }
        # A hull is never exact, so only what is more than usual counts.
        self.usual_extra = _median([one.extra for one in self._agreements.values()])
        if in_space is not None and in_space.others:
            self.usual_extra = 0.0
        self.usual_missing = _median([one.missing for one in self._agreements.values()])
        self._usual_overlap = _median([one.overlap for one in self._agreements.values()])
        self._first_prompted = next((one.frame for one in shapes if one.prompted), 0)
        # Agreement of each matte with the next one, if that belongs to the next frame.
        self._with_next: list[float | None] = [
            agreement(one, other) if other.frame == one.frame + 1 else None
            for one, other in itertools.pairwise(shapes)
        ]
        self.usual = self._find_usual()

    def in_space(self, at: int) -> FrameAgreement | None:
        """Return what the other photos say of the matte in 3D; None if it is unknown or out of date."""
        return self._agreements.get(self.shapes[at].frame)

    def is_wrong_beside(self, at: int, frame: int) -> bool:
        """Whether other photos contradict the matte of another frame, but not this one.

        Then a difference between the two says nothing against this one.
        """
        own, other = (self._agreements.get(one) for one in (self.shapes[at].frame, frame))
        if own is None or other is None:
            return False
        return self._is_contradicted(other) and not self._is_contradicted(own)

    def is_hidden(self, at: int) -> bool:
        """Whether other photos say that something else is seen where the subject should be."""
        found = self.in_space(at)
        return found is not None and found.missing < _MISSING

    def _is_contradicted(self, found: FrameAgreement) -> bool:
        return (
            found.extra - self.usual_extra > _EXTRA
            or found.missing - self.usual_missing > _MISSING
            or found.overlap < _OVERLAP * self._usual_overlap
        )

    def beside(self, at: int) -> list[tuple[MatteShape, float]]:
        """Return the mattes on the frames before and after, if there are any, with their agreement."""
        found = []
        for pair, other in ((at - 1, at - 1), (at, at + 1)):
            if 0 <= pair < len(self._with_next):
                value = self._with_next[pair]
                if value is not None:
                    found.append((self.shapes[other], value))
        return found

    def best_agreement(self, at: int) -> float:
        """Return the agreement with the better neighbour; 1 without neighbours."""
        return max((value for _, value in self.beside(at)), default=1.0)

    def origin(self, at: int) -> MatteShape | None:
        """Return the neighbour that the matte was propagated from; None if there is none.

        A matte before the first prompted frame comes from the frame after it. Other mattes come from
        the frame before. A prompted frame comes from its prompts. A matte tracked from both sides may
        come from either neighbour. Then the one closer in size counts, so only a matte that fits
        neither of them counts as a change.
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
            # The upper quartile is a good frame as long as a quarter of the frames are good. It is not
            # one of the few prompted frames, which score higher than all others.
            float(np.quantile([one.scores.predicted_iou for one in seen], 0.75)),
            float(np.median([one.scores.object_score for one in seen])),
            float(np.quantile([one.sureness for one in seen], 0.75)),
            float(np.median(agreements)) if agreements else 1.0,
            float(np.median([one.parts for one in seen])),
            float(np.median([one.border for one in seen])),
        )


def _ramp(value: float, none: float, full: float) -> float:
    """Return 0 at ``none`` and beyond, almost 1 at ``full`` and beyond, linear in between."""
    return min(_MOST, max(0.0, (value - none) / (full - none)))


def warnings_about(sequence: MatteSequence, at: int) -> list[Warning]:
    """Return all warnings about the matte at this place of the sequence, in no order."""
    shape, usual = sequence.shapes[at], sequence.usual
    beside = sequence.beside(at)
    if shape.absent:
        lost = _absence([one for one, _ in beside])
        if sequence.is_hidden(at):
            lost = replace(lost, weight=min(lost.weight, _HIDDEN))
        return [lost, _both_sides(shape)]
    right = [one for one in beside if not sequence.is_wrong_beside(at, one[0].frame)]
    origin = sequence.origin(at)
    if origin is not None and sequence.is_wrong_beside(at, origin.frame):
        origin = None
    return [
        _unsure(shape, usual),
        _unseen(shape, usual),
        _soft(shape, usual),
        _parts(shape, usual),
        _border(shape, usual),
        _size(shape, origin),
        _other_shape(right, usual),
        _both_sides(shape),
        _nothing_there(sequence, at),
        _part_missing(sequence, at),
    ]


def _nothing_there(sequence: MatteSequence, at: int) -> Warning:
    found = sequence.in_space(at)
    weight = _ramp(found.extra - sequence.usual_extra, 0.03, 0.15) if found else 0.0
    return Warning(
        weight, "Other photos say that a part of this mask is not the subject", "too much"
    )


def _part_missing(sequence: MatteSequence, at: int) -> Warning:
    found = sequence.in_space(at)
    weight = _ramp(found.missing - sequence.usual_missing, 0.05, 0.25) if found else 0.0
    return Warning(
        weight, "Other photos say that a part of the subject is missing", "a part missing"
    )


def _absence(neighbours: Sequence[MatteShape]) -> Warning:
    beside = [one.frame for one in neighbours if not one.absent]
    if len(beside) == 2:
        return Warning(
            0.99, f"The subject is lost, though photos {beside[0]} and {beside[1]} show it", "lost"
        )
    if beside:
        return Warning(_MOST, f"The subject is lost, though photo {beside[0]} shows it", "lost")
    return Warning(0.6, "The subject is lost", "lost")


def _unsure(shape: MatteShape, usual: Usual) -> Warning:
    # SAM 2 learns to predict the IoU, so the value has a meaning of its own too. A matte below 0.8
    # deserves a look.
    value = shape.scores.predicted_iou
    weight = max(_ramp(value, 0.90, 0.70), _ramp(usual.predicted_iou - value, 0.02, 0.10))
    return Warning(weight, "SAM 2 is not sure of this mask", "not sure")


def _unseen(shape: MatteShape, usual: Usual) -> Warning:
    score = shape.scores.object_score
    weight = _ramp(score, 0.8 * max(usual.object_score, 1.0), 0.0)
    return Warning(weight, "SAM 2 hardly sees the subject", "hardly seen")


def _soft(shape: MatteShape, usual: Usual) -> Warning:
    # Logits promise about as much as the mask holds. On the sample and a real capture of 97 photos,
    # good mattes of the bundled model promise 0.85 to 0.92, and bad ones less than 0.8.
    weight = max(
        _ramp(shape.sureness, 0.88, 0.74),
        0.7 * _ramp(usual.sureness - shape.sureness, 0.04, 0.2),
    )
    return Warning(weight, "The edge is vague", "vague edge")


def _parts(shape: MatteShape, usual: Usual) -> Warning:
    weight = 0.5 * _ramp(shape.parts - usual.parts, 1.0, 6.0)
    return Warning(weight, f"The mask falls into {shape.parts} parts", f"in {shape.parts} parts")


def _border(shape: MatteShape, usual: Usual) -> Warning:
    weight = 0.5 * _ramp(shape.border - usual.border, 0.02, 0.2)
    return Warning(weight, "The mask touches the edge of the photo", "at the edge of the photo")


def _size(shape: MatteShape, origin: MatteShape | None) -> Warning:
    if origin is None or origin.absent:
        return Warning(0.0, "", "")
    ratio = shape.area / origin.area
    weight = _ramp(abs(math.log(ratio)), math.log(1.15), math.log(2.0))
    return Warning(weight, _changed(ratio, origin.frame), "shrank" if ratio < 1.0 else "grew")


# Up to which ratio of areas what is said of a mask, in comparison with another photo's.
_SIZES = (
    (0.25, "much smaller than"),
    (0.4, "less than half as large as"),
    (0.6, "half as large as"),
    (1.0, "smaller than"),
    (1.75, "larger than"),
    (2.25, "twice as large as"),
    (4.0, "more than twice as large as"),
    (math.inf, "many times as large as"),
)


def _changed(ratio: float, frame: int) -> str:
    how = next(words for most, words in _SIZES if ratio <= most)
    return f"The mask is {how} on photo {frame}"


def _other_shape(beside: Sequence[tuple[MatteShape, float]], usual: Usual) -> Warning:
    seen = [(one.frame, value) for one, value in beside if not one.absent]
    if not seen:
        return Warning(0.0, "", "")
    best = max(value for _, value in seen)
    weight = _ramp(best / max(usual.agreement, 1e-6), 0.85, 0.35)
    frames = " and ".join(str(frame) for frame, _ in seen)
    what = "photos" if len(seen) > 1 else "photo"
    return Warning(weight, f"The mask has another shape than on {what} {frames}", "other shape")


def _both_sides(shape: MatteShape) -> Warning:
    # The better of both mattes was taken, but one of the two is certainly wrong.
    value = shape.scores.agreement
    if value is None:
        return Warning(0.0, "", "")
    weight = _ramp(value, 0.9, 0.5)
    return Warning(weight, "The photos before and after it give two different masks", "two masks")
