# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask layers that show mattes and can be edited: write them, read them.

One mask a clip, one layer an object, named after it, one key a frame. A layer's splines are the
slots of a plan (`core/geometry/spline_slots.py`). Frames that are not tracked show nothing: beside
every run of tracked frames stands a key on which all splines are parked outside the picture.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import bpy
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ...core.errors import SplatError
from ...core.geometry.coordinates import pixels_to_mask
from ...core.geometry.spline_slots import SlotPlan
from ..context import properties, session_state
from ..context.active_clip import clip_by_uid
from ..context.present import present
from ..context.session_state import SessionPart
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

# How long a step sets keys, s; one at least. Without a window nobody waits for its end.
_SLICE = 0.25 if bpy.app.background else 0.008
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
    settings = properties.of_clip(clip)
    if settings.mask is None:
        settings.mask = bpy.data.masks.new(clip.name)
    return settings.mask


@dataclass(frozen=True)
class LayerPlan:
    """What an object's layer is to show.

    Attributes
    ----------
    layer
        Name of the object; an existing layer of that name is replaced in its place, with its
        settings.
    plan
        The object's splines, one frame of the plan for each of `scene_frames`.
    scene_frames
        Scene frames that the plan's frames stand on, rising.
    edited
        Those of `scene_frames` whose outlines are the user's own: they are written first and stay
        edited frames.
    mattes
        A checksum of the mattes that the outlines are from.
    """

    layer: str
    plan: SlotPlan
    scene_frames: Sequence[int]
    edited: Collection[int] = ()
    mattes: int = 0


def write_object_layers(
    mask: bpy.types.Mask,
    clip: bpy.types.MovieClip,
    plans: Sequence[LayerPlan],
    size: tuple[int, int],
) -> Generator[Sequence[int], None, None]:
    """Make objects' layers again and key them frame by frame, one object after the other.

    Parameters
    ----------
    mask
        The clip's mask.
    clip
        The clip that the mask belongs to.
    plans
        One an object. Many small ones together take less time than each alone: Blender copies the
        whole mask for every step.
    size
        Width and height of the footage in px.

    Yields
    ------
    sequence of int
        Scene frames that have just been written, none after some of the steps. Closed early, the
        layers hold the frames so far.

    Raises
    ------
    SplatError
        Mask, layer or clip were removed meanwhile.
    """
    writers: list[_Writer] = []
    with mask_keys.scratch_scene(), order_kept(mask, clip):
        try:
            writers.extend(_Writer.begun(mask, clip, one, size) for one in plans)
            yield ()
            while any(writer.todo for writer in writers):
                yield _write_frames(writers)
        except GeneratorExit:
            for writer in writers:
                writer.park_the_rest()
            raise
        finally:
            for writer in writers:
                writer.end()


def is_written(mask: bpy.types.Mask, wanted: LayerPlan) -> bool:
    """Whether a layer holds all that it is to show."""
    written = remembered(mask, wanted.layer)
    return (
        written is not None
        and written.is_whole
        and written.mattes == wanted.mattes
        and written.frames.keys() >= set(wanted.scene_frames)
    )


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
        Closed outlines in footage pixels, as `shapes.outlines` gives them. Feather and the
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
        mask_keys.remove_layer(mask, layer)
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
        mask = mask_keys.mask_by_uid(self.mask)
        written = None if mask is None else remembered(mask, self.layer)
        return not self.writing or (written is not None and written.writing == self.writing)

    def found(self) -> tuple[bpy.types.Mask, bpy.types.MovieClip, bpy.types.MaskLayer] | None:
        found = _found(self.mask, self.clip)
        if found is None or self.layer not in found[0].layers:
            return None
        return *found, found[0].layers[self.layer]


def _found(mask_uid: int, clip_uid: int) -> tuple[bpy.types.Mask, bpy.types.MovieClip] | None:
    """A mask and a clip by their session uids, which no other file's data shares."""
    mask, clip = mask_keys.mask_by_uid(mask_uid), clip_by_uid(clip_uid)
    return (mask, clip) if mask is not None and clip is not None else None


