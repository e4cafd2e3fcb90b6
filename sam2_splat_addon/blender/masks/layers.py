# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask layers that show mattes and can be edited: write them, read them; imports bpy, core.

One mask a clip, one layer an object, named after it, one key a frame. A layer's splines are the
slots of a plan (`core/geometry/spline_slots.py`). Frames that are not tracked show nothing: beside
every run of tracked frames stands a key on which all splines are parked outside the picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ...core.errors import SplatError
from ...core.geometry.coordinates import pixels_to_mask
from ...core.geometry.spline_slots import SlotPlan
from . import edit_search, key_macro, shapes
from . import keys as mask_keys
from .keys import SplineState, named
from .written_layers import (
    States,
    WrittenFrame,
    WrittenLayer,
    drawn_frames,
    drawn_on,
    forget,
    keep_all_drawn,
    remember,
    remembered,
    signature,
    splines_of,
)

# How long a step sets keys, s; one at least.
_SLICE = 0.008
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
    mattes: int = 0,
) -> Iterator[Sequence[int]]:
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
        Those of `scene_frames` whose outlines are the user's own: they are written first and stay
        edited frames.
    mattes
        A checksum of the mattes that the outlines are from.

    Yields
    ------
    sequence of int
        Scene frames that have just been written, none after some of the steps. Closed early, the
        layer holds the frames so far.

    Raises
    ------
    SplatError
        Mask, layer or clip were removed meanwhile.
    """
    if len(scene_frames) != len(plan):
        raise ValueError("the plan and the frames differ in number")
    writing = time.monotonic_ns()
    target = LayerTarget(mask.session_uid, clip.session_uid, layer_name, size, writing)
    start = int(clip.frame_start)
    before = remembered(mask, layer_name)
    locked = before is not None and before.locked
    counts = tuple(slot.count for slot in plan.slots)
    mask_keys.add_splines(_remade_layer(mask, clip, layer_name), counts)
    # A file saved from here on must not take what is half written for the user's drawing.
    unfinished = WrittenLayer({}, (), start, writing, locked=locked)
    remember(mask, layer_name, unfinished)
    written: dict[int, WrittenFrame] = {}
    at = {frame: index for index, frame in enumerate(scene_frames)}
    empty = _empty_frames(scene_frames)

    def points(frame: int) -> NDArray[np.float64]:
        return plan.points(at[frame], *size) if frame in at else plan.parked(*size)

    def kept() -> tuple[int, ...]:
        return tuple(sorted(frame for frame in edited if frame in written))

    # What the user drew is written back first, then what the user looks at.
    now = bpy.context.scene.frame_current
    first = sorted(scene_frames, key=lambda frame: (frame not in edited, frame != now))
    todo = [*empty, *first]
    with mask_keys.scratch_scene():
        try:
            yield ()
            while todo:
                done = _write_frames(target, plan, todo, points, written)
                written |= done
                if not done.keys().isdisjoint(edited):
                    remember(mask, layer_name, replace(unfinished, edited=kept()))
                todo = todo[len(done) :]
                yield [frame for frame in done if frame in at]
        except GeneratorExit:
            # Left unfinished, the layer must not hold its shapes on the frames to come, nor points
            # that have no key yet. When the file has been closed meanwhile there is no layer.
            if target.found() is not None and target.is_ours():
                tracked = [frame for frame in scene_frames if frame in written]
                for frame in _empty_frames(tracked or scene_frames[:1]):
                    if frame not in written:
                        written[frame] = write_frame(target, frame, plan.parked(*size))
            raise
        finally:
            found = target.found()
            if found is not None and target.is_ours():
                if locked:
                    found[2].hide_select = False
                splines = splines_of(found[2])
                whole = WrittenLayer(written, kept(), start, splines=splines, mattes=mattes)
                remember(found[0], layer_name, whole)


def read_object_layer(
    mask: bpy.types.Mask, layer_name: str, scene_frame: int, size: tuple[int, int]
) -> list[NDArray[np.float64]]:
    """What an object's layer encloses on a frame, as the keys have it.

    Where the layer's splines have become others on another frame since, what is kept of what the user
    drew on this one.

    Parameters
    ----------
    size
        Width and height of the footage in px.

    Returns
    -------
    list of (n, 2) arrays
        Closed outlines in footage pixels, as `layer_shapes.outlines` gives them. Feather and the
        layer's opacity count for nothing. Empty when there is no such layer.
    """
    if layer_name not in mask.layers:
        return []
    written = remembered(mask, layer_name)
    if written is not None and not written.is_whole and scene_frame != written.torn:
        kept = drawn_on(mask, layer_name, scene_frame)
        if kept is not None:
            return shapes.outlines(kept, size)
    with mask_keys.points_restored(mask), mask_keys.scratch_scene() as scene:
        state = mask_keys.keyed_state(scene, mask, layer_name, scene_frame)
    return shapes.outlines(state, size)


def shown_outlines(
    mask: bpy.types.Mask, layer_name: str, scene_frame: int, size: tuple[int, int]
) -> list[NDArray[np.float64]]:
    """The closed outlines of what the user drew, as they stand in the window now.

    Parameters
    ----------
    scene_frame
        The frame that the window's scene is on.
    size
        Width and height to scale to, px.
    """
    return shapes.outlines(edit_search.shown_state(mask, layer_name, scene_frame), size)


def remove_object_layer(mask: bpy.types.Mask, layer_name: str) -> None:
    """Remove an object's layer and what is remembered of it; nothing happens when it has none."""
    layer = named(mask.layers, layer_name)
    if layer is not None:
        mask.layers.remove(layer)
    forget(mask, layer_name)


