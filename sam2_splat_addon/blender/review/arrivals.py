# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames a running propagation has finished, so that the strips show it at once.

A review follows a propagation only after its end. Until then a finished frame is `DONE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import bpy

from ...core.review.judge import FrameState
from ...core.review.report import STATE_COLORS
from ..context import clip_state, editors, task_runner
from ..context.clip_state import ClipPart
from . import live_review

StripState = FrameState | Literal["done"]
DONE: Final[Literal["done"]] = "done"
COLORS: Final[Mapping[StripState, str]] = dict(STATE_COLORS) | {DONE: "#a0a0a0"}
"""The colours of the report, and a grey that says nothing about the mask yet."""


@dataclass
class _Arrived(ClipPart):
    """The frames of a clip whose mattes arrived after its review.

    Attributes
    ----------
    revision
        The review's revision while the task runs.
    count
        A number that changes with every change of the frames.
    """

    frames: set[int] = field(default_factory=set)
    revision: int = 0
    count: int = 0

    def mattes_changed(self, object_id: int | None, frame: int | None) -> None:
        if frame is not None and task_runner.current() is not None:
            self.frames.add(frame)
            self.count += 1
            editors.redraw_timelines()

    def photos_changed(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget the frames, because a review knows more about them."""
        self.frames.clear()
        self.count += 1


def shown(clip: bpy.types.MovieClip) -> object | None:
    """Return a key that changes with what `states` returns. None if there is nothing to show."""
    found = live_review.of_clip(clip)
    revision = found.revision if found is not None else 0
    arrived = clip_state.of(clip).part(_Arrived)
    if task_runner.current() is not None:
        arrived.revision = revision
    elif arrived.frames and arrived.revision != revision:
        arrived.forget()
    if not arrived.frames and (found is None or not found.reviews):
        return None
    return (clip.session_uid, revision, arrived.count)


def states(clip: bpy.types.MovieClip, object_id: int | None) -> dict[int, StripState]:
    """Return the state of each frame of a clip, of one object or of all (None)."""
    found = live_review.of_clip(clip)
    reviewed = found.states(object_id) if found is not None else {}
    arrived = clip_state.of(clip).part(_Arrived).frames
    return {**reviewed, **dict.fromkeys(arrived, DONE)}
