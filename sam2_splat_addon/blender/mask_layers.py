# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask layers that show mattes and can be edited: write, read, find edits; imports bpy, core.

One mask a clip, one layer an object, named after it, one key a frame. A layer's splines are the
slots of a plan (`core/slots.py`). Frames that are not tracked show nothing: beside every run of
tracked frames stands a key on which all splines are parked outside the picture.

What was written is remembered in the mask itself, as one signature a frame, so that a frame the
user has edited is known by its points being others.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import bpy
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..core.contours import from_outlines
from ..core.coordinates import mask_to_pixels, pixels_to_mask
from ..core.errors import SplatError
from ..core.slots import SlotPlan
from . import mask_keys
from .mask_keys import SplineState, named

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
        Those of `scene_frames` whose outlines are the user's own: they are written first and stay
        edited frames.

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
    target = LayerTarget(mask.session_uid, clip.session_uid, layer_name, size)
    counts = tuple(slot.count for slot in plan.slots)
    mask_keys.add_splines(_remade_layer(mask, clip, layer_name), counts)
    frames: dict[int, WrittenFrame] = {}
    done: list[int] = []
    # What the user drew is there in the layer alone, so it is written back first.
    order = sorted(range(len(plan)), key=lambda index: scene_frames[index] not in edited)
    with mask_keys.scratch_scene():
        try:
            for frame in _empty_frames(scene_frames):
                frames[frame] = write_frame(target, frame, plan.parked(*size))
            for index in order:
                frame = scene_frames[index]
                frames[frame] = write_frame(target, frame, plan.points(index, *size))
                done.append(frame)
                yield frame
        except GeneratorExit:
            # Left unfinished, the layer must not hold its shapes on the frames to come. When the
            # file has been closed meanwhile there is no layer.
            if target.found() is not None:
                for frame in _empty_frames(done):
                    if frame not in frames:
                        frames[frame] = write_frame(target, frame, plan.parked(*size))
            raise
        finally:
            found = target.found()
            if found is not None:
                kept = tuple(sorted(frame for frame in edited if frame in frames))
                remember(found[0], layer_name, WrittenLayer(frames, kept))


def read_object_layer(
    mask: bpy.types.Mask, layer_name: str, scene_frame: int, size: tuple[int, int]
) -> list[NDArray[np.float64]]:
    """What an object's layer encloses on a frame, as the keys have it.

    Parameters
    ----------
    size
        Width and height of the footage in px.

    Returns
    -------
    list of (n, 2) arrays
        Closed outlines in footage pixels: outer ones counter-clockwise as seen on screen, holes
        (outlines inside an odd number of others) clockwise. Curves are sampled as Blender draws
        them. Feather, the layer's opacity and open splines count for nothing. Empty when there is
        no such layer.
    """
    if layer_name not in mask.layers:
        return []
    with mask_keys.points_restored(mask, None), mask_keys.scratch_scene() as scene:
        state = mask_keys.keyed_state(scene, mask, layer_name, scene_frame)
    return _outlines(state, size)


def edited_frames(mask: bpy.types.Mask, layer_name: str) -> tuple[int, ...]:
    """Scene frames on which the user has changed an object's layer, rising.

    Frames that were written as edited count, and so do the empty frames beside tracked ones where
    the user has drawn something. Changes that are not keyed yet do not.
    """
    written = remembered(mask, layer_name)
    if written is None or layer_name not in mask.layers:
        return ()
    found = set(written.edited)
    with mask_keys.points_restored(mask, None), mask_keys.scratch_scene() as scene:
        for frame, expected in written.frames.items():
            if frame not in found:
                state = mask_keys.keyed_state(scene, mask, layer_name, frame)
                if differs(state, expected):
                    found.add(frame)
    return tuple(sorted(found))


def shown_edit(mask: bpy.types.Mask, layer_name: str, scene_frame: int) -> int | None:
    """What tells the user's drawing on a frame apart from others; None where the frame has none.

    Looks at the points as they stand in the window now, unkeyed changes included, and is quick
    enough for drawing; :func:`edited_frames` looks at the keys of all frames.

    Parameters
    ----------
    scene_frame
        The frame that the window's scene is on.
    """
    written = remembered(mask, layer_name)
    layer = named(mask.layers, layer_name)
    if written is None or layer is None:
        return None
    expected = written.frames.get(scene_frame)
    state = mask_keys.layer_state(layer)
    checksum = _checksum(state)
    if scene_frame in written.edited:
        return checksum
    if expected is None or checksum == expected.checksum or not differs(state, expected):
        return None
    return checksum


def shown_outlines(
    mask: bpy.types.Mask, layer_name: str, size: tuple[int, int]
) -> list[NDArray[np.float64]]:
    """The closed outlines of an object's layer as they stand in the window now.

    Parameters
    ----------
    size
        Width and height to scale to, px.
    """
    state = mask_keys.layer_state(mask.layers[layer_name])
    return _outlines(state, size)


def remove_object_layer(mask: bpy.types.Mask, layer_name: str) -> None:
    """Remove an object's layer and what is remembered of it; nothing happens when it has none."""
    layer = named(mask.layers, layer_name)
    if layer is not None:
        mask.layers.remove(layer)
    group = named(mask, _WRITTEN)
    if group is not None and layer_name in group:
        del group[layer_name]


def rename_object_layer(mask: bpy.types.Mask, layer_name: str, new_name: str) -> None:
    """Rename an object's layer together with what is remembered of it."""
    layer = named(mask.layers, layer_name)
    written = remembered(mask, layer_name)
    if layer is None:
        return
    layer.name = new_name
    if written is not None:
        del mask[_WRITTEN][layer_name]
        remember(mask, layer.name, written)


