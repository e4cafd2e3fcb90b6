# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames of each object are computed, and in which order; imports core only.

All prompts are known before a run starts, so a result is a function of footage, prompts, model and
settings alone:

1. Conditioning frames are segmented from their prompts alone, inside the span or not, and keep that
   result: the first frame whose prompts say where the object is, those with a mask, and those that
   are to start anew.
2. Forwards from the first of them to the span's end. Every other prompted frame is *refined* on the
   way: it is tracked like any other, then its prompts correct what was tracked. From there on it
   conditions what is tracked after it.
3. Backwards from the same frame to the span's start, with a memory of its own. That pass comes last,
   so it attends to conditioning and refined frames alike.

``forward`` alone leaves out step 3. ``backward`` alone is the same in a mirror: the *last* frame
whose prompts say where the object is comes first, and frames before it are refined on the way back.
A frame whose prompts only exclude is refined by every pass that comes to it, and is for that pass
alone.

From both sides, the forward pass begins at the first prompted frame and the backward one at the
last, whatever the direction: frames between the two are tracked twice (see `both_sides`), but those
that the forward pass has refined are not.

A refined frame outside the span is tracked too, right after what comes before it within the span or
among its like, when others attend to it.

A pass is one segment of frames that share a memory. Where prompts are to reach only nearby frames,
it is cut into segments at the prompted frames, and each begins with an empty memory.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Literal, NamedTuple

from msgspec.structs import replace

from ...core.errors import PromptError
from ...core.mattes.run_manifest import RunSettings
from ...core.prompts import FramePrompts, ObjectPrompts

Direction = Literal["forward", "backward"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")
"""In the order in which the passes are computed."""


class Step(NamedTuple):
    """A frame as one pass comes to it."""

    direction: Direction
    frame: int

    @property
    def other_side(self) -> Step:
        """The same frame, in the other pass."""
        return Step("backward" if self.direction == "forward" else "forward", self.frame)


@dataclass(frozen=True)
class Segment:
    """Frames that are tracked one after the other with one memory.

    Attributes
    ----------
    direction
        Of time.
    frames
        In the order of tracking.
    conditioning
        The prompted frames that they may attend to from the start on, rising: conditioning frames,
        and those that segments before this one refine.
    """

    direction: Direction
    frames: tuple[int, ...]
    conditioning: tuple[int, ...]

    def step(self, at: int) -> Step:
        """The frame at this position."""
        return Step(self.direction, self.frames[at])


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
    refined
        Those of the corrections whose prompts say where the object is: later segments attend to
        them as to conditioning frames.
    results
        The frames that get a matte.
    segments
        Frames to track, in the order of the passes and of tracking.
    near
        Whether it is seen near; see `panorama`.
    """

    object_id: int
    name: str
    conditioning: tuple[FramePrompts, ...]
    corrections: tuple[FramePrompts, ...]
    results: range
    segments: tuple[Segment, ...]
    near: bool = False
    refined: frozenset[int] = frozenset()

    def correction(self, frame: int) -> FramePrompts | None:
        """The prompts that correct this frame, if any."""
        return self._corrections_by_frame.get(frame)

    @cached_property
    def _corrections_by_frame(self) -> dict[int, FramePrompts]:
        return {entry.frame: entry for entry in self.corrections}

    @cached_property
    def twice(self) -> frozenset[int]:
        """The frames that are tracked from both sides."""
        forward, backward = (
            {
                frame
                for segment in self.segments
                if segment.direction == direction
                for frame in segment.frames
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
    # Where an object is already told to start, saying so once more changes nothing.
    given = [replace(entry, anew=False) for entry in prompts.frames]
    prompted = [entry.frame for entry in given if entry.includes_something]
    first, last = min(prompted), max(prompted)
    refining: Direction = "backward" if direction == "backward" and not both_sides else "forward"
    starts = {
        entry.frame
        for entry in prompts.frames
        if entry.includes_something and (entry.mask is not None or entry.anew)
    } | {first if refining == "forward" else last}
    refined = frozenset(prompted) - starts

    results = span
    if direction == "forward":
        results = range(max(span.start, first), span.stop)
    elif direction == "backward":
        results = range(span.start, min(span.stop, last + 1))
    # Where the passes begin.
    from_first = from_last = last if direction == "backward" else first
    if both_sides:
        from_first, from_last = first, last
    untold = set(results) - set(prompted)
    forward = sorted(untold | refined if refining == "forward" else untold)
    backward = sorted(untold | refined if refining == "backward" else untold, reverse=True)
    passes: dict[Direction, list[int]] = {
        "forward": [frame for frame in forward if frame > from_first],
        "backward": [frame for frame in backward if frame < from_last],
    }
    return ObjectPlan(
        prompts.id,
        prompts.name,
        tuple(entry for entry in given if entry.frame in starts),
        tuple(entry for entry in given if entry.frame not in starts),
        results,
        tuple(
            segment
            for way in DIRECTIONS
            for segment in _segments(
                way, passes[way], prompted, refined if way == refining else (), nearby_prompts
            )
        ),
        near,
        refined,
    )


def _segments(
    direction: Direction,
    tracked: Sequence[int],
    prompted: list[int],
    refined: Collection[int],
    nearby: int,
) -> list[Segment]:
    """Cut a pass at the prompted frames, unless all frames attend to all of these.

    Parameters
    ----------
    refined
        Those of the prompted frames that this pass itself refines: nothing can attend to them
        before it has.
    """
    if not tracked:
        return []
    if nearby == 0:
        known = tuple(frame for frame in prompted if frame not in refined)
        return [Segment(direction, tuple(tracked), known)]

    # A frame that is refined ends the segment that leads to it.
    place = bisect_left if direction == "forward" else bisect_right
    segments: list[Segment] = []
    for at, frames in groupby(tracked, lambda frame: place(prompted, frame)):
        around = prompted[max(at - nearby, 0) : at + nearby]
        passed = prompted[:at] if direction == "forward" else prompted[at:]
        known = tuple(one for one in around if one in passed or one not in refined)
        segments.append(Segment(direction, tuple(frames), known))
    return segments
