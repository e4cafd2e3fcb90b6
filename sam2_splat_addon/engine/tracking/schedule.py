# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide which frames of a plan still need computing, and from which saved memory to start.

A plan lists everything about an object. Its schedule is the part that is not known yet.
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
        The whole segment.
    start, stop
        Positions in ``segment.frames``, as in a slice.
    state
        The bank after the frame before ``start``. None at the start of the segment.
    """

    segment: Segment
    start: int
    stop: int
    state: BankState | None = None

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames, in the order of tracking."""
        return self.segment.frames[self.start : self.stop]


@dataclass(frozen=True)
class ObjectSchedule:
    """What has to be computed for one object.

    Attributes
    ----------
    plan
        The whole plan.
    conditioning
        Conditioning frames to segment. They need a matte, or other frames attend to them and their
        memory was not kept.
    parts
        What to track, in the plan's order.
    """

    plan: ObjectPlan
    conditioning: frozenset[int]
    parts: tuple[SegmentPart, ...]

    @property
    def size(self) -> int:
        """The number of frames to compute."""
        return len(self.conditioning) + sum(len(part.frames) for part in self.parts)

    def results(self, wanted: Collection[int]) -> set[tuple[int, Direction | None]]:
        """The wanted frames that are computed, each with its pass. The pass is None on a
        conditioning frame."""
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
    """Find the least work that gives the wanted frames.

    Parameters
    ----------
    plan
        The plan of one object.
    wanted
        Frames that need a result.
    saved
        Gives the bank that a pass had after it tracked a frame, or None if it was not kept.
    known
        Whether the result of this pass on this frame exists already. It is called only for frames
        that are tracked from both sides.
    conditioned
        Whether the memory of this conditioning or refined frame was kept.

    Returns
    -------
    ObjectSchedule
        The conditioning frames to segment, and the parts to track.
    """
    wanted = frozenset(wanted)
    starts = {entry.frame for entry in plan.conditioning}
    needed = starts.intersection(wanted)
    parts: list[SegmentPart] = []
    # Later segments attend to these frames, so they must be refined first.
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
