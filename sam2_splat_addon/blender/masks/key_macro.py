# SPDX-License-Identifier: GPL-3.0-or-later
"""Set many keys of mask layers at once, and move layers.

Blender updates its data before and after every operator that a script calls. For that it copies the
mask with all its keys: a thousand keys of a thousand points are 30 MB, several times a frame. Between
the operators of a macro it does not, so one call of a macro sets many keys.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import bpy
import numpy as np
from bpy.types import Context, Macro, Operator
from numpy.typing import NDArray

from ...core.errors import SplatError
from ..context import session_state
from ..context.session_state import SessionPart
from ..context.task_runner import Result
from . import keys as mask_keys

Key = tuple[int, NDArray[np.float32]]
"""A scene frame, and the points of all splines on it. See `keys.set_layer_points`."""
LayerKey = tuple[bpy.types.MaskLayer, int, NDArray[np.float32]]
"""A layer, with a scene frame and its points."""

# Most keys that one call sets.
_MOST = 128


@dataclass
class _Work:
    """What the running macro writes.

    Attributes
    ----------
    keys
        The keys that are not set yet.
    seconds, deadline
        Time to go on after the first key, and when it ends. At least one key is set.
    placed
        The key whose points are in the layer already, but which is not set yet.
    opened
        The only layer that can be selected, and so gets keys.
    """

    scene: bpy.types.Scene
    keys: Iterator[LayerKey]
    seconds: float
    deadline: float = math.inf
    placed: LayerKey | None = None
    opened: bpy.types.MaskLayer | None = None
    done: list[LayerKey] = field(default_factory=list)

    def open_alone(self, layer: bpy.types.MaskLayer) -> None:
        """Let this layer alone get the next key."""
        if layer == self.opened:
            return
        others = (
            cast(bpy.types.Mask, layer.id_data).layers if self.opened is None else (self.opened,)
        )
        for other in others:
            other.hide_select = True
        layer.hide_select = False
        self.opened = layer


@dataclass
class _Macros(SessionPart):
    """The work of the running macros. It ends with their call.

    Attributes
    ----------
    work
        The keys to set.
    moves
        The layers to move up, with their masks.
    """

    work: _Work | None = None
    moves: Iterator[tuple[bpy.types.Mask, str]] = field(default_factory=lambda: iter(()))


def insert_keys(
    layer: bpy.types.MaskLayer,
    scene: bpy.types.Scene,
    keys: Iterable[Key],
    *,
    seconds: float = 0.0,
) -> list[Key]:
    """Set keys of one layer, as `insert_keys_of` does."""
    of_layer = ((layer, *key) for key in keys)
    return [
        (frame, points) for _, frame, points in insert_keys_of(scene, of_layer, seconds=seconds)
    ]


def insert_keys_of(
    scene: bpy.types.Scene, keys: Iterable[LayerKey], *, seconds: float = 0.0
) -> list[LayerKey]:
    """Set keys for some seconds, at least one key. Call it within `mask_editor`.

    Parameters
    ----------
    scene
        A scene to set keys in. Afterwards it is on the last key's frame.
    keys
        The keys, all of layers that the editor is opened for. Only keys that are set are taken. Afterwards
        a layer has the points of its last key.

    Returns
    -------
    list
        The keys that were set.

    Raises
    ------
    SplatError
        Blender did not set a key.
    """
    work = _Work(scene, iter(keys), seconds)
    session_state.part(_Macros).work = work
    try:
        with bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0]):
            cast(Any, bpy.ops).sam2_splat.write_keys()
    finally:
        session_state.part(_Macros).work = None
    if work.placed is not None:
        layer, frame, _ = work.placed
        raise SplatError(
            f'Blender did not set a key on frame {frame} of the mask layer "{layer.name}".',
            "Unlock the layer and try again.",
        )
    return work.done


def move_up(mask: bpy.types.Mask, names: Sequence[str]) -> None:
    """Move layers up by one place, one after the other. Call it within `mask_editor`.

    Afterwards the last one is active.
    """
    macros = session_state.part(_Macros)
    for start in range(0, len(names), _MOST):
        macros.moves = ((mask, name) for name in names[start : start + _MOST])
        try:
            cast(Any, bpy.ops).sam2_splat.move_layers()
        finally:
            macros.moves = iter(())


class SAM2SPLAT_OT_pick_layer(Operator):
    """Choose the next layer to move"""

    bl_idname = "sam2_splat.pick_layer"
    bl_label = "Pick Layer"
    bl_options = {"INTERNAL"}

    def execute(self, context: Context) -> Result:
        chosen = next(session_state.part(_Macros).moves, None)
        if chosen is None:
            return {"CANCELLED"}  # and with it the rest of the macro
        mask, name = chosen
        mask.active_layer_index = mask.layers.find(name)
        return {"FINISHED"}


class SAM2SPLAT_OT_move_layers(Macro):
    """Move mask layers up"""

    bl_idname = "sam2_splat.move_layers"
    bl_label = "Move Layers"
    bl_options = {"INTERNAL"}


class SAM2SPLAT_OT_place_key(Operator):
    """Put the points of the next key into the layer"""

    bl_idname = "sam2_splat.place_key"
    bl_label = "Place Key"
    bl_options = {"INTERNAL"}

    def execute(self, context: Context) -> Result:
        work = session_state.part(_Macros).work
        if work is None or (work.done and time.monotonic() >= work.deadline):
            return {"CANCELLED"}  # and with it the rest of the macro
        work.placed = next(work.keys, None)
        if work.placed is None:
            return {"CANCELLED"}
        if not work.done:
            # The time does not count from the call on, because Blender updates its data first.
            work.deadline = time.monotonic() + work.seconds
        layer, frame, points = work.placed
        # Don't evaluate the frame, because that would restore the points of its old key.
        work.scene.frame_current = frame
        mask_keys.set_layer_points(layer, points)
        work.open_alone(layer)
        return {"FINISHED"}


class SAM2SPLAT_OT_key_placed(Operator):
    """Note that the key is set"""

    bl_idname = "sam2_splat.key_placed"
    bl_label = "Key Placed"
    bl_options = {"INTERNAL"}

    def execute(self, context: Context) -> Result:
        work = session_state.part(_Macros).work
        if work is not None and work.placed is not None:
            work.done.append(work.placed)
            work.placed = None
        return {"FINISHED"}


class SAM2SPLAT_OT_write_keys(Macro):
    """Set the next keys of a mask layer"""

    bl_idname = "sam2_splat.write_keys"
    bl_label = "Write Keys"
    bl_options = {"INTERNAL"}


CLASSES: tuple[Any, ...] = (
    SAM2SPLAT_OT_pick_layer,
    SAM2SPLAT_OT_move_layers,
    SAM2SPLAT_OT_place_key,
    SAM2SPLAT_OT_key_placed,
    SAM2SPLAT_OT_write_keys,
)


def define_macros() -> None:
    """Fill the macros with their operators, after these are registered."""
    moves: Any = SAM2SPLAT_OT_move_layers
    for _ in range(_MOST):
        moves.define("SAM2_SPLAT_OT_pick_layer")
        moves.define("MASK_OT_layer_move").properties.direction = "UP"
    macro: Any = SAM2SPLAT_OT_write_keys
    for _ in range(_MOST):
        # Blender's own form of `bl_idname`. An unknown name would crash Blender.
        macro.define("SAM2_SPLAT_OT_place_key")
        macro.define("MASK_OT_shape_key_insert")
        macro.define("SAM2_SPLAT_OT_key_placed")
