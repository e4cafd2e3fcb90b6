# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a plan is to be computed, and from which memories on; imports torch through memory_bank.

A plan says what there is to know about an object; its work is the part that is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from .memory_bank import BankState
from .plan import Direction, ObjectPlan, Segment, Step


@dataclass(frozen=True)
class SegmentPart:
    """The frames of a segment that are to be tracked.

    Attributes
    ----------
    segment
        The whole.
    start, stop
        Positions in its frames, as in a slice.
    state
        The bank after the frame before ``start``; None at the segment's own start.
    """

    segment: Segment
    start: int
    stop: int
    state: BankState | None = None

    @property
    def frames(self) -> tuple[int, ...]:
        """In the order of tracking."""
        return self.segment.frames[self.start : self.stop]


@dataclass(frozen=True)
class ObjectSchedule:
    """What is to be computed of one object.

    Attributes
    ----------
    plan
        The whole.
    conditioning
        Conditioning frames to segment: for their mattes, or for others to attend to whose memory is
        not kept.
    parts
        What to track, in the plan's order.
    """

    plan: ObjectPlan
    conditioning: frozenset[int]
    parts: tuple[SegmentPart, ...]

    @property
    def size(self) -> int:
        """How many frames are computed."""
        return len(self.conditioning) + sum(len(part.frames) for part in self.parts)

    def results(self, wanted: Collection[int]) -> set[tuple[int, Direction | None]]:
        """Which of these frames are computed, and in which pass, None for conditioning frames."""
        found: set[tuple[int, Direction | None]] = {
            (frame, None) for frame in self.conditioning if frame in wanted
        }
        for part in self.parts:
            found |= {(frame, part.segment.direction) for frame in part.frames if frame in wanted}
        return found


def schedule_for(
    plan: ObjectPlan,
    wanted: Collection[int],
    saved: Callable[[Step], BankState | None] = lambda _: None,
    known: Callable[[Step], bool] = lambda _: False,
    conditioned: Callable[[int], bool] = lambda _: False,
) -> ObjectSchedule:
    """The least work that gives the wanted frames.

    Parameters
    ----------
    plan
        Of one object.
    wanted
        Frames of its results.
    saved
        The bank as a pass had it after it tracked this frame, if it was kept.
    known
        Whether what a pass gives this frame is there already; asked of frames that are tracked from
        both sides alone.
    conditioned
        Whether what is remembered of this conditioning or refined frame was kept.
    """
    wanted = frozenset(wanted)
    starts = {entry.frame for entry in plan.conditioning}
    needed = starts.intersection(wanted)
    parts: list[SegmentPart] = []
    # What later segments attend to has to be refined first.
    refined: set[int] = set()
    for segment in reversed(plan.segments):
        positions = [
            at
            for at, frame in enumerate(segment.frames)
            if frame in refined
            or (frame in wanted and not (frame in plan.twice and known(segment.step(at))))
        ]
        if not positions:
            continue
        start, state = positions[0], None
        while start and (state := saved(segment.step(start - 1))) is None:
            start -= 1
        parts.append(SegmentPart(segment, start, positions[-1] + 1, state))
        missing = {frame for frame in segment.conditioning if not conditioned(frame)}
        needed |= missing & starts
        refined |= missing - starts
    return ObjectSchedule(plan, frozenset(needed), tuple(reversed(parts)))