def write_frame(target: LayerTarget, frame: int, points: NDArray[np.float64]) -> WrittenFrame:
    """Key the layer's points, (n, 2) footage pixels, on one scene frame; raises SplatError."""
    mask, clip, layer = _checked(target, len(points))
    co = pixels_to_mask(points, *target.size).astype(np.float32)
    if len(co):
        with mask_keys.points_restored(mask, but=(target.layer,)):
            with mask_keys.scratch_scene() as scene, mask_keys.mask_editor(mask, layer, clip):
                key_macro.insert_keys(layer, scene, [(frame, co)])
            mask_keys.show_keys(mask)
    return _signed(layer, co)


@dataclass
class _Writer:
    """Writes one object's layer.

    Attributes
    ----------
    wanted
        What it is to show.
    unfinished
        What is remembered of the layer while it is written: a file that is saved then must not take
        what is half written for the user's drawing.
    todo
        The scene frames still to be keyed, in this order.
    written
        Those that are.
    """

    target: LayerTarget
    wanted: LayerPlan
    unfinished: WrittenLayer
    todo: list[int]
    written: dict[int, WrittenFrame] = field(default_factory=dict)
    has_ended: bool = False

    @classmethod
    def begun(
        cls,
        mask: bpy.types.Mask,
        clip: bpy.types.MovieClip,
        wanted: LayerPlan,
        size: tuple[int, int],
    ) -> _Writer:
        """Make the layer, without keys."""
        name, frames = wanted.layer, wanted.scene_frames
        if len(frames) != len(wanted.plan):
            raise ValueError("the plan and the frames differ in number")
        writing = time.monotonic_ns()
        before = remembered(mask, name)
        locked = before is not None and before.locked
        counts = tuple(slot.count for slot in wanted.plan.slots)
        mask_keys.add_splines(_remade_layer(mask, name), counts)
        unfinished = WrittenLayer({}, (), int(clip.frame_start), writing, locked=locked)
        remember(mask, name, unfinished)
        # What the user drew is written back first, then what the user looks at.
        now = present(bpy.context.scene).frame_current
        first = sorted(frames, key=lambda frame: (frame not in wanted.edited, frame != now))
        target = LayerTarget(mask.session_uid, clip.session_uid, name, size, writing)
        return cls(target, wanted, unfinished, [*_empty_frames(frames), *first])

    def place(self, frame: int) -> int | None:
        """Which frame of the plan stands on a scene frame; None where the layer is empty."""
        frames = self.wanted.scene_frames
        place = bisect_left(frames, frame)
        return place if place < len(frames) and frames[place] == frame else None

    def points(self, frame: int | None) -> NDArray[np.float32]:
        """Of the layer on a scene frame, (n, 2) mask space; of the empty layer on None."""
        plan, size = self.wanted.plan, self.target.size
        place = self.place(frame) if frame is not None else None
        pixels = plan.points(place, *size) if place is not None else plan.parked(*size)
        return pixels_to_mask(pixels, *size).astype(np.float32)

    def note(
        self,
        mask: bpy.types.Mask,
        layer: bpy.types.MaskLayer,
        done: Mapping[int, NDArray[np.float32]],
    ) -> None:
        """Take note of keys that are set, and let the layer show the user's frame again."""
        self.written |= {frame: _signed(layer, co) for frame, co in done.items()}
        self.todo = [frame for frame in self.todo if frame not in done]
        now = present(bpy.context.scene).frame_current
        mask_keys.set_layer_points(layer, self.points(now if now in self.written else None))
        mask_keys.to_be_restored(mask, layer.name)
        if not done.keys().isdisjoint(self.wanted.edited):
            remember(mask, layer.name, replace(self.unfinished, edited=self._kept()))

    def end(self) -> None:
        """Remember what the layer holds, once; when the file has been closed there is no layer."""
        found = self.target.found()
        if self.has_ended or found is None or not self.target.is_ours():
            return
        self.has_ended = True
        mask, _, layer = found
        if self.unfinished.locked:
            layer.hide_select = False
        whole = replace(
            self.unfinished,
            frames=self.written,
            edited=self._kept(),
            writing=0,
            splines=splines_of(layer),
            mattes=self.wanted.mattes,
            locked=False,
        )
        remember(mask, self.target.layer, whole)

    def park_the_rest(self) -> None:
        """Key an unfinished layer empty on the frames to come: it would go on with its shapes."""
        if not self.todo or self.target.found() is None or not self.target.is_ours():
            return
        frames = self.wanted.scene_frames
        tracked = [frame for frame in frames if frame in self.written]
        parked = self.wanted.plan.parked(*self.target.size)
        for frame in _empty_frames(tracked or frames[:1]):
            if frame not in self.written:
                self.written[frame] = write_frame(self.target, frame, parked)

    def _kept(self) -> tuple[int, ...]:
        return tuple(sorted(frame for frame in self.wanted.edited if frame in self.written))


