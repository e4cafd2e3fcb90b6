# SPDX-License-Identifier: GPL-3.0-or-later
"""Make mask layers from the matte store, frame by frame."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.geometry.spline_slots import SlotPlan, SlotPlanner
from ...core.geometry.trace import from_outlines, trace_shown
from ...core.mattes.store import MatteStore
from ...core.system.background_task import BackgroundTask, Report
from ...core.system.steps import quietly
from ..clip import shown
from ..clip.user_masks import Drawn, everything, frames_before
from ..context import clip_state, properties, session_state
from ..context.active_clip import clip_by_uid, require_clip_by_uid
from ..context.clip_state import ClipPart
from ..context.editors import to_clip, to_scene
from ..context.session_state import SessionPart
from ..masks import edit_search, written_layers
from ..masks import keys as mask_keys
from ..masks import layers as mask_layers
from ..masks.layers import LayerPlan

# Each frame counts twice, once for tracing and once for writing keys. Both take about the same time.
_PASSES = 2
# How long a step without a window may wait for the thread, s.
_TIMEOUT = 0.05
# Small objects are written together, up to this many frames in all.
_TOGETHER = 64


@dataclass
class _Made(ClipPart):
    """The mattes that each layer was last made from, by the object's name (`WrittenLayer.mattes`).

    An undo restores layers but no mattes. 0 means no mattes.
    """

    outlives_removal: ClassVar[bool] = True
    mattes: dict[str, int] = field(default_factory=dict)


@dataclass
class _Writing(SessionPart):
    """Whether layers are being written. Changes in them then do not come from the user."""

    is_on: bool = False


def is_writing() -> bool:
    """Whether layers are being written now."""
    return session_state.part(_Writing).is_on


def is_latest(clip: bpy.types.MovieClip, name: str) -> bool:
    """Whether an object's layer is from its last mattes in this session. True if none was made."""
    made = clip_state.of(clip).part(_Made).mattes.get(name)
    mask = properties.of_clip(clip).mask
    written = written_layers.remembered(mask, name) if mask is not None else None
    if mask is None or written is None or name not in mask.layers:
        return not made  # it was cleared, or never made
    return made in (None, written.mattes)


def has_written(clip: bpy.types.MovieClip) -> bool:
    """Whether layers of a clip were written in this session."""
    return bool(clip_state.of(clip).part(_Made).mattes)


def results_cleared(clip: bpy.types.MovieClip) -> None:
    """Note that all mattes and layers of a clip were deleted for good."""
    for entry in properties.of_clip(clip).objects:
        clip_state.of(clip).part(_Made).mattes[entry.name] = 0


@dataclass(frozen=True)
class _Planned:
    """A layer to write: the clip's frames, and the frames among them that the user drew on."""

    name: str
    plan: SlotPlan
    frames: Sequence[int]
    drawn: Collection[int]
    mattes: int


