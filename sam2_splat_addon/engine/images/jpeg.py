# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode JPEGs whole or not at all.

On damaged data libjpeg gives smears or grey and only warns, so here its warnings are errors. Some
warnings mean no harm to pixels, and their causes are removed first: stray bytes between the
segments before the picture, a missing end marker, and data that other programs added at the end.

A decoder notices damage when the data does not give as many blocks as the picture has. If a bit
changes inside a coefficient's value, the number of blocks stays the same. Nothing in a JPEG can
show that.
"""

from __future__ import annotations

import contextlib
import re
import struct
from typing import Final, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray

_START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
# A marker that ends the data of a scan: not a stuffed byte, a restart or a fill byte.
_SCAN_ENDS: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_BEHIND_SCANS: Final = frozenset({0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_LEFT_OVER: Final = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_READ_AHEAD: Final = 8  # bytes that the decoder reads ahead and counts as used
_BLANK: Final = 16
_LONG_BLANK: Final = bytes(64)

_DAMAGED: Final = "its image data is damaged or cut short"


class UnusualJpeg(Exception):  # noqa: N818 - says what it is
    """libjpeg can decode this kind of JPEG, but its quick interface can't."""


def decode_jpeg(
    data: bytes,
    colors: Literal["RGB", "CMYK"] = "RGB",
    *,
    size: tuple[int, int] | None = None,
    factor: int = 1,
) -> NDArray[np.uint8]:
    """Decode a JPEG whole.

    Parameters
    ----------
    data
        The file.
    colors
        CMYK for files with four channels, RGB for all others.
    size
        (width, height) at a reduced scale, px. None is the file's own size.
    factor
        The reduction that gives this size: 1, 2, 4 or 8.

    Returns
    -------
    NDArray
        (height, width, 3 or 4), the same values as from Pillow at this scale.

    Raises
    ------
    ValueError
        The data is damaged, or ends before the picture does.
    UnusualJpeg
        Only Pillow can decode it, and Pillow can't tell whether it is whole.
    """
    width, height = size or (0, 0)

    def strictly(data: bytes) -> NDArray[np.uint8]:
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data, colors, min_width=width, min_height=height, min_factor=factor, strict=True
            )
        except ValueError as problem:
            if "subsampling" in str(problem) or "conversion" in str(problem):
                raise UnusualJpeg from problem
            raise
        _require_no_blank(data)
        return pixels

    try:
        return strictly(data)
    except ValueError:
        tidy, has_end = _tidy(data)
    try:
        return strictly(tidy + _END)
    except ValueError as problem:
        left_over = _LEFT_OVER.search(str(problem))
        if has_end or left_over is None:
            raise ValueError(_DAMAGED) from problem
        # Without an end marker, data after the picture looks like more of the picture.
        own = tidy[: len(tidy) - int(left_over[1])]
    if own[-_BLANK:].strip(b"\0"):  # only zeros: the end of the picture was never written
        for ahead in range(_READ_AHEAD):
            with contextlib.suppress(ValueError):
                return strictly(own[: len(own) - ahead] + _END)
    raise ValueError(_DAMAGED)


def _tidy(data: bytes) -> tuple[bytes, bool]:
    """Return what decoding needs, without an end marker; and whether the file has one."""
    try:
        kept, scan = _head(data)
        end, has_end, is_complete = _end_of_scans(data, scan)
    except (IndexError, struct.error) as problem:
        raise ValueError(_DAMAGED) from problem
    if not (has_end or is_complete):
        raise ValueError(_DAMAGED)
    return b"".join([*kept, data[scan:end]]), has_end


