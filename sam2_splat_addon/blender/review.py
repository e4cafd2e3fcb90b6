# SPDX-License-Identifier: GPL-3.0-or-later
"""The review of the clip in the editor, kept up to date a few milliseconds at a time; imports bpy.

In a window a timer looks whether the store or the mask layers have changed and reviews the clip
anew, in small steps; in background :func:`ensure` does it at once. What was found is kept here and,
for the list in the sidebar, in the window manager: neither is saved, and neither is undone.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import bpy

from ..core.errors import SplatError
from ..core.review import FrameReview, FrameState, ShapeReader, judge, worst_first
from . import clip_prompts, editors, layer_frames, mask_keys, mask_layers, running
from .active_clip import active_clip
from .editors import to_clip, to_scene
from .footage_clip import known_store

_IDLE = 0.4  # s between two looks at what has changed
_BUSY = 0.02  # s between two steps of a review
_STEP = 0.008  # s that a step may take

_State = tuple[tuple[int, str, int], ...]


@dataclass(frozen=True)
class ClipReview:
    """What is known of one clip.

    Attributes
    ----------
    reviews
        Object id -> its frames' reviews, rising.
    names
        Object id -> name.
    error
        Why there is no review, as a sentence; empty when there is one.
    revision
        Another number whenever something of this has changed.
    """

    reviews: dict[int, list[FrameReview]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    error: str = ""
    revision: int = field(default_factory=itertools.count(1).__next__)

    def listed(self, object_id: int | None = None) -> list[FrameReview]:
        """The frames worth a look, worst first; of one object or of all."""
        chosen = [object_id] if object_id is not None else list(self.reviews)
        return worst_first([one for key in chosen for one in self.reviews.get(key, ())])

    def states(self, object_id: int | None = None) -> dict[int, FrameState]:
        """Frame -> the state most worth knowing of any object there."""
        found: dict[int, FrameState] = {}
        for key, reviews in self.reviews.items():
            if object_id is None or key == object_id:
                for one in reviews:
                    known = found.get(one.frame, "good")
                    found[one.frame] = max(known, one.state, key=_WEIGHTS.__getitem__)
        return found


# The heaviest state of several objects is shown.
_WEIGHTS: Mapping[FrameState, int] = {"good": 0, "corrected": 1, "absent": 2, "doubtful": 3}


@dataclass
class _Watched:
    """What the review of a clip was made from, to see when it is out of date."""

    state: _State = ()
    reader: ShapeReader | None = None
    folder: str = ""
    # Object id -> frames that the user has drawn; None until all frames were looked at.
    edited: dict[int, set[int]] | None = None
    # Whether those may have changed since, by an undo, an operator or a task.
    doubted: bool = False
    review: ClipReview = field(default_factory=ClipReview)
    # The frame the playhead was on, whose mask the user may be editing.
    frame: int = 0


_watched: dict[int, _Watched] = {}
_steps: tuple[int, Iterator[None]] | None = None


def of_clip(clip: bpy.types.MovieClip) -> ClipReview | None:
    """What is known of a clip now; None before it was reviewed."""
    watched = _watched.get(clip.session_uid)
    return watched.review if watched is not None else None


def ensure(clip: bpy.types.MovieClip) -> ClipReview:
    """Review a clip now, all of it; raises SplatError."""
    watched = _watch(clip)
    watched.edited = None
    for _ in _run(clip, watched):
        pass
    fill_list(clip)
    return watched.review


def doubt_edits() -> None:
    """Look at the drawn frames anew: an undo, an operator or a task may have changed them."""
    for watched in _watched.values():
        watched.doubted = True


def clear() -> None:
    """Forget everything: another file is loaded, or the add-on ends."""
    global _steps
    _steps = None
    _watched.clear()


def chosen_object(clip: bpy.types.MovieClip) -> int | None:
    """The object that the list is narrowed to; None for all."""
    if not bpy.context.window_manager.sam2_splat_review.only_active:
        return None
    entry = clip.tracking.objects.active
    name = clip_prompts.subject_name(entry) if entry is not None else ""
    known = clip.sam2_splat.objects.get(name)
    return int(known.object_id) if known is not None else None


def fill_list(clip: bpy.types.MovieClip) -> None:
    """Show a clip's frames worth a look in the window manager's list."""
    shown = bpy.context.window_manager.sam2_splat_review
    found = of_clip(clip) or ClipReview()
    place = shown.place()
    shown.rows.clear()
    for one in found.listed(chosen_object(clip)):
        row = shown.rows.add()
        row.name = found.names.get(one.object_id, "")
        row.object_id = one.object_id
        row.frame = one.frame
        row.badness = one.badness
        row.summary = one.summary
    shown.keep_place(place)


def _watch(clip: bpy.types.MovieClip) -> _Watched:
    store = known_store(clip)
    folder = str(store.folder) if store is not None else ""
    watched = _watched.get(clip.session_uid)
    if watched is None or watched.folder != folder:
        reader = ShapeReader(store) if store is not None else None
        watched = _watched[clip.session_uid] = _Watched(folder=folder, reader=reader)
    return watched


def _names(clip: bpy.types.MovieClip) -> dict[int, str]:
    return {entry.object_id: entry.name for entry in clip.sam2_splat.objects}


def _state_of(clip: bpy.types.MovieClip, folder: str) -> _State:
    """Changes whenever a matte is written or removed: each changes its folder's time."""
    found = []
    for object_id, name in _names(clip).items():
        path = Path(folder) / "objects" / f"{object_id:03d}"
        try:
            found.append((object_id, name, path.stat().st_mtime_ns))
        except OSError:
            continue
    return tuple(found)


