# SPDX-License-Identifier: GPL-3.0-or-later
"""An edit holds on the photo where it was made, and layers show what is baked; imports bpy and core.

All keys of a mask layer share its splines: a contour that is deleted or added on one frame is so on all
of them, and Blender has changed the keys by the time anybody hears of it. So the layer is *torn* on that
frame (`written_layers.py`): what the user did there counts there, and on all others what they were. When
the playhead goes on, the layer is written anew from the store and from what the user drew. So it is
where an undo has brought back a layer that was made of other mattes than those there are.

None of that is an undo step of its own: it follows from what is there, and is done again after an undo.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import bpy
from bpy.types import Depsgraph, MovieClip, Scene

from ...core.errors import SplatError
from ..clip import matte_cache, matte_run
from ..context import console, editors, task_runner
from ..context.active_clip import clip_by_uid
from ..masks import edit_search
from ..masks.written_layers import remembered
from ..review import live_review
from . import layer_build
from .layer_build import LayerBuild

_IDLE = 0.2  # s between two looks
_BUSY = 0.02  # s between two steps
_STEP = 0.008  # s that a step may take

# Clips that the user has worked on in this session: a file that is opened has nothing read for it.
_touched: set[int] = set()
# Those of which an undo may have brought back layers that were made of other mattes.
_undone: set[int] = set()
# Layers whose points the user has changed, and the frames: mask's session uid, layer, scene frame.
_changed: set[tuple[int, str, int]] = set()
# The layers that are written anew now, of which clip, and whether an undo came between.
_build: tuple[int, LayerBuild] | None = None
_is_undone = False
_is_busy = False
_is_rendering = False


def progress(clip: MovieClip) -> float | None:
    """How much of a clip's layers is written anew, 0 to 1; None when they are as they should be."""
    return _build[1].fraction if _build is not None and _build[0] == clip.session_uid else None


def settle(clip: MovieClip, *, here: bool = False) -> None:
    """Write the layers anew that have to be, now and to the end; raises SplatError.

    Parameters
    ----------
    here
        Also those that were torn on the frame in view.
    """
    work_on(clip)
    _stop()
    uid = clip.session_uid
    for build in _builds(clip, here=here):
        while not build.step():
            if build.waits:
                time.sleep(_STEP)
        clip_now = clip_by_uid(uid)
        if clip_now is not None:
            live_review.layers_written(clip_now, build.edited)
    _undone.discard(uid)


def work_on(clip: MovieClip) -> None:
    """Take note that the user works on a clip: its layers may be written anew from now on."""
    _touched.add(clip.session_uid)


def after_undo() -> None:
    """Let what is shown follow what is there: an undo takes back layers, and no mattes."""
    global _is_undone
    _is_undone = True
    for clip in bpy.data.movieclips:
        _undone.add(clip.session_uid)
        for name in _layers(clip):
            edit_search.notice(clip.sam2_splat.mask, name, bpy.context.scene.frame_current)
        matte_cache.forget(clip.session_uid)
    if bpy.app.background:
        _settle_all()


def _is_ours(clip: MovieClip) -> bool:
    """Whether the user has worked on a clip since the file was opened."""
    return clip.session_uid in _touched or layer_build.has_written(clip)


def _settle_all() -> None:
    """Settle every clip of this session, for handlers, which can't report and print what goes wrong."""
    global _is_busy
    _is_busy = True
    try:
        for clip in bpy.data.movieclips:
            if _is_ours(clip):
                settle(clip)
    except SplatError as error:
        console.log(str(error))
    finally:
        _is_busy = False


def _builds(clip: MovieClip, *, here: bool = False) -> Iterator[LayerBuild]:
    """What there is to write anew of a clip, if anything; raises StoreError."""
    store = matte_run.current_store(clip)
    names = _unsettled(clip, here=here)
    if names and store is not None:
        yield LayerBuild(clip, store, names)


def _unsettled(clip: MovieClip, *, here: bool) -> dict[int, str]:
    """The objects whose layers are not what they should be, by id."""
    settings, now = clip.sam2_splat, bpy.context.scene.frame_current
    store = matte_run.current_store(clip)
    if store is None or clip.library is not None:
        return {}
    found = {}
    for entry in settings.objects:
        mask = settings.mask
        written = remembered(mask, entry.name) if mask is not None else None
        is_there = written is not None and entry.name in mask.layers
        if is_there and written is not None and not written.is_whole:
            # Without mattes there is nothing to write the other frames from.
            if (here or written.torn != now) and store.frames(entry.object_id):
                found[entry.object_id] = entry.name
        elif (
            clip.session_uid in _undone
            and not layer_build.is_latest(clip, entry.name)
            and (is_there or store.frames(entry.object_id))
        ):
            found[entry.object_id] = entry.name
    return found


