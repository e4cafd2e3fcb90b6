# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what a photo says beside its pixels: EXIF, colour profile, XMP, and PNG's colour chunks.

A broken tag is left out. It never costs the photo.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...core.footage.png_exif import raw_profile

_EXIF: Final = b"Exif\0\0"
_JPEG_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_MOST: Final = 1 << 26  # bytes of one piece of text


@dataclass(frozen=True, eq=False)
class Metadata:
    """What a photo says beside its pixels.

    Attributes
    ----------
    icc
        ICC profile, of any colour space, or None.
    exif
        EXIF as a TIFF structure (without the "Exif" prefix), or None.
    xmp
        An XMP packet, or None.
    chunks
        Chunks of a PNG that say what its colours mean, as (kind, data).
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()


def _packet(xmp: bytes | None) -> bytes | None:
    """Return an XMP packet that may stand in a PNG: text in UTF-8 without zeros. Else None."""
    xmp = (xmp or b"").strip(b"\0")
    try:
        return xmp if xmp.decode("utf-8") and b"\0" not in xmp else None
    except UnicodeDecodeError:
        return None


def of_jpeg(data: bytes) -> Metadata:
    """Read the segments of a JPEG before its picture."""
    exif = xmp = None
    profile: dict[int, bytes] = {}
    for marker, body in _jpeg_segments(data):
        if marker == 0xE1 and body.startswith(_EXIF):
            exif = exif or body.removeprefix(_EXIF)
        elif marker == 0xE1 and body.startswith(_JPEG_XMP):
            xmp = xmp or body.removeprefix(_JPEG_XMP)
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile.setdefault(body[12], body[14:])
    icc = b"".join(profile[number] for number in sorted(profile))
    return Metadata(icc or None, exif or None, _packet(xmp))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 4:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 2
        elif marker in (0xD9, 0xDA):
            return
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            yield marker, data[at + 4 : at + 2 + length]
            at += 2 + max(length, 2)


# Chunks that say what the colours mean, in the order in which they are written, and their bytes.
_MEANING: Final = {b"cICP": 4, b"mDCV": 24, b"cLLI": 8, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}


def of_png(data: bytes) -> Metadata:
    """Read all chunks of a PNG, also those behind the pixels."""
    found: dict[bytes, bytes] = {}
    texts: dict[bytes, bytes] = {}
    for kind, body in png_chunks(data):
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            name, text = _text(kind, body)
            texts.setdefault(name, text)
        elif kind not in (b"IDAT", b"IEND"):
            found.setdefault(kind, body)
    icc = None
    if b"iCCP" in found:
        icc = _inflated(found[b"iCCP"].partition(b"\0")[2][1:])
    exif = found.get(b"eXIf") or _raw(texts, b"exif") or _raw(texts, b"APP1")
    xmp = texts.get(b"XML:com.adobe.xmp") or _raw(texts, b"xmp")
    chunks = tuple(
        (kind, found[kind]) for kind, size in _MEANING.items() if len(found.get(kind, b"")) == size
    )
    exif = (exif or b"").removeprefix(_EXIF)
    icc = icc or _raw(texts, b"icc")
    return Metadata(icc, exif if _is_tiff(exif) else None, _packet(xmp), chunks)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of each chunk of a PNG."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def _text(kind: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Return name and text of a text chunk; no text if it is broken."""
    name, _, rest = body.partition(b"\0")
    if kind == b"tEXt":
        return name, rest
    if kind == b"zTXt":
        return name, _inflated(rest[1:]) or b""
    is_packed = rest[:1] == b"\1"
    text = rest[2:].split(b"\0", 2)[-1]
    return name, (_inflated(text) or b"") if is_packed else text


