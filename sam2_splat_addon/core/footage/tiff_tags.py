# SPDX-License-Identifier: GPL-3.0-or-later
"""Read integer tags of TIFF structures. EXIF blocks have the same structure."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

ORIENTATION = 274
_KIND, _OLD_KIND, _INNER = 254, 255, 330  # what a picture is for; directories inside this one

_INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
# Far above any real header: a damaged length must not make us allocate memory.
_MAX_TAGS = 4096
_MAX_VALUES = 1 << 19  # of a tag: strips or tiles, no more than 65535 rows of 8
_MAX_BYTES = 1 << 26
_MAX_DIRECTORIES = 64

_PREVIEW, _MASK, _OLD_PREVIEW = 1, 4, 2


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


class Unsupported(Malformed):
    """A photo is whole, but of a kind that can't be decoded. The text completes the same sentence."""


@dataclass(frozen=True)
class Directory:
    """The integer tags of one picture in a TIFF.

    Attributes
    ----------
    begin
        Where it begins in the file, bytes.
    is_first
        Whether it is the first one of the file.
    tags
        Number of a tag -> its values.
    """

    begin: int
    is_first: bool
    tags: dict[int, tuple[int, ...]]

    @property
    def is_picture(self) -> bool:
        """Whether it is neither a preview nor a mask of another picture."""
        use = self.tags.get(_KIND, (0,))[:1]
        older = self.tags.get(_OLD_KIND, (0,))[:1]
        return not (use and use[0] & (_PREVIEW | _MASK)) and older != (_OLD_PREVIEW,)


def integer_tags(file: BinaryIO, wanted: frozenset[int]) -> dict[int, tuple[int, ...]]:
    """Read integer tags of the first directory: TIFF 6.0 or BigTIFF, in either byte order.

    Raises
    ------
    Malformed
        The structure is damaged or cut short.
    """
    return _tags(file, *_opened(file), wanted)[0]


def picture_directory(file: BinaryIO, wanted: frozenset[int]) -> Directory:
    """Return the directory of the picture: the first that is no preview and no mask.

    Directories inside a preview count too. A TIFF of previews alone gives its first one. Raises
    Malformed.
    """
    first = None
    for directory in directories(file, wanted | {_KIND, _OLD_KIND}):
        if directory.is_picture:
            return directory
        first = first or directory
    if first is None:
        raise Malformed("its header is damaged")
    return first


def _opened(file: BinaryIO) -> tuple[int, str, bool]:
    """Return where the first directory begins, the byte order, and whether it is a BigTIFF."""
    file.seek(0)
    intro = exactly(file, 8)
    order = {b"II": "<", b"MM": ">"}.get(intro[:2])
    if order is None:
        raise Malformed("its header is damaged")
    big = intro[2:4] in (b"+\0", b"\0+")
    (begin,) = struct.unpack(order + ("Q" if big else "I"), exactly(file, 8) if big else intro[4:])
    return begin, order, big


def directories(file: BinaryIO, wanted: frozenset[int]) -> Iterator[Directory]:
    """Yield the directories of a TIFF, and behind each of them those inside it. Raises Malformed."""
    wanted |= {_INNER}
    begin, order, big = _opened(file)
    waiting, seen = [begin], set[int]()
    while waiting and len(seen) < _MAX_DIRECTORIES:
        begin = waiting.pop(0)
        if begin in seen:
            continue
        seen.add(begin)
        tags, end = _tags(file, begin, order, big, wanted)
        yield Directory(begin, len(seen) == 1, tags)
        waiting[:0] = tags.get(_INNER, ())
        file.seek(end)
        link = file.read(8 if big else 4)
        # Some writers leave out the place of the next directory if there is none.
        if len(link) == (8 if big else 4) and any(link):
            waiting.append(struct.unpack(order + ("Q" if big else "I"), link)[0])


def _tags(
    file: BinaryIO, begin: int, order: str, big: bool, wanted: frozenset[int]
) -> tuple[dict[int, tuple[int, ...]], int]:
    """Return the integer tags of a directory, and where its entries end."""
    address, count_code, entry_code = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    file.seek(begin)
    (count,) = struct.unpack(order + count_code, exactly(file, struct.calcsize(order + count_code)))
    if count > _MAX_TAGS:
        raise Malformed("its header is damaged")
    entries = exactly(file, count * struct.calcsize(order + entry_code))
    end = begin + struct.calcsize(order + count_code) + len(entries)
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
    return tags, end


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
