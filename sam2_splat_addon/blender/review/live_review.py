# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the review of the editor's clip up to date, a few milliseconds at a time.

In a window a timer looks whether the store or the mask layers have changed, and then reviews the clip
again (`review_builder.py`). Without a window :func:`ensure` does it at once. The result is kept here
and, for the list in the sidebar, in the window manager. Neither is saved or undone.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator
from dataclasses import dataclass
from typing import ClassVar

import bpy

from ...core.errors import SplatError
from ...core.review.judge import ShapeReader
from ..clip import approved_frames, markers, user_masks
from ..clip.matte_run import current_store
from ..context import clip_state, editors, properties, session_state, task_runner
from ..context.active_clip import active_clip
from ..context.clip_state import ClipPart
from ..context.editors import to_clip
from ..context.present import present
from ..context.session_state import SessionPart
from ..masks import edit_search
from . import list_properties, review_builder
from .review_builder import ClipReview, Watched, made, names_of, state_of

_FIRST = 0.5  # s until the first look
_IDLE = 0.4  # s between two looks at what has changed
_BUSY = 0.02  # s between two steps of a review
_STEP = 0.008  # s that a step may take
# Most lines in the list. Nobody reads more, and Blender is slow with thousands. The strip and the report
# have all frames.
_LISTED = 500
_TELL = 0.25  # s between two redraws of a review's progress


@dataclass
class _Reviewed(ClipPart):
    """The review of a clip, and the review that is being made in the window."""

    watched: Watched | None = None
    steps: Generator[bool, None, None] | None = None

    def stop(self) -> None:
        """Stop the review that is being made."""
        if self.steps is not None:
            self.steps.close()
            self.steps = None

    def photos_changed(self) -> None:
        self.stop()
        self.watched = None

    def edits_changed(self) -> None:
        """Look at the drawn frames again, because an operator or a task may have changed them."""
        if self.watched is not None:
            self.watched.is_stale = True

    def undone(self, clip: bpy.types.MovieClip) -> None:
        self.edits_changed()

    def closes(self) -> None:
        self.stop()


@dataclass
class _Telling(SessionPart):
    """Time of the last redraw of a review's progress, monotonic seconds."""

    of_file: ClassVar[bool] = True
    last: float = 0.0


def register() -> None:
    """Start to look for changes, soon after Blender has started."""
    if not bpy.app.background:
        bpy.app.timers.register(tick, first_interval=_FIRST, persistent=True)


def unregister() -> None:
    """Stop looking for changes."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)


def _known(clip: bpy.types.MovieClip) -> Watched | None:
    return clip_state.of(clip).part(_Reviewed).watched


def of_clip(clip: bpy.types.MovieClip) -> ClipReview | None:
    """Return the review of a clip. None before its first review."""
    watched = _known(clip)
    return watched.review if watched is not None else None


def progress(clip: bpy.types.MovieClip) -> tuple[int, int] | None:
    """Return how much of a running review is done, and of how much. None if it is up to date."""
    watched = _known(clip)
    if watched is None:
        return (0, 0) if current_store(clip) is not None else None
    if watched.progress is not None:
        return watched.progress
    outdated = watched.review is None or state_of(clip, watched.folder) != watched.state
    return (0, 0) if outdated and task_runner.current() is None else None


def ensure(clip: bpy.types.MovieClip) -> ClipReview:
    """Review the whole clip now. Raises SplatError."""
    watched = _watch(clip)
    watched.edited = None
    for waits in review_builder.steps(clip.session_uid, watched):
        if waits:
            time.sleep(_STEP)
    fill_list(clip)
    assert watched.review is not None  # just made
    return watched.review


def layers_written(clip: bpy.types.MovieClip, drawn_in_them: user_masks.Drawn) -> None:
    """Note that the mask layers were made again, and what the user drew in them."""
    watched = _watch(clip)
    edited = dict(watched.edited or {})
    for entry in properties.of_clip(clip).objects:
        if entry.name in drawn_in_them:
            edited[entry.object_id] = set(drawn_in_them[entry.name])
        elif entry.object_id not in edited:
            edited[entry.object_id] = set()
    if watched.edited is not None or not _other_layers(clip, drawn_in_them):
        watched.edited = edited


def edited_frames(clip: bpy.types.MovieClip) -> dict[str, set[int]]:
    """Return the known frames with drawings, by object. After the review, these are all."""
    watched = _known(clip)
    if watched is None or watched.edited is None:
        return {}
    names = names_of(clip)
    return {names[key]: set(frames) for key, frames in watched.edited.items() if key in names}


def fine_frames_of(clip: bpy.types.MovieClip) -> dict[int, tuple[int, ...]]:
    """Return the frames that the user has ticked, by object id, if their mattes are still the same.

    This reads the mattes' keys, one file each.
    """
    store = current_store(clip)
    found = {}
    for object_id, ticks in approved_frames.of_clip(clip).items() if store is not None else ():
        assert store is not None
        keys = {at: store.read(object_id, at).key for at in ticks if store.has(object_id, at)}
        found[object_id] = tuple(sorted(approved_frames.still_fine(clip, object_id, keys)))
    return found


def tick_frame(clip: bpy.types.MovieClip, object_id: int, frame: int, *, is_fine: bool) -> bool:
    """Tick an object's frame as fine, or remove the tick. Return False if it has no matte."""
    store = current_store(clip)
    if store is None or not store.has(object_id, frame):
        return False
    key = store.read(object_id, frame).key
    approved_frames.tick(clip, object_id, frame, key, is_fine=is_fine)
    watched = _known(clip)
    if watched is not None and watched.review is not None:
        _show(clip, watched)
    return True


