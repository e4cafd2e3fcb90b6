# SPDX-License-Identifier: GPL-3.0-or-later
"""How much the add-on's cache holds, and emptying it; imports bpy through its siblings.

The cache holds links to photos, small copies for the editor, and the mattes of photos whose own folder
can't be written. Only the last can't be made again in minutes, and stay.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ...core.errors import StoreError
from ...core.footage.staging import unstage
from ...core.system.links import is_link
from ..context import preferences
from . import footage, loading

# A folder of thousands of links takes a moment to walk; the preferences are drawn often.
_FRESH = 10.0

_measured: tuple[float, Path, int] = (0.0, Path(), 0)


def size() -> int:
    """Bytes of ours in the cache, as they were some seconds ago at most; links count for nothing."""
    global _measured
    when, folder, found = _measured
    now, wanted = time.monotonic(), preferences.cache_folder()
    if folder != wanted or now - when > _FRESH:
        found = _bytes()
        _measured = (now, wanted, found)
    return found


def clear() -> int:
    """Delete what can be made again; returns how many bytes that were. Raises SplatError.

    Links of open clips are made again at once.
    """
    global _measured
    before = _bytes()
    try:
        for folder in footage.staged_folders():
            unstage(folder)
    except OSError as error:
        raise StoreError(
            f"{error.filename} can't be deleted: {error.strerror}.",
            "Close programs that use it, and see that it is writable.",
        ) from error
    finally:
        _measured = (0.0, Path(), 0)
        loading.restage_missing()
    return before - _bytes()


def _bytes() -> int:
    total = 0
    for folder in footage.staged_folders():
        for root, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not is_link(Path(root, name))]
            for name in names:
                path = Path(root, name)
                if not is_link(path):
                    try:
                        total += path.stat().st_size
                    except FileNotFoundError:
                        continue  # deleted meanwhile
    return total
