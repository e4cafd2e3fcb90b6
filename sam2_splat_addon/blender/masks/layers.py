# SPDX-License-Identifier: GPL-3.0-or-later
"""Write and read mask layers that show mattes and can be edited.

Each clip has one mask, each object one layer with its name, and each frame one key. A layer's splines
are the slots of a plan (`core/geometry/spline_slots.py`). Frames that are not tracked show nothing:
beside every series of tracked frames there is a key with all splines parked outside the picture.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

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

PointMap = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Moves points of a mask, (n, 2) mask space."""

# Time in which a step sets keys, s. It sets one at least. Without a window a step may take longer.
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
    """Return the mask that shows a clip's results. It is made on first use."""
    settings = properties.of_clip(clip)
    if settings.mask is None:
        settings.mask = bpy.data.masks.new(clip.name)
    return settings.mask


@dataclass(frozen=True)
class LayerPlan:
    """What an object's layer should show.

    Attributes
    ----------
    layer
        Name of the object. An existing layer of that name is replaced, and keeps its place and its
        settings.
    plan
        The object's splines. The plan has one frame for each of `scene_frames`.
    scene_frames
        Scene frames of the plan's frames, rising.
    edited
        The frames of `scene_frames` with outlines by the user. They are written first and stay edited
        frames.
    mattes
        A checksum of the mattes that the outlines were traced from.
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
    """Make objects' layers again and set their keys frame by frame, one object after the other.

    Parameters
    ----------
    mask
        The clip's mask.
    clip
        The clip that the mask belongs to.
    plans
        One plan for each object. Many small ones together take less time than each alone, because
        Blender copies the whole mask for every step.
    size
        Width and height of the photos in px.

    Yields
    ------
    sequence of int
        Scene frames that have just been written, none after some steps. If the generator is closed
        early, the layers hold the frames so far.

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
    """Whether a layer holds all that it should show."""
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
    """Return what an object's layer encloses on a frame, according to its keys.

    If the layer's splines were changed on another frame since, return the kept copy of what the user
    drew on this frame.

    Parameters
    ----------
    size
        Width and height of the photos in px.

    Returns
    -------
    list of (n, 2) arrays
        Closed outlines in px of the photo, as from `shapes.outlines`. Feather and the layer's opacity
        are ignored. Empty if there is no such layer.
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
    return shapes.outlines(edit_search.as_drawn(mask, layer_name, scene_frame, state), size)


def shown_outlines(
    mask: bpy.types.Mask, layer_name: str, scene_frame: int, size: tuple[int, int]
) -> list[NDArray[np.float64]]:
    """Return the closed outlines of what the user drew, as the window shows them now.

    Parameters
    ----------
    scene_frame
        The current frame of the window's scene.
    size
        Width and height to scale to, px.
    """
    return shapes.outlines(edit_search.shown_state(mask, layer_name, scene_frame), size)


def remove_object_layer(mask: bpy.types.Mask, layer_name: str) -> None:
    """Remove an object's layer and what is stored about it. Do nothing if it has no layer."""
    layer = named(mask.layers, layer_name)
    if layer is not None:
        mask_keys.remove_layer(mask, layer)
    forget(mask, layer_name)


def rename_object_layer(mask: bpy.types.Mask, layer_name: str, new_name: str) -> None:
    """Rename an object's layer, with what is stored about it."""
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
    mask: bpy.types.Mask,
    clip: bpy.types.MovieClip,
    name: str,
    places: Mapping[int, int | None],
    maps: Mapping[int, PointMap] = MappingProxyType({}),
) -> None:
    """Move what the user drew on some scene frames of a layer to other frames. None drops it.

    After that, what was written on all these frames counts as outdated.

    Parameters
    ----------
    maps
        Old frame -> where its points go, if they also move within the photo.
    """
    edit_search.settle_torn(mask, name)
    written, layer = remembered(mask, name), named(mask.layers, name)
    if written is None or layer is None or not (layer.splines or drawn_frames(mask, name)):
        return
    with mask_keys.scratch_scene() as scene:
        drawn = {
            place: _mapped(
                drawn_on(mask, name, frame) or mask_keys.keyed_state(scene, mask, name, frame),
                maps.get(frame),
            )
            for frame, place in places.items()
            if place is not None
        }
        # The keys of a torn layer belong to other splines. The next propagation writes the layer again.
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


def _mapped(states: States, to: PointMap | None) -> States:
    if to is None:
        return states
    return tuple(SplineState(to(s.co), to(s.left), to(s.right), s.cyclic) for s in states)


def _kept(mask: bpy.types.Mask, name: str) -> dict[int, States]:
    """Return the kept copies of what the user drew in a layer."""
    found = {frame: drawn_on(mask, name, frame) for frame in drawn_frames(mask, name)}
    return {frame: state for frame, state in found.items() if state is not None}