def chosen_object(clip: bpy.types.MovieClip) -> int | None:
    """Return the only object that the list shows, or None for all."""
    if not list_properties.of_window(bpy.context.window_manager).only_active:
        return None
    entry = present(clip.tracking).objects.active
    name = markers.subject_name(entry) if entry is not None else ""
    known = properties.of_clip(clip).objects.get(name)
    return int(known.object_id) if known is not None else None


def fill_list(clip: bpy.types.MovieClip) -> None:
    """Put a clip's frames to look at into the window manager's list."""
    shown = list_properties.of_window(bpy.context.window_manager)
    found = of_clip(clip) or ClipReview()
    place = shown.place()
    if shown.shown_for != _shown_for(clip):
        shown.leave()
        place = (0, 0)
    shown.rows.clear()
    for one in found.listed(chosen_object(clip))[:_LISTED]:
        row = shown.rows.add()
        row.name = found.names.get(one.object_id, "")
        row.object_id = one.object_id
        row.frame = one.frame
        row.badness = one.badness
        row.summary = one.summary
    shown.keep_place(place)
    shown.shown_for = _shown_for(clip)


def shown_list(clip: bpy.types.MovieClip) -> list_properties.SAM2SPLAT_PG_review:
    """Return the list of frames to look at, filled for this clip."""
    shown = list_properties.of_window(bpy.context.window_manager)
    if shown.shown_for != _shown_for(clip):
        fill_list(clip)
    return shown


def _watch(clip: bpy.types.MovieClip) -> Watched:
    store = current_store(clip)
    folder = str(store.folder) if store is not None else ""
    watched = _known(clip)
    if watched is None or watched.folder != folder:
        reader = ShapeReader(store) if store is not None else None
        watched = Watched(folder=folder, reader=reader)
        clip_state.of(clip).part(_Reviewed).watched = watched
    return watched


def _show(clip: bpy.types.MovieClip, watched: Watched) -> None:
    """Put the present drawings and ticks into the review. The mattes are judged already."""
    watched.review = made(clip, watched)
    fill_list(clip)
    editors.redraw()
    editors.redraw_timelines()


def _other_layers(clip: bpy.types.MovieClip, names: Collection[str]) -> bool:
    """Whether the clip's mask has layers of other objects too."""
    mask = properties.of_clip(clip).mask
    known = {entry.name for entry in properties.of_clip(clip).objects}
    return mask is not None and any(
        layer.name in known and layer.name not in names for layer in mask.layers
    )


def _look_at_playhead(clip: bpy.types.MovieClip, watched: Watched) -> None:
    """Find out whether the user is editing the current frame, or has left an edited frame."""
    mask, scene = properties.of_clip(clip).mask, bpy.context.scene
    if mask is None or scene is None or watched.edited is None:
        return
    now, before = scene.frame_current, watched.frame
    watched.frame = now
    frame = to_clip(clip, before)
    changed = False
    for object_id, name in names_of(clip).items():
        if object_id not in watched.judged.reviews or name not in mask.layers:
            continue
        frames = watched.edited.setdefault(object_id, set())
        if before == now:
            edited = edit_search.shown_edit(mask, name, now) is not None
        elif frame in frames:
            # On the frame that was left, only keys have stayed. (The points of the new frame may not
            # be in place yet, so it is looked at next time.)
            edited = edit_search.is_edited(mask, name, before)
        else:
            continue
        if edited != (frame in frames):
            frames ^= {frame}
            changed = True
    if changed or watched.ticks != approved_frames.of_clip(clip):
        _show(clip, watched)


def clip_in_view() -> bpy.types.MovieClip | None:
    """Return the clip of the first Clip Editor, else the clip that operators would use."""
    for _, _, space in editors.clip_editors():
        if space.clip is not None:
            return space.clip
    return active_clip(bpy.context)


def tick() -> float:
    """Look for changes and work a little. The timer calls it. Return the seconds to the next call."""
    if task_runner.current() is not None:
        for _, reviewed in clip_state.known(_Reviewed):
            reviewed.stop()
            reviewed.edits_changed()
        return _IDLE
    clip = clip_in_view()
    if clip is None:
        return _IDLE
    watched = _watch(clip)
    own = clip_state.of(clip).part(_Reviewed)
    try:
        if own.steps is not None:
            return _work(clip, own)
        outdated = state_of(clip, watched.folder) != watched.state
        if watched.edited is None or watched.is_stale or outdated:
            for _, other in clip_state.known(_Reviewed):
                other.stop()
            own.steps = review_builder.steps(clip.session_uid, watched)
            return _BUSY
        _look_at_playhead(clip, watched)
    except SplatError as error:
        # A timer can't report an error. The panel shows it until the store changes.
        watched.state = state_of(clip, watched.folder)
        watched.edited, watched.is_stale = watched.edited or {}, False
        watched.review = ClipReview(names=names_of(clip), error=str(error))
        own.stop()
        editors.redraw()
    if list_properties.of_window(bpy.context.window_manager).shown_for != _shown_for(clip):
        fill_list(clip)
    return _IDLE


def _shown_for(clip: bpy.types.MovieClip) -> str:
    return f"{clip.session_uid} {chosen_object(clip)}"


def _work(clip: bpy.types.MovieClip, own: _Reviewed) -> float:
    assert own.steps is not None
    deadline = time.monotonic() + _STEP
    waits = False
    while not waits and time.monotonic() < deadline:
        try:
            waits = next(own.steps)
        except StopIteration:
            own.steps = None
            fill_list(clip)
            editors.redraw()
            editors.redraw_timelines()
            return _IDLE
    telling = session_state.part(_Telling)
    if time.monotonic() - telling.last >= _TELL:
        telling.last = time.monotonic()
        editors.redraw()
    return _BUSY
