# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep an edit on its own photo, and let layers show what is baked.

All keys of a mask layer share its splines. So a contour that the user deletes or adds on one frame
changes on all frames, and Blender has changed the keys before we are told. The layer is then *torn* on
that frame (`written_layers.py`): the change counts there only, and all other frames stay as they were.
When the playhead moves on, the layer is written again from the store and from what the user drew. The
same happens when an undo restores a layer of older mattes.

None of this is an undo step of its own. It follows from the present data, and is done again after an
undo.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import bpy
from bpy.types import Depsgraph, MovieClip, Scene

from ...core.errors import SplatError
from ..clip import matte_run
from ..context import clip_state, console, editors, properties, session_state, task_runner
from ..context.active_clip import clip_by_uid, is_linked
from ..context.clip_state import ClipPart
from ..context.present import present
from ..context.session_state import SessionPart
from ..masks import edit_search
from ..masks.written_layers import remembered
from ..review import live_review
from . import layer_build
from .layer_build import LayerBuild

_IDLE = 0.2  # s between two looks
_BUSY = 0.02  # s between two steps
_STEP = 0.008  # s that a step may take


@dataclass
class _Edits(ClipPart):
    """What has happened to a clip's layers.

    Attributes
    ----------
    is_touched
        Whether the user has worked on the clip in this session. Opening a file reads nothing.
    is_undone
        Whether an undo may have restored layers that were made from other mattes.
    changed
        Layers whose points the user has changed: the mask's session uid, layer, scene frame.
    """

    outlives_removal: ClassVar[bool] = True
    is_touched: bool = False
    is_undone: bool = False
    changed: set[tuple[int, str, int]] = field(default_factory=set)

    def undone(self, clip: MovieClip) -> None:
        """Let the layers follow the mattes, because an undo restores layers but no mattes."""
        self.is_undone = True
        mask, now = properties.of_clip(clip).mask, present(bpy.context.scene).frame_current
        if mask is not None:
            for name in _layers(clip):
                edit_search.notice(mask, name, now)


@dataclass
class _Rewriting(SessionPart):
    """The layers that are being written again.

    Attributes
    ----------
    uid, build
        The clip and its build. None if there is nothing to write.
    is_undone
        Whether there was an undo between two steps.
    is_busy
        Whether we make the present changes ourselves.
    is_rendering
        Whether Blender renders. The masks then follow the render.
    """

    of_file: ClassVar[bool] = True
    uid: int = 0
    build: LayerBuild | None = None
    is_undone: bool = False
    is_busy: bool = False
    is_rendering: bool = False

    def undone(self) -> None:
        self.is_undone = True
        if bpy.app.background:
            _settle_all()

    def stop(self) -> None:
        """Stop writing."""
        if self.build is not None:
            self.build.close()
        self.build = None

    def closes(self) -> None:
        self.stop()


def _edits(clip: MovieClip) -> _Edits:
    return clip_state.of(clip).part(_Edits)


def _rewriting() -> _Rewriting:
    return session_state.part(_Rewriting)


def progress(clip: MovieClip) -> float | None:
    """Return how much of a clip's layers is written again, 0 to 1. None if all are up to date."""
    now = _rewriting()
    return now.build.fraction if now.build is not None and now.uid == clip.session_uid else None


def settle(clip: MovieClip, *, here: bool = False) -> None:
    """Write again all layers that are out of date, now and to the end. Raises SplatError.

    Parameters
    ----------
    here
        Also write layers that were torn on the current frame.
    """
    work_on(clip)
    _rewriting().stop()
    uid = clip.session_uid
    for build in _builds(clip, here=here):
        while not build.step():
            if build.waits:
                time.sleep(_STEP)
        clip_now = clip_by_uid(uid)
        if clip_now is not None:
            live_review.layers_written(clip_now, build.edited)
    clip_state.of_uid(uid).part(_Edits).is_undone = False


def pause(clip: MovieClip) -> None:
    """Stop writing layers, because the user is about to change one. What is left is written later."""
    work_on(clip)
    _rewriting().stop()


def work_on(clip: MovieClip) -> None:
    """Note that the user works on a clip. From now on its layers may be written again."""
    _edits(clip).is_touched = True


def _is_ours(clip: MovieClip) -> bool:
    """Whether the user has worked on a clip after the file was opened."""
    return _edits(clip).is_touched or layer_build.has_written(clip)


def _settle_all() -> None:
    """Settle every clip of this session. Used by handlers, which can't report, so errors are printed."""
    now = _rewriting()
    now.is_busy = True
    try:
        for clip in bpy.data.movieclips:
            if _is_ours(clip):
                settle(clip)
    except SplatError as error:
        console.log.warning(str(error))
    finally:
        now.is_busy = False


def _builds(clip: MovieClip, *, here: bool = False) -> Iterator[LayerBuild]:
    """Yield what must be written again for a clip, if anything. Raises StoreError."""
    store = matte_run.current_store(clip)
    names = _unsettled(clip, here=here)
    if names and store is not None:
        yield LayerBuild(clip, store, names)


