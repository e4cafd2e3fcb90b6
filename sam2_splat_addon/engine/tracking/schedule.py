# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a plan is to be computed, and from which memories on; imports torch through memory_bank.

A plan says what there is to know about an object; its work is the part that is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from .memory_bank import BankState
from .plan import Direction, ObjectPlan, Stretch, Visit


@dataclass(frozen=True)
class StretchPart:
    """The frames of a stretch that are to be tracked.

    Attributes
    ----------
    stretch
        The whole.
    start, stop
        Positions in its frames, as in a slice.
    state
        The bank after the frame before ``start``; None at the stretch's own start.
    """

    stretch: Stretch
    start: int
    stop: int
    state: BankState | None = None

    @property
    def frames(self) -> tuple[int, ...]:
        """In the order of tracking."""
        return self.stretch.frames[self.start : self.stop]


@dataclass(frozen=True)
class ObjectWork:
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
    parts: tuple[StretchPart, ...]

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
            found |= {(frame, part.stretch.direction) for frame in part.frames if frame in wanted}
        return found


def work_for(
    plan: ObjectPlan,
    wanted: Collection[int],
    saved: Callable[[Visit], BankState | None] = lambda _: None,
    known: Callable[[Visit], bool] = lambda _: False,
    conditioned: Callable[[int], bool] = lambda _: False,
) -> ObjectWork:
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
    parts: list[StretchPart] = []
    # What later stretches attend to has to be refined first.
    refined: set[int] = set()
    for stretch in reversed(plan.stretches):
        positions = [
            at
            for at, frame in enumerate(stretch.frames)
            if frame in refined
            or (frame in wanted and not (frame in plan.twice and known(stretch.visit(at))))
        ]
        if not positions:
            continue
        start, state = positions[0], None
        while start and (state := saved(stretch.visit(start - 1))) is None:
            start -= 1
        parts.append(StretchPart(stretch, start, positions[-1] + 1, state))
        missing = {frame for frame in stretch.conditioning if not conditioned(frame)}
        needed |= missing & starts
        refined |= missing - starts
    return ObjectWork(plan, frozenset(needed), tuple(reversed(parts)))
