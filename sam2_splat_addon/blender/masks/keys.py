# SPDX-License-Identifier: GPL-3.0-or-later
"""Set and read keys of mask layers, without changing the user's view.

Scripts can't reach the keys of a mask layer. An operator of the Clip Editor sets a key, on the scene's
current frame and for every layer with selected points. To read a key, the mask is evaluated on its
frame. Both use an empty scene of our own. So the user's playhead stays where it is, and only masks are
evaluated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import bpy
import numpy as np
from numpy.typing import NDArray

from ..context import session_state
from ..context.present import present
from ..context.session_state import SessionPart

_SCRATCH_SCENE = ".sam2_splat_keys"
_FREE_HANDLES = 0
_SELECTED = ("select", "select_control_point", "select_left_handle", "select_right_handle")
_CHANNELS = ("co", "handle_left", "handle_right")


@dataclass
class _Restored(SessionPart):
    """What `points_restored` will restore, by the mask's session uid: layer -> points."""

    by_mask: dict[int, dict[str, tuple[SplineState, ...]]] = field(default_factory=dict)


@dataclass(frozen=True)
class SplineState:
    """The points of one spline in mask space, float32, as a key holds them.

    Attributes
    ----------
    co, left, right
        Points, their left and their right handles, (n, 2) each.
    cyclic
        Whether the spline is closed. An open one encloses nothing.
    """

    co: NDArray[np.float32]
    left: NDArray[np.float32]
    right: NDArray[np.float32]
    cyclic: bool

    def has_points_of(self, other: SplineState) -> bool:
        """Whether points and handles are the same."""
        return all(
            np.array_equal(own, one)
            for own, one in (
                (self.co, other.co),
                (self.left, other.left),
                (self.right, other.right),
            )
        )


def named(collection: Any, name: str) -> Any:
    """Return the entry with a name in one of Blender's collections, or None."""
    return collection.get(name)


def mask_by_uid(uid: int) -> bpy.types.Mask | None:
    """Return a mask by its session uid. An undo between two steps makes references invalid."""
    return next((mask for mask in bpy.data.masks if mask.session_uid == uid), None)


@contextmanager
def scratch_scene() -> Iterator[bpy.types.Scene]:
    """Give an empty scene to evaluate masks in. It is removed afterwards if it was made here."""
    existing = named(bpy.data.scenes, _SCRATCH_SCENE)
    scene = existing or bpy.data.scenes.new(_SCRATCH_SCENE)
    try:
        yield scene
    finally:
        scene = named(bpy.data.scenes, _SCRATCH_SCENE)
        if existing is None and scene is not None:
            bpy.data.scenes.remove(scene)


def evaluate(scene: bpy.types.Scene, frame: int) -> None:
    """Evaluate all masks on a frame, without the handlers that `frame_set` calls."""
    scene.frame_current = frame
    scene.view_layers[0].update()


def keyed_state(
    scene: bpy.types.Scene, mask: bpy.types.Mask, layer_name: str, frame: int
) -> tuple[SplineState, ...]:
    """Return the points of a layer's splines on a frame, according to its keys."""
    return keyed_states(scene, mask, (layer_name,), frame)[layer_name]


def keyed_states(
    scene: bpy.types.Scene, mask: bpy.types.Mask, names: Collection[str], frame: int
) -> dict[str, tuple[SplineState, ...]]:
    """Return the points of several layers on a frame, without layers that don't exist."""
    evaluate(scene, frame)
    # Read the evaluated copy, because in a window the mask itself follows the window's scene only.
    layers = mask.evaluated_get(present(scene.view_layers[0].depsgraph)).layers
    return {name: layer_state(layers[name]) for name in names if name in layers}


