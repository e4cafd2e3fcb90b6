# SPDX-License-Identifier: GPL-3.0-or-later
"""Read parts of photos close up, decoded ahead of use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core.geometry.orientation import Box
from ...core.settings import RawSource
from ..images.colors import to_8_bit
from ..images.decode import decode
from ..images.raw import read_header
from ..images.reduced import REDUCING_GAP, Decoded, jpeg_at_least

_MARGIN: Final = 1.25  # a crop is decoded larger than needed, because JPEG blurs edges

Part = tuple[float, float, float, float]
"""Left, top, right and bottom of a part, as fractions of its upright photo's width and height."""

_Size = tuple[int, int]  # (width, height), px


class CropReader:
    """Read parts of photos. The last photo stays decoded for its other parts.

    If photos are asked for one after the other, forwards or backwards, a thread decodes the next
    one. It uses the scales that the last photo needed. No more than these two photos are held.

    Parameters
    ----------
    photos
        In frame order.
    side
        Side of the returned squares, px. A JPEG is decoded no larger than these need.
    raw
        What is taken from a camera RAW.
    """

    def __init__(self, photos: Sequence[Path], side: int, raw: RawSource = "developed") -> None:
        self._raw = raw
        self._photos = tuple(photos)
        self._side = side
        self._index = -1
        self._decoded: Decoded = {}
        self._needed: dict[_Size, _Size] = {}  # size of a scale -> the size asked for
        self._thread = ThreadPoolExecutor(1, "close-ups")
        self._ahead: tuple[int, Future[Decoded]] | None = None

    def at(self, index: int, part: Part) -> NDArray[np.uint8]:
        """Return a part of an upright photo, resized to a square: (side, side, 3) uint8.

        The result does not depend on earlier calls.

        Raises
        ------
        FootageError
            The photo is missing or damaged. The message names the file.
        """
        if index != self._index:
            self._turn_to(index)
        size = (self._side, self._side)
        across, down = part[2] - part[0], part[3] - part[1]
        wanted = (math.ceil(_MARGIN * self._side / across), math.ceil(_MARGIN * self._side / down))
        photo, (left, top, right, bottom), gap = _read(
            self._photos[index], wanted, self._decoded, self._raw
        )
        self._needed.setdefault(photo.size, wanted)
        across, down = right - left, bottom - top
        box = (
            left + part[0] * across,
            top + part[1] * down,
            left + part[2] * across,
            top + part[3] * down,
        )
        return np.array(photo.resize(size, box=box, reducing_gap=gap))

    def _turn_to(self, index: int) -> None:
        """Release the last photo, take what was decoded ahead, and start decoding the next one."""
        step, needed, ahead = index - self._index, self._needed, self._ahead
        self._index, self._decoded, self._needed, self._ahead = index, {}, {}, None
        if ahead is not None and ahead[0] == index:
            self._decoded = ahead[1].result()
        elif ahead is not None:
            wait([ahead[1]])  # so that the thread never holds two
        coming = index + step
        if needed and abs(step) == 1 and 0 <= coming < len(self._photos):
            self._ahead = (
                coming,
                self._thread.submit(_read_all, self._photos[coming], needed, self._raw),
            )


def _read_all(path: Path, needed: Mapping[_Size, _Size], raw: RawSource) -> Decoded:
    decoded: Decoded = {}
    for wanted in needed.values():
        _read(path, wanted, decoded, raw)
    return decoded


def _read(
    path: Path, wanted: _Size, decoded: Decoded, raw: RawSource
) -> tuple[Image.Image, Box, float | None]:
    """Return an upright photo no smaller than wanted, which part of it counts, and how to shrink it.

    It is taken from ``decoded``, or added there.
    """
    header = read_header(path)
    if header.format == "jpeg":
        return *jpeg_at_least(path, wanted, decoded, header.orientation), REDUCING_GAP
    photo = next(iter(decoded.values()), None)
    if photo is None:
        photo = Image.fromarray(to_8_bit(decode(path, raw=raw).upright))
        decoded[photo.size] = photo
    return photo, (0, 0, *photo.size), None