def _unsettled(clip: MovieClip, *, here: bool) -> dict[int, str]:
    """Return the objects whose layers are out of date, by id."""
    settings, now = properties.of_clip(clip), present(bpy.context.scene).frame_current
    store = matte_run.current_store(clip)
    if store is None or is_linked(clip):
        return {}
    found = {}
    for entry in settings.objects:
        mask = settings.mask
        written = remembered(mask, entry.name) if mask is not None else None
        is_there = mask is not None and written is not None and entry.name in mask.layers
        if is_there and written is not None and not written.is_whole:
            # Without mattes the other frames can't be written again.
            if (here or written.torn != now) and store.frames(entry.object_id):
                found[entry.object_id] = entry.name
        elif (
            _edits(clip).is_undone
            and not layer_build.is_latest(clip, entry.name)
            and (is_there or store.frames(entry.object_id))
        ):
            found[entry.object_id] = entry.name
    return found


def _layers(clip: MovieClip) -> list[str]:
    """Return the names of the layers that belong to the clip's objects."""
    mask = properties.of_clip(clip).mask
    if mask is None or is_linked(clip):
        return []
    return [entry.name for entry in properties.of_clip(clip).objects if entry.name in mask.layers]


def tick() -> float:
    """Look whether a layer must be written again, and work a little. The timer calls it."""
    now = _rewriting()
    if task_runner.current() is not None or now.is_undone:
        now.stop()
        now.is_undone = False
    if task_runner.current() is not None or not present(bpy.context.window_manager).windows:
        return _IDLE
    if _hands_are_full():
        return _IDLE
    try:
        if now.build is None:
            for clip in bpy.data.movieclips:
                if _is_ours(clip):
                    now.uid, now.build = clip.session_uid, next(_builds(clip), None)
                    if now.build is not None:
                        break
                    _edits(clip).is_undone = False
        return _work(now, now.build) if now.build is not None else _IDLE
    except SplatError as error:
        # There was an undo or a deletion, or a matte is damaged. The operators report it.
        console.log.warning(str(error))
        now.stop()
    return _IDLE


def _work(now: _Rewriting, build: LayerBuild) -> float:
    uid = now.uid
    stop = time.monotonic() + _STEP
    now.is_busy = True
    try:
        while not (ended := build.step()) and not build.waits and time.monotonic() < stop:
            pass
    finally:
        now.is_busy = False
    if ended:
        now.build = None
        clip_state.of_uid(uid).part(_Edits).is_undone = False
        clip = clip_by_uid(uid)
        if clip is not None:
            live_review.layers_written(clip, build.edited)
            _show_mask(clip)
    editors.redraw()
    return _BUSY


def _show_mask(clip: MovieClip) -> None:
    """Show the mask again in the editors of its clip, after an undo has removed it there."""
    for _, _, space in editors.clip_editors():
        if space.clip == clip and space.mask is None:
            space.mask = properties.of_clip(clip).mask


def _hands_are_full() -> bool:
    """Whether the user is doing something that needs the present points, such as a drag or a playback."""
    for window in present(bpy.context.window_manager).windows:
        if window.screen.is_animation_playing or len(getattr(window, "modal_operators", ())):
            return True
    return False


@bpy.app.handlers.persistent
def _after_update(scene: Scene, depsgraph: Depsgraph) -> None:
    now = _rewriting()
    if now.is_busy or now.is_rendering or layer_build.is_writing():
        return
    if not depsgraph.id_type_updated("MASK"):
        return
    if scene != bpy.context.scene:
        return
    for clip in bpy.data.movieclips:
        mask = properties.of_clip(clip).mask
        for name in _layers(clip):
            if mask is not None and edit_search.notice(mask, name, scene.frame_current):
                edits = _edits(clip)
                edits.is_touched = True
                edits.changed.add((mask.session_uid, name, scene.frame_current))


@bpy.app.handlers.persistent
def _after_frame_change(scene: Scene, *_: object) -> None:
    """Keep what was drawn on the frame that the playhead has left."""
    now = _rewriting()
    if now.is_busy or now.is_rendering or scene != bpy.context.scene:
        return
    left: set[tuple[int, str, int]] = set()
    for _uid, edits in clip_state.known(_Edits):
        gone = {entry for entry in edits.changed if entry[2] != scene.frame_current}
        edits.changed -= gone
        left |= gone
    for clip in bpy.data.movieclips:
        # The file was saved during the work. Its photos should still show their masks.
        mask = properties.of_clip(clip).mask
        if mask is not None and any(edit_search.is_torn(mask, name) for name in _layers(clip)):
            _edits(clip).is_touched = True
    if not left and not bpy.app.background:
        return
    now.is_busy = True
    try:
        masks = {mask.session_uid: mask for mask in bpy.data.masks}
        for uid, name, frame in sorted(left):
            if uid in masks:
                edit_search.keep_left(masks[uid], name, frame)
    finally:
        now.is_busy = False
    if bpy.app.background and task_runner.current() is None:
        _settle_all()


@bpy.app.handlers.persistent
def _before_render(*_: object) -> None:
    _rewriting().is_rendering = True


@bpy.app.handlers.persistent
def _after_render(*_: object) -> None:
    _rewriting().is_rendering = False


def _handlers() -> Iterator[tuple[list[Any], Callable[..., None]]]:
    yield bpy.app.handlers.depsgraph_update_post, _after_update
    yield bpy.app.handlers.frame_change_post, _after_frame_change
    yield bpy.app.handlers.render_init, _before_render
    yield bpy.app.handlers.render_complete, _after_render
    yield bpy.app.handlers.render_cancel, _after_render


def register() -> None:
    """Start to watch the mask layers."""
    for handlers, own in _handlers():
        handlers.append(own)
    if not bpy.app.background:
        bpy.app.timers.register(tick, first_interval=_IDLE, persistent=True)


def unregister() -> None:
    """Stop watching."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    for handlers, own in _handlers():
        handlers.remove(own)
