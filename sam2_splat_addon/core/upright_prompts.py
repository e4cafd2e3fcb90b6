# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn prompts upright, as the model sees the photos. Everywhere else prompts are in stored pixels."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from .footage.sizes import PhotoSizes
from .geometry.orientation import AS_STORED, PhotoShape
from .prompts import BoxPrompt, FramePrompts, MaskPrompt, ObjectPrompts, PointPrompt


def upright_object(prompts: ObjectPrompts, sizes: PhotoSizes) -> ObjectPrompts:
    """Turn all prompts of an object upright: from stored px of each photo to px of the upright photo."""
    if sizes.are_as_stored:
        return prompts
    frames = tuple(upright_frame(at, sizes.shape(at.frame)) for at in prompts.frames)
    return replace(prompts, frames=frames)


def upright_frame(prompts: FramePrompts, shape: PhotoShape) -> FramePrompts:
    """Turn the prompts of one photo upright: from stored px to px of the upright photo."""
    if shape.orientation == AS_STORED:
        return prompts

    def point(at: PointPrompt) -> PointPrompt:
        x, y = shape.points_to_upright(np.array([[at.x, at.y]]))[0].tolist()
        return PointPrompt(x, y, at.include)

    box, mask = prompts.box, prompts.mask
    if box is not None:
        box = BoxPrompt(*shape.box_to_upright((box.x0, box.y0, box.x1, box.y1)))
    if mask is not None:
        mask = MaskPrompt.from_array(shape.mask_to_upright(mask.to_array()))
    return FramePrompts(
        prompts.frame, tuple(point(at) for at in prompts.points), box, mask, prompts.anew
    )
