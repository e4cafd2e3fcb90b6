# SPDX-License-Identifier: GPL-3.0-or-later
"""What the header of an AVIF or HEIC says: ISO/IEC 23008-12, in boxes of ISO/IEC 14496-12."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from .tiff_tags import Malformed, Unsupported, exactly

_AVIF: Final = frozenset({b"avif", b"avis"})
_HEIC: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
    | {b"mif2", b"MiHB", b"MiHE", b"miaf"}
)
_MAX_META: Final = 1 << 24
_MAX_BOXES: Final = 1 << 16
_UNSPECIFIED: Final = 2

# Kinds of pictures, and how they are coded. The first three are made of others.
_DERIVED: Final = frozenset({b"grid", b"iovl", b"iden"})
_HEVC, _AV1 = b"hvc1", b"av01"
_CODECS: Final = {
    b"avc1": "H.264",
    b"vvc1": "H.266",
    b"evc1": "EVC",
    b"jpeg": "JPEG",
    b"j2k1": "JPEG 2000",
}
_ALPHA: Final = (b"auxiliary:alpha", b"hevc:2015:auxid:1\0")
_DEEP: Final = 8  # pictures made of pictures made of others

# EXIF orientation, by quarter turns to the left and then by mirroring: none, top to bottom, left to right.
_ORIENTATIONS: Final = (
    {None: 1, 0: 4, 1: 2},
    {None: 8, 0: 5, 1: 7},
    {None: 3, 0: 2, 1: 4},
    {None: 6, 0: 7, 1: 5},
)


@dataclass(frozen=True)
class HeifHeader:
    """The picture of an AVIF or HEIC, before it is decoded.

    Attributes
    ----------
    kind
        How its picture is coded: with AV1, or with HEVC.
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

    kind: Literal["avif", "heic"]
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
    """Read the header of an AVIF or HEIC.

    Raises
    ------
    Malformed
        It is damaged or cut short.
    Unsupported
        Its picture is coded in another way, or encrypted, or it is a film.
    """
    brands: frozenset[bytes] = frozenset()
    meta = b""
    for kind, begin, length in boxes_of(file):
        file.seek(begin)
        if kind == b"ftyp":
            data = exactly(file, min(length, 1024))
            brands = frozenset(data[at : at + 4] for at in (0, *range(8, len(data), 4)))
        elif kind == b"meta" and not meta:
            if length > _MAX_META:
                raise Malformed("its header is damaged")
            meta = exactly(file, length)
    if not meta and brands & {b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"}:
        raise Unsupported("it is a film without a picture")
    if not meta:
        raise Malformed("its header is damaged")
    picture = _picture(meta, is_film=b"avis" in brands and b"avif" not in brands)
    if picture.kind == "avif" and not brands & _AVIF:
        raise Unsupported("its picture is coded with AV1, but it does not say that it is an AVIF")
    return picture


def boxes_of(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
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
    references = list(_references(boxes.get(b"iref", b"")))
    made_of = {item: targets for kind, item, targets in references if kind == b"dimg"}
    kind, coded = _coding(_items(boxes.get(b"iinf", b"")), made_of, primary)
    inside = list(_boxes(boxes.get(b"iprp", b"")))
    properties = [box for name, body in inside if name == b"ipco" for box in _boxes(body)]
    uses: dict[int, list[int]] = {}
    for name, body in inside:
        if name == b"ipma":
            uses |= _uses(body)

    def of(item: int) -> list[tuple[bytes, bytes]]:
        return [properties[at - 1] for at in uses.get(item, ()) if 0 < at <= len(properties)]

    width = height = turns = 0
    mirrored: int | None = None
    color = _color(of(primary)) or _color(of(coded))
    bits = next((_hevc_bits(body) for name, body in of(coded) if name == b"hvcC"), 8)
    for name, body in of(primary):
        if name == b"ispe":
            width, height = struct.unpack_from(">II", body, 4)
        elif name == b"clap" and kind == "heic":  # Pillow's AVIF does not cut
            width, height = _cut(body, turns)
        elif name == b"pixi" and len(body) > 5:
            bits = body[5]
        elif name == b"irot":
            # Mirroring before turning is the same as turning the other way first.
            turns = (turns + (body[0] if mirrored is None else -body[0])) & 3
        elif name == b"imir":
            mirrored = body[0] & 1
    has_alpha = any(
        name == b"auxl"
        and primary in targets
        and any(use == b"auxC" and any(word in body for word in _ALPHA) for use, body in of(item))
        for name, item, targets in references
    )
    orientation = _ORIENTATIONS[turns][mirrored]
    return HeifHeader(kind, width, height, bits, has_alpha, orientation, is_film, color)


def _coding(
    items: dict[int, tuple[bytes, bool]], made_of: dict[int, tuple[int, ...]], primary: int
) -> tuple[Literal["avif", "heic"], int]:
    """Return how the picture is coded, and the first of the pictures that it is made of.

    Raises Unsupported if it can't be decoded.
    """
    at = primary
    for _ in range(_DEEP):
        coding, is_encrypted = items.get(at, (b"", False))
        if is_encrypted:
            raise Unsupported("it is encrypted")
        if coding not in _DERIVED or not made_of.get(at):
            break
        at = made_of[at][0]
    if coding == _HEVC:
        return "heic", at
    if coding == _AV1:
        return "avif", at
    if not coding or coding in _DERIVED:
        raise Malformed("its header is damaged")
    if coding in _CODECS:
        raise Unsupported(f"its picture is coded with {_CODECS[coding]}")
    raise Unsupported("its picture is coded in another way than with HEVC or AV1")


def _items(body: bytes) -> dict[int, tuple[bytes, bool]]:
    """Return the kind of each picture or other item, and whether it is encrypted."""
    found: dict[int, tuple[bytes, bool]] = {}
    if not body:
        return found
    for kind, data in _boxes(body, 6 if body[0] == 0 else 8):
        if kind == b"infe" and data[0] >= 2:
            code = ">HH4s" if data[0] == 2 else ">IH4s"
            item, protection, coding = struct.unpack_from(code, data, 4)
            found[item] = coding, protection != 0
    return found


def _hevc_bits(body: bytes) -> int:
    """Return the bits of a channel: byte 17 of the decoder's record, ISO/IEC 14496-15."""
    return 8 + (body[17] & 7) if len(body) > 17 else 8


def _color(properties: list[tuple[bytes, bytes]]) -> tuple[int, int] | None:
    """Return the numbers of primaries and transfer function. Tiles may say them, and not the whole."""
    for name, body in properties:
        if name == b"colr" and body[:4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", body, 4)
            if _UNSPECIFIED not in (primaries, transfer):
                return int(primaries), int(transfer)
    return None


def _cut(body: bytes, turns: int) -> tuple[int, int]:
    """Return the size in stored order of a picture whose borders are cut off."""
    across, of_across, down, of_down = struct.unpack_from(">4I", body)
    if not of_across or not of_down:
        raise Malformed("its header is damaged")
    size = across // of_across, down // of_down
    return size if turns % 2 == 0 else size[::-1]


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


def _references(body: bytes) -> Iterator[tuple[bytes, int, tuple[int, ...]]]:
    """Yield kind, item and targets of every reference."""
    if not body:
        return
    code = ">H" if body[0] == 0 else ">I"
    size = struct.calcsize(code)
    for kind, data in _boxes(body, 4):
        (item,) = struct.unpack_from(code, data)
        (count,) = struct.unpack_from(">H", data, size)
        yield kind, item, struct.unpack_from(f">{count}{code[1]}", data, size + 2)