def name_back(mask: bpy.types.Mask, names: Collection[str]) -> None:
    """Restore the names of layers that the user has renamed in Blender's list.

    Under another name they would be lost, with the user's edits in them. Such a layer is recognized by
    its points.
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
    """The layer to write. Its ids stay valid when an undo between two frames makes references invalid.

    Attributes
    ----------
    mask, clip
        Session uids, which are unique, even among several files.
    writing
        `WrittenLayer.writing` of the layer while it is written. After an undo it is another number.
    """

    mask: int
    clip: int
    layer: str
    size: tuple[int, int]
    writing: int = 0

    def is_ours(self) -> bool:
        """Whether the layer is still the one that is being written, not an earlier one."""
        mask = mask_keys.mask_by_uid(self.mask)
        written = None if mask is None else remembered(mask, self.layer)
        return not self.writing or (written is not None and written.writing == self.writing)

    def found(self) -> tuple[bpy.types.Mask, bpy.types.MovieClip, bpy.types.MaskLayer] | None:
        found = _found(self.mask, self.clip)
        if found is None or self.layer not in found[0].layers:
            return None
        return *found, found[0].layers[self.layer]


def _found(mask_uid: int, clip_uid: int) -> tuple[bpy.types.Mask, bpy.types.MovieClip] | None:
    """Find a mask and a clip by their session uids, which are unique, even among several files."""
    mask, clip = mask_keys.mask_by_uid(mask_uid), clip_by_uid(clip_uid)
    return (mask, clip) if mask is not None and clip is not None else None


def write_frame(target: LayerTarget, frame: int, points: NDArray[np.float64]) -> WrittenFrame:
    """Set a key for the layer's points, (n, 2) px of the photo, on a scene frame. Raises SplatError."""
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
    """Write one object's layer.

    Attributes
    ----------
    wanted
        What the layer should show.
    unfinished
        What is stored about the layer while it is written. If the file is saved then, a half-written
        layer must not look like the user's drawing.
    todo
        The scene frames without a key so far, in this order.
    written
        The scene frames with a key.
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
        """Make the layer without keys."""
        name, frames = wanted.layer, wanted.scene_frames
        if len(frames) != len(wanted.plan):
            raise ValueError("the plan and the frames differ in number")
        writing = time.monotonic_ns()
        before = remembered(mask, name)
        locked = before is not None and before.locked
        counts = tuple(slot.count for slot in wanted.plan.slots)
        mask_keys.add_splines(remade_layer(mask, name), counts)
        unfinished = WrittenLayer({}, (), int(clip.frame_start), writing, locked=locked)
        remember(mask, name, unfinished)
        # Write first what the user drew, then the frame that the user looks at.
        now = present(bpy.context.scene).frame_current
        first = sorted(frames, key=lambda frame: (frame not in wanted.edited, frame != now))
        target = LayerTarget(mask.session_uid, clip.session_uid, name, size, writing)
        return cls(target, wanted, unfinished, [*_empty_frames(frames), *first])

    def place(self, frame: int) -> int | None:
        """Return the plan's frame on a scene frame. None if the layer is empty there."""
        frames = self.wanted.scene_frames
        place = bisect_left(frames, frame)
        return place if place < len(frames) and frames[place] == frame else None

    def points(self, frame: int | None) -> NDArray[np.float32]:
        """Return the layer's points on a scene frame, (n, 2) in mask space. None means an empty frame."""
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
        """Note the keys that were set, and let the layer show the user's frame again."""
        self.written |= {frame: _signed(layer, co) for frame, co in done.items()}
        self.todo = [frame for frame in self.todo if frame not in done]
        now = present(bpy.context.scene).frame_current
        mask_keys.set_layer_points(layer, self.points(now if now in self.written else None))
        mask_keys.to_be_restored(mask, layer.name)
        if not done.keys().isdisjoint(self.wanted.edited):
            remember(mask, layer.name, replace(self.unfinished, edited=self._kept()))

    def end(self) -> None:
        """Store once what the layer holds. There is no layer if the file was closed."""
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
        """Set empty keys beside an unfinished layer's frames, else its shapes would stay visible there."""
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
    """Set keys on some frames, one layer after the other. Return the plans' frames among them.

    Afterwards the layers show the user's frame.
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
                else:  # Blender has no keys for a layer without points
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
    """Return the layer to write points into. Raises SplatError if it was removed or changed."""
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
    """Return the signature of a key with straight edges."""
    stops = np.cumsum([len(spline.points) for spline in layer.splines])[:-1]
    parts = np.split(co, stops) if len(co) else []
    return signature([SplineState(part, part, part, cyclic=True) for part in parts])


def _empty_frames(scene_frames: Sequence[int]) -> list[int]:
    """Return the frames beside tracked ones that are not tracked, rising."""
    tracked = set(scene_frames)
    return sorted({frame + step for frame in tracked for step in (-1, 1)} - tracked)


def remade_layer(mask: bpy.types.Mask, layer_name: str) -> bpy.types.MaskLayer:
    """Replace a layer by an empty one without keys, with the same settings, at the end of the mask.

    Splines can't be added to a layer that has keys, and Blender can't remove keys.
    """
    old = named(mask.layers, layer_name)
    active = mask.layers.active.name if old is not None and mask.layers.active else layer_name
    settings: dict[str, object] = {}
    if old is not None:
        settings = {name: getattr(old, name) for name in _LAYER_SETTINGS}
        mask_keys.remove_layer(mask, old)
    layer = mask_keys.add_layer(mask, layer_name)
    # Without this Blender fills holes too, whatever the direction of their outlines.
    layer.use_fill_holes = True
    for name, value in settings.items():
        setattr(layer, name, value)
    mask.active_layer_index = mask.layers.find(active)
    return mask.layers[layer_name]


@dataclass
class _Ordered(SessionPart):
    """The masks whose layers `order_kept` will put in order, by session uid."""

    masks: set[int] = field(default_factory=set)


@contextmanager
def order_kept(mask: bpy.types.Mask, clip: bpy.types.MovieClip) -> Iterator[None]:
    """Restore the order of the layers at the end, with new layers last.

    Within another call for the same mask, only the outer call does so. Blender moves a layer place by
    place, and if all are made again one after the other, none has to be moved at the end.
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
