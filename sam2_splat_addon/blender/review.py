# SPDX-License-Identifier: GPL-3.0-or-later
"""The review of the clip in the editor, kept up to date a few milliseconds at a time; imports bpy.

In a window a timer looks whether the store or the mask layers have changed and reviews the clip
anew: a thread measures and judges the mattes, and edits are looked for in small steps; in background
:func:`ensure` does it at once. What was found is kept here and,
for the list in the sidebar, in the window manager: neither is saved, and neither is undone.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import bpy

from ..core.errand import Errand, Report
from ..core.errors import SplatError
from ..core.review import FrameReview, FrameState, ShapeReader, judge, marked, worst_first
from . import clip_prompts, drawn, editors, fine_frames, layer_edits, layer_memory, running
from .active_clip import active_clip
from .editors import to_clip
from .footage_clip import known_store

_IDLE = 0.4  # s between two looks at what has changed
_BUSY = 0.02  # s between two steps of a review
_STEP = 0.008  # s that a step may take
_TELL = 0.25  # s between two drawings of how far a review has come

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
_WEIGHTS: Mapping[FrameState, int] = {
    "good": 0,
    "fine": 1,
    "corrected": 2,
    "absent": 3,
    "doubtful": 4,
}


@dataclass(frozen=True)
class _Judged:
    """What the mattes alone say: object id -> reviews, and object id -> frame -> matte's key."""

    reviews: dict[int, list[FrameReview]] = field(default_factory=dict)
    keys: dict[int, dict[int, str]] = field(default_factory=dict)


@dataclass
class _Watched:
    """What the review of a clip was made from, to see when it is out of date."""

    state: _State = ()
    reader: ShapeReader | None = None
    folder: str = ""
    judged: _Judged = field(default_factory=_Judged)
    # Object id -> frames that the user has drawn; None until all frames were looked at.
    edited: dict[int, set[int]] | None = None
    # Whether those may have changed since, by an undo, an operator or a task.
    doubted: bool = False
    # The ticks that the review was made with.
    ticks: fine_frames.Ticks = field(default_factory=dict)
    review: ClipReview | None = None
    # How far a review that is being made has come, of how much.
    progress: tuple[int, int] | None = None
    # The frame the playhead was on, whose mask the user may be editing.
    frame: int = 0


_watched: dict[int, _Watched] = {}
_steps: tuple[int, Iterator[bool]] | None = None
_told = 0.0


def of_clip(clip: bpy.types.MovieClip) -> ClipReview | None:
    """What is known of a clip now; None before it was reviewed."""
    watched = _watched.get(clip.session_uid)
    return watched.review if watched is not None else None


def progress(clip: bpy.types.MovieClip) -> tuple[int, int] | None:
    """How far a review that is being made has come, of how much; None when it is up to date."""
    watched = _watched.get(clip.session_uid)
    if watched is None:
        return (0, 0) if known_store(clip) is not None else None
    if watched.progress is not None:
        return watched.progress
    outdated = watched.review is None or _state_of(clip, watched.folder) != watched.state
    return (0, 0) if outdated and running.current() is None else None


def ensure(clip: bpy.types.MovieClip) -> ClipReview:
    """Review a clip now, all of it; raises SplatError."""
    watched = _watch(clip)
    watched.edited = None
    for waits in _run(clip, watched):
        if waits:
            time.sleep(_STEP)
    fill_list(clip)
    assert watched.review is not None  # just made
    return watched.review


def layers_written(clip: bpy.types.MovieClip, drawn_in_them: drawn.Drawn) -> None:
    """Take note that the mask layers were made anew: what is drawn in them is known for certain."""
    watched = _watch(clip)
    edited = dict(watched.edited or {})
    for entry in clip.sam2_splat.objects:
        if entry.name in drawn_in_them:
            edited[entry.object_id] = set(drawn_in_them[entry.name])
        elif entry.object_id not in edited:
            edited[entry.object_id] = set()
    if watched.edited is not None or not _other_layers(clip, drawn_in_them):
        watched.edited = edited


def edited_frames(clip: bpy.types.MovieClip) -> dict[str, set[int]]:
    """The frames that are known to be drawn, by object; all of them once the review is made."""
    watched = _watched.get(clip.session_uid)
    if watched is None or watched.edited is None:
        return {}
    names = _names(clip)
    return {names[key]: set(frames) for key, frames in watched.edited.items() if key in names}


def fine_frames_of(clip: bpy.types.MovieClip) -> dict[int, tuple[int, ...]]:
    """The frames that the user has ticked, by object id, as far as their mattes are the same.

    Reads the mattes' keys, a file each.
    """
    store = known_store(clip)
    found = {}
    for object_id, ticks in fine_frames.of_clip(clip).items() if store is not None else ():
        assert store is not None
        keys = {at: store.read(object_id, at).key for at in ticks if store.has(object_id, at)}
        found[object_id] = tuple(sorted(fine_frames.still_fine(clip, object_id, keys)))
    return found


def tick_frame(clip: bpy.types.MovieClip, object_id: int, frame: int, *, is_fine: bool) -> bool:
    """Say that an object looks fine on a frame, or take it back; False where it has no matte."""
    store = known_store(clip)
    if store is None or not store.has(object_id, frame):
        return False
    key = store.read(object_id, frame).key
    fine_frames.tick(clip, object_id, frame, key, is_fine=is_fine)
    watched = _watched.get(clip.session_uid)
    if watched is not None and watched.review is not None:
        _show(clip, watched)
    return True


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