def _inflated(packed: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(packed, _MOST) or None
    except zlib.error:
        return None


def _raw(texts: dict[bytes, bytes], name: bytes) -> bytes | None:
    return raw_profile(texts.get(b"Raw profile type " + name, b"")) or None


def of_webp(data: bytes) -> Metadata:
    """Read the chunks of a WebP."""
    found: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind in (b"ICCP", b"EXIF", b"XMP "):
            found.setdefault(kind, data[at + 8 : at + 8 + length])
        at += 8 + length + (length & 1)
    exif = found.get(b"EXIF", b"").removeprefix(_EXIF)
    return Metadata(
        found.get(b"ICCP"), exif if _is_tiff(exif) else None, _packet(found.get(b"XMP "))
    )


def of_heif(said: Mapping[str, Any], color: tuple[int, int] | None, orientation: int) -> Metadata:
    """Take what a library found in an AVIF or HEIC.

    Parameters
    ----------
    said
        Its ``exif``, ``icc_profile`` and ``xmp``.
    color
        Numbers of primaries and transfer function, for PNG's cICP.
    orientation
        The turns and the mirroring of the file. They count, and not those of EXIF.
    """

    def data(name: str) -> bytes:
        value: object = said.get(name)
        return value if isinstance(value, bytes) else b""

    chunks = ((b"cICP", bytes([*color, 0, 1])),) if color and max(color) < 256 else ()
    return Metadata(
        data("icc_profile") or None,
        with_orientation(data("exif").removeprefix(_EXIF), orientation),
        _packet(data("xmp")),
        chunks,
    )


def of_jxl(exif: bytes | None, xmp: bytes | None, icc: bytes | None, orientation: int) -> Metadata:
    """Take what a library found in a JPEG XL. Its own orientation counts, and not that of EXIF."""
    exif = (exif or b"").removeprefix(_EXIF)
    return Metadata(icc or None, with_orientation(exif, orientation), _packet(xmp))


def of_raw(data: bytes, preview: bytes, orientation: int) -> Metadata:
    """Read what a camera RAW says. Its colours are sRGB by now, so no profile belongs to them.

    Parameters
    ----------
    preview
        The JPEG inside. It has the EXIF if the file itself has none in the manner of a TIFF.
    orientation
        How LibRaw would turn it.
    """
    found = Metadata()
    if data[:2] in (b"II", b"MM"):
        found = of_tiff(data)
    elif data[4:12] == b"ftypcrx ":
        found = Metadata(exif=_exif_of_cr3(data))
    if not found.exif and preview:
        found = of_jpeg(preview)
    return Metadata(None, with_orientation(found.exif or b"", orientation), found.xmp)


# Boxes of a CR3, each with a TIFF structure of one directory, by the tag that would point to it.
_CR3_PARTS: Final = {b"CMT2": 34665, b"CMT4": 34853}


def _exif_of_cr3(data: bytes) -> bytes | None:
    """Join the parts of EXIF in a CR3."""
    main = _cr3_part(data, b"CMT1")
    if not _is_tiff(main):
        return None
    order = "<" if main[:2] == b"II" else ">"
    tags = _tags(main, order, _first_directory(main, order), _PHOTO_TAGS - _INNER.keys())
    inner: dict[int, dict[int, _Tag]] = {}
    for name, number in _CR3_PARTS.items():
        part = _cr3_part(data, name)
        if _is_tiff(part) and part[:2] == main[:2]:
            inner[number] = _tags(part, order, _first_directory(part, order), None)
            tags[number] = _Tag(4, bytes(4))
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8))
    _write(out, main, order, tags, inner)
    return bytes(out)


def _cr3_part(data: bytes, name: bytes) -> bytes:
    at = data.find(name, 0, 1 << 16) - 4
    if at < 0:
        return b""
    (length,) = struct.unpack_from(">I", data, at)
    return data[at + 8 : at + length]


def with_orientation(exif: bytes, orientation: int) -> bytes | None:
    """Return an EXIF block that says this orientation, 1 to 8. Nothing else of it changes.

    A broken block is replaced. Without a block, there is one only if the photo is turned.
    """
    plain = struct.pack("<2sHIHHHIHxxI", b"II", 42, 8, 1, 274, 3, 1, orientation, 0)
    if not _is_tiff(exif):
        return plain if orientation != 1 else None
    order = "<" if exif[:2] == b"II" else ">"
    value = struct.pack(order + "HHIHxx", 274, 3, 1, orientation)
    try:
        begin = _first_directory(exif, order)
        (count,) = struct.unpack_from(order + "H", exif, begin)
        entries = [exif[at : at + 12] for at in range(begin + 2, begin + 2 + 12 * count, 12)]
        tags = [struct.unpack_from(order + "H", entry)[0] for entry in entries]
    except struct.error:
        return plain if orientation != 1 else None
    if 274 in tags:
        at = begin + 2 + 12 * tags.index(274)
        return exif[:at] + value + exif[at + 12 :]
    if orientation == 1:
        return exif
    # The first directory moves to the end, where there is room. What it points to stays.
    place = sum(tag < 274 for tag in tags)
    entries.insert(place, value)
    further = exif[begin + 2 + 12 * count :][:4].ljust(4, b"\0")
    moved = struct.pack(order + "H", len(entries)) + b"".join(entries) + further
    whole = exif + bytes(len(exif) & 1)
    return whole[:4] + struct.pack(order + "I", len(whole)) + whole[8:] + moved


def _is_tiff(block: bytes) -> bool:
    return block[:4] in (b"II*\0", b"MM\0*")


