# SPDX-License-Identifier: GPL-3.0-or-later
"""Write JPEGs of photos that Blender can't show, or would not show upright."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ...core.errors import Cancelled, DamagedPhoto, FootageError
from ...core.footage.sizes import Size
from ...core.geometry.orientation import PhotoShape
from ...core.geometry.shown_photo import ShownPhoto
from ...core.protocol import CopyRequest, Progress
from ...core.system.atomic_file import write_atomic
from ...core.system.process_memory import total_memory
from ..images.colors import to_8_bit
from ..images.decode import decode
from ..images.upright import upright

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
    frame = max((width * height for width, height in request.sizes), default=1) * _BYTES
    threads = max(1, min(os.cpu_count() or 1, _MAX_THREADS, total_memory() // 2 // max(1, frame)))
    damaged: list[str] = []

    def copy(photo: str, target: str, size: Size) -> str:
        if cancelled():
            raise Cancelled
        across, down = request.frame
        try:
            pixels = decode(Path(photo), raw=request.raw_photos)
        except DamagedPhoto:
            _write(Path(target), np.zeros((down, across, 3), dtype=np.uint8))
            return Path(photo).name
        height, width = pixels.array.shape[:2]
        if (width, height) != size:
            raise FootageError(
                f"{Path(photo).name} has changed its size.", "Load the photos again."
            )
        shown = ShownPhoto(PhotoShape(width, height, pixels.orientation), request.frame)
        _write(Path(target), _in_frame(upright(to_8_bit(pixels.array), pixels.orientation), shown))
        return ""

    with ThreadPoolExecutor(threads, thread_name_prefix="copies") as pool:
        names = pool.map(copy, request.photos, request.copies, request.sizes)
        for done, name in enumerate(names, start=1):
            damaged += [name] if name else []
            on_progress(Progress("copying", done, len(request.copies), done))
    return tuple(damaged)


def _in_frame(picture: NDArray[np.uint8], shown: ShownPhoto) -> NDArray[np.uint8]:
    """Put an upright picture where the clip shows it, with black beside it."""
    left, top, right, bottom = shown.part
    size = (right - left, bottom - top)
    if (picture.shape[1], picture.shape[0]) != size:
        smaller = size[0] < picture.shape[1]
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        picture = np.asarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8)
    if size == shown.frame:
        return np.ascontiguousarray(picture)
    out = np.zeros((shown.frame[1], shown.frame[0], 3), dtype=np.uint8)
    out[top:bottom, left:right] = picture
    return out


def _write(target: Path, picture: NDArray[np.uint8]) -> None:
    data = simplejpeg.encode_jpeg(picture, quality=_QUALITY, colorsubsampling="420")
    try:
        write_atomic(target, data)
    except OSError as problem:
        raise FootageError(
            f"{target} could not be written: {problem.strerror or problem}.",
            "Choose a cache folder that you may write to, on a disk with free space.",
        ) from problem