@dataclass(frozen=True)
class LayerTarget:
    """Where keys go: references die when the user undoes between two frames, these do not.

    Attributes
    ----------
    mask, clip
        Session uids, which no other file's data shares.
    """

    mask: int
    clip: int
    layer: str
    size: tuple[int, int]

    def found(self) -> tuple[bpy.types.Mask, bpy.types.MovieClip, bpy.types.MaskLayer] | None:
        mask = next((one for one in bpy.data.masks if one.session_uid == self.mask), None)
        clip = next((one for one in bpy.data.movieclips if one.session_uid == self.clip), None)
        if mask is None or clip is None or self.layer not in mask.layers:
            return None
        return mask, clip, mask.layers[self.layer]


def write_frame(target: LayerTarget, frame: int, points: NDArray[np.float64]) -> WrittenFrame:
    """Key the layer's points, (n, 2) footage pixels, on one scene frame."""
    found = target.found()
    if found is None:
        raise SplatError(
            f'The mask layer "{target.layer}" was removed while it was being written.',
            "Propagate again to make it.",
        )
    mask, clip, layer = found
    if sum(len(spline.points) for spline in layer.splines) != len(points):
        raise SplatError(
            f'The mask layer "{target.layer}" was changed while it was being written.',
            "Propagate again to make it.",
        )
    co = pixels_to_mask(points, *target.size).astype(np.float32)
    if len(co):
        with (
            mask_keys.points_restored(mask, layer),
            mask_keys.scratch_scene() as scene,
            mask_keys.mask_editor(mask, layer, clip),
        ):
            mask_keys.insert_key(layer, scene, frame, co)
    stops = np.cumsum([len(spline.points) for spline in layer.splines]).tolist()
    parts = [
        co[stop - len(spline.points) : stop]
        for stop, spline in zip(stops, layer.splines, strict=True)
    ]
    return _signature([SplineState(part, part, part, cyclic=True) for part in parts])


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


def _outlines(state: Sequence[SplineState], size: tuple[int, int]) -> list[NDArray[np.float64]]:
    """Closed splines as outlines in px, holes turned the other way; see `read_object_layer`."""
    outlines = [mask_to_pixels(_polygon(spline), *size) for spline in state if spline.cyclic]
    seen = [outline for outline in outlines if _touches_picture(outline, size)]
    return [contour.points for contour in from_outlines(seen)]


def _polygon(spline: SplineState) -> NDArray[np.float64]:
    """A closed spline as straight pieces, (n, 2) in mask space."""
    begin, leave = spline.co.astype(np.float64), spline.right.astype(np.float64)
    end = np.roll(begin, -1, axis=0)
    arrive = np.roll(spline.left.astype(np.float64), -1, axis=0)
    straight = ((leave == begin) & (arrive == end)).all(axis=1)
    if bool(straight.all()):
        return begin
    u = (np.arange(_CUBIC_STEPS) / _CUBIC_STEPS)[None, :, None]
    curve = (
        (1 - u) ** 3 * begin[:, None]
        + 3 * u * (1 - u) ** 2 * leave[:, None]
        + 3 * u**2 * (1 - u) * arrive[:, None]
        + u**3 * end[:, None]
    )  # (n, steps, 2)
    wanted = np.ones(curve.shape[:2], dtype=bool)
    wanted[straight, 1:] = False
    return curve[wanted]


def _touches_picture(outline: NDArray[np.float64], size: tuple[int, int]) -> bool:
    return bool((outline.max(axis=0) > 0).all() and (outline.min(axis=0) < size).all())


def _checksum(splines: Sequence[SplineState]) -> int:
    checksum = 0
    for spline in splines:
        for values in (spline.co, spline.left, spline.right):
            checksum = zlib.crc32(np.ascontiguousarray(values).tobytes(), checksum)
    return checksum


def _signature(splines: Sequence[SplineState]) -> WrittenFrame:
    points = 0
    moments = np.zeros(3)
    for spline in splines:
        points += len(spline.co)
        x, y = (_polygon(spline) - 0.5).T
        next_x, next_y = np.roll(x, -1), np.roll(y, -1)
        turn = x * next_y - next_x * y
        moments += (
            turn.sum() / 2.0,
            ((x + next_x) * turn).sum() / 6.0,
            ((y + next_y) * turn).sum() / 6.0,
        )
    area, first, second = moments.tolist()
    return WrittenFrame(_checksum(splines), points, (area, first, second))


def differs(splines: Sequence[SplineState], expected: WrittenFrame) -> bool:
    """Whether a layer shows something else than what was written.

    A point that the user adds on one frame appears on the outline of all frames; the other frames
    keep their shape, and are not edited.
    """
    found = _signature(splines)
    if found.checksum == expected.checksum:
        return False
    if found.points == expected.points:
        return True
    return not np.allclose(found.moments, expected.moments, rtol=0.0, atol=_SAME_SHAPE)


def remember(mask: bpy.types.Mask, layer_name: str, written: WrittenLayer) -> None:
    """Keep with the mask what was written into an object's layer."""
    if named(mask, _WRITTEN) is None:
        mask[_WRITTEN] = {}
    mask[_WRITTEN][layer_name] = msgspec.json.encode(written).decode()


def remembered(mask: bpy.types.Mask, layer_name: str) -> WrittenLayer | None:
    """What was written into an object's layer; None when nothing was."""
    group = named(mask, _WRITTEN)
    text = group.get(layer_name) if group is not None else None
    return _decoded(text) if text else None


@lru_cache(maxsize=16)
def _decoded(text: str) -> WrittenLayer:
    return msgspec.json.decode(text, type=WrittenLayer)
