# SPDX-License-Identifier: GPL-3.0-or-later
"""Put other shapes on one frame of an object's mask layer: SAM 2's again, or none.

A layer has the same splines on all frames, so new shapes must fit into these splines.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import bpy
import msgspec
import numpy as np

from ...core.errors import SplatError
from ...core.geometry.coordinates import pixels_to_mask
from ...core.geometry.spline_slots import plan_frame
from ...core.geometry.trace import Contour
from . import edit_search, key_macro, keys, shapes
from .layers import LayerTarget, write_frame
from .own_splines import show_alone
from .written_layers import WrittenFrame, keep_drawn, remember, remembered


def restore_frame(
    mask: bpy.types.Mask,
    clip: bpy.types.MovieClip,
    layer_name: str,
    scene_frame: int,
    contours: Sequence[Contour],
) -> None:
    """Restore SAM 2's mask on a frame that the user edited. The frame no longer counts as edited.

    Parameters
    ----------
    contours
        The store's outlines on that frame. Empty if there is no matte.

    Raises
    ------
    SplatError
        The layer was removed, or Blender did not set the key.
    """
    signature = _put(mask, clip, layer_name, scene_frame, contours)
    written = remembered(mask, layer_name)
    if written is not None:
        edited = tuple(frame for frame in written.edited if frame != scene_frame)
        frames = {**written.frames, scene_frame: signature}
        remember(mask, layer_name, msgspec.structs.replace(written, frames=frames, edited=edited))
        keep_drawn(mask, layer_name, scene_frame, None)


def empty_frame(
    mask: bpy.types.Mask, clip: bpy.types.MovieClip, layer_name: str, scene_frame: int
) -> None:
    """Remove an object from a frame, as an edit by the user. Raises SplatError."""
    _put(mask, clip, layer_name, scene_frame, ())
    written = remembered(mask, layer_name)
    if written is not None and scene_frame not in written.edited:
        edited = tuple(sorted((*written.edited, scene_frame)))
        remember(mask, layer_name, msgspec.structs.replace(written, edited=edited))
    edit_search.keep_left(mask, layer_name, scene_frame)


def remove_contours(
    mask: bpy.types.Mask,
    clip: bpy.types.MovieClip,
    layer_name: str,
    scene_frame: int,
    chosen: Collection[int],
) -> None:
    """Remove some contours from the current frame only.

    Other changes on this frame that have no key yet are kept too.

    Parameters
    ----------
    chosen
        Numbers of the layer's splines.

    Raises
    ------
    SplatError
        Blender did not set the key.
    """
    layer = mask.layers[layer_name]
    size = (int(clip.size[0]), int(clip.size[1]))
    known = remembered(mask, layer_name)
    if known is not None and known.torn == scene_frame:
        # Its splines are there for this frame alone, so none has to be parked.
        state = keys.layer_state(layer)
        rest = [one for number, one in enumerate(state) if number not in chosen]
        show_alone(mask, clip, layer_name, scene_frame, shapes.outlines(rest, size), is_edit=True)
        return
    counts = [len(spline.points) for spline in layer.splines]
    parked = pixels_to_mask(plan_frame((), counts).parked(*size), *size).astype(np.float32)
    points = keys.stacked(keys.layer_state(layer))
    start = 0
    for number, count in enumerate(counts):
        if number in chosen:
            points[:, start : start + count] = parked[start : start + count]
        start += count
    with keys.points_restored(mask, but=(layer_name,)):
        with keys.scratch_scene() as scene, keys.mask_editor(mask, layer, clip):
            key_macro.insert_keys(layer, scene, [(scene_frame, points)])
        keys.show_keys(mask)
    edit_search.keep_left(mask, layer_name, scene_frame)


def _put(
    mask: bpy.types.Mask,
    clip: bpy.types.MovieClip,
    layer_name: str,
    scene_frame: int,
    contours: Sequence[Contour],
) -> WrittenFrame:
    layer = keys.named(mask.layers, layer_name)
    if layer is None:
        raise SplatError(f'There is no mask layer "{layer_name}".', "Propagate to make the layers.")
    size = (int(clip.size[0]), int(clip.size[1]))
    plan = plan_frame(contours, [len(spline.points) for spline in layer.splines])
    target = LayerTarget(mask.session_uid, clip.session_uid, layer_name, size)
    return write_frame(target, scene_frame, plan.points(0, *size))
