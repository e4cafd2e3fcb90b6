# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan which frames of each object are computed, and in which order.

All prompts are known before a run starts. So a result depends only on the footage, the prompts, the
model and the settings:

1. Conditioning frames are segmented from their prompts alone, inside the span or not, and keep this
   result. They are: the first frame whose prompts say where the object is, frames with a mask, and
   frames that start the object anew.
2. The forward pass goes from the first of them to the span's end. It *refines* every other prompted
   frame on its way: it tracks the frame, then the frame's prompts correct the result. All later
   frames attend to this refined frame as to a conditioning frame.
3. The backward pass goes from the same frame to the span's start, with its own memory. It comes
   last, so it attends to conditioning and refined frames alike.

``forward`` alone leaves out step 3. ``backward`` alone is the mirror image. It starts at the *last*
frame whose prompts say where the object is, and it refines the frames before it.

If a frame's prompts only exclude, every pass that reaches it refines it. The result counts for that
pass only.

With ``both_sides``, the forward pass begins at the first prompted frame and the backward pass at
the last, in every direction. Frames between the two are tracked twice. Frames that the forward pass
refined are not.

A refined frame outside the span is tracked too, if others attend to it.

A pass is one segment of frames that share a memory. Where another pass or camera of the capture
begins, the last frames show another view. So there a new segment begins, with nothing in memory but
the prompted frames. Prompts can also be limited to nearby frames. Then a pass is cut into segments at
the prompted frames too.
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
from ...core.prompts import FramePrompts, ObjectPrompts
from ...core.settings import RunSettings

Direction = Literal["forward", "backward"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")
"""The order in which the passes are computed."""


class Step(NamedTuple):
    """A frame in one pass."""

    direction: Direction
    frame: int

    @property
    def other_side(self) -> Step:
        """The same frame in the other pass."""
        return Step("backward" if self.direction == "forward" else "forward", self.frame)


@dataclass(frozen=True)
class Segment:
    """Frames that are tracked one after the other with one memory.

    Attributes
    ----------
    direction
        Direction of time.
    frames
        In the order of tracking.
    conditioning
        Prompted frames that they may attend to from the start, rising. They are conditioning
        frames, and frames that earlier segments refine.
    """

    direction: Direction
    frames: tuple[int, ...]
    conditioning: tuple[int, ...]

    def step(self, at: int) -> Step:
        """Return the step at this position."""
        return Step(self.direction, self.frames[at])


@dataclass(frozen=True)
class ObjectPlan:
    """The frames of one object. Frames count from 1.

    Attributes
    ----------
    object_id, name
        As in the prompts.
    conditioning
        Frames to segment from prompts, rising. Some may lie outside the span.
    corrections
        Frames to correct after they were tracked.
    results
        The frames that get a matte.
    segments
        Frames to track, in the order of the passes and of tracking.
    near
        Whether the object is seen in a near view; see `panorama`.
    refined
        The corrections whose prompts say where the object is. Later segments attend to them as to
        conditioning frames.
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
        """Return the prompts that correct this frame, or None."""
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
    """Return the frames that the settings ask for, within 1 to ``frame_count``.

    Raises
    ------
    PromptError
        There are none.
    """
    first = max(settings.first_frame, 1)
    last = min(settings.last_frame or frame_count, frame_count)
    if first > last:
        raise PromptError(
            f"Frames {settings.first_frame} to {settings.last_frame} lie outside the footage's"
            f" {frame_count} frames.",
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
    cuts: Sequence[int] = (),
) -> ObjectPlan:
    """Plan one object of a checked prompt set.

    Parameters
    ----------
    prompts
        They include the object on at least one frame.
    span
        The frames that need mattes, step 1.
    direction
        ``both``, ``forward`` or ``backward``.
    nearby_prompts, both_sides
        As in :class:`RunSettings`.
    near
        As in :class:`ObjectPlan`.
    cuts
        The first frame of each further pass or camera of the capture, rising.

    Raises
    ------
    PromptError
        The direction is unknown, or the number of prompts is negative.

    Examples
    --------
    >>> clicks = tuple(
    ...     FramePrompts(frame, points=(PointPrompt(420.5, 310.5),)) for frame in (3, 6)
    ... )
    >>> plan = plan_object(ObjectPrompts(1, "Chair", clicks), range(1, 9), "both")
    >>> [entry.frame for entry in plan.conditioning]
    [3]
    >>> plan.refined
    frozenset({6})
    >>> [(segment.direction, segment.frames) for segment in plan.segments]
    [('forward', (4, 5, 6, 7, 8)), ('backward', (2, 1))]
    """
    if direction not in ("both", "forward", "backward"):
        raise PromptError(
            f"There is no direction called {direction!r}.", "Choose both, forward or backward."
        )
    if nearby_prompts < 0:
        raise PromptError(
            f"A frame can't attend to {nearby_prompts} prompted frames.", "Choose 0 for all."
        )
    # These frames become conditioning frames below, so the mark must not change their keys.
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
                way, passes[way], prompted, refined if way == refining else (), nearby_prompts, cuts
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
    cuts: Sequence[int],
) -> list[Segment]:
    """Cut a pass into segments at the cuts, and at the prompted frames if only nearby ones count.

    Parameters
    ----------
    refined
        The prompted frames that this pass itself refines. Nothing can attend to them before that.
    """
    if not tracked:
        return []
    # A refined frame ends the segment that leads to it.
    place = bisect_left if direction == "forward" else bisect_right
    segments: list[Segment] = []

    def part(frame: int) -> tuple[int, int]:
        return bisect_right(cuts, frame), place(prompted, frame) if nearby else 0

    for _, group in groupby(tracked, part):
        frames = tuple(group)
        at = place(prompted, frames[0])
        around = prompted[max(at - nearby, 0) : at + nearby] if nearby else prompted
        passed = prompted[:at] if direction == "forward" else prompted[at:]
        known = tuple(one for one in around if one in passed or one not in refined)
        segments.append(Segment(direction, frames, known))
    return segments
