# SPDX-License-Identifier: GPL-3.0-or-later
"""Read integer tags of TIFF structures. EXIF blocks have the same structure."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

ORIENTATION = 274

_INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
# Far above any real header: a damaged length must not make us allocate memory.
_MAX_TAGS = 4096
_MAX_VALUES = 1 << 19  # of a tag: strips or tiles, no more than 65535 rows of 8
_MAX_BYTES = 1 << 26


class Malformed(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """A header can't be understood. The text completes the sentence "<file> can't be read: ..."."""


def exactly(file: BinaryIO, count: int) -> bytes:
    """Read `count` bytes; raises Malformed if the file ends before, or if the count is impossible."""
    if not 0 <= count <= _MAX_BYTES:
        raise Malformed("its header is damaged")
    data = file.read(count)
    if len(data) != count:
        raise Malformed("the file is cut short")
    return data


def integer_tags(file: BinaryIO, wanted: frozenset[int]) -> dict[int, tuple[int, ...]]:
    """Read integer tags of the first directory: TIFF 6.0 or BigTIFF, in either byte order.

    Raises
    ------
    Malformed
        The structure is damaged or cut short.
    """
    file.seek(0)
    intro = exactly(file, 8)
    order = {b"II": "<", b"MM": ">"}.get(intro[:2])
    if order is None:
        raise Malformed("its header is damaged")
    big = intro[2:4] in (b"+\0", b"\0+")
    address, count_code, entry_code = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    (directory,) = struct.unpack(order + address, exactly(file, 8) if big else intro[4:])
    file.seek(directory)
    (count,) = struct.unpack(order + count_code, exactly(file, struct.calcsize(order + count_code)))
    if count > _MAX_TAGS:
        raise Malformed("its header is damaged")
    entries = exactly(file, count * struct.calcsize(order + entry_code))
    tags: dict[int, tuple[int, ...]] = {}
    for tag, kind, number, value in struct.iter_unpack(order + entry_code, entries):
        # If a tag is repeated, only the first one is read: else a damaged file could take very long.
        if tag not in wanted or tag in tags or kind not in _INTEGER_TYPES:
            continue
        if number > _MAX_VALUES:
            raise Malformed("its header is damaged")
        code = f"{order}{number}{_INTEGER_TYPES[kind]}"
        size = struct.calcsize(code)
        if size > len(value):  # too long for the entry: it then holds the address of the value
            file.seek(struct.unpack(order + address, value)[0])
            value = exactly(file, size)
        tags[tag] = struct.unpack(code, value[:size])
    return tags


def exif_orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8. A damaged EXIF block gives 1: the photo itself may be good."""
    try:
        tags = integer_tags(io.BytesIO(exif), frozenset({ORIENTATION}))
    except (Malformed, struct.error, ValueError, OverflowError):
        return 1
    return valid_orientation(tags)


def valid_orientation(tags: dict[int, tuple[int, ...]]) -> int:
    """Return the orientation among the tags; 1 if there is none or it has no meaning."""
    value = tags.get(ORIENTATION, (1,))[:1]
    return value[0] if value and 1 <= value[0] <= 8 else 1
