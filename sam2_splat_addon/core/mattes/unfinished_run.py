# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell which mattes are of the run before, as long as a run is not finished.

A matte stays until a new one replaces it. So a run that was cancelled, killed or failed leaves mattes of
two runs. Before its first matte, a run notes the keys of all mattes that it will replace (*void* ones).
A matte that still has such a key is of the run before. A finished run leaves no note.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from ..errors import StoreError
from ..system.atomic_file import sync_folder, write_atomic
from ..system.safe_read import UNREADABLE, read_plain
from .store import UNFINISHED_NAME, MatteStore

Keys = Mapping[int, Mapping[int, str]]
"""Object id -> frame -> key of its matte."""


class Unfinished(msgspec.Struct, frozen=True):
    """The note of a run that has begun.

    Attributes
    ----------
    run, before
        Stamps of its manifest, and of the manifest before it.
    first
        Object, frame and key of its first matte. Until that exists, the run before is complete.
    void
        The keys of the mattes that it will replace.
    """

    run: str
    before: str
    first: tuple[int, int, str] | None
    void: dict[int, dict[int, str]]


def run_stamp(store: MatteStore) -> str:
    """Return the stamp of the run that these mattes are of; empty if unknown."""
    stamp = _stamp(store)
    note = _read(store)
    if note is not None and note.run == stamp and not _has_begun(store, note):
        return note.before
    return stamp


def note_void(
    store: MatteStore, manifest: bytes, first: tuple[int, int, str] | None, void: Keys
) -> None:
    """Note what a run will replace; raises StoreError.

    Parameters
    ----------
    manifest
        The bytes of its manifest, which is written after this note.
    first
        Object, frame and key of the first matte after the manifest, if there is one.
    void
        Keys of the mattes that it will replace.
    """
    stamp, before = stamp_of(manifest), run_stamp(store)
    left = {object_id: dict(keys) for object_id, keys in void.items() if keys}
    if void_keys(store):
        first = None  # there are mattes of two runs already: void ones must not count again
    if left or before not in ("", stamp):
        _write(store, Unfinished(stamp, before, first, left))


def note_begun(store: MatteStore) -> None:
    """Note that the first matte is written; raises StoreError."""
    note = _read(store)
    if note is not None and note.first is not None:
        _write(store, msgspec.structs.replace(note, first=None))


def note_rest(store: MatteStore, void: Keys) -> None:
    """Note, after a run, which mattes of the run before it are left, if any; raises StoreError."""
    stamp = _stamp(store)
    left = {object_id: dict(keys) for object_id, keys in void.items() if keys}
    if left:
        _write(store, Unfinished(stamp, stamp, None, left))
        return
    path = store.folder / UNFINISHED_NAME
    try:
        if path.exists():
            path.unlink()
            sync_folder(store.folder)
    except OSError as error:
        raise _not_written(store, error) from error


def void_keys(store: MatteStore) -> dict[int, dict[int, str]]:
    """Return the mattes that are of the run before: those that still have their noted key."""
    found = {
        object_id: {frame: key for frame, key in keys.items() if store.key(object_id, frame) == key}
        for object_id, keys in _noted(store).items()
    }
    return {object_id: keys for object_id, keys in found.items() if keys}


def is_void(store: MatteStore, object_id: int, frame: int) -> bool:
    """Whether one matte is of the run before; reads no other matte."""
    key = _noted(store).get(object_id, {}).get(frame)
    return key is not None and store.key(object_id, frame) == key


def stamp_of(manifest: bytes) -> str:
    """Return the stamp of a run with this manifest."""
    return hashlib.sha256(manifest).hexdigest()[:32]


def _stamp(store: MatteStore) -> str:
    """Return the stamp of the manifest in the store; empty if it is missing or cut off."""
    try:
        data = read_plain(store.manifest_path)
        msgspec.json.decode(data)
    except (OSError, *UNREADABLE):
        return ""
    return stamp_of(data)


def _noted(store: MatteStore) -> dict[int, dict[int, str]]:
    """Return the keys that the last run will replace; none before its first matte."""
    note = _read(store)
    if note is None or note.run != _stamp(store) or not _has_begun(store, note):
        return {}
    return note.void


def _has_begun(store: MatteStore, note: Unfinished) -> bool:
    return note.first is None or store.key(*note.first[:2]) == note.first[2]


def _read(store: MatteStore) -> Unfinished | None:
    try:
        data = read_plain(store.folder / UNFINISHED_NAME)
        return msgspec.json.decode(data, type=Unfinished)
    except (OSError, *UNREADABLE):
        return None


def _write(store: MatteStore, note: Unfinished) -> None:
    try:
        write_atomic(store.folder / UNFINISHED_NAME, msgspec.json.encode(note))
    except OSError as error:
        raise _not_written(store, error) from error


def _not_written(store: MatteStore, error: OSError) -> StoreError:
    return StoreError(
        f"The note of this run can't be written into {store.folder}: {error.strerror}.",
        "Free some disk space, and check that you may write to this folder.",
    )