def _write_frames(writers: Sequence[_Writer]) -> list[int]:
    """Key some frames of the layers, one to its end before the next; returns those of the plans.

    The layers show the user's frame afterwards.
    """
    at_work = {writer.target.layer: writer for writer in writers if writer.todo}
    layers: dict[str, bpy.types.MaskLayer] = {}
    for name, writer in at_work.items():
        mask, clip, layers[name] = _checked(writer.target, writer.wanted.plan.point_count)
    done: dict[str, dict[int, NDArray[np.float32]]] = {name: {} for name in layers}

    def keys() -> Iterator[key_macro.LayerKey]:
        for name, writer in at_work.items():
            for frame in writer.todo:
                if writer.wanted.plan.slots:
                    yield layers[name], frame, writer.points(frame)
                else:  # Blender has no keys of nothing
                    done[name][frame] = np.zeros((0, 2), dtype=np.float32)

    first, *others = layers.values()
    with (
        mask_keys.points_restored(mask, but=layers.keys()),
        mask_keys.scratch_scene() as scene,
        mask_keys.mask_editor(mask, first, clip, *others),
    ):
        for layer, frame, points in key_macro.insert_keys_of(scene, keys(), seconds=_SLICE):
            done[layer.name][frame] = points
        for name, of_layer in done.items():
            if of_layer:
                at_work[name].note(mask, layers[name], of_layer)
    for writer in at_work.values():
        if not writer.todo:
            writer.end()
    return [
        frame
        for name, of_layer in done.items()
        for frame in of_layer
        if at_work[name].place(frame) is not None
    ]


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


def _remade_layer(mask: bpy.types.Mask, layer_name: str) -> bpy.types.MaskLayer:
    """An empty layer without keys, with the settings of the one before; the last one of the mask.

    Splines can't be added to a layer that has keys, and Blender can't take keys away.
    """
    old = named(mask.layers, layer_name)
    active = mask.layers.active.name if old is not None and mask.layers.active else layer_name
    settings: dict[str, object] = {}
    if old is not None:
        settings = {name: getattr(old, name) for name in _LAYER_SETTINGS}
        mask_keys.remove_layer(mask, old)
    layer = mask_keys.add_layer(mask, layer_name)
    # Without it Blender fills outlines inside others, whatever their direction.
    layer.use_fill_holes = True
    for name, value in settings.items():
        setattr(layer, name, value)
    mask.active_layer_index = mask.layers.find(active)
    return mask.layers[layer_name]


@dataclass
class _Ordered(SessionPart):
    """The masks of which `order_kept` will put the layers in order, by session uid."""

    masks: set[int] = field(default_factory=set)


@contextmanager
def order_kept(mask: bpy.types.Mask, clip: bpy.types.MovieClip) -> Iterator[None]:
    """Leave the layers in the order in which they were, new ones behind them.

    Within another call for the same mask, that one does so: Blender moves a layer place by place, and
    where all are made anew one after the other, none has to be moved in the end.
    """
    uid, clip_uid = mask.session_uid, clip.session_uid
    ordered = session_state.part(_Ordered).masks
    if uid in ordered:
        yield
        return
    names = [layer.name for layer in mask.layers]
    ordered.add(uid)
    try:
        yield
    finally:
        ordered.discard(uid)
        found = _found(uid, clip_uid)
        if found is not None and len(found[0].layers):
            _put_in_order(*found, names)


def _put_in_order(mask: bpy.types.Mask, clip: bpy.types.MovieClip, names: Sequence[str]) -> None:
    now = [layer.name for layer in mask.layers]
    wanted = [name for name in names if name in now]
    moves: list[str] = []
    for place, name in enumerate(wanted):
        at = now.index(name)
        now.insert(place, now.pop(at))
        moves += [name] * (at - place)
    if not moves:
        return
    active = mask.layers.active
    kept = active.name if active is not None else now[-1]
    with mask_keys.mask_editor(mask, mask.layers[0], clip):
        key_macro.move_up(mask, moves)
    mask.active_layer_index = mask.layers.find(kept)
