# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the mattes of a clip, and whether they are up to date.

Mattes are beside the photos, so every .blend file with these photos finds them. Another .blend file may
have replaced them by its own.
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
from ...core.mattes.store import MATTES, STORE_NAME, MatteStore
from ...core.mattes.unfinished_run import run_stamp
from ...core.system.links import is_link
from ...core.system.safe_read import is_folder
from ..context import clip_state, console, preferences, properties
from ..context.clip_state import ClipPart
from .footage import cache_folder_of, footage_of, shown_paths


@dataclass
class _OwnRuns(ClipPart):
    """The runs that the clip has made in this session.

    Attributes
    ----------
    stamps
        One stamp for each run.
    folder, last
        Folder of the last run's mattes, and its stamp. Empty before the first run.
    """

    outlives_removal: ClassVar[bool] = True
    stamps: set[str] = field(default_factory=set)
    folder: str = ""
    last: str = ""

    def undone(self, clip: bpy.types.MovieClip) -> None:
        """Store the last run in the clip again, because an undo does not undo mattes."""
        settings = properties.of_clip(clip)
        if not self.folder:
            return
        settings.store_folder = settings.store_folder or self.folder
        if Path(bpy.path.abspath(settings.store_folder)) == Path(self.folder):
            settings.run_stamp = self.last


@dataclass
class _Manifest(ClipPart):
    """The manifest of the clip's store, after it was read. None if there is none."""

    is_read: bool = False
    run: RunManifest | None = None

    def mattes_changed(self, object_id: int | None, frame: int | None) -> None:
        self.is_read = False

    def photos_changed(self) -> None:
        self.is_read = False

    def undone(self, clip: bpy.types.MovieClip) -> None:
        self.is_read = False


def store_folder(clip: bpy.types.MovieClip, photos: Path) -> Path:
    """Return the folder of the clip's mattes: beside the photos, or in the cache if that is read-only."""
    settings = properties.of_clip(clip)
    if not settings.store_folder:
        beside = photos / STORE_NAME
        if os.access(photos, os.W_OK):
            settings.store_folder = str(beside)
        else:
            settings.store_folder = str(preferences.staging_folder(photos) / STORE_NAME)
    return Path(bpy.path.abspath(settings.store_folder))


def known_store(clip: bpy.types.MovieClip) -> MatteStore | None:
    """Return the clip's mattes, which may be missing. None before the first propagation."""
    folder = properties.of_clip(clip).store_folder
    return MatteStore(Path(bpy.path.abspath(folder))) if folder else None


def last_run(clip: bpy.types.MovieClip) -> RunManifest | None:
    """Return the request of the clip's last propagation. None if there was none or it is unknown."""
    return None if is_outdated(clip) else _run_of(clip)


def is_outdated(clip: bpy.types.MovieClip) -> bool:
    """Whether photos were added or removed after the store's mattes were made."""
    mark = properties.of_clip(clip).outdated_run
    return bool(mark) and mark == run_mark(_run_of(clip))


def current_store(clip: bpy.types.MovieClip) -> MatteStore | None:
    """Return the clip's mattes, if they belong to the photos that are now on its frames."""
    return None if is_outdated(clip) else known_store(clip)


def has_masks(clip: bpy.types.MovieClip) -> bool:
    """Whether there is a mask to bake: in the clip's layers or in its store. Quick enough for a redraw."""
    mask = properties.of_clip(clip).mask
    if mask is not None and len(mask.layers):
        return True
    store = current_store(clip)
    return store is not None and is_folder(store.folder / "objects")


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
    """Note that the present mattes have other frame numbers than the clip now."""
    store = known_store(clip)
    if store is not None:
        properties.of_clip(clip).outdated_run = run_mark(run_record.last_run(store))


def run_mark(run: RunManifest | None) -> str:
    """Return a run's mark, for `outdated_run`."""
    return run.footage if run is not None else "unknown"


def remember(clip: bpy.types.MovieClip, store: MatteStore) -> None:
    """Note that the store's last run is the clip's own."""
    stamp = run_stamp(store)
    properties.of_clip(clip).run_stamp = stamp
    runs = clip_state.of(clip).part(_OwnRuns)
    runs.stamps.add(stamp)
    runs.folder, runs.last = str(store.folder), stamp


def _is_own_run(clip: bpy.types.MovieClip, stamp: str) -> bool:
    """Whether the clip made a run in this session. An undo may have removed it from the clip's data."""
    return stamp in clip_state.of(clip).part(_OwnRuns).stamps


def own_store(clip: bpy.types.MovieClip, photos: Path) -> MatteStore:
    """Return the clip's mattes. Raises StoreError if they are not from the clip's last run.

    If the manifest is lost, nothing says whose mattes they are. Then the mattes are accepted.
    """
    store = MatteStore(store_folder(clip, photos))
    stamp = run_stamp(store)
    if stamp and stamp != properties.of_clip(clip).run_stamp and not _is_own_run(clip, stamp):
        raise StoreError(
            f"The masks in {store.folder} are not from this file's last run, so they stay as they are."
            " Another .blend file with these photos has propagated since, or this file was closed"
            " without saving.",
            "Press Propagate to make this file's masks again, or choose another folder for its masks"
            " first.",
        )
    return store


def proven_store(clip: bpy.types.MovieClip) -> MatteStore | None:
    """Return the clip's mattes, to move or delete them. None if there are none.

    The file names their folder, and the file may be a stranger's. So it must know the run that made the
    mattes, or show exactly the photos that they were made of.

    Raises
    ------
    StoreError
        The mattes may not be the clip's, or the folder is not a matte folder of ours.
    FootageError
        The photos can't be used. They are read only if the file does not know the run.
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
            f"The masks in {store.folder} may not be from this file, so they stay as they are.",
            "Press Propagate first to make this file's masks again, or choose another folder for its"
            " masks.",
        )
    return store


def _is_of_photos(clip: bpy.types.MovieClip, store: MatteStore) -> bool:
    """Whether a store's mattes are of a clip's photos. Compare the photos' content if it is known."""
    footage = footage_of(clip)
    shown = shown_paths(clip, range(1, len(footage) + 1))
    if [Path(path).resolve() for path in shown] != [path.resolve() for path in footage.paths]:
        return False
    last = read_manifest(store.manifest_path)
    if last is not None:
        return last.footage == footage.fingerprint() and not is_link(footage.folder)
    beside = store.folder.parent in (footage.folder, cache_folder_of(clip))
    return beside and store.folder.name == STORE_NAME and not is_link(footage.folder)
