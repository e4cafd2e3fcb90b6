# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the mattes from before photos were added or deleted.

Mattes go by frame number, so mattes of other photos must not lie among those of a run. They are kept in
``earlier/<photos>/`` until a complete run is finished. They come back if the same photos come back.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator

from ..errors import StoreError
from ..system.atomic_file import make_folder, sync_folder, write_atomic
from .run_manifest import MANIFEST_NAME, RunManifest, read_manifest, write_manifest
from .run_record import last_run
from .store import EARLIER, MATTES, MatteStore


def set_aside(store: MatteStore, run: RunManifest) -> None:
    """Move the mattes of a store, which are of this run, into ``earlier``; raises StoreError.

    The manifest is copied there too. The original stays until another one is written.
    """
    if not store.objects() and not store.aside():
        return
    place = _place(run.footage)
    with _worded(store):
        make_folder(store.folder / place)
        kept = store.folder / place / MANIFEST_NAME
        if store.manifest_path.exists():
            write_atomic(kept, store.manifest_path.read_bytes())
        if read_manifest(kept) is None:
            write_manifest(kept, run)
        _move(store, "", f"{place}/", replaces=True)


def bring_back(store: MatteStore, footage: str) -> None:
    """Bring back the mattes of these photos if they were set aside; raises StoreError.

    Mattes of other photos in the store are then set aside themselves.

    Parameters
    ----------
    footage
        Fingerprint of the present photos.
    """
    place = _place(footage)
    kept = store.folder / place / MANIFEST_NAME
    manifest, run = read_manifest(kept), last_run(store)
    if manifest is None or manifest.footage != footage:
        return
    with _worded(store):
        if run is not None and run.footage != footage:
            set_aside(store, run)
        _move(store, f"{place}/", "", replaces=False)
        if run is None or run.footage != footage:
            os.replace(kept, store.manifest_path)
            sync_folder(store.folder)
        MATTES.remove(store.folder, place)


def drop(store: MatteStore) -> None:
    """Delete all that was set aside; raises StoreError."""
    with _worded(store):
        MATTES.remove(store.folder, EARLIER)


def _place(footage: str) -> str:
    return f"{EARLIER}/{hashlib.sha256(footage.encode()).hexdigest()[:16]}"


def _move(store: MatteStore, source: str, target: str, *, replaces: bool) -> None:
    """Move the mattes of each object. With ``replaces`` they overwrite mattes at the target."""
    for name in ("objects", "cleared"):
        folder = store.folder / f"{source}{name}"
        for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
            there = f"{target}{name}/{entry.name}"
            if replaces:
                MATTES.remove(store.folder, there)
            if not any(MATTES.files(store.folder, there)):
                store.move(f"{source}{name}/{entry.name}", there)


@contextlib.contextmanager
def _worded(store: MatteStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The mattes in {store.folder} can't be moved: {error.strerror}.",
            "Close programs that use that folder, and check that you may write to it.",
        ) from error
