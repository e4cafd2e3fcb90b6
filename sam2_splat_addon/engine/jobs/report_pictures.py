# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures of photos with the outline of their matte."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core.footage.headers import ImageHeader
from ...core.geometry.orientation import turned, turned_size
from ...core.geometry.resample import upsample_binary
from ...core.mattes.store import Logits
from ..images.colors import to_8_bit
from ..images.decode import decode
from ..images.raw import read_header
from ..images.reduced import jpeg_at_least

LONGER_SIDE = 400  # px
_OUTLINE = (255, 214, 0)
_QUALITY = 80
# Brightness of the picture outside the matte.
_OUTSIDE = 0.45


def picture_with_matte(photo: Path, logits: Logits) -> bytes:
    """Make a JPEG of an upright photo, darker outside its matte and with the matte's outline.

    Parameters
    ----------
    photo
        Any photo of the footage.
    logits
        (h, w) as the photo is stored, positive inside.

    Returns
    -------
    bytes
        The JPEG file, its longer side `LONGER_SIDE` px.

    Raises
    ------
    FootageError
        The photo is missing or damaged.
    """
    header = read_header(photo)
    pixels = _small(photo, header)  # (H, W, 3) uint8
    height, width = pixels.shape[:2]
    inside = upsample_binary(turned(logits, header.orientation), width, height)
    shown = np.where(inside[..., None], pixels, (pixels * _OUTSIDE).astype(np.uint8))
    edges, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # A dark line under a bright one can be seen on any background.
    cv2.drawContours(shown, edges, -1, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.drawContours(shown, edges, -1, _OUTLINE, 1, cv2.LINE_AA)
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _small(photo: Path, header: ImageHeader) -> NDArray[np.uint8]:
    """Return the upright photo with a longer side of `LONGER_SIDE` px, (H, W, 3)."""
    width, height = turned_size(header.width, header.height, header.orientation)
    scale = LONGER_SIDE / max(width, height)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    if header.format != "jpeg":
        return np.array(Image.fromarray(to_8_bit(decode(photo).upright)).resize(size))
    # A JPEG can be decoded at a fraction of its size, which is faster.
    small, box = jpeg_at_least(photo, size, {}, header.orientation)
    return np.array(small.resize(size, Image.Resampling.BICUBIC, box=box))


def small_photo(photo: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the photo as it is stored with this width and height, (H, W, 3) uint8.

    Raises FootageError if it is missing or damaged.
    """
    if read_header(photo).format != "jpeg":
        return np.array(Image.fromarray(to_8_bit(decode(photo).array)).resize(size))
    small, box = jpeg_at_least(photo, size, {})
    return np.array(small.resize(size, Image.Resampling.BICUBIC, box=box))
