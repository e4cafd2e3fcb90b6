# SPDX-License-Identifier: GPL-3.0-or-later
"""JPEGs decoded whole or not at all; imports numpy and simplejpeg.

libjpeg decodes damaged data to smears or grey and only warns, so here its warnings are errors. What
it warns of and what harms no pixel is taken away first: stray bytes between the segments ahead of
the picture, a missing end marker, what other programs have appended.

A decoder sees damage when the data no longer gives as many blocks as the picture has. A changed bit
within the value of a coefficient gives another picture of the same number of blocks, and nothing in
a JPEG could tell that.
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
# Neither a stuffed byte nor a restart nor a fill byte: what ends the data of a scan.
_SCAN_ENDS: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_BEHIND_SCANS: Final = frozenset({0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_LEFT_OVER: Final = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_READ_AHEAD: Final = 8  # bytes that the decoder holds, and counts as its own
_BLANK: Final = 16
_LONG_BLANK: Final = bytes(64)

_DAMAGED: Final = "its image data is damaged or cut short"


class UnusualJpeg(Exception):  # noqa: N818 - says what it is
    """A kind that libjpeg decodes, and its quick interface does not."""


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
        CMYK for files of four channels, RGB for all others.
    size
        (width, height) at a reduced scale, px; None is the file's own.
    factor
        The reduction that gives this size: 1, 2, 4 or 8.

    Returns
    -------
    NDArray
        (height, width, 3 or 4), what Pillow gives at this scale.

    Raises
    ------
    ValueError
        The data is damaged, or ends before the picture does.
    UnusualJpeg
        Pillow has to decode it, and can't say whether it is whole.
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
        # Without an end marker, what follows the picture looks like more of it.
        own = tidy[: len(tidy) - int(left_over[1])]
    if own[-_BLANK:].strip(b"\0"):  # otherwise the end of the picture was never written
        for ahead in range(_READ_AHEAD):
            with contextlib.suppress(ValueError):
                return strictly(own[: len(own) - ahead] + _END)
    raise ValueError(_DAMAGED)


def _tidy(data: bytes) -> tuple[bytes, bool]:
    """All that decodes the picture, without an end marker; and whether the file has one."""
    try:
        kept, scan = _head(data)
        end, has_end, is_complete = _end_of_scans(data, scan)
    except (IndexError, struct.error) as problem:
        raise ValueError(_DAMAGED) from problem
    if not (has_end or is_complete):
        raise ValueError(_DAMAGED)
    return b"".join([*kept, data[scan:end]]), has_end


def _head(data: bytes) -> tuple[list[bytes], int]:
    """The segments ahead of the first scan that decoding needs, and where the scan begins."""
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
                # A version that is not known is warned of, and read all the same.
                kept.append(segment[:9] + b"\1\1" + segment[11:])
            elif marker == 0xEE or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
                kept.append(segment)  # Adobe's segment says which colours these are
            at += len(segment)


def _end_of_scans(data: bytes, at: int) -> tuple[int, bool, bool]:
    """Where the last scan ends, whether an end marker stands there, and whether no scan lacks.

    A progressive picture comes in several scans: it has them all when of every component the lowest
    bit of every coefficient has come.
    """
    lowest: dict[int, dict[int, int]] = {}  # bit so far, by component and coefficient
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
    """Raise ValueError where bytes were never written, and decode all the same.

    Bits of 0 are the first code of each table again and again. Where that code ends a block, they
    are an even area. Where it is a value, they are blocks in which all 63 values are -1: no picture
    has these, and such a place may well give as many blocks as were there before.
    """
    scan = max(data.find(b"\xff\xda"), 0)
    blank = data.find(_LONG_BLANK, scan)
    if blank < 0:
        return
    values: set[int] = set()  # tables whose first code is a value
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
                    values = set()  # other codes
            at = end
    except (IndexError, struct.error, ValueError):
        return  # decoding says it
    if at <= blank and values:
        raise ValueError(_DAMAGED)


def _first_codes(tables: bytes) -> dict[int, int]:
    """What the shortest code of each table of values stands for, by the table's number."""
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
