# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store knows of its last run, and whether it is these photos'; standard library and core.

The manifest says it. Where that is lost, the mattes do: each carries what its run has for all alike.
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
    """A store's last run, without its prompts where the manifest is lost; None where nothing tells.

    Raises StoreError when the manifest is there and can't be read.
    """
    return read_manifest(store.manifest_path) or _told_by_mattes(store)


def require_own_capture(store: MatteStore, footage: FootageFiles) -> None:
    """Raise StoreError where a store's mattes are of another capture than these photos.

    Photos come and go in a capture and are retouched: it is the same where its folder is, or half of
    its photos. Looks alone, and so can be asked before anything is touched.
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
            "Choose another folder for the mattes of these photos; those there stay as they are.",
        )


def photos_of(store: MatteStore, footage: FootageFiles) -> Photos:
    """What a store's manifest is to note of its photos."""
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
    """Of a photo's size and some of its bytes; empty where it can't be read."""
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
    """Raise StoreError where a store's last run was over other photos; its mattes go by number.

    Parameters
    ----------
    fingerprint
        Of the footage as it is now (`Footage.fingerprint`).
    origins
        Of the mattes that are meant (`MatteRecord.origin`).
    """
    runs = [last_run(store), *map(from_origin, origins)]
    if any(run is not None and run.footage != fingerprint for run in runs):
        raise StoreError(
            "The photos are no longer those that the mattes were made for: some were added, removed,"
            " renamed or changed.",
            "Press Propagate again; masks that you drew by hand stay.",
        )


def _told_by_mattes(store: MatteStore) -> RunManifest | None:
    """By most of the objects, each by the first of its mattes that says anything."""
    told: Counter[bytes] = Counter()
    for object_id in store.objects():
        for frame in store.frames(object_id):
            mark = store.mark(object_id, frame)
            if mark is not None and mark.origin:
                told[mark.origin] += 1
                break
    return from_origin(max(told, key=lambda origin: (told[origin], origin))) if told else None
