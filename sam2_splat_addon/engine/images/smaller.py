# SPDX-License-Identifier: GPL-3.0-or-later
"""Write photos and masks at half the size, for trainers that take smaller copies of large ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core.system.atomic_file import FolderSync, atomic_file
from .colors import to_8_bit
from .png import write_rgb

_QUALITY = 95


def halved(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return a picture at half of each side, rounded down, at least 1 px: the mean of its pixels."""
    height, width = pixels.shape[:2]
    size = (max(1, width // 2), max(1, height // 2))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def halved_mask(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask at half of each side, with no values that it did not have."""
    height, width = values.shape
    size = (max(1, width // 2), max(1, height // 2))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def write_smaller(
    path: Path, rgb: NDArray[Any], icc: bytes | None, *, folders: FolderSync | None = None
) -> NDArray[Any]:
    """Write a picture at half of each side, as JPEG or PNG by the name, and return its pixels.

    Raises
    ------
    OSError
        The file can't be written. Nothing of it is left.
    """
    small = halved(rgb)
    if path.suffix.lower() == ".png":
        write_rgb(path, small, icc=icc, folders=folders)
    else:
        with atomic_file(path, folders=folders) as file:
            picture = Image.fromarray(to_8_bit(small))
            picture.save(file, "JPEG", quality=_QUALITY, subsampling=0, icc_profile=icc)
    return small
