# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip's mask prompts, which have no marker. They are saved in the .blend file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bpy
import msgspec
from numpy.typing import NDArray

from ...core.edited_prompts import mask_prompt
from ...core.errors import PromptError
from ...core.prompts import FramePrompts, MaskPrompt, ObjectPrompts, PromptSet, from_json
from ...core.protocol import EditedMatte
from ..context import properties
from ..context.stored_text import text_of
from . import shown


def has_mask(clip: bpy.types.MovieClip, object_id: int, frame: int) -> bool:
    """Whether an object has a mask prompt on a frame."""
    return frame in _by_frame(_stored(clip), object_id)


def set_from_outlines(
    clip: bpy.types.MovieClip,
    object_id: int,
    frame: int,
    outlines: Sequence[NDArray[Any]],
) -> None:
    """Make drawn outlines, (n, 2) shown px each, an object's mask prompt on a frame.

    Raises PromptError if they enclose nothing, because SAM 2 has no prompt for "not there".
    """
    at = shown.of(clip, frame)
    flat = tuple(tuple(at.points_to_stored(one).ravel().tolist()) for one in outlines)
    mask = mask_prompt(EditedMatte(object_id, frame, flat), at.photo.width, at.photo.height)
    if not any(mask.runs[1::2]):
        raise PromptError(
            f"The mask on frame {frame} is empty, and SAM 2 can't be told that nothing is there.",
            "Draw the subject's outline or use exclude clicks.",
        )
    _set(clip, object_id, {frame: mask})


def set_many(clip: bpy.types.MovieClip, object_id: int, masks: Mapping[int, MaskPrompt]) -> None:
    """Make masks an object's mask prompts, by frame. Its masks on other frames stay."""
    _set(clip, object_id, masks)


def remove(clip: bpy.types.MovieClip, object_id: int, frame: int) -> None:
    """Remove an object's mask prompt on a frame, if it has one."""
    _set(clip, object_id, {frame: None})


def _stored(clip: bpy.types.MovieClip) -> PromptSet:
    text = text_of(properties.of_clip(clip), "mask_prompts")
    if not text:
        return PromptSet(())
    return from_json(text.encode(), f"The mask prompts of {clip.name!r}")


def _by_frame(stored: PromptSet, object_id: int) -> dict[int, FramePrompts]:
    return {
        prompts.frame: prompts
        for entry in stored.objects
        if entry.id == object_id
        for prompts in entry.frames
    }


def _set(clip: bpy.types.MovieClip, object_id: int, masks: Mapping[int, MaskPrompt | None]) -> None:
    stored = _stored(clip)
    frames = _by_frame(stored, object_id)
    for frame, mask in masks.items():
        if mask is None:
            frames.pop(frame, None)
        else:
            frames[frame] = FramePrompts(frame, mask=mask)
    settings = properties.of_clip(clip)
    name = next((one.name for one in settings.objects if one.object_id == object_id), "")
    own = ObjectPrompts(object_id, name, tuple(frames[at] for at in sorted(frames)))
    objects = [entry for entry in stored.objects if entry.id != object_id]
    if own.frames:
        objects = sorted([*objects, own], key=lambda entry: entry.id)
    sizes = shown.stored_sizes(clip)
    kept = msgspec.structs.replace(
        stored, objects=tuple(objects), width=sizes.width, height=sizes.height
    )
    # Without line breaks, because there may be a mask on each of a thousand photos.
    settings.mask_prompts = msgspec.json.encode(kept).decode() if objects else ""