def _head(data: bytes) -> tuple[list[bytes], int]:
    """Return the segments before the first scan that decoding needs, and where that scan begins."""
    kept, at = [_START], 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise ValueError(_DAMAGED)
        marker = data[at + 1]
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 2
        elif marker == 0xFF:
            at += 1
        elif marker == 0xD9:
            raise ValueError(_DAMAGED)
        elif marker == 0xDA:
            return kept, at
        else:
            segment = data[at : _segment_end(data, at)]
            if marker == 0xE0 and segment[4:9] == b"JFIF\0":
                # libjpeg warns of an unknown version, but can read it.
                kept.append(segment[:9] + b"\1\1" + segment[11:])
            elif marker == 0xEE or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
                kept.append(segment)  # Adobe's segment tells the colour model
            at += len(segment)


def _end_of_scans(data: bytes, at: int) -> tuple[int, bool, bool]:
    """Return where the last scan ends, whether an end marker is there, and whether all scans are there.

    A progressive picture comes in several scans. It is complete when the lowest bit of every
    coefficient of every component has come.
    """
    lowest: dict[int, dict[int, int]] = {}  # lowest bit so far, by component and coefficient
    while True:
        if data[at + 1] == 0xDA:
            count = data[at + 4]
            first, last, bits = data[at + 5 + 2 * count : at + 8 + 2 * count]
            for component in data[at + 5 : at + 5 + 2 * count : 2]:
                lowest.setdefault(component, dict.fromkeys(range(64), 1))
                lowest[component] |= dict.fromkeys(range(first, last + 1), bits & 15)
        at = _segment_end(data, at)
        found = _SCAN_ENDS.search(data, at)
        if found is not None and data[found.start() + 1] in _BEHIND_SCANS:
            at = found.start()
            continue
        is_complete = not any(bit for bits in lowest.values() for bit in bits.values())
        if found is None:
            return len(data), False, is_complete
        return found.start(), data[found.start() + 1] == 0xD9, is_complete


def _require_no_blank(data: bytes) -> None:
    """Raise ValueError if some bytes were never written but decode without an error.

    A run of 0 bits repeats the first code of each table. If that code ends a block, the result is
    an even area. If it is a value, the result is blocks where all 63 values are -1. No real picture
    has such blocks. And such a place may give just the right number of blocks.
    """
    scan = max(data.find(b"\xff\xda"), 0)
    blank = data.find(_LONG_BLANK, scan)
    if blank < 0:
        return
    values: set[int] = set()  # tables whose first code stands for a value
    first_codes: dict[int, int] = {}
    frame, at = 0, 2
    try:
        while at < blank:
            found = _SCAN_ENDS.search(data, at)
            if found is None or found.start() > blank:
                break
            at, marker = found.start(), data[found.start() + 1]
            if marker in (0x01, 0xD8):
                at += 2
                continue
            if marker == 0xD9:
                return
            end = _segment_end(data, at)
            if marker in (0xC0, 0xC1, 0xC2):
                frame = marker
            elif marker == 0xC4:
                first_codes |= _first_codes(data[at + 4 : end])
            elif marker == 0xDA:
                count = data[at + 4]
                first, _, bits = data[end - 3 : end]
                tables = {table & 15 for table in data[at + 6 : at + 5 + 2 * count : 2]}
                values = {table for table in tables if first_codes.get(table, 0) & 15}
                if frame == 0 or (frame == 0xC2 and (first == 0 or bits >> 4)):
                    values = set()  # these scans use other codes
            at = end
    except (IndexError, struct.error, ValueError):
        return  # decoding reports it
    if at <= blank and values:
        raise ValueError(_DAMAGED)


def _first_codes(tables: bytes) -> dict[int, int]:
    """Return what the shortest code of each table stands for, by the table's number."""
    found, at = {}, 0
    while at + 17 < len(tables):
        kind, count = tables[at], sum(tables[at + 1 : at + 17])
        if kind >> 4 == 1:
            found[kind & 15] = tables[at + 17]
        at += 17 + count
    return found


def _segment_end(data: bytes, at: int) -> int:
    (length,) = struct.unpack_from(">H", data, at + 2)
    if length < 2:
        raise ValueError(_DAMAGED)
    return at + 2 + int(length)