def _layers(clip: MovieClip) -> list[str]:
    """The names of a clip's layers that are objects'."""
    mask = clip.sam2_splat.mask
    if mask is None or clip.library is not None:
        return []
    return [entry.name for entry in clip.sam2_splat.objects if entry.name in mask.layers]


def tick() -> float:
    """Look whether a layer has to be written anew, and work a little; the timer's function."""
    global _build, _is_undone
    if task_runner.current() is not None or _is_undone:
        _stop()
        _is_undone = False
    if task_runner.current() is not None or not bpy.context.window_manager.windows:
        return _IDLE
    if _hands_are_full():
        return _IDLE
    try:
        if _build is None:
            for clip in bpy.data.movieclips:
                if _is_ours(clip):
                    uid = clip.session_uid
                    _build = next(((uid, one) for one in _builds(clip)), None)
                    if _build is not None:
                        break
                    _undone.discard(uid)
        return _work() if _build is not None else _IDLE
    except SplatError as error:
        # An undo or a deletion came between two steps, or a matte is damaged: the operators say that.
        console.log(str(error))
        _stop()
    return _IDLE


def _work() -> float:
    global _build, _is_busy
    assert _build is not None
    uid, build = _build
    stop = time.monotonic() + _STEP
    _is_busy = True
    try:
        while not (ended := build.step()) and not build.waits and time.monotonic() < stop:
            pass
    finally:
        _is_busy = False
    if ended:
        _build = None
        _undone.discard(uid)
        clip = clip_by_uid(uid)
        if clip is not None:
            live_review.layers_written(clip, build.edited)
            _show_mask(clip)
    editors.redraw()
    return _BUSY


def _show_mask(clip: MovieClip) -> None:
    """Show a mask that an undo had taken away in the editors of its clip."""
    for _, _, space in editors.clip_editors():
        if space.clip == clip and space.mask is None:
            space.mask = clip.sam2_splat.mask


def _hands_are_full() -> bool:
    """Whether the user is in the middle of something that holds on to points: a drag, a playback."""
    for window in bpy.context.window_manager.windows:
        if window.screen.is_animation_playing or len(getattr(window, "modal_operators", ())):
            return True
    return False


def _stop() -> None:
    global _build
    if _build is not None:
        _build[1].close()
    _build = None


@bpy.app.handlers.persistent
def _after_update(scene: Scene, depsgraph: Depsgraph) -> None:
    if _is_busy or _is_rendering or layer_build.is_writing():
        return
    if not depsgraph.id_type_updated("MASK"):
        return
    if scene != bpy.context.scene:
        return
    for clip in bpy.data.movieclips:
        for name in _layers(clip):
            mask = clip.sam2_splat.mask
            if edit_search.notice(mask, name, scene.frame_current):
                _touched.add(clip.session_uid)
                _changed.add((mask.session_uid, name, scene.frame_current))


@bpy.app.handlers.persistent
def _after_frame_change(scene: Scene, *_: object) -> None:
    """Keep what was drawn on the frame that the playhead has left."""
    global _is_busy
    if _is_busy or _is_rendering or scene != bpy.context.scene:
        return
    left = {entry for entry in _changed if entry[2] != scene.frame_current}
    _changed.difference_update(left)
    for clip in bpy.data.movieclips:
        # A file that was saved in between: who looks at its photos is to see their masks.
        if clip.sam2_splat.mask is not None and any(
            edit_search.is_torn(clip.sam2_splat.mask, name) for name in _layers(clip)
        ):
            _touched.add(clip.session_uid)
    if not left and not bpy.app.background:
        return
    _is_busy = True
    try:
        masks = {mask.session_uid: mask for mask in bpy.data.masks}
        for uid, name, frame in sorted(left):
            if uid in masks:
                edit_search.keep_left(masks[uid], name, frame)
    finally:
        _is_busy = False
    if bpy.app.background and task_runner.current() is None:
        _settle_all()


@bpy.app.handlers.persistent
def _before_render(*_: object) -> None:
    global _is_rendering
    _is_rendering = True


@bpy.app.handlers.persistent
def _after_render(*_: object) -> None:
    global _is_rendering
    _is_rendering = False


@bpy.app.handlers.persistent
def _before_load(*_: object) -> None:
    _stop()
    for known in (_touched, _undone, _changed):
        known.clear()
    layer_build.clear()


def _handlers() -> Iterator[tuple[list[object], object]]:
    yield bpy.app.handlers.depsgraph_update_post, _after_update
    yield bpy.app.handlers.frame_change_post, _after_frame_change
    yield bpy.app.handlers.render_init, _before_render
    yield bpy.app.handlers.render_complete, _after_render
    yield bpy.app.handlers.render_cancel, _after_render
    yield bpy.app.handlers.load_pre, _before_load


def register() -> None:
    """Begin to watch the mask layers."""
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
    _before_load()
