# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames of each object are computed, and in which order; imports core only.

All prompts are known before a run starts, so a result is a function of footage, prompts, model and
settings alone:

1. Conditioning frames, those whose prompts say where the object is, are segmented from their
   prompts, inside the span or not. They keep that result.
2. Forwards from the object's first conditioning frame to the span's end.
3. Backwards from the same frame to the span's start, with a memory of its own.

``forward`` alone leaves out step 3. ``backward`` alone goes backwards from the object's *last*
conditioning frame. A frame whose prompts only exclude can't be segmented from them: it is tracked
like any other and then corrected by them.

From both sides, the forward pass begins at the first conditioning frame and the backward one at the
last, whatever the direction: frames between the two are tracked twice (see `both_sides`).

A pass is one stretch of frames that share a memory. Where prompts are to reach only nearby frames,
it is cut into stretches at the conditioning frames, and each begins with an empty memory.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Literal, NamedTuple

from ..core.errors import PromptError
from ..core.manifest import RunSettings
from ..core.prompts import FramePrompts, ObjectPrompts

Direction = Literal["forward", "backward"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")
"""In the order in which the passes are computed."""


class Visit(NamedTuple):
    """A frame as one pass comes to it."""

    direction: Direction
    frame: int

    @property
    def other_side(self) -> Visit:
        """The same frame, in the other pass."""
        return Visit("backward" if self.direction == "forward" else "forward", self.frame)


@dataclass(frozen=True)
class Stretch:
    """Frames that are tracked one after the other with one memory.

    Attributes
    ----------
    direction
        Of time.
    frames
        In the order of tracking.
    conditioning
        The conditioning frames that they may attend to, rising.
    """

    direction: Direction
    frames: tuple[int, ...]
    conditioning: tuple[int, ...]

    def visit(self, at: int) -> Visit:
        """The frame at this position."""
        return Visit(self.direction, self.frames[at])


@dataclass(frozen=True)
class ObjectPlan:
    """The frames of one object; frames count from 1.

    Attributes
    ----------
    object_id, name
        As in the prompts.
    conditioning
        Frames to segment from prompts, rising; some may lie outside the span.
    corrections
        Frames to correct after they were tracked.
    results
        The frames that get a matte.
    stretches
        Frames to track, in the order of the passes and of tracking.
    near
        Whether it is seen near; see `panorama`.
    """

    object_id: int
    name: str
    conditioning: tuple[FramePrompts, ...]
    corrections: tuple[FramePrompts, ...]
    results: range
    stretches: tuple[Stretch, ...]
    near: bool = False

    def correction(self, frame: int) -> FramePrompts | None:
        """The prompts that correct this frame, if any."""
        return next((entry for entry in self.corrections if entry.frame == frame), None)

    @cached_property
    def twice(self) -> frozenset[int]:
        """The frames that are tracked from both sides."""
        forward, backward = (
            {
                frame
                for stretch in self.stretches
                if stretch.direction == direction
                for frame in stretch.frames
            }
            for direction in DIRECTIONS
        )
        return frozenset(forward & backward)


def span_of(settings: RunSettings, frame_count: int) -> range:
    """The frames that the settings ask for, of 1 to ``frame_count``; raises PromptError if none."""
    first = max(settings.first_frame, 1)
    last = min(settings.last_frame or frame_count, frame_count)
    if first > last:
        raise PromptError(
            f"Frames {settings.first_frame} to {settings.last_frame} are none of the footage's"
            f" {frame_count}.",
            "Choose a first and last frame within the footage.",
        )
    return range(first, last + 1)


def plan_object(
    prompts: ObjectPrompts,
    span: range,
    direction: str,
    nearby_prompts: int = 0,
    *,
    both_sides: bool = False,
    near: bool = False,
) -> ObjectPlan:
    """Plan one object of a checked prompt set.

    Parameters
    ----------
    prompts
        With at least one including prompt.
    span
        The frames to have mattes for, step 1.
    direction
        ``both``, ``forward`` or ``backward``.
    nearby_prompts, both_sides
        As in :class:`RunSettings`.
    near
        As in :class:`ObjectPlan`.

    Raises
    ------
    PromptError
        Another direction, or a negative number of prompts.
    """
    if direction not in ("both", "forward", "backward"):
        raise PromptError(
            f"There is no direction called {direction!r}.", "Choose both, forward or backward."
        )
    if nearby_prompts < 0:
        raise PromptError(
            f"A frame can't attend to {nearby_prompts} prompted frames.", "Choose 0 for all."
        )
    conditioning = tuple(entry for entry in prompts.frames if entry.includes_something)
    corrections = tuple(entry for entry in prompts.frames if not entry.includes_something)
    prompted = [entry.frame for entry in conditioning]
    first, last = min(prompted), max(prompted)

    results = span
    if direction == "forward":
        results = range(max(span.start, first), span.stop)
    elif direction == "backward":
        results = range(span.start, min(span.stop, last + 1))
    tracked = [frame for frame in results if frame not in prompted]
    # Where the passes begin.
    from_first = from_last = last if direction == "backward" else first
    if both_sides:
        from_first, from_last = first, last
    forward = [frame for frame in tracked if frame > from_first]
    backward = [frame for frame in reversed(tracked) if frame < from_last]
    return ObjectPlan(
        prompts.id,
        prompts.name,
        conditioning,
        corrections,
        results,
        (
            *_stretches("forward", forward, prompted, nearby_prompts),
            *_stretches("backward", backward, prompted, nearby_prompts),
        ),
        near,
    )


def _stretches(
    direction: Direction, tracked: Sequence[int], prompted: list[int], nearby: int
) -> list[Stretch]:
    """Cut a pass at its conditioning frames, unless all frames attend to all of these."""
    if not tracked:
        return []
    if nearby == 0:
        return [Stretch(direction, tuple(tracked), tuple(prompted))]
    return [
        Stretch(
            direction, tuple(frames), tuple(prompted[max(before - nearby, 0) : before + nearby])
        )
        for before, frames in groupby(tracked, lambda frame: bisect(prompted, frame))
    ]
