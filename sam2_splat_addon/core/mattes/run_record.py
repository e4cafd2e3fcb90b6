# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what the last run of a store was, and whether it was over these photos.

The manifest tells it. If it is lost, the mattes tell it: each has the common facts of its run.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Final

from ..errors import StoreError
from ..protocol import FootageFiles
from ..system.safe_read import open_plain
from .run_manifest import Photos, RunManifest, from_origin, read_manifest, read_photos
from .store import MatteStore

_BLOCK: Final = 1 << 12  # bytes
_DIGITS: Final = 16


def last_run(store: MatteStore) -> RunManifest | None:
    """Return the last run of a store; None if unknown. Without a manifest it has no prompts.

    Raises StoreError if there is a manifest that can't be read.
    """
    return read_manifest(store.manifest_path) or _told_by_mattes(store)


def require_own_capture(store: MatteStore, footage: FootageFiles) -> None:
    """Raise StoreError if the mattes in a store belong to another capture than these photos.

    Photos of a capture may be added, deleted and edited. It is the same capture if its folder is the
    same, or half of its photos. This changes nothing, so it can be asked first.
    """
    run = last_run(store)
    if run is None or run.footage == footage.fingerprint:
        return
    known = read_photos(store.manifest_path)
    if _is_beside(store, footage) or (known.folder and known.folder == _folder(footage)):
        return
    if known.digests:
        now, before = _digests(footage), set(known.digests) - {""}
        is_same = 2 * sum(digest in before for digest in now) >= min(len(now), len(before))
    else:  # the manifest is lost, and the digests with it
        size = (footage.width, footage.height, len(footage.paths))
        is_same = size == (run.width, run.height, run.frame_count)
    if not is_same:
        raise StoreError(
            f"The mattes in {store.folder} are of other photos than those in {footage.folder}.",
            "Choose another folder for the mattes of these photos: the mattes there stay as they are.",
        )


def photos_of(store: MatteStore, footage: FootageFiles) -> Photos:
    """Return what the manifest of a store must say of these photos."""
    last, known = last_run(store), read_photos(store.manifest_path)
    is_same = last is not None and last.footage == footage.fingerprint and known.digests
    return Photos(_folder(footage), known.digests if is_same else _digests(footage))


def _is_beside(store: MatteStore, footage: FootageFiles) -> bool:
    return os.path.realpath(store.folder.absolute().parent) == os.path.realpath(footage.folder)


def _folder(footage: FootageFiles) -> str:
    path = os.path.realpath(footage.folder)
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:_DIGITS]


def _digests(footage: FootageFiles) -> tuple[str, ...]:
    return tuple(map(_digest, footage.paths))


def _digest(path: str) -> str:
    """Return a digest of the size and some bytes of a photo; empty if it can't be read."""
    try:
        with open_plain(Path(path)) as file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.sha256(size.to_bytes(8, "little"))
            for begin in sorted({max(0, (size - _BLOCK) * part // 4) for part in range(5)}):
                file.seek(begin)
                digest.update(file.read(_BLOCK))
    except OSError:
        return ""
    return digest.hexdigest()[:_DIGITS]


def require_same_photos(
    store: MatteStore, fingerprint: str, origins: Collection[bytes] = ()
) -> None:
    """Raise StoreError if the last run of a store was over other photos, since mattes go by number.

    Parameters
    ----------
    fingerprint
        Fingerprint of the present footage (`Footage.fingerprint`).
    origins
        Origins of the mattes in question (`MatteRecord.origin`).
    """
    runs = [last_run(store), *map(from_origin, origins)]
    if any(run is not None and run.footage != fingerprint for run in runs):
        raise StoreError(
            "The photos are no longer those that the mattes were made for: some were added, removed,"
            " renamed or changed.",
            "Press Propagate again: masks that you drew by hand stay.",
        )


def _told_by_mattes(store: MatteStore) -> RunManifest | None:
    """Ask the mattes: the first one of each object that tells its run has a vote, and most votes win."""
    told: Counter[bytes] = Counter()
    for object_id in store.objects():
        for frame in store.frames(object_id):
            mark = store.mark(object_id, frame)
            if mark is not None and mark.origin:
                told[mark.origin] += 1
                break
    return from_origin(max(told, key=lambda origin: (told[origin], origin))) if told else None
