# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a layer splines for one photo alone.

A layer has the same splines on all frames, so most of them are parked on a frame, and the others have
more points than the frame needs. Here a layer gets just the splines of one frame. It is then *torn*
there, as if the user had deleted all splines and drawn new ones (`written_layers.py`). It is written
again for all frames when the playhead moves on.
"""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ...core.geometry.coordinates import pixels_to_mask
from . import edit_search, key_macro, keys, layers
from .keys import SplineState
from .written_layers import WrittenLayer, keep_drawn, remember, remembered, signature, splines_of


def show_alone(
    mask: bpy.types.Mask,
    clip: bpy.types.MovieClip,
    layer_name: str,
    scene_frame: int,
    outlines: Sequence[NDArray[np.float64]],
    *,
    is_edit: bool,
) -> None:
    """Make a layer show some outlines on one frame, with a key there. The layer may not exist yet.

    Parameters
    ----------
    outlines
        Closed outlines in px of the photo, (n, 2) each. Holes go clockwise as seen on screen.
    is_edit
        Whether this is the user's mask. Else it shows the same as before with other points, and only
        a later change makes it the user's mask.

    Raises
    ------
    SplatError
        Blender did not set the key.
    """
    edit_search.settle_torn(mask, layer_name)
    size = (int(clip.size[0]), int(clip.size[1]))
    state = tuple(_spline(points, size) for points in outlines)
    before = remembered(mask, layer_name) or WrittenLayer({}, (), int(clip.frame_start))
    with layers.order_kept(mask, clip):
        layer = layers.remade_layer(mask, layer_name)
        if before.locked:
            layer.hide_select = False
        keys.add_splines(layer, tuple(len(one.co) for one in state))
        if state:
            with keys.points_restored(mask, but=(layer_name,)):
                with keys.scratch_scene() as scene, keys.mask_editor(mask, layer, clip):
                    key_macro.insert_keys(layer, scene, [(scene_frame, keys.stacked(state))])
                keys.show_keys(mask)
    edited, frames = set(before.edited), dict(before.frames)
    if is_edit:
        edited.add(scene_frame)
        keep_drawn(mask, layer_name, scene_frame, state)
    elif scene_frame not in edited:
        frames[scene_frame] = signature(state)
    layer = mask.layers[layer_name]
    written = replace(
        before,
        frames=frames,
        edited=tuple(sorted(edited)),
        writing=0,
        splines=splines_of(layer),
        torn=scene_frame,
        locked=False,
    )
    remember(mask, layer_name, written)


def _spline(points: NDArray[np.float64], size: tuple[int, int]) -> SplineState:
    co = pixels_to_mask(points, *size).astype(np.float32)
    return SplineState(co, co, co, cyclic=True)
