# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn mattes that the user drew into mask prompts.

They travel as outlines: a few kilobytes, whatever the size of the photo. They are filled where they
are used, at a size that is larger than the input of any model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np

from .footage.sizes import PhotoSizes
from .geometry.rasterize import fill
from .prompts import FramePrompts, MaskPrompt, ObjectPrompts, PromptSet
from .protocol import EditedMatte

LONG_SIDE: Final = 2048
"""The longest side of a filled mask, px: twice the input of the largest model."""


def mask_prompt(edited: EditedMatte, width: int, height: int) -> MaskPrompt:
    """Fill a drawn matte of a ``width`` x ``height`` px photo, at most `LONG_SIDE` px long."""
    scale = min(1.0, LONG_SIDE / max(width, height))
    columns, rows = max(round(width * scale), 1), max(round(height * scale), 1)
    size = np.array([columns / width, rows / height])
    outlines = [
        np.asarray(flat, dtype=np.float64).reshape(-1, 2) * size for flat in edited.outlines
    ]
    return MaskPrompt.from_array(fill(outlines, columns, rows))


def with_edited(prompts: PromptSet, edited: Iterable[EditedMatte], sizes: PhotoSizes) -> PromptSet:
    """Return the prompts, with each drawn matte as a mask that replaces all prompts on its frame.

    Drawn mattes of objects without an entry are left out. Empty ones are left out too: SAM 2 has no
    prompt that says that an object is not there.
    """
    by_object: dict[int, dict[int, FramePrompts]] = {}
    for matte in edited:
        mask = mask_prompt(matte, *sizes.of(matte.frame))
        if any(mask.runs[1::2]):
            by_object.setdefault(matte.object_id, {})[matte.frame] = FramePrompts(
                matte.frame, mask=mask
            )
    objects = tuple(_with_masks(entry, by_object.get(entry.id, {})) for entry in prompts.objects)
    return msgspec.structs.replace(prompts, objects=objects)


def _with_masks(entry: ObjectPrompts, masks: dict[int, FramePrompts]) -> ObjectPrompts:
    others = (prompts for prompts in entry.frames if prompts.frame not in masks)
    return msgspec.structs.replace(entry, frames=(*others, *masks.values()))
