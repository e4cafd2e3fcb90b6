# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames on which only the prompts say where an object is, kept with the clip.

They are a property of the clip, so that they are saved and Ctrl+Z undoes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import bpy
import msgspec

from ..context import properties
from ..context.stored_text import decoded, text_of

_Frames = dict[int, frozenset[int]]  # object id -> frames of the clip


def of_object(clip: bpy.types.MovieClip, object_id: int) -> frozenset[int]:
    """Return the frames on which an object starts anew, with or without prompts."""
    return _of_clip(clip).get(object_id, frozenset())


def mark(clip: bpy.types.MovieClip, object_id: int, frame: int, *, anew: bool) -> None:
    """Set whether an object starts anew on a frame."""
    own = of_object(clip, object_id)
    own = own | {frame} if anew else own - {frame}
    _keep(clip, {**_of_clip(clip), object_id: own})


def move(clip: bpy.types.MovieClip, moves: Mapping[int, int]) -> None:
    """Move the marks to other frames, frame -> frame. Marks of frames that are not named are dropped."""
    _keep(
        clip,
        {
            object_id: frozenset(moves[at] for at in frames if at in moves)
            for object_id, frames in _of_clip(clip).items()
        },
    )


def _of_clip(clip: bpy.types.MovieClip) -> _Frames:
    return _decoded(text_of(properties.of_clip(clip), "anew_frames"))


def _keep(clip: bpy.types.MovieClip, frames: _Frames) -> None:
    kept = {object_id: sorted(own) for object_id, own in sorted(frames.items()) if own}
    properties.of_clip(clip).anew_frames = msgspec.json.encode(kept).decode() if kept else ""


@lru_cache(maxsize=4)
def _decoded(text: str) -> _Frames:
    return decoded(text, _Frames, {})
