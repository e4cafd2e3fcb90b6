# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at camera RAW photos for Blender, which can't read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from ...core.errors import Cancelled
from ...core.footage.raw_photos import RawPhoto, RawPhotos
from ...core.protocol import LookRequest, Progress
from ..images.raw import look_at

_MAX_THREADS: Final = 4  # each holds a file


def look(
    request: LookRequest, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> None:
    """Look at all photos, and write what was found.

    Raises
    ------
    Cancelled
        The user cancelled. What was found so far is kept.
    FootageError
        A photo is gone, or the file can't be written.
    """
    threads = max(1, min(os.cpu_count() or 1, _MAX_THREADS))
    paths = [Path(photo) for photo in request.photos]
    found: dict[Path, RawPhoto] = {}

    def seen(path: Path) -> RawPhoto:
        if cancelled():
            raise Cancelled
        return look_at(path)

    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="look") as pool:
            for path, photo in zip(paths, pool.map(seen, paths), strict=True):
                found[path] = photo
                on_progress(Progress("looking", len(found), len(paths), len(found)))
    finally:
        RawPhotos(Path(request.file)).keep(found)
