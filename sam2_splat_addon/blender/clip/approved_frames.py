# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames that the user has ticked as fine, kept with the clip.

A tick counts only for the matte that the user has seen, not for a new one. The ticks are a property of
the clip, so that they are saved and Ctrl+Z undoes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import bpy
import msgspec

from ..context import properties
from ..context.stored_text import decoded, text_of

# Letters that are kept of a matte's key, which is a hash.
_KEY_LETTERS = 16

Ticks = dict[int, dict[int, str]]
"""Object id -> frame of the clip -> key of the matte that the user has seen."""


def of_clip(clip: bpy.types.MovieClip) -> Ticks:
    """Return all ticks of a clip, also of mattes that have changed since. Don't modify the result."""
    return _decoded(text_of(properties.of_clip(clip), "fine_frames"))


def still_fine(clip: bpy.types.MovieClip, object_id: int, keys: dict[int, str]) -> set[int]:
    """Return the ticked frames of an object whose matte is still the one that the user has seen.

    Parameters
    ----------
    keys
        Frame -> key of its present matte.
    """
    ticks = of_clip(clip).get(object_id, {})
    return {at for at, key in ticks.items() if at in keys and keys[at][:_KEY_LETTERS] == key}


def tick(clip: bpy.types.MovieClip, object_id: int, frame: int, key: str, *, is_fine: bool) -> None:
    """Set whether the matte with a key is ticked as fine, on a frame of an object."""
    ticks = {one: dict(frames) for one, frames in of_clip(clip).items()}
    own = ticks.setdefault(object_id, {})
    if is_fine:
        own[frame] = key[:_KEY_LETTERS]
    else:
        own.pop(frame, None)
    _keep(clip, ticks)


def move(clip: bpy.types.MovieClip, moves: Mapping[int, int]) -> None:
    """Move the ticks to other frames, frame -> frame. Ticks of frames that are not named are dropped."""
    kept = {
        one: {moves[at]: key for at, key in frames.items() if at in moves}
        for one, frames in of_clip(clip).items()
    }
    _keep(clip, kept)


def _keep(clip: bpy.types.MovieClip, ticks: Ticks) -> None:
    kept = {one: frames for one, frames in ticks.items() if frames}
    properties.of_clip(clip).fine_frames = msgspec.json.encode(kept).decode() if kept else ""


@lru_cache(maxsize=4)
def _decoded(text: str) -> Ticks:
    return decoded(text, Ticks, {})