@contextmanager
def points_restored(
    mask: bpy.types.Mask, but: Collection[str] = (), *, in_steps: bool = False
) -> Iterator[None]:
    """Restore the points at the end, also edits without a key, in all layers but those in ``but``.

    A mask itself may follow every scene that is evaluated. Without a window it always does. In a window
    it does after a key was set in our own scene. Within another call for the same mask, the outer call
    restores the points.

    Parameters
    ----------
    in_steps
        Whether the window goes on meanwhile. Then it may be on another frame at the end, and the points
        are not restored there: `show_keys` is for that.
    """
    uid, restored = mask.session_uid, session_state.part(_Restored).by_mask
    if uid in restored or (in_steps and not bpy.app.background):
        yield
        return
    before = {layer.name: layer_state(layer) for layer in mask.layers if layer.name not in but}
    restored[uid] = before
    try:
        yield
    finally:
        del restored[uid]
        found = mask_by_uid(uid)
        for name, states in before.items():
            _put_back(found, name, states)


def to_be_restored(mask: bpy.types.Mask, layer_name: str) -> None:
    """Let a running `points_restored` restore a layer to its present points."""
    before = session_state.part(_Restored).by_mask.get(mask.session_uid)
    if before is not None:
        before[layer_name] = layer_state(mask.layers[layer_name])


def _put_back(
    mask: bpy.types.Mask | None, layer_name: str, states: tuple[SplineState, ...]
) -> None:
    """Set a layer's points, unless its splines have changed since."""
    layer = named(mask.layers, layer_name) if mask is not None else None
    if layer is None or len(layer.splines) != len(states):
        return
    for spline, state in zip(layer.splines, states, strict=True):
        # Only set points that differ, because Blender copies a mask that was changed.
        if len(spline.points) == len(state.co) and not _spline_state(spline).has_points_of(state):
            set_points(spline, state.co, state.left, state.right)


def show_keys(mask: bpy.types.Mask, but: Collection[str] = ()) -> None:
    """Let a mask show its keys on the user's frame, in all layers but those in ``but``.

    Edits without a key are lost.
    """
    kept = {layer.name: layer_state(layer) for layer in mask.layers if layer.name in but}
    mask.update_tag(refresh={"TIME"})
    present(bpy.context.view_layer).update()
    for name, states in kept.items():
        _put_back(mask, name, states)


def layer_state(layer: bpy.types.MaskLayer) -> tuple[SplineState, ...]:
    """Return the present points of a layer's splines."""
    return tuple(_spline_state(spline) for spline in layer.splines)


def _spline_state(spline: bpy.types.MaskSpline) -> SplineState:
    points = spline.points
    values = np.empty((len(_CHANNELS), len(points) * 2), dtype=np.float32)
    for channel, flat in zip(_CHANNELS, values, strict=True):
        points.foreach_get(channel, flat)
    co, left, right = values.reshape(len(_CHANNELS), -1, 2)
    return SplineState(co, left, right, bool(spline.use_cyclic))


def selected_splines(layer: bpy.types.MaskLayer) -> list[int]:
    """Return the numbers of the splines with a selected point or handle."""
    found = []
    for number, spline in enumerate(layer.splines):
        points = spline.points
        chosen = np.zeros(len(points), dtype=bool)
        for name in _SELECTED:
            if name in points[0].bl_rna.properties:
                flags = np.zeros(len(points), dtype=bool)
                points.foreach_get(name, flags)
                chosen |= flags
        if chosen.any():
            found.append(number)
    return found


def set_points(
    spline: bpy.types.MaskSpline,
    co: NDArray[np.float32],
    left: NDArray[np.float32],
    right: NDArray[np.float32],
) -> None:
    """Set all points and handles of a spline, (n, 2) each, in mask space."""
    points = spline.points
    for channel, values in zip(_CHANNELS, (co, left, right), strict=True):
        points.foreach_set(channel, np.ascontiguousarray(values).ravel())