def _run(clip: bpy.types.MovieClip, watched: _Watched) -> Iterator[None]:
    """Review a clip in small steps; raises SplatError for a damaged matte."""
    uid = clip.session_uid
    state = _state_of(clip, watched.folder) if watched.folder else ()
    result = ClipReview(names=_names(clip))
    edited: dict[int, set[int]] = {}
    for object_id, name, _ in state:
        assert watched.reader is not None
        shapes = []
        for shape in watched.reader.read(object_id):
            shapes.append(shape)
            yield
        known = None if watched.edited is None else watched.edited.get(object_id, set())
        if known is None or watched.doubted:
            edited[object_id] = set()
            with mask_keys.scratch_scene():
                for frame in _candidates(uid, name, known, watched.frame):
                    yield
                    if _is_edited(uid, name, frame):
                        edited[object_id].add(frame)
        else:
            edited[object_id] = known
        if shapes:
            result.reviews[object_id] = judge(object_id, shapes, edited.get(object_id, ()))
        yield
    watched.state, watched.edited, watched.review = state, edited, result
    watched.doubted = False


def _clip_by_uid(uid: int) -> bpy.types.MovieClip | None:
    # References die when the user undoes between two steps; these do not.
    return next((clip for clip in bpy.data.movieclips if clip.session_uid == uid), None)


def _candidates(uid: int, name: str, known: Collection[int] | None, at: int) -> list[int]:
    """The clip's frames on which an object's layer may hold an edit.

    All of them while nothing is known of the layer; later those that were edited, those that were
    written as edited, and the ones the playhead is on and was on: nobody edits another.
    """
    clip = _clip_by_uid(uid)
    mask = clip.sam2_splat.mask if clip is not None else None
    if clip is None or mask is None:
        return []
    offset = clip.frame_start - 1
    frames = {frame - offset for frame in layer_frames.written_frames(mask, name)}
    if known is not None:
        drawn = {frame - offset for frame in layer_frames.written_as_edited(mask, name)}
        now = bpy.context.scene.frame_current
        frames &= {*known, *drawn, now - offset, at - offset}
    return sorted(frame for frame in frames if 1 <= frame <= clip.sam2_splat.frame_count)