def rename_object_layer(mask: bpy.types.Mask, layer_name: str, new_name: str) -> None:
    """Rename an object's layer together with what is remembered of it."""
    layer = named(mask.layers, layer_name)
    written = remembered(mask, layer_name)
    if layer is None:
        return
    drawn = _kept(mask, layer_name)
    layer.name = new_name
    if written is not None:
        forget(mask, layer_name)
        remember(mask, layer.name, written)
        keep_all_drawn(mask, layer.name, drawn)


def move_edited(
    mask: bpy.types.Mask, clip: bpy.types.MovieClip, name: str, places: Mapping[int, int | None]
) -> None:
    """Give what the user drew on some scene frames of a layer to others; None drops it.

    What was written on all these frames counts as outdated from then on.
    """
    edit_search.settle_torn(mask, name)
    written, layer = remembered(mask, name), named(mask.layers, name)
    if written is None or layer is None or not (layer.splines or drawn_frames(mask, name)):
        return
    with mask_keys.scratch_scene() as scene:
        drawn = {
            place: drawn_on(mask, name, frame) or mask_keys.keyed_state(scene, mask, name, frame)
            for frame, place in places.items()
            if place is not None
        }
        # The keys of a torn layer are of other splines; it is written anew by the next propagation.
        keys = sorted((at, mask_keys.stacked(one)) for at, one in drawn.items())
        keys = keys if written.is_whole else []
        while keys:
            with mask_keys.mask_editor(mask, layer, clip):
                keys = keys[len(key_macro.insert_keys(layer, scene, keys, seconds=1.0)) :]
            layer = mask.layers[name]
    keep_all_drawn(mask, name, drawn)
    blank = next(iter(written.frames.values()), signature(()))
    frames = {at: entry for at, entry in written.frames.items() if at not in places}
    remember(
        mask,
        name,
        replace(
            written, frames={**frames, **dict.fromkeys(drawn, blank)}, edited=tuple(sorted(drawn))
        ),
    )
    mask_keys.show_keys(mask)


def _kept(mask: bpy.types.Mask, name: str) -> dict[int, States]:
    """What is kept of what the user drew in a layer."""
    found = {frame: drawn_on(mask, name, frame) for frame in drawn_frames(mask, name)}
    return {frame: state for frame, state in found.items() if state is not None}


def name_back(mask: bpy.types.Mask, names: Collection[str]) -> None:
    """Give layers of objects that were renamed in Blender's list their objects' names again.

    Under another one they and the user's edits in them would be lost. Such a layer is known by its
    points.
    """
    for name in names:
        written = remembered(mask, name)
        if written is None or name in mask.layers:
            continue
        points = {frame.points for frame in written.frames.values()}
        strays = [
            layer
            for layer in mask.layers
            if layer.name not in names
            and remembered(mask, layer.name) is None
            and sum(len(spline.points) for spline in layer.splines) in points
        ]
        if len(strays) == 1:
            strays[0].name = name


@dataclass(frozen=True)
class LayerTarget:
    """Where keys go: references die when the user undoes between two frames, these do not.

    Attributes
    ----------
    mask, clip
        Session uids, which no other file's data shares.
    writing
        `WrittenLayer.writing` of the layer while it is written; after an undo it is another.
    """

    mask: int
    clip: int
    layer: str
    size: tuple[int, int]
    writing: int = 0

    def is_ours(self) -> bool:
        """Whether the layer is still the one that is being written, and not an earlier one."""
        mask = next((one for one in bpy.data.masks if one.session_uid == self.mask), None)
        written = None if mask is None else remembered(mask, self.layer)
        return not self.writing or (written is not None and written.writing == self.writing)

    def found(self) -> tuple[bpy.types.Mask, bpy.types.MovieClip, bpy.types.MaskLayer] | None:
        mask = next((one for one in bpy.data.masks if one.session_uid == self.mask), None)
        clip = next((one for one in bpy.data.movieclips if one.session_uid == self.clip), None)
        if mask is None or clip is None or self.layer not in mask.layers:
            return None
        return mask, clip, mask.layers[self.layer]


