# SPDX-License-Identifier: GPL-3.0-or-later
"""What the header of an AVIF or HEIC says: ISO/IEC 23008-12, in boxes of ISO/IEC 14496-12."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from .tiff_tags import Malformed, Unsupported, exactly

_AVIF: Final = frozenset({b"avif", b"avis"})
_HEIC: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_MAX_META: Final = 1 << 24
_MAX_BOXES: Final = 1 << 16
_UNSPECIFIED: Final = 2

# EXIF orientation, by quarter turns to the left and then by mirroring: none, top to bottom, left to right.
_ORIENTATIONS: Final = (
    {None: 1, 0: 4, 1: 2},
    {None: 8, 0: 5, 1: 7},
    {None: 3, 0: 2, 1: 4},
    {None: 6, 0: 7, 1: 5},
)


@dataclass(frozen=True)
class HeifHeader:
    """The picture of an AVIF, before it is decoded.

    Attributes
    ----------
    width, height
        px, stored order.
    bits
        Bits of a channel.
    has_alpha
        Whether a second picture holds alpha.
    orientation
        1 to 8: the turns and the mirroring of the file, as in EXIF.
    is_film
        Whether it is an animation.
    color
        Numbers of primaries and transfer function as in ITU-T H.273; None if it does not say them.
    """

    width: int
    height: int
    bits: int
    has_alpha: bool
    orientation: int
    is_film: bool
    color: tuple[int, int] | None


def is_heif(start: bytes) -> bool:
    """Whether these are the first bytes of an AVIF, a HEIC, or another file of this family."""
    return start[4:8] == b"ftyp" and start[8:12] in _AVIF | _HEIC


def read_heif(file: BinaryIO) -> HeifHeader:
    """Read the header of an AVIF.

    Raises
    ------
    Malformed
        It is damaged or cut short.
    Unsupported
        It is a HEIC, or another file of this family.
    """
    brands: frozenset[bytes] = frozenset()
    meta = b""
    for kind, begin, length in _boxes_of(file):
        file.seek(begin)
        if kind == b"ftyp":
            data = exactly(file, min(length, 1024))
            brands = frozenset(data[at : at + 4] for at in (0, *range(8, len(data), 4)))
            if not brands & _AVIF:
                raise Unsupported("HEIC photos are not supported")
        elif kind == b"meta" and not meta:
            if length > _MAX_META:
                raise Malformed("its header is damaged")
            meta = exactly(file, length)
    if not meta:
        raise Malformed("its header is damaged")
    return _picture(meta, is_film=b"avis" in brands and b"avif" not in brands)


def _boxes_of(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of a file: kind, where the body begins, and its bytes."""
    size, at = file.seek(0, os.SEEK_END), 0
    while at + 8 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", exactly(file, 8))
        head = 8
        if length == 1:
            (length,) = struct.unpack(">Q", exactly(file, 8))
            head = 16
        length = length or size - at
        if length < head:
            raise Malformed("its header is damaged")
        if at + length > size:
            if kind.isalnum():
                raise Malformed("the file is cut short")
            return  # what other programs added at the end
        yield kind, at + head, length - head
        at += length


def _boxes(data: bytes, at: int = 0) -> Iterator[tuple[bytes, bytes]]:
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        if length < 8 or at + length > len(data):
            raise Malformed("its header is damaged")
        yield kind, data[at + 8 : at + length]
        at += length


def _picture(meta: bytes, *, is_film: bool) -> HeifHeader:
    boxes = dict(_boxes(meta, 4))
    primary = _number(boxes[b"pitm"]) if b"pitm" in boxes else 0
    inside = list(_boxes(boxes.get(b"iprp", b"")))
    properties = [box for kind, body in inside if kind == b"ipco" for box in _boxes(body)]
    uses: dict[int, list[int]] = {}
    for kind, body in inside:
        if kind == b"ipma":
            uses |= _uses(body)
    own = [properties[at - 1] for at in uses.get(primary, ()) if 0 < at <= len(properties)]
    width = height = 0
    bits, turns, color = 8, 0, None
    mirrored: int | None = None
    for kind, body in own:
        if kind == b"ispe":
            width, height = struct.unpack_from(">II", body, 4)
        elif kind == b"pixi" and len(body) > 5:
            bits = body[5]
        elif kind == b"irot":
            turns = body[0] & 3
        elif kind == b"imir":
            mirrored = body[0] & 1
        elif kind == b"colr" and body[:4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", body, 4)
            if _UNSPECIFIED not in (primaries, transfer):
                color = primaries, transfer
    alphas = {
        item
        for item, numbers in uses.items()
        for at in numbers
        if 0 < at <= len(properties)
        and properties[at - 1][0] == b"auxC"
        and b"alpha" in properties[at - 1][1]
    }
    has_alpha = any(
        item in alphas and primary in targets
        for item, targets in _references(boxes.get(b"iref", b""))
    )
    return HeifHeader(
        width, height, bits, has_alpha, _ORIENTATIONS[turns][mirrored], is_film, color
    )


def _number(full_box: bytes) -> int:
    return int(struct.unpack_from(">H" if full_box[0] == 0 else ">I", full_box, 4)[0])


def _uses(body: bytes) -> dict[int, list[int]]:
    """Return the numbers, from 1, of the properties of each item."""
    is_wide_item, is_wide_number = body[0] > 0, bool(body[3] & 1)
    (count,) = struct.unpack_from(">I", body, 4)
    at, found = 8, dict[int, list[int]]()
    for _ in range(min(count, _MAX_BOXES)):
        (item,) = struct.unpack_from(">I" if is_wide_item else ">H", body, at)
        at += 4 if is_wide_item else 2
        numbers, at = body[at], at + 1
        if is_wide_number:
            values = struct.unpack_from(f">{numbers}H", body, at)
            found[item] = [value & 0x7FFF for value in values]
            at += 2 * numbers
        else:
            found[item] = [value & 0x7F for value in body[at : at + numbers]]
            at += numbers
    return found


def _references(body: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield item and targets of every reference of the kind "auxl"."""
    if not body:
        return
    code = ">H" if body[0] == 0 else ">I"
    for kind, data in _boxes(body, 4):
        if kind == b"auxl":
            (item,) = struct.unpack_from(code, data)
            size = struct.calcsize(code)
            (count,) = struct.unpack_from(">H", data, size)
            yield item, struct.unpack_from(f">{count}{code[1]}", data, size + 2)
