# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one review of a clip in small steps, so that the window stays quick.

A thread measures and judges the mattes. The main thread looks for frames that the user drew, and adds
the user's ticks at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import bpy

from ...core.mattes.run_manifest import read_manifest
from ...core.mattes.store import MatteStore
from ...core.review.agreement import read_agreement
from ...core.review.judge import (
    LOST,
    FrameReview,
    FrameState,
    ShapeReader,
    judge,
    marked,
    worst_first,
)
from ...core.system.background_task import BackgroundTask, Report
from ..clip import approved_frames, user_masks
from ..context import properties
from ..context.active_clip import clip_by_uid
from ..context.editors import to_clip
from ..context.present import present
from ..masks import written_layers

State = tuple[tuple[int, str, int], ...]
"""The state of a store: object id, name and time of the last change, for each object."""


@dataclass(frozen=True)
class ClipReview:
    """The review of one clip.

    Attributes
    ----------
    reviews
        Object id -> reviews of its frames, rising.
    names
        Object id -> name.
    error
        A sentence that says why there is no review. Empty if there is one.
    model
        The model that made the mattes. Empty if it is unknown.
    revision
        A number that changes with every change of this review.
    """

    reviews: dict[int, list[FrameReview]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    error: str = ""
    model: str = ""
    revision: int = field(default_factory=itertools.count(1).__next__)

    def listed(self, object_id: int | None = None) -> list[FrameReview]:
        """Return the frames to look at, worst first, of one object or of all."""
        if object_id is None:
            return self._worst
        return [one for one in self._worst if one.object_id == object_id]

    @cached_property
    def _worst(self) -> list[FrameReview]:
        return worst_first([one for own in self.reviews.values() for one in own])

    @cached_property
    def counts(self) -> tuple[int, int]:
        """Numbers of frames to look at and of frames with a matte. Every redraw asks for them."""
        listed = {one.frame for one in self._worst}
        return len(listed), len({one.frame for own in self.reviews.values() for one in own})

    @cached_property
    def lost(self) -> int:
        """Number of frames on which the model is lost."""
        return len({one.frame for one in self._worst if one.badness >= LOST})

    def states(self, object_id: int | None = None) -> dict[int, FrameState]:
        """Return for each frame the most important state of its objects."""
        found: dict[int, FrameState] = {}
        for key, reviews in self.reviews.items():
            if object_id is None or key == object_id:
                for one in reviews:
                    known = found.get(one.frame, "good")
                    found[one.frame] = max(known, one.state, key=_WEIGHTS.__getitem__)
        return found


# Of several objects, the state with the largest weight is shown.
_WEIGHTS: Mapping[FrameState, int] = {
    "good": 0,
    "fine": 1,
    "corrected": 2,
    "absent": 3,
    "doubtful": 4,
}


@dataclass(frozen=True)
class Judged:
    """The judgement of the mattes alone, without drawings and ticks.

    Attributes
    ----------
    reviews
        Object id -> reviews.
    keys
        Object id -> frame -> matte's key.
    model
        The model of the last run. Empty if it is unknown.
    """

    reviews: dict[int, list[FrameReview]] = field(default_factory=dict)
    keys: dict[int, dict[int, str]] = field(default_factory=dict)
    model: str = ""


@dataclass
class Watched:
    """What a clip's review was made from, to see when it is out of date."""

    state: State = ()
    reader: ShapeReader | None = None
    folder: str = ""
    judged: Judged = field(default_factory=Judged)
    # Object id -> frames that the user has drawn. None until all frames were looked at.
    edited: dict[int, set[int]] | None = None
    # Whether an undo, an operator or a task may have changed these since.
    is_stale: bool = False
    # The ticks that the review was made with.
    ticks: approved_frames.Ticks = field(default_factory=dict)
    review: ClipReview | None = None
    # How much of the running review is done, and of how much.
    progress: tuple[int, int] | None = None
    # The last frame of the playhead, whose mask the user may be editing.
    frame: int = 0


def steps(uid: int, watched: Watched) -> Generator[bool, None, None]:
    """Review a clip in small steps. Yield True while waiting. Raises SplatError for a damaged matte.

    The clip is given by its uid, because an undo between two steps makes a reference invalid.
    """
    clip = clip_by_uid(uid)
    if clip is None:
        return
    state = state_of(clip, watched.folder) if watched.folder else ()
    watched.progress = (0, 0)
    reader, folder = watched.reader, watched.folder
    ids = [one for one, _, _ in state]
    background = BackgroundTask(lambda report: _judge_all(reader, ids, folder, report))
    try:
        while not background.poll():
            watched.progress = (background.done, background.total)
            yield True
        judged = background.result()
        names = {object_id: name for object_id, name, _ in state}
        edited = dict(watched.edited or {})
        if watched.edited is None or watched.is_stale:
            here = clip_by_uid(uid)
            if here is None:
                return
            among = _candidates(here, watched, names) if watched.edited is not None else None
            looking = user_masks.search(uid, tuple(names.values()), among)
            found: dict[str, set[int]] | None = None
            while found is None:
                try:
                    watched.progress = next(looking)
                    yield False
                except StopIteration as ended:
                    found = ended.value
            edited = {key: found.get(name, set()) for key, name in names.items()}
    finally:
        background.cancel()
        watched.progress = None
    again = clip_by_uid(uid)
    watched.state, watched.judged, watched.edited = state, judged, edited
    watched.is_stale = False
    if again is not None:
        watched.review = made(again, watched)


def _judge_all(
    reader: ShapeReader | None, object_ids: list[int], folder: str, report: Report
) -> Judged:
    """Measure and judge all mattes in a thread. Raises StoreError."""
    run = read_manifest(MatteStore(Path(folder)).manifest_path) if folder else None
    found = Judged(model=run.model if run is not None else "")
    total = sum(reader.count(one) for one in object_ids) if reader is not None else 0
    done = 0
    for object_id in object_ids:
        assert reader is not None  # without a reader there are no objects
        shapes = []
        for shape in reader.read(object_id):
            shapes.append(shape)
            done += 1
            report(done, total)
        if shapes:
            agreement = read_agreement(MatteStore(Path(folder)), object_id)
            found.reviews[object_id] = judge(object_id, shapes, agreement)
            found.keys[object_id] = {shape.frame: shape.key for shape in shapes}
    return found


def made(clip: bpy.types.MovieClip, watched: Watched) -> ClipReview:
    """Put the judgement of the mattes together with the user's drawings and ticks."""
    watched.ticks = approved_frames.of_clip(clip)
    edited, judged = watched.edited or {}, watched.judged
    reviews = {
        object_id: marked(
            own,
            edited.get(object_id, ()),
            approved_frames.still_fine(clip, object_id, judged.keys[object_id]),
        )
        for object_id, own in judged.reviews.items()
    }
    return ClipReview(reviews, names_of(clip), model=judged.model)


def names_of(clip: bpy.types.MovieClip) -> dict[int, str]:
    return {entry.object_id: entry.name for entry in properties.of_clip(clip).objects}


def state_of(clip: bpy.types.MovieClip, folder: str) -> State:
    """Return the store's state. Each matte that is written or removed changes its folder's time."""
    found = []
    for object_id, name in names_of(clip).items():
        path = Path(folder) / "objects" / f"{object_id:03d}"
        try:
            found.append((object_id, name, path.stat().st_mtime_ns))
        except OSError:
            continue
    return tuple(found)


def _candidates(
    clip: bpy.types.MovieClip, watched: Watched, names: Mapping[int, str]
) -> dict[str, set[int]]:
    """Return the clip's frames that may have a new edit in objects' layers.

    These are the edited frames, those that were written as edited, and the present and the last frame
    of the playhead. The user can't edit other frames.
    """
    mask = properties.of_clip(clip).mask
    if mask is None:
        return {}
    known = watched.edited or {}
    here = {to_clip(clip, at) for at in (present(bpy.context.scene).frame_current, watched.frame)}
    found = {}
    for object_id, name in names.items():
        written = written_layers.remembered(mask, name)
        kept = {to_clip(clip, at) for at in written.edited} if written is not None else set()
        found[name] = here | kept | known.get(object_id, set())
    return found
