# SPDX-License-Identifier: GPL-3.0-or-later
"""Which mattes are a clip's, and whether they are current.

Mattes lie beside the photos, where every .blend file with these photos finds them: another one may
have written its own in their place since.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import bpy

from ...core.errors import StoreError
from ...core.mattes import run_record
from ...core.mattes.run_manifest import RunManifest, read_manifest
from ...core.mattes.store import MATTES, MatteStore
from ...core.mattes.unfinished_run import run_stamp
from ...core.system.links import is_link
from ..context import clip_state, console, preferences, properties
from ..context.clip_state import ClipPart
from .footage import cache_folder_of, footage_of, shown_paths

# The folder of mattes, beside the photos or in the cache.
STORE_NAME = "sam2_splat_mattes"


@dataclass
class _OwnRuns(ClipPart):
    """The runs that the clip has made in this session.

    Attributes
    ----------
    stamps
        What tells them apart.
    folder, last
        Where the mattes of the last one are, and its stamp; empty before it.
    """

    outlives_removal: ClassVar[bool] = True
    stamps: set[str] = field(default_factory=set)
    folder: str = ""
    last: str = ""

    def undone(self, clip: bpy.types.MovieClip) -> None:
        """Let the clip know its last run again: an undo takes back no mattes."""
        settings = properties.of_clip(clip)
        if not self.folder:
            return
        settings.store_folder = settings.store_folder or self.folder
        if Path(bpy.path.abspath(settings.store_folder)) == Path(self.folder):
            settings.run_stamp = self.last


@dataclass
class _Manifest(ClipPart):
    """The manifest of the clip's store, once it was read; None where there is none."""

    is_read: bool = False
    run: RunManifest | None = None

    def mattes_changed(self, object_id: int | None, frame: int | None) -> None:
        self.is_read = False

    def photos_changed(self) -> None:
        self.is_read = False

    def undone(self, clip: bpy.types.MovieClip) -> None:
        self.is_read = False


def store_folder(clip: bpy.types.MovieClip, photos: Path) -> Path:
    """Where the clip's mattes are: beside the photos, or in the cache where that is read-only."""
    settings = properties.of_clip(clip)
    if not settings.store_folder:
        beside = photos / STORE_NAME
        if os.access(photos, os.W_OK):
            settings.store_folder = str(beside)
        else:
            settings.store_folder = str(preferences.staging_folder(photos) / STORE_NAME)
    return Path(bpy.path.abspath(settings.store_folder))


def known_store(clip: bpy.types.MovieClip) -> MatteStore | None:
    """The clip's mattes, which need not be there; None before its first propagation."""
    folder = properties.of_clip(clip).store_folder
    return MatteStore(Path(bpy.path.abspath(folder))) if folder else None


def last_run(clip: bpy.types.MovieClip) -> RunManifest | None:
    """What the clip's last propagation was asked; None when there was none, or none to go by."""
    return None if is_outdated(clip) else _run_of(clip)


def is_outdated(clip: bpy.types.MovieClip) -> bool:
    """Whether the store's mattes are of the photos as they were before some came or went."""
    mark = properties.of_clip(clip).outdated_run
    return bool(mark) and mark == run_mark(_run_of(clip))


def current_store(clip: bpy.types.MovieClip) -> MatteStore | None:
    """The clip's mattes, as far as they are of the photos on its frames now."""
    return None if is_outdated(clip) else known_store(clip)


def _run_of(clip: bpy.types.MovieClip) -> RunManifest | None:
    known = clip_state.of(clip).part(_Manifest)
    if not known.is_read:
        store = known_store(clip)
        known.is_read, known.run = True, None
        try:
            known.run = run_record.last_run(store) if store is not None else None
        except StoreError as error:
            console.log.warning(str(error))
    return known.run


def outdate(clip: bpy.types.MovieClip) -> None:
    """Take note that the mattes that there are go by other frames than the clip's now."""
    store = known_store(clip)
    if store is not None:
        properties.of_clip(clip).outdated_run = run_mark(run_record.last_run(store))


def run_mark(run: RunManifest | None) -> str:
    """What tells the mattes of other photos apart, for `outdated_run`."""
    return run.footage if run is not None else "unknown"


def remember(clip: bpy.types.MovieClip, store: MatteStore) -> None:
    """Take the store's last run for the clip's own."""
    stamp = run_stamp(store)
    properties.of_clip(clip).run_stamp = stamp
    runs = clip_state.of(clip).part(_OwnRuns)
    runs.stamps.add(stamp)
    runs.folder, runs.last = str(store.folder), stamp


def _is_own_run(clip: bpy.types.MovieClip, stamp: str) -> bool:
    """Whether the clip made a run in this session: an undo takes back what a clip remembers of it."""
    return stamp in clip_state.of(clip).part(_OwnRuns).stamps


def own_store(clip: bpy.types.MovieClip, photos: Path) -> MatteStore:
    """The clip's mattes; raises StoreError where they are of another run than the clip's last.

    Where the manifest is lost, which says whose mattes these are, it goes by what is there.
    """
    store = MatteStore(store_folder(clip, photos))
    stamp = run_stamp(store)
    if stamp and stamp != properties.of_clip(clip).run_stamp and not _is_own_run(clip, stamp):
        raise StoreError(
            f"The mattes in {store.folder} are not those that this file made last: they stay as they"
            " are. Another .blend file with these photos, or one that was not saved, has propagated"
            " since.",
            "Press Propagate, which makes again what is not up to date, or choose another folder for"
            " this file's mattes first.",
        )
    return store


def proven_store(clip: bpy.types.MovieClip) -> MatteStore | None:
    """The clip's mattes, for moving or deleting them; None where there is nothing of the kind.

    The place stands in the file, which may be a stranger's. So the file must know the run that made
    what is there, or show the very photos that it was made of.

    Raises
    ------
    StoreError
        The mattes are not known as the clip's, or the folder is no matte folder of ours.
    FootageError
        The photos, which are looked at where the file knows no run, can't be used.
    """
    store = known_store(clip)
    try:
        if store is None or MATTES.is_empty(store.folder):
            return None
    except OSError as error:
        raise StoreError(
            f"{error.filename} can't be read: {error.strerror}.", MATTES.fix
        ) from error
    MATTES.require(store.folder)
    known, stamp = properties.of_clip(clip).run_stamp, run_stamp(store)
    is_own = bool(stamp) and (stamp == known or _is_own_run(clip, stamp))
    if not is_own and ((known and stamp) or not _is_of_photos(clip, store)):
        raise StoreError(
            f"It is not known that this file made the mattes in {store.folder}: they stay as they"
            " are.",
            "Press Propagate first, which makes again what is not up to date, or choose another"
            " folder for this file's mattes.",
        )
    return store


def _is_of_photos(clip: bpy.types.MovieClip, store: MatteStore) -> bool:
    """Whether a store's mattes are of the photos that a clip shows, by content where they say so."""
    footage = footage_of(clip)
    shown = shown_paths(clip, range(1, len(footage) + 1))
    if [Path(path).resolve() for path in shown] != [path.resolve() for path in footage.paths]:
        return False
    last = read_manifest(store.manifest_path)
    if last is not None:
        return last.footage == footage.fingerprint() and not is_link(footage.folder)
    beside = store.folder.parent in (footage.folder, cache_folder_of(clip))
    return beside and store.folder.name == STORE_NAME and not is_link(footage.folder)