class LayerBuild:
    """Make one layer for each object from all its mattes in the store, in small steps.

    Parameters
    ----------
    names
        Object id -> name of the objects to do.

    Attributes
    ----------
    fraction
        How much is done, 0 to 1.
    waits
        Whether the last step could only wait.
    frame
        The last frame that was worked on.
    frame_count
        Number of frames with a matte of at least one object.
    edited
        What the user had drawn, for the objects done so far. It replaces the store's mattes.
    """

    def __init__(
        self,
        clip: bpy.types.MovieClip,
        store: MatteStore,
        names: Mapping[int, str],
    ) -> None:
        self.fraction = 0.0
        self.waits = False
        self.frame = 0
        self._store = store
        self.edited: Drawn = {}
        mask = properties.of_clip(clip).mask
        layers = {layer.name for layer in mask.layers} if mask is not None else set()
        # A layer without mattes must show what the user drew, because the bake uses it.
        self._names = {i: name for i, name in names.items() if store.frames(i) or name in layers}
        self._total = _PASSES * sum(len(store.frames(i)) for i in self._names)
        self.frame_count = len({frame for i in self._names for frame in store.frames(i)})
        self._done = 0
        self._steps = self._run(clip.session_uid)

    def step(self) -> bool:
        """Work on one frame, or look whether one is ready. Return True when everything is done."""
        writing = session_state.part(_Writing)
        writing.is_on = True
        try:
            self.waits = bool(next(self._steps))
        except StopIteration:
            self.fraction = 1.0
            return True
        finally:
            writing.is_on = False
        self.fraction = min(1.0, self._done / max(1, self._total))
        return False

    def close(self) -> None:
        """Stop here. An unfinished layer is written again later."""
        self._steps.close()

    def _run(self, uid: int) -> Generator[bool | None, None, None]:
        if self._names:
            clip = require_clip_by_uid(uid)
            mask = mask_layers.get_mask(clip)
            with (
                mask_layers.order_kept(mask, clip),
                mask_keys.points_restored(mask, in_steps=True),
            ):
                yield from self._write(uid)
            now = _mask_by_clip(uid)
            if now is not None and not bpy.app.background:
                # Until Blender evaluates it again, the mask may have the points of another frame. They
                # would look like an edit by the user.
                others = {layer.name for layer in now.layers} - set(self._names.values())
                mask_keys.show_keys(now, but=others)

    def _write(self, uid: int) -> Generator[bool | None, None, None]:
        """Write the layers that a thread has traced. Yield whether it waits for the thread."""
        left = dict(self._names)
        while left:
            together = self._next_few(left)
            try:
                planned: list[_Planned] = []
                yield from self._find_drawn(uid, together.values())
                for object_id, name in together.items():
                    del left[object_id]
                    planned.append((yield from self._planned(uid, object_id, name)))
                yield from self._write_layers(uid, planned)
            except BaseException:
                mask = _mask_by_clip(uid)
                if mask is not None:
                    for name in together.values():
                        edit_search.lock(mask, name, is_locked=False)
                raise

    def _next_few(self, left: Mapping[int, str]) -> dict[int, str]:
        """Return the next objects, few enough to write them together, but at least one."""
        together: dict[int, str] = {}
        frames = 0
        for object_id, name in left.items():
            frames += len(self._store.frames(object_id))
            if together and frames > _TOGETHER:
                break
            together[object_id] = name
        return together

    def _find_drawn(self, uid: int, names: Collection[str]) -> Generator[None, None, None]:
        """Find what the user drew in some layers. From here on the user can't draw there."""
        # Do this late, because the user may draw until the layer is made again.
        mask = _mask_by_clip(uid)
        if mask is not None:
            for name in names:
                edit_search.settle_torn(mask, name)
                edit_search.lock(mask, name, is_locked=True)
        found = yield from quietly(everything(uid, names))
        self.edited |= {name: found.get(name, {}) for name in names}

    def _planned(
        self, uid: int, object_id: int, name: str
    ) -> Generator[bool | None, None, _Planned]:
        """Return what an object's layer should show: what the user drew, else the store's mattes."""
        drawn = self.edited[name]
        # Look it up for each object, because an undo between two steps makes references invalid.
        shown_at = shown.reader(require_clip_by_uid(uid))
        frames = sorted({*self._store.frames(object_id), *drawn})
        plan, mattes = yield from self._traced(object_id, frames, drawn, shown_at)
        return _Planned(name, plan, frames, drawn.keys(), mattes)

    def _write_layers(
        self, uid: int, planned: Sequence[_Planned]
    ) -> Generator[bool | None, None, None]:
        clip = require_clip_by_uid(uid)
        size = (int(clip.size[0]), int(clip.size[1]))
        plans = []
        for one in planned:
            _keep_drawn(clip, one.name, one.drawn)
            frames, edited = (
                [to_scene(clip, frame) for frame in several] for several in (one.frames, one.drawn)
            )
            plans.append(LayerPlan(one.name, one.plan, frames, edited, one.mattes))
        writing = mask_layers.write_object_layers(_mask_of(clip), clip, plans, size)
        try:
            for written in writing:
                if written:
                    # Look it up again, because an undo between two steps makes the reference invalid.
                    self.frame = to_clip(require_clip_by_uid(uid), written[-1])
                    self._done += len(written)
                yield False
        finally:
            writing.close()
            mask = _mask_by_clip(uid)
            for plan in plans:
                if mask is None:
                    break
                if mask_layers.is_written(mask, plan):
                    clip_state.of_uid(uid).part(_Made).mattes[plan.layer] = plan.mattes
                else:
                    edit_search.leave_unfinished(mask, plan.layer)

    def _traced(
        self,
        object_id: int,
        frames: Sequence[int],
        drawn: Mapping[int, list[NDArray[np.float64]]],
        shown_at: shown.ShownAt,
    ) -> Generator[bool, None, tuple[SlotPlan, int]]:
        """Trace an object's outlines on all its frames. What the user drew replaces the model's.

        Return them with a checksum of its mattes.
        """
        store = self._store

        def planned(report: Report) -> tuple[SlotPlan, int]:
            planner, mattes = SlotPlanner(), 1
            for done, frame in enumerate(frames):
                report(done, len(frames))
                mark = store.mark(object_id, frame)
                mattes = zlib.crc32(repr((frame, mark)).encode(), mattes)
                if frame in drawn:
                    planner.add(from_outlines(drawn[frame]))
                elif mark is None:  # a damaged matte counts as none
                    planner.add(from_outlines([]))
                else:
                    logits = store.read(object_id, frame).logits
                    planner.add(trace_shown(logits, shown_at(frame)))
            return planner.finish(), mattes or 1

        background = BackgroundTask(planned)
        begin = self._done
        try:
            while not background.poll(_TIMEOUT if bpy.app.background else 0.0):
                self._done = begin + background.done
                self.frame = frames[background.done] if frames else 0
                yield True
        finally:
            background.cancel()
        self._done = begin + len(frames)
        return background.result()


def _keep_drawn(clip: bpy.types.MovieClip, name: str, frames: Collection[int]) -> None:
    """Keep what the user drew on some frames of the clip, for the next layer."""
    mask = mask_layers.get_mask(clip)
    before = frames_before(clip, mask, name)
    found = {frame: edit_search.drawn_at(mask, name, frame + before) for frame in frames}
    kept = {to_scene(clip, frame): state for frame, state in found.items() if state is not None}
    written_layers.keep_all_drawn(mask, name, kept)


def _mask_by_clip(uid: int) -> bpy.types.Mask | None:
    clip = clip_by_uid(uid)
    return properties.of_clip(clip).mask if clip is not None else None


def _mask_of(clip: bpy.types.MovieClip) -> bpy.types.Mask:
    """Return the clip's mask, with the length of its photos."""
    mask = mask_layers.get_mask(clip)
    mask.frame_start = clip.frame_start
    mask.frame_end = clip.frame_start + properties.of_clip(clip).frame_count - 1
    return mask
