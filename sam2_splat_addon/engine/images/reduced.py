# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode a photo at a smaller size. This imports no torch, so a small process can use it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core.geometry.orientation import AS_STORED, Box, back, turned_box, turned_size
from ...core.settings import RawSource
from .colors import rgb_of_pillow, to_8_bit
from .decode import DAMAGED, decode, unreadable
from .jpeg import UnusualJpeg, decode_jpeg
from .metadata import of_jpeg
from .raw import read_header
from .upright import upright

REDUCING_GAP = 2
"""The decoder's own shrinking leaves a picture at least this many times larger than wanted.

Pillow's `Image.thumbnail` uses the same value. With half of it, or with the decoder's shrinking
alone, fine structures would show errors.
"""

Decoded = dict[tuple[int, int], Image.Image]
"""One photo, upright, decoded at several scales, by the scale's stored size (width, height), px."""


def small_upright(
    path: Path, side: int, raw: RawSource = "developed"
) -> tuple[NDArray[np.uint8], bytes | None]:
    """Return the upright photo with a longer side of at most so many px, (H, W, 3) uint8, and its EXIF.

    Raises
    ------
    FootageError
        The photo is missing or damaged. The message names the file.
    """
    header = read_header(path)
    width, height = turned_size(header.width, header.height, header.orientation)
    scale = min(1.0, side / max(width, height))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    if header.format == "jpeg":
        photo, box = jpeg_at_least(path, size, {}, header.orientation)
        small = np.array(photo.resize(size, Image.Resampling.BICUBIC, box=box))
        return small, of_jpeg(path.read_bytes()).exif
    pixels = decode(path, raw=raw)
    small = to_8_bit(pixels.upright)
    if size != (width, height):
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, pixels.exif


def jpeg_at_least(
    path: Path, wanted: tuple[int, int], decoded: Decoded, orientation: int = AS_STORED
) -> tuple[Image.Image, Box]:
    """Decode a JPEG, upright, at the smallest of its scales that is as large as wanted.

    Parameters
    ----------
    path
        The photo.
    wanted
        Width and height of the upright photo, px.
    decoded
        The picture is taken from here, or added here.
    orientation
        How the photo is turned upright.

    Returns
    -------
    tuple
        The upright picture in RGB, and the part of it that the photo fills. A reduced scale rounds its
        size up.

    Raises
    ------
    FootageError
        The photo is missing or damaged. The message names the file.
    """
    with _drafted(path, turned_size(*wanted, back(orientation))) as draft:
        scale = draft.image.size
        if scale not in decoded:
            decoded[scale] = Image.fromarray(upright(draft.pixels(), orientation))
        return decoded[scale], turned_box((0, 0, *draft.filled), *scale, orientation)


def stored_jpeg_at_least(
    path: Path, wanted: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Decode a JPEG as its file stores it, otherwise as `jpeg_at_least`.

    Returns
    -------
    tuple
        The picture, (height, width, 3), and the width and height that the photo fills of it, px.

    Raises
    ------
    FootageError
        The photo is missing or damaged. The message names the file.
    """
    with _drafted(path, wanted) as draft:
        return draft.pixels(), draft.filled


@dataclass(frozen=True)
class _Draft:
    """A JPEG at the scale that Pillow's draft has chosen.

    Attributes
    ----------
    full_width
        Width at full scale, px.
    filled
        Width and height that the photo fills at this scale, px.
    """

    data: bytes
    image: Image.Image
    full_width: int
    filled: tuple[float, float]

    def pixels(self) -> NDArray[np.uint8]:
        """Decode it in RGB; raises ValueError."""
        try:
            size = self.image.size
            if self.image.mode != "CMYK":
                factor = next(by for by in (1, 2, 4, 8) if -(-self.full_width // by) == size[0])
                return decode_jpeg(self.data, size=size, factor=factor)
            decode_jpeg(self.data, "CMYK", factor=8)
        except UnusualJpeg:
            pass  # Pillow decodes it, but can't tell whether it is whole
        return rgb_of_pillow(self.image, of_jpeg(self.data).icc)


@contextlib.contextmanager
def _drafted(path: Path, wanted: tuple[int, int]) -> Iterator[_Draft]:
    """Open a JPEG at the smallest of its scales that is as large as wanted; raises FootageError."""
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            width = image.size[0]
            drafted = image.draft("RGB", wanted)
            filled = image.size if drafted is None else drafted[1][2:]
            yield _Draft(data, image, width, filled)
    except (FileNotFoundError, *DAMAGED) as problem:
        raise unreadable(path, problem) from problem