def write_frame(target: LayerTarget, frame: int, points: NDArray[np.float64]) -> WrittenFrame:
    """Key the layer's points, (n, 2) footage pixels, on one scene frame; raises SplatError."""
    mask, clip, layer = _checked(target, len(points))
    co = pixels_to_mask(points, *target.size).astype(np.float32)
    if len(co):
        with mask_keys.points_restored(mask, but=target.layer):
            with mask_keys.scratch_scene() as scene, mask_keys.mask_editor(mask, layer, clip):
                key_macro.insert_keys(layer, scene, [(frame, co)])
            mask_keys.show_keys(mask)
    return _signed(layer, co)


def _write_frames(
    target: LayerTarget,
    plan: SlotPlan,
    frames: Sequence[int],
    points: Callable[[int], NDArray[np.float64]],
    written: Mapping[int, WrittenFrame],
) -> dict[int, WrittenFrame]:
    """Key the layer on some of these scene frames, and let it show the user's frame again.

    Parameters
    ----------
    points
        What the plan has for a frame, (n, 2) footage pixels.
    written
        The frames that are keyed already.
    """
    mask, clip, layer = _checked(target, plan.point_count)

    def in_mask(pixels: NDArray[np.float64]) -> NDArray[np.float32]:
        return pixels_to_mask(pixels, *target.size).astype(np.float32)

    if not plan.slots:
        return {frame: signature(()) for frame in frames}
    with (
        mask_keys.points_restored(mask, but=target.layer),
        mask_keys.scratch_scene() as scene,
        mask_keys.mask_editor(mask, layer, clip),
    ):
        keys = ((frame, in_mask(points(frame))) for frame in frames)
        done = dict(key_macro.insert_keys(layer, scene, keys, seconds=_SLICE))
        now = bpy.context.scene.frame_current
        if now not in done:
            shown = points(now) if now in written else plan.parked(*target.size)
            mask_keys.set_layer_points(layer, in_mask(shown))
        else:
            mask_keys.set_layer_points(layer, done[now])
    return {frame: _signed(layer, co) for frame, co in done.items()}


def _checked(
    target: LayerTarget, count: int
) -> tuple[bpy.types.Mask, bpy.types.MovieClip, bpy.types.MaskLayer]:
    """The layer to write so many points into; raises SplatError."""
    found = target.found()
    if found is None:
        raise SplatError(
            f'The mask layer "{target.layer}" was removed while it was being written.',
            "Propagate again to make it.",
        )
    points = sum(len(spline.points) for spline in found[2].splines)
    if points != count or not target.is_ours():
        raise SplatError(
            f'The mask layer "{target.layer}" was changed while it was being written.',
            "Propagate again to make it.",
        )
    return found


def _signed(layer: bpy.types.MaskLayer, co: NDArray[np.float32]) -> WrittenFrame:
    """What to remember of a key of straight edges."""
    stops = np.cumsum([len(spline.points) for spline in layer.splines])[:-1]
    parts = np.split(co, stops) if len(co) else []
    return signature([SplineState(part, part, part, cyclic=True) for part in parts])


def _empty_frames(scene_frames: Sequence[int]) -> list[int]:
    """The frames beside tracked ones that are not tracked, rising."""
    tracked = set(scene_frames)
    return sorted({frame + step for frame in tracked for step in (-1, 1)} - tracked)


def _remade_layer(
    mask: bpy.types.Mask, clip: bpy.types.MovieClip, layer_name: str
) -> bpy.types.MaskLayer:
    """An empty layer without keys, in the place and with the settings of the one before.

    Splines can't be added to a layer that has keys, and Blender can't take keys away.
    """
    old = named(mask.layers, layer_name)
    active = mask.active_layer_index
    settings: dict[str, object] = {}
    place = len(mask.layers)
    if old is not None:
        settings = {name: getattr(old, name) for name in _LAYER_SETTINGS}
        place = mask.layers.find(layer_name)
        mask.layers.remove(old)
    layer = mask.layers.new(name=layer_name)
    # Without it Blender fills outlines inside others, whatever their direction.
    layer.use_fill_holes = True
    for name, value in settings.items():
        setattr(layer, name, value)
    steps = len(mask.layers) - 1 - place
    if steps > 0:
        mask.active_layer_index = len(mask.layers) - 1
        with mask_keys.mask_editor(mask, layer, clip):
            for _ in range(steps):
                bpy.ops.mask.layer_move(direction="UP")
    mask.active_layer_index = active if old is not None else mask.layers.find(layer_name)
    return mask.layers[layer_name]