# Tags of a TIFF that describe the photo. Its other tags describe the layout of the file.
_PHOTO_TAGS: Final = frozenset(
    (*(270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 33432), *(34665, 34853))
)
_INNER: Final = {34665: frozenset({40965}), 34853: frozenset(), 40965: frozenset()}
_ICC, _XMP = 34675, 700
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_MAX_TAGS: Final = 4096


def of_tiff(data: bytes, *further: bytes) -> Metadata:
    """Copy the tags of a TIFF that describe the photo. A TIFF keeps EXIF among its own tags.

    Parameters
    ----------
    data
        The file. The tags are those of its first directory.
    further
        The file with other directories first: they give tags that are missing.
    """
    order = "<" if data[:2] == b"II" else ">"
    wanted = _PHOTO_TAGS | {_ICC, _XMP}
    tags: dict[int, _Tag] = {}
    for file in (data, *further):
        tags = {**_tags(file, order, _first_directory(file, order), wanted), **tags}
    icc, xmp = tags.pop(_ICC, None), tags.pop(_XMP, None)
    return Metadata(
        None if icc is None else icc.data,
        _block(data, order, tags) if tags else None,
        None if xmp is None else _packet(xmp.data),
    )


@dataclass(frozen=True)
class _Tag:
    """A tag: its type, and its values as in the file."""

    kind: int
    data: bytes


def _first_directory(data: bytes, order: str) -> int:
    if _is_big(data):
        return int(struct.unpack_from(order + "Q", data, 8)[0])
    return int(struct.unpack_from(order + "I", data, 4)[0])


def _is_big(data: bytes) -> bool:
    return data[2:4] in (b"+\0", b"\0+")


def _tags(data: bytes, order: str, begin: int, wanted: frozenset[int] | None) -> dict[int, _Tag]:
    """Return tags of the directory at ``begin``. Tags that are broken are left out."""
    big = _is_big(data)
    count_code, entry_code, address = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    head, room = struct.calcsize(order + entry_code), 8 if big else 4
    found: dict[int, _Tag] = {}
    try:
        (count,) = struct.unpack_from(order + count_code, data, begin)
    except struct.error:
        return {}
    at = begin + struct.calcsize(order + count_code)
    for place in range(at, at + min(count, _MAX_TAGS) * (head + room), head + room):
        if place + head + room > len(data):
            break
        tag, kind, number = struct.unpack_from(order + entry_code, data, place)
        size = _SIZES.get(kind, 0) * number
        if kind in (16, 18) and number == 1 and tag in _INNER:  # BigTIFF's own address
            (where,) = struct.unpack_from(order + "Q", data, place + head)
            found[tag] = _Tag(4, struct.pack(order + "I", where & 0xFFFFFFFF))
            continue
        if not 0 < size <= _MOST or (wanted is not None and tag not in wanted) or tag in found:
            continue
        where = place + head
        if size > room:
            (where,) = struct.unpack_from(order + address, data, where)
        values = data[where : where + size]
        if len(values) == size:
            found[tag] = _Tag(kind, values)
    return found


def _block(data: bytes, order: str, tags: dict[int, _Tag]) -> bytes:
    """Write tags, and the directories inside them, as an EXIF block."""
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8))
    _write(out, data, order, tags)
    return bytes(out)


def _write(
    out: bytearray,
    data: bytes,
    order: str,
    tags: dict[int, _Tag],
    inner_tags: Mapping[int, dict[int, _Tag]] | None = None,
) -> None:
    """Write a directory. ``inner_tags`` are those of directories inside that are not in ``data``."""
    begin = len(out)
    out.extend(struct.pack(order + "H", len(tags)) + bytes(12 * len(tags) + 4))
    for number, (tag, found) in enumerate(sorted(tags.items())):
        count, value = len(found.data) // _SIZES[found.kind], found.data
        if tag in _INNER:
            if inner_tags is None:
                inner = _tags(data, order, struct.unpack(order + "I", value[:4])[0], None)
            else:
                inner = inner_tags.get(tag, {})
            inner = {k: v for k, v in inner.items() if k not in _INNER or k in _INNER[tag]}
            out.extend(bytes(len(out) & 1))
            kind, count, value = 4, 1, struct.pack(order + "I", len(out))
            _write(out, data, order, inner)
        else:
            kind = found.kind
            if len(value) > 4:
                out.extend(bytes(len(out) & 1))
                value = struct.pack(order + "I", len(out))
                out.extend(found.data)
        entry = struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
        out[begin + 2 + 12 * number : begin + 14 + 12 * number] = entry
