# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a plan is to be computed, and from which memories on; imports torch through memory_bank.

A plan says what there is to know about an object; its work is the part that is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from .memory_bank import BankState
from .plan import ObjectPlan, Stretch


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
        Conditioning frames to segment: for their mattes, or for others to attend to.
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


def work_for(
    plan: ObjectPlan,
    wanted: Collection[int],
    saved: Callable[[int], BankState | None] = lambda _: None,
) -> ObjectWork:
    """The least work that gives the wanted frames.

    Parameters
    ----------
    plan
        Of one object.
    wanted
        Frames of its results.
    saved
        The bank as it was after this frame was tracked, if it was kept.
    """
    parts: list[StretchPart] = []
    for stretch in plan.stretches:
        positions = [at for at, frame in enumerate(stretch.frames) if frame in wanted]
        if not positions:
            continue
        start, state = positions[0], None
        while start and (state := saved(stretch.frames[start - 1])) is None:
            start -= 1
        parts.append(StretchPart(stretch, start, positions[-1] + 1, state))
    needed = {frame for part in parts for frame in part.stretch.conditioning}
    needed |= {entry.frame for entry in plan.conditioning if entry.frame in wanted}
    return ObjectWork(plan, frozenset(needed), tuple(parts))
