# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge which frames of an object are worth a look, how much, and why.

Only the store is read. The badness of a frame joins its warnings like chances: 1 - (1 - a)(1 - b)... So
several small warnings can put a frame on the list too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

import msgspec

from ..errors import StoreError
from ..mattes.store import MatteStore
from .agreement import Agreement, read_agreement
from .checks import LISTED, MatteSequence, Warning, warnings_about
from .measures import MatteShape, measure

LOST = 0.9
"""A frame with this badness or more counts as lost, not only as worth a look."""

LOST_FRAMES = 4
LOST_SHARE = 0.5
"""A model is lost on a footage if it is lost on this number of frames and on this share of all."""

FrameState = Literal["good", "doubtful", "absent", "corrected", "fine"]


class FrameReview(msgspec.Struct, frozen=True):
    """The verdict on one object on one frame.

    Attributes
    ----------
    object_id, frame
        Both count from 1.
    state
        ``good``; ``doubtful``: worth a look; ``absent``: no matte, listed or not; ``corrected``: the
        user has drawn this frame; ``fine``: the user has looked and found nothing wrong.
    badness
        0 to 1; the frame is listed if this is `LISTED` or more.
    reasons
        Why, as sentences without a full stop, greatest weight first; empty for a good frame.
    summary
        The greatest reason in a few words, for a narrow list.
    predicted_iou, object_score, area
        The values in the store.
    agreement
        IoU with the better one of both neighbouring mattes, after they are aligned; 1 without
        neighbours.
    parts
        Number of separate parts that are more than specks.
    both_sides
        IoU of the mattes tracked forwards and backwards; None on frames tracked from one side.
    """

    object_id: int
    frame: int
    state: FrameState
    badness: float
    reasons: tuple[str, ...]
    summary: str
    predicted_iou: float
    object_score: float
    area: float
    agreement: float
    parts: int
    both_sides: float | None = None

    @property
    def listed(self) -> bool:
        """Whether the frame is worth a look."""
        return self.badness >= LISTED


class ShapeReader:
    """Measure the mattes of an object, and keep the measures: a few hundred bytes per frame.

    A matte is measured again if it was written again.
    """

    def __init__(self, store: MatteStore) -> None:
        self._store = store
        self._known: dict[tuple[int, int], tuple[int, MatteShape]] = {}

    def count(self, object_id: int) -> int:
        """Return how many mattes an object has."""
        return len(self._store.frames(object_id))

    def read(self, object_id: int) -> Iterator[MatteShape]:
        """Yield the measures of the object's mattes, one per step, in rising order of frames.

        A matte that is deleted in between is left out. Raises StoreError for a damaged one.
        """
        for frame in self._store.frames(object_id):
            path = self._store.path(object_id, frame)
            try:
                written = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            known = self._known.get((object_id, frame))
            if known is None or known[0] != written:
                try:
                    known = (written, measure(self._store.read(object_id, frame)))
                except StoreError:
                    if not path.exists():
                        continue
                    raise
                self._known[object_id, frame] = known
            yield known[1]


def review_object(
    store: MatteStore,
    object_id: int,
    corrected: Collection[int] = (),
    fine: Collection[int] = (),
) -> list[FrameReview]:
    """Review all mattes of an object in the store; see `judge` and `marked`. Raises StoreError."""
    agreement = read_agreement(store, object_id)
    reviews = judge(object_id, list(ShapeReader(store).read(object_id)), agreement)
    return marked(reviews, corrected, fine)


def worst_first(reviews: Sequence[FrameReview]) -> list[FrameReview]:
    """Return the frames worth a look, of all objects, worst first."""
    listed = [review for review in reviews if review.listed]
    return sorted(listed, key=lambda one: (-one.badness, one.frame, one.object_id))


def is_lost(lost: int, frames: int) -> bool:
    """Whether the model is lost on so many frames that another model helps more than clicks."""
    return lost >= max(LOST_FRAMES, LOST_SHARE * frames)


def marked(
    reviews: Sequence[FrameReview], corrected: Collection[int], fine: Collection[int]
) -> list[FrameReview]:
    """Return the reviews, with the user's own verdict on the frames where there is one.

    Parameters
    ----------
    corrected
        Frames that the user has drawn.
    fine
        Frames where the user has looked and found nothing wrong.
    """
    states: dict[int, FrameState] = {
        **dict.fromkeys(fine, "fine"),
        **dict.fromkeys(corrected, "corrected"),
    }
    return [
        msgspec.structs.replace(one, state=states[one.frame], badness=0.0, reasons=(), summary="")
        if one.frame in states
        else one
        for one in reviews
    ]


def judge(
    object_id: int, shapes: Sequence[MatteShape], agreement: Agreement | None = None
) -> list[FrameReview]:
    """Judge the frames of one object by comparing them with each other.

    Parameters
    ----------
    object_id
        Goes into the result.
    shapes
        Measures of all its frames, in rising order.
    agreement
        What the other photos say of each matte in 3D, if that is known.

    Returns
    -------
    list of FrameReview
        One for each measure, in the same order.
    """
    if not shapes:
        return []
    sequence = MatteSequence(shapes, agreement)
    reviews = []
    for at, shape in enumerate(shapes):
        warnings = sorted(warnings_about(sequence, at), key=lambda warning: -warning.weight)
        badness = 1.0 - math.prod(1.0 - warning.weight for warning in warnings)
        said = _worth_saying(warnings, badness)
        state: FrameState = "good"
        if shape.absent:
            state = "absent"
        elif badness >= LISTED:
            state = "doubtful"
        reviews.append(
            FrameReview(
                object_id,
                shape.frame,
                state,
                badness,
                tuple(warning.reason for warning in said),
                said[0].short.capitalize() if said else "",
                shape.scores.predicted_iou,
                shape.scores.object_score,
                shape.area,
                sequence.best_agreement(at),
                shape.parts,
                shape.scores.agreement,
            )
        )
    return reviews


# A warning with less weight than this is not named beside greater ones.
_WORTH_SAYING = 0.25


def _worth_saying(warnings: Sequence[Warning], badness: float) -> Sequence[Warning]:
    """Choose the warnings to name, from warnings in falling order. A listed frame names at least one."""
    said = [warning for warning in warnings if warning.weight >= _WORTH_SAYING]
    return said or (warnings[:1] if badness >= LISTED else [])
