# SPDX-License-Identifier: GPL-3.0-or-later
"""Write JPEGs of photos that Blender can't show."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ...core.errors import Cancelled, DamagedPhoto, FootageError
from ...core.protocol import CopyRequest, Progress
from ...core.system.atomic_file import write_atomic
from ...core.system.process_memory import total_memory
from ..images.colors import to_8_bit
from ..images.decode import decode

_QUALITY: Final = 85
_BYTES: Final = 24  # held for one pixel of a photo, at most
_MAX_THREADS: Final = 8


def write_copies(
    request: CopyRequest, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> tuple[str, ...]:
    """Write all copies. Return the names of the photos that are damaged.

    Raises
    ------
    Cancelled
        The user cancelled. Finished copies stay.
    FootageError
        A photo is gone or has another size, or a copy can't be written.
    """
    frame = request.width * request.height * _BYTES
    threads = max(1, min(os.cpu_count() or 1, _MAX_THREADS, total_memory() // 2 // max(1, frame)))
    damaged: list[str] = []

    def copy(photo: str, target: str) -> str:
        if cancelled():
            raise Cancelled
        name = ""
        try:
            picture = to_8_bit(decode(Path(photo)).array)
        except DamagedPhoto:
            picture = np.zeros((request.height, request.width, 3), dtype=np.uint8)
            name = Path(photo).name
        if picture.shape[:2] != (request.height, request.width):
            raise FootageError(
                f"{Path(photo).name} has changed its size.", "Load the photos again."
            )
        _write(Path(target), picture)
        return name

    with ThreadPoolExecutor(threads, thread_name_prefix="copies") as pool:
        names = pool.map(copy, request.photos, request.copies)
        for done, name in enumerate(names, start=1):
            damaged += [name] if name else []
            on_progress(Progress("copying", done, len(request.copies), done))
    return tuple(damaged)


def _write(target: Path, picture: NDArray[np.uint8]) -> None:
    data = simplejpeg.encode_jpeg(picture, quality=_QUALITY, colorsubsampling="420")
    try:
        write_atomic(target, data)
    except OSError as problem:
        raise FootageError(
            f"{target} could not be written: {problem.strerror or problem}.",
            "Choose a cache folder that you may write to, on a disk with free space.",
        ) from problem
