# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames of each object are computed, and in which order; imports core only.

All prompts are known before a run starts, so a result is a function of footage, prompts, model and
settings alone:

1. Conditioning frames, those whose prompts say where the object is, are segmented from their
prompts,
   inside the span or not. They keep that result.
2. Forwards from the object's first conditioning frame to the span's end.
3. Backwards from the same frame to the span's start, with a memory of its own.

``forward`` alone leaves out step 3. ``backward`` alone goes backwards from the object's *last*
conditioning frame. A frame whose prompts only exclude can't be segmented from them: it is tracked
like any other and then corrected by them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.errors import PromptError
from ..core.manifest import RunSettings
from ..core.prompts import FramePrompts, ObjectPrompts


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
    forward, backward
        Frames to track, in the order of tracking.
    """

    object_id: int
    name: str
    conditioning: tuple[FramePrompts, ...]
    corrections: tuple[FramePrompts, ...]
    results: range
    forward: tuple[int, ...]
    backward: tuple[int, ...]

    def correction(self, frame: int) -> FramePrompts | None:
        """The prompts that correct this frame, if any."""
        return next((entry for entry in self.corrections if entry.frame == frame), None)


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


def plan_object(prompts: ObjectPrompts, span: range, direction: str) -> ObjectPlan:
    """Plan one object of a checked prompt set.

    Parameters
    ----------
    prompts
        With at least one including prompt.
    span
        The frames to have mattes for, step 1.
    direction
        ``both``, ``forward`` or ``backward``.

    Raises
    ------
    PromptError
        Another direction.
    """
    if direction not in ("both", "forward", "backward"):
        raise PromptError(
            f"There is no direction called {direction!r}.", "Choose both, forward or backward."
        )
    conditioning = tuple(entry for entry in prompts.frames if entry.includes_something)
    corrections = tuple(entry for entry in prompts.frames if not entry.includes_something)
    prompted = {entry.frame for entry in conditioning}
    first, last = min(prompted), max(prompted)

    results = span
    if direction == "forward":
        results = range(max(span.start, first), span.stop)
    elif direction == "backward":
        results = range(span.start, min(span.stop, last + 1))
    tracked = [frame for frame in results if frame not in prompted]
    backwards = {frame for frame in tracked if direction == "backward" or frame < first}
    return ObjectPlan(
        prompts.id,
        prompts.name,
        conditioning,
        corrections,
        results,
        tuple(frame for frame in tracked if frame not in backwards),
        tuple(sorted(backwards, reverse=True)),
    )
