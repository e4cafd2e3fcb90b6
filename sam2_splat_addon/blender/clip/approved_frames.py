# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames that the user has looked at and found nothing wrong with, kept with the clip.

A tick holds for the matte that was looked at: once that is computed anew, it is looked at anew. It
is a property of the clip, so that it is saved, and Ctrl+Z takes it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import bpy
import msgspec

from ..context import properties
from ..context.stored_text import decoded, text_of

# Of a matte's key, which is a hash.
_KEY_LETTERS = 16

Ticks = dict[int, dict[int, str]]
"""Object id -> frame of the clip -> the matte that was looked at."""


def of_clip(clip: bpy.types.MovieClip) -> Ticks:
    """All ticks of a clip, of mattes that may be others by now; not to be changed."""
    return _decoded(text_of(properties.of_clip(clip), "fine_frames"))


def still_fine(clip: bpy.types.MovieClip, object_id: int, keys: dict[int, str]) -> set[int]:
    """The ticked frames of an object whose matte is still the one that was looked at.

    Parameters
    ----------
    keys
        Frame -> the key of its matte now.
    """
    ticks = of_clip(clip).get(object_id, {})
    return {at for at, key in ticks.items() if at in keys and keys[at][:_KEY_LETTERS] == key}


def tick(clip: bpy.types.MovieClip, object_id: int, frame: int, key: str, *, is_fine: bool) -> None:
    """Say that the matte with a key looks fine on a frame of an object, or take that back."""
    ticks = {one: dict(frames) for one, frames in of_clip(clip).items()}
    own = ticks.setdefault(object_id, {})
    if is_fine:
        own[frame] = key[:_KEY_LETTERS]
    else:
        own.pop(frame, None)
    _keep(clip, ticks)


def move(clip: bpy.types.MovieClip, moves: Mapping[int, int]) -> None:
    """Take the ticks along to other frames, frame -> frame; those of other frames go."""
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