def _run(clip: bpy.types.MovieClip, watched: _Watched) -> Generator[bool, None, None]:
    """Review a clip in small steps, True while waiting; raises SplatError for a damaged matte."""
    uid = clip.session_uid
    state = _state_of(clip, watched.folder) if watched.folder else ()
    watched.progress = (0, 0)
    reader = watched.reader
    errand = Errand(lambda report: _judge_all(reader, [one for one, _, _ in state], report))
    try:
        while not errand.poll():
            watched.progress = (errand.done, errand.total)
            yield True
        judged = errand.result()
        names = {object_id: name for object_id, name, _ in state}
        edited = dict(watched.edited or {})
        if watched.edited is None or watched.doubted:
            among = _candidates(clip, watched, names) if watched.edited is not None else None
            looking = drawn.search(uid, tuple(names.values()), among)
            found: dict[str, set[int]] | None = None
            while found is None:
                try:
                    watched.progress = next(looking)
                    yield False
                except StopIteration as ended:
                    found = ended.value
            edited = {key: found.get(name, set()) for key, name in names.items()}
    finally:
        errand.cancel()
        watched.progress = None
    again = drawn.clip_by_uid(uid)
    watched.state, watched.judged, watched.edited = state, judged, edited
    watched.doubted = False
    if again is not None:
        watched.review = _made(again, watched)


def _judge_all(reader: ShapeReader | None, object_ids: list[int], report: Report) -> _Judged:
    """Measure and judge all mattes, in a thread; raises StoreError."""
    found = _Judged()
    total = sum(reader.count(one) for one in object_ids) if reader is not None else 0
    done = 0
    for object_id in object_ids:
        assert reader is not None  # there are no objects without
        shapes = []
        for shape in reader.read(object_id):
            shapes.append(shape)
            done += 1
            report(done, total)
        if shapes:
            found.reviews[object_id] = judge(object_id, shapes)
            found.keys[object_id] = {shape.frame: shape.key for shape in shapes}
    return found


def _made(clip: bpy.types.MovieClip, watched: _Watched) -> ClipReview:
    """What the mattes say, and what the user has drawn and ticked."""
    watched.ticks = fine_frames.of_clip(clip)
    edited, judged = watched.edited or {}, watched.judged
    reviews = {
        object_id: marked(
            own,
            edited.get(object_id, ()),
            fine_frames.still_fine(clip, object_id, judged.keys[object_id]),
        )
        for object_id, own in judged.reviews.items()
    }
    return ClipReview(reviews, _names(clip))


def _show(clip: bpy.types.MovieClip, watched: _Watched) -> None:
    """Put what is drawn and ticked now into the review: the mattes are judged already."""
    watched.review = _made(clip, watched)
    fill_list(clip)
    editors.redraw()


def _other_layers(clip: bpy.types.MovieClip, names: Collection[str]) -> bool:
    """Whether the clip's mask has layers of objects beside these."""
    mask = clip.sam2_splat.mask
    known = {entry.name for entry in clip.sam2_splat.objects}
    return mask is not None and any(
        layer.name in known and layer.name not in names for layer in mask.layers
    )


def _candidates(
    clip: bpy.types.MovieClip, watched: _Watched, names: Mapping[int, str]
) -> dict[str, set[int]]:
    """The clip's frames on which objects' layers may hold an edit since the last look.

    Those that were edited, those that were written as edited, and the ones the playhead is on and
    was on: nobody edits another.
    """
    mask = clip.sam2_splat.mask
    if mask is None:
        return {}
    known = watched.edited or {}
    here = {to_clip(clip, at) for at in (bpy.context.scene.frame_current, watched.frame)}
    found = {}
    for object_id, name in names.items():
        written = layer_memory.remembered(mask, name)
        kept = {to_clip(clip, at) for at in written.edited} if written is not None else set()
        found[name] = here | kept | known.get(object_id, set())
    return found


def _look_at_playhead(clip: bpy.types.MovieClip, watched: _Watched) -> None:
    """See whether the user edits the frame in view, or has left one edited or not."""
    mask, scene = clip.sam2_splat.mask, bpy.context.scene
    if mask is None or scene is None or watched.edited is None:
        return
    now, before = scene.frame_current, watched.frame
    watched.frame = now
    frame = to_clip(clip, before)
    changed = False
    for object_id, name in _names(clip).items():
        if object_id not in watched.judged.reviews or name not in mask.layers:
            continue
        frames = watched.edited.setdefault(object_id, set())
        if before == now:
            edited = layer_edits.shown_edit(mask, name, now) is not None
        elif frame in frames:
            # Left behind: only what was keyed has stayed. (The points of the new frame may not be
            # in place yet, so that is looked at next time.)
            edited = layer_edits.is_edited(mask, name, before)
        else:
            continue
        if edited != (frame in frames):
            frames ^= {frame}
            changed = True
    if changed or watched.ticks != fine_frames.of_clip(clip):
        _show(clip, watched)


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


def _work(clip: bpy.types.MovieClip, steps: Iterator[bool]) -> float:
    global _steps, _told
    deadline = time.monotonic() + _STEP
    waits = False
    while not waits and time.monotonic() < deadline:
        try:
            waits = next(steps)
        except StopIteration:
            _steps = None
            fill_list(clip)
            editors.redraw()
            return _IDLE
    if time.monotonic() - _told >= _TELL:
        _told = time.monotonic()
        editors.redraw()
    return _BUSY