def set_layer_points(layer: bpy.types.MaskLayer, points: NDArray[np.float32]) -> None:
    """Set the points of all of a layer's splines in mask space.

    Parameters
    ----------
    points
        (n, 2) for straight edges, or (3, n, 2) with their left and right handles.
    """
    channels = np.broadcast_to(points, (len(_CHANNELS), *points.shape[-2:]))
    start = 0
    for spline in layer.splines:
        stop = start + len(spline.points)
        set_points(spline, *channels[:, start:stop])
        start = stop


def stacked(states: tuple[SplineState, ...]) -> NDArray[np.float32]:
    """Return the points of a layer in the form for `set_layer_points`, (3, n, 2)."""
    return np.concatenate([np.stack([one.co, one.left, one.right]) for one in states], axis=1)


def add_layer(mask: bpy.types.Mask, name: str) -> bpy.types.MaskLayer:
    """Add an empty layer at the end."""
    layer = mask.layers.new(name=name)
    _structure_changed(mask)
    return layer


def remove_layer(mask: bpy.types.Mask, layer: bpy.types.MaskLayer) -> None:
    """Remove a layer. References to it and to its splines are invalid afterwards."""
    mask.layers.remove(layer)
    _structure_changed(mask)


def _structure_changed(mask: bpy.types.Mask) -> None:
    """Let Blender copy a mask again before the next evaluation.

    Blender does not do so by itself when a script adds or removes layers or splines. On the next frame
    it would write the points of the old copy into the mask's new layers. That writes past the end of
    shorter splines, and to a null pointer if there are more.
    """
    mask.update_tag()


def add_splines(layer: bpy.types.MaskLayer, counts: tuple[int, ...]) -> None:
    """Add closed splines of straight edges to an empty layer. ``counts`` are their numbers of points."""
    for count in counts:
        spline = layer.splines.new()
        spline.points.add(count - len(spline.points))
        spline.use_cyclic = True
        spline.points.foreach_set("handle_type", np.full(count, _FREE_HANDLES, dtype=np.int32))
    _structure_changed(cast(bpy.types.Mask, layer.id_data))


@contextmanager
def mask_editor(
    mask: bpy.types.Mask,
    layer: bpy.types.MaskLayer,
    clip: bpy.types.MovieClip,
    *more: bpy.types.MaskLayer,
) -> Iterator[None]:
    """Give a context in which mask operators act on one layer only, or on some more.

    This borrows a Clip Editor, or another editor if none is open, and restores it afterwards.
    """
    window = bpy.context.window or present(bpy.context.window_manager).windows[0]
    areas = list(window.screen.areas)
    area = next((one for one in areas if one.type == "CLIP_EDITOR"), None)
    if area is None:
        area = min(areas, key=lambda one: one.width * one.height)
    kind = area.ui_type
    layers = (layer, *more)
    names = {one.name for one in layers}
    others = [(one, one.hide_select) for one in mask.layers if one.name not in names]
    own = [(one, one.hide, one.hide_select) for one in layers]
    area.type = "CLIP_EDITOR"
    space: Any = area.spaces.active
    before = (space.clip, space.mask, space.mode, space.view)
    try:
        for one in layers:
            one.hide = one.hide_select = False
            _select(one, is_selected=True)
        for one, _ in others:
            # The operator sets a key for every layer that has selected points and can be selected.
            one.hide_select = True
        space.clip, space.mask, space.mode = clip, mask, "MASK"
        region = next(one for one in area.regions if one.type == "WINDOW")
        with bpy.context.temp_override(window=window, area=area, region=region, space_data=space):
            yield
    finally:
        for one in layers:
            _select(one, is_selected=False)
        for one, hidden in others:
            one.hide_select = hidden
        for one, hide, hide_select in own:
            one.hide, one.hide_select = hide, hide_select
        space.clip, space.mask, space.mode, space.view = before
        if area.ui_type != kind:
            area.ui_type = kind


def _select(layer: bpy.types.MaskLayer, *, is_selected: bool) -> None:
    for spline in layer.splines:
        points = spline.points
        points.foreach_set("select", np.full(len(points), is_selected))
