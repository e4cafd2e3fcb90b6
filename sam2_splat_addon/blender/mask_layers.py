# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask layers that show mattes and can be edited: written, read back, edits found; imports bpy and core.

One mask a clip, one layer an object, named after it, one key a frame. A layer's splines are the slots of
a plan (`core/slots.py`). Frames that are not tracked show nothing: beside every run of tracked frames
stands a key on which all splines are collapsed.

What was written is remembered in the mask itself, as one signature a frame, so that a frame the user has
edited is known by its points being others.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence

import bpy
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..core.contours import from_outlines
from ..core.coordinates import mask_to_pixels, pixels_to_mask
from ..core.errors import SplatError
from ..core.slots import SlotPlan
from . import mask_keys
from .mask_keys import SplineState

# Custom property of the mask: layer name -> WrittenLayer as JSON.
_WRITTEN = "sam2_splat_written"
# Blender draws every cubic as this many straight pieces.
_CUBIC_STEPS = 24
# How far area and first moments, in units of the longer side, may differ when the user has added
# or removed points: float32 rounding, far below the change that a visible edit makes.
_SAME_SHAPE = 2e-6
_LAYER_SETTINGS = (
    "alpha",
    "blend",
    "invert",
    "falloff",
    "hide",
    "hide_render",
    "hide_select",
    "use_fill_overlap",
)


class WrittenFrame(msgspec.Struct, frozen=True, array_like=True):
    """What was written on one scene frame, in short.

    Attributes
    ----------
    checksum
        CRC-32 of all points and handles as float32.
    points
        How many points there were.
    moments
        Area and its first moments in mask space.
    """

    checksum: int
    points: int
    moments: tuple[float, float, float]


class WrittenLayer(msgspec.Struct, frozen=True):
    """What was written into a layer: its frames, and those that hold a user's edit already."""

    frames: dict[int, WrittenFrame]
    edited: tuple[int, ...] = ()


def get_mask(clip: bpy.types.MovieClip) -> bpy.types.Mask:
    """The mask that shows a clip's results; made on first use."""
    settings = clip.sam2_splat
    if settings.mask is None:
        settings.mask = bpy.data.masks.new(clip.name)
    return settings.mask


def write_object_layer(
    mask: bpy.types.Mask,
    clip: bpy.types.MovieClip,
    layer_name: str,
    plan: SlotPlan,
    scene_frames: Sequence[int],
    size: tuple[int, int],
    *,
    edited: Collection[int] = (),
) -> Iterator[int]:
    """Make an object's layer again and key it frame by frame.

    Parameters
    ----------
    mask
        The clip's mask.
    clip
        The clip that the mask belongs to.
    layer_name
        Name of the object; an existing layer of that name is replaced in its place, with its
        settings.
    plan
        The object's splines, one frame of the plan for each of `scene_frames`.
    scene_frames
        Scene frames that the plan's frames stand on, rising.
    size
        Width and height of the footage in px.
    edited
        Those of `scene_frames` whose outlines are the user's own: they stay edited frames.

    Yields
    ------
    int
        Each scene frame once it is written. Closed early, the layer holds the frames so far.

    Raises
    ------
    SplatError
        Mask, layer or clip were removed meanwhile.
    """
    if len(scene_frames) != len(plan):
        raise ValueError("the plan and the frames differ in number")
    names = (mask.name, clip.name)
    layer = _remade_layer(mask, layer_name)
    mask_keys.add_splines(layer, tuple(slot.count for slot in plan.slots))
    written: dict[int, WrittenFrame] = {}
    _remember(mask, layer_name, WrittenLayer({}))
    owned = bpy.data.scenes.get(mask_keys.SCRATCH_SCENE) is None
    try:
        # The empty keys come first: a layer that is left unfinished is empty after its last frame
        # as well.
        for frame, index in _empty_frames(scene_frames).items():
            written[frame] = _write(names, layer_name, frame, plan.collapsed(index), plan, size)
        for index, frame in enumerate(scene_frames):
            written[frame] = _write(names, layer_name, frame, plan.points(index), plan, size)
            following = frame + 1
            if index + 1 < len(scene_frames) and following not in written:
                pass
            yield frame
    finally:
        if owned:
            mask_keys.remove_scratch_scene()
        found = bpy.data.masks.get(names[0])
        if found is not None and layer_name in found.layers:
            _remember(found, layer_name, WrittenLayer(written, tuple(sorted(edited))))
