# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure and empty the add-on's cache.

The cache holds links to photos, small copies for the editor, what was found out about videos, and mattes
if the photos' own folder is read-only. Emptying keeps the mattes, because only they can't be made again in
minutes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import StoreError
from ...core.footage.staging import unstage
from ...core.footage.video_scores import SCORES, scores_folder
from ...core.system.links import is_link
from ..context import preferences, session_state
from ..context.session_state import SessionPart
from . import footage, loading

# A folder of thousands of links takes a moment to read, and the preferences are drawn often.
_FRESH = 10.0


@dataclass
class _Measured(SessionPart):
    """The size of a folder in bytes, and when it was measured, monotonic seconds."""

    when: float = 0.0
    folder: Path | None = None
    size: int = 0


def size() -> int:
    """Return the size of our files in the cache, in bytes, at most some seconds old. Links count as 0."""
    last = session_state.part(_Measured)
    now, wanted = time.monotonic(), preferences.cache_folder()
    if last.folder != wanted or now - last.when > _FRESH:
        last.when, last.folder, last.size = now, wanted, _bytes()
    return last.size


def clear() -> int:
    """Delete what can be made again. Return how many bytes were deleted. Raises SplatError.

    The links of open clips are made again at once.
    """
    before = _bytes()
    try:
        for folder in footage.staged_folders():
            unstage(folder)
        scores = scores_folder(preferences.cache_folder())
        if SCORES.owns(scores):
            SCORES.remove(scores)
    except OSError as error:
        raise StoreError(
            f"{error.filename} can't be deleted: {error.strerror}.",
            "Close programs that use it and make it writable.",
        ) from error
    finally:
        session_state.drop(_Measured)
        loading.restage_missing()
    return before - _bytes()


def _bytes() -> int:
    total = 0
    scores = scores_folder(preferences.cache_folder())
    ours = [scores] if SCORES.owns(scores) else []
    for folder in [*footage.staged_folders(), *ours]:
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
