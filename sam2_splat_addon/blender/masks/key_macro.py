# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets several keys of a mask layer in one go; imports bpy.

Blender brings its data up to date before and after every operator that a script calls, and for that
copies the mask with all its keys: a thousand keys of a thousand points are 30 MB, several times a
frame. Between the operators of a macro it does not, so one call of a macro sets many keys.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import bpy
import numpy as np
from bpy.types import Context, Macro, Operator
from numpy.typing import NDArray

from ...core.errors import SplatError
from . import keys as mask_keys

Key = tuple[int, NDArray[np.float32]]
"""A scene frame, and the points of all splines on it: see `mask_keys.set_layer_points`."""

# Keys that one call sets at most.
_MOST = 32

_Done = set[Literal["CANCELLED", "FINISHED"]]


@dataclass
class _Work:
    """What the macro that runs now writes.

    Attributes
    ----------
    keys
        Those still to be set.
    seconds, deadline
        How long to go on once the first key is placed, and until when; one key is always set.
    placed
        The key whose points are in the layer, but which is not set yet.
    """

    layer: bpy.types.MaskLayer
    scene: bpy.types.Scene
    keys: Iterator[Key]
    seconds: float
    deadline: float = math.inf
    placed: Key | None = None
    done: list[Key] = field(default_factory=list)


_work: _Work | None = None


def insert_keys(
    layer: bpy.types.MaskLayer,
    scene: bpy.types.Scene,
    keys: Iterable[Key],
    *,
    seconds: float = 0.0,
) -> list[Key]:
    """Set keys until so many seconds have gone, one at least; call it within `mask_editor`.

    Parameters
    ----------
    layer
        Its points are those of the last key afterwards.
    scene
        A scene to set keys in, which is left on the last key's frame.
    keys
        As many are taken as are set.

    Returns
    -------
    list
        The keys that were set.

    Raises
    ------
    SplatError
        Blender would not set a key.
    """
    global _work
    work = _work = _Work(layer, scene, iter(keys), seconds)
    try:
        with bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0]):
            bpy.ops.sam2_splat.write_keys()
    finally:
        _work = None
    if work.placed is not None:
        raise SplatError(
            f"Blender would not set a key on frame {work.placed[0]} of the mask layer"
            f' "{layer.name}".',
            "Unlock the layer and try again.",
        )
    return work.done


class SAM2SPLAT_OT_place_key(Operator):
    """Put the points of the next key into the layer"""

    bl_idname = "sam2_splat.place_key"
    bl_label = "Place Key"
    bl_options = {"INTERNAL"}

    def execute(self, context: Context) -> _Done:
        if _work is None or (_work.done and time.monotonic() >= _work.deadline):
            return {"CANCELLED"}  # and with it the rest of the macro
        _work.placed = next(_work.keys, None)
        if _work.placed is None:
            return {"CANCELLED"}
        if not _work.done:
            # Not from the call on: before it, Blender brings its data up to date.
            _work.deadline = time.monotonic() + _work.seconds
        frame, co = _work.placed
        # Nothing is evaluated on that frame: that would bring back the points of its key.
        _work.scene.frame_current = frame
        mask_keys.set_layer_points(_work.layer, co)
        return {"FINISHED"}


class SAM2SPLAT_OT_key_placed(Operator):
    """Take note that the key is set"""

    bl_idname = "sam2_splat.key_placed"
    bl_label = "Key Placed"
    bl_options = {"INTERNAL"}

    def execute(self, context: Context) -> _Done:
        if _work is not None and _work.placed is not None:
            _work.done.append(_work.placed)
            _work.placed = None
        return {"FINISHED"}


class SAM2SPLAT_OT_write_keys(Macro):
    """Set the next keys of a mask layer"""

    bl_idname = "sam2_splat.write_keys"
    bl_label = "Write Keys"
    bl_options = {"INTERNAL"}


CLASSES: tuple[Any, ...] = (
    SAM2SPLAT_OT_place_key,
    SAM2SPLAT_OT_key_placed,
    SAM2SPLAT_OT_write_keys,
)


def define_macro() -> None:
    """Fill the macro, once its operators are registered."""
    macro: Any = SAM2SPLAT_OT_write_keys
    for _ in range(_MOST):
        # Blender's own names, made of `bl_idname`; it crashes over one that it doesn't know.
        macro.define("SAM2_SPLAT_OT_place_key")
        macro.define("MASK_OT_shape_key_insert")
        macro.define("SAM2_SPLAT_OT_key_placed")