def _is_edited(uid: int, name: str, frame: int) -> bool:
    clip = _clip_by_uid(uid)
    mask = clip.sam2_splat.mask if clip is not None else None
    if clip is None or mask is None:
        return False
    return layer_frames.is_edited(mask, name, to_scene(clip, frame))


def _rejudge(clip: bpy.types.MovieClip, watched: _Watched, object_id: int) -> None:
    """After a change of what is drawn: the measures are there already."""
    assert watched.reader is not None
    assert watched.edited is not None
    drawn: Collection[int] = watched.edited.get(object_id, ())
    shapes = list(watched.reader.read(object_id))
    reviews = {**watched.review.reviews, object_id: judge(object_id, shapes, drawn)}
    watched.review = ClipReview(reviews, watched.review.names)
    fill_list(clip)
    editors.redraw()


def _look_at_playhead(clip: bpy.types.MovieClip, watched: _Watched) -> None:
    """See whether the user edits the frame in view, or has left one edited or not."""
    mask, scene = clip.sam2_splat.mask, bpy.context.scene
    if mask is None or scene is None or watched.edited is None:
        return
    now, before = scene.frame_current, watched.frame
    watched.frame = now
    frame = to_clip(clip, before)
    for object_id, name in watched.review.names.items():
        if object_id not in watched.review.reviews or name not in mask.layers:
            continue
        drawn = watched.edited.setdefault(object_id, set())
        if before == now:
            edited = mask_layers.shown_edit(mask, name, now) is not None
        elif frame in drawn:
            # Left behind: only what was keyed has stayed. (The points of the new frame may not be
            # in place yet, so that is looked at next time.)
            edited = layer_frames.is_edited(mask, name, before)
        else:
            continue
        if edited != (frame in drawn):
            drawn ^= {frame}
            _rejudge(clip, watched, object_id)


def _clip_in_view() -> bpy.types.MovieClip | None:
    """The clip of the first Clip Editor, else the one that the operators would take."""
    for _, _, space in editors.clip_editors():
        if space.clip is not None:
            return space.clip
    return active_clip(bpy.context)


def tick() -> float:
    """Look for changes and work a little; the timer's function. Returns seconds to the next."""
    global _steps
    if running.current() is not None:
        _steps = None
        doubt_edits()
        return _IDLE
    clip = _clip_in_view()
    if clip is None:
        return _IDLE
    watched = _watch(clip)
    try:
        if _steps is not None and _steps[0] == clip.session_uid:
            return _work(clip, _steps[1])
        outdated = _state_of(clip, watched.folder) != watched.state
        if watched.edited is None or watched.doubted or outdated:
            _steps = (clip.session_uid, _run(clip, watched))
            return _BUSY
        _look_at_playhead(clip, watched)
    except SplatError as error:
        # A timer can't report: the panel shows it, until the store changes.
        watched.state = _state_of(clip, watched.folder)
        watched.edited, watched.doubted = watched.edited or {}, False
        watched.review = ClipReview(names=_names(clip), error=str(error))
        _steps = None
        editors.redraw()
    if bpy.context.window_manager.sam2_splat_review.shown_for != _shown_for(clip):
        fill_list(clip)
        bpy.context.window_manager.sam2_splat_review.shown_for = _shown_for(clip)
    return _IDLE


def _shown_for(clip: bpy.types.MovieClip) -> str:
    return f"{clip.session_uid} {chosen_object(clip)}"


def _work(clip: bpy.types.MovieClip, steps: Iterator[None]) -> float:
    global _steps
    deadline = time.monotonic() + _STEP
    while time.monotonic() < deadline:
        try:
            next(steps)
        except StopIteration:
            _steps = None
            fill_list(clip)
            editors.redraw()
            return _IDLE
    return _BUSY
