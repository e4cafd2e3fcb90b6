# SPDX-License-Identifier: GPL-3.0-or-later
"""Size, colour, depth and orientation of an image file from its header; standard library only.

Only the bytes that describe the image are read, so thousands of large photos take a moment. The
format is told by content, never by extension. Files that were cut short are recognised where that
takes no decoding.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from .errors import FootageError
from .tiff_tags import (
    ORIENTATION,
    Malformed,
    exactly,
    exif_orientation,
    integer_tags,
    valid_orientation,
)

ImageFormat = Literal["jpeg", "png", "tiff", "webp", "exr"]
ColorModel = Literal["grey", "rgb", "palette", "cmyk", "layers"]

_TAIL = 65536  # bytes searched first for the end marker; cameras append little more than that


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image file says about itself.

    Attributes
    ----------
    format
        The file's format, by content.
    width, height
        Pixels in stored order; EXIF orientation is not applied.
    channels
        Stored channels per pixel, alpha included; 1 for a palette.
    bit_depth
        Bits per channel: 1, 2, 4, 8, 16 or 32.
    is_float
        True for floating-point channels.
    orientation
        EXIF orientation 1 to 8, 1 where the file has none.
    color
        How the channels make a colour; "layers" for an EXR with neither R, G, B nor Y at its top
        level.
    has_alpha
        True when the pixels carry transparency.
    """

    format: ImageFormat
    width: int
    height: int
    channels: int
    bit_depth: int
    is_float: bool
    orientation: int
    color: ColorModel
    has_alpha: bool


def read_header(path: Path) -> ImageHeader:
    """Read an image's header.

    Parameters
    ----------
    path
        JPEG, PNG, TIFF (classic or BigTIFF), WebP or OpenEXR file, whatever its extension.

    Returns
    -------
    ImageHeader

    Raises
    ------
    FootageError
        The file is missing, empty, of another format, or cut short; names the file.
    """
    try:
        with path.open("rb") as file:
            header = _read(file)
    except Malformed as problem:
        raise FootageError(
            f"{path.name} can't be read: {problem}.",
            "Copy or export this photo again, or remove it.",
        ) from None
    except (struct.error, IndexError, OverflowError, ValueError):
        raise FootageError(
            f"{path.name} can't be read: its header is damaged.",
            "Copy or export this photo again, or remove it.",
        ) from None
    except OSError as problem:
        raise FootageError(
            f"{path.name} can't be opened: {problem.strerror or problem}.",
            "Check that the file is there and that you may read it.",
        ) from problem
    return header


def _read(file: BinaryIO) -> ImageHeader:
    start = file.read(16)
    if not start:
        raise Malformed("the file is empty")
    if start.startswith(b"\xff\xd8\xff"):
        header = _jpeg(file)
    elif start.startswith(b"\x89PNG\r\n\x1a\n"):
        header = _png(file)
    elif start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        header = _tiff(file)
    elif start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        header = _webp(file)
    elif start.startswith(b"\x76\x2f\x31\x01"):
        header = _exr(file)
    else:
        raise Malformed("it is not a JPEG, PNG, TIFF, WebP or EXR image")
    if header.width < 1 or header.height < 1:
        raise Malformed("its header gives no size")
    return header


def _require_end_marker(file: BinaryIO, marker: bytes, after: int) -> None:
    """Refuse a file without its end marker; reads the tail first, all only where that lacks it."""
    size = file.seek(0, os.SEEK_END)
    for begin in (max(after, size - _TAIL), after):
        file.seek(begin)
        if marker in file.read(size - begin):
            return
    raise Malformed("the file is cut short")


# JPEG: ISO/IEC 10918-1 annex B; inside entropy-coded data 0xFF is always stuffed, so that an
# end-of-image marker after the start of scan is a real one.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}


def _jpeg(file: BinaryIO) -> ImageHeader:
    file.seek(2)
    orientation = 1
    found: tuple[int, int, int, int] | None = None
    while True:
        if exactly(file, 1) != b"\xff":
            raise Malformed("its header is damaged")
        marker = 0xFF
        while marker == 0xFF:  # fill bytes may stand before a marker
            marker = exactly(file, 1)[0]
        if marker in _JPEG_STANDALONE:
            continue
        if marker == 0xD9:
            raise Malformed("it holds no image")
        (length,) = struct.unpack(">H", exactly(file, 2))
        following = file.tell() + length - 2
        if marker in _JPEG_FRAMES:
            depth, height, width, channels = struct.unpack(">BHHB", exactly(file, 6))
            found = width, height, channels, depth
        elif marker == 0xE1 and orientation == 1:
            segment = exactly(file, length - 2)
            if segment.startswith(b"Exif\0\0"):
                orientation = exif_orientation(segment[6:])
        elif marker == 0xDA:
            if found is None:
                raise Malformed("its header is damaged")
            _require_end_marker(file, b"\xff\xd9", following)
            break
        file.seek(following)
    width, height, channels, depth = found
    color: ColorModel = {1: "grey", 4: "cmyk"}.get(channels, "rgb")  # type: ignore[assignment]
    return ImageHeader("jpeg", width, height, channels, depth, False, orientation, color, False)


# PNG: ISO/IEC 15948, section 11.2.2 (colour types).
_PNG_COLORS: dict[int, tuple[ColorModel, int, bool]] = {
    0: ("grey", 1, False),
    2: ("rgb", 3, False),
    3: ("palette", 1, False),
    4: ("grey", 2, True),
    6: ("rgb", 4, True),
}


def _png(file: BinaryIO) -> ImageHeader:
    file.seek(8)
    length, kind = struct.unpack(">I4s", exactly(file, 8))
    if kind != b"IHDR" or length != 13:
        raise Malformed("its header is damaged")
    width, height, depth, color_type = struct.unpack(">IIBB", exactly(file, 13)[:10])
    if color_type not in _PNG_COLORS:
        raise Malformed("its header is damaged")
    color, channels, has_alpha = _PNG_COLORS[color_type]
    file.seek(4, os.SEEK_CUR)
    orientation = 1
    while True:
        length, kind = struct.unpack(">I4s", exactly(file, 8))
        if kind == b"tRNS":
            has_alpha = True
        elif kind == b"eXIf":
            orientation = exif_orientation(exactly(file, length))
            length = 0
        elif kind in (b"IDAT", b"IEND"):
            break
        file.seek(length + 4, os.SEEK_CUR)
    if kind == b"IEND":
        raise Malformed("it holds no image")
    _require_end_marker(file, b"IEND", file.tell())
    return ImageHeader("png", width, height, channels, depth, False, orientation, color, has_alpha)


# TIFF 6.0 and BigTIFF.
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES = 256, 257, 258, 262, 277
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339
_OFFSETS_AND_COUNTS = ((273, 279), (324, 325))  # strips, tiles


def _tiff(file: BinaryIO) -> ImageHeader:
    wanted = {
        _WIDTH,
        _HEIGHT,
        _BITS,
        _PHOTOMETRIC,
        ORIENTATION,
        _SAMPLES,
        _EXTRA_SAMPLES,
        _SAMPLE_FORMAT,
    }
    tags = integer_tags(file, frozenset(wanted).union(*_OFFSETS_AND_COUNTS))
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise Malformed("its header gives no size")
    size = file.seek(0, os.SEEK_END)
    for offsets, counts in _OFFSETS_AND_COUNTS:
        ends = map(sum, zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False))
        if max(ends, default=0) > size:
            raise Malformed("the file is cut short")
    channels = tags.get(_SAMPLES, (1,))[0]
    colors: dict[int, ColorModel] = {2: "rgb", 3: "palette", 5: "cmyk", 6: "rgb", 8: "rgb"}
    # Extra samples: 1 associated alpha, 2 unassociated alpha, 0 anything.
    has_alpha = any(value in (1, 2) for value in tags.get(_EXTRA_SAMPLES, ()))
    return ImageHeader(
        format="tiff",
        width=tags[_WIDTH][0],
        height=tags[_HEIGHT][0],
        channels=channels,
        bit_depth=tags.get(_BITS, (1,))[0],
        is_float=tags.get(_SAMPLE_FORMAT, (1,))[0] == 3,
        orientation=valid_orientation(tags),
        color=colors.get(tags.get(_PHOTOMETRIC, (1,))[0], "grey"),
        has_alpha=has_alpha,
    )


# WebP: RFC 9649; the first frame's size of lossy data stands in its key frame header (RFC 6386,
# 9.1).
def _webp_chunks(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int, int]]:
    position = 12
    while position + 8 <= end:
        file.seek(position)
        kind, length = struct.unpack("<4sI", exactly(file, 8))
        yield kind, position + 8, length
        position += 8 + length + (length & 1)


def _webp(file: BinaryIO) -> ImageHeader:
    file.seek(4)
    (riff_length,) = struct.unpack("<I", exactly(file, 4))
    end = riff_length + 8
    if file.seek(0, os.SEEK_END) < end:
        raise Malformed("the file is cut short")
    width = height = 0
    has_alpha, orientation = False, 1
    for kind, begin, length in _webp_chunks(file, end):
        file.seek(begin)
        if kind == b"VP8X":
            data = exactly(file, 10)
            has_alpha = bool(data[0] & 0x10)
            width = int.from_bytes(data[4:7], "little") + 1
            height = int.from_bytes(data[7:10], "little") + 1
        elif kind == b"VP8 " and not width:
            width, height = (v & 0x3FFF for v in struct.unpack("<HH", exactly(file, 10)[6:]))
        elif kind == b"VP8L" and not width:
            (bits,) = struct.unpack("<I", exactly(file, 5)[1:])
            width, height = (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
            has_alpha = bool(bits >> 28 & 1)
        elif kind == b"EXIF":
            orientation = exif_orientation(exactly(file, length).removeprefix(b"Exif\0\0"))
    channels = 4 if has_alpha else 3
    return ImageHeader("webp", width, height, channels, 8, False, orientation, "rgb", has_alpha)


# OpenEXR: "OpenEXR File Layout"; attributes up to an empty name, the first part only.
def _exr(file: BinaryIO) -> ImageHeader:
    file.seek(8)
    attributes = dict(_exr_attributes(file))
    if not {"dataWindow", "channels"} <= attributes.keys():
        raise Malformed("its header is damaged")
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    names: list[str] = []
    kinds: set[int] = set()
    rest = attributes["channels"]
    while rest and rest[0]:
        name, rest = rest.split(b"\0", 1)
        names.append(name.decode("utf-8", "replace"))
        kinds.add(struct.unpack("<i", rest[:4])[0])
        rest = rest[16:]
    color: ColorModel = "layers"
    if {"R", "G", "B"} <= set(names):
        color = "rgb"
    elif "Y" in names:
        color = "grey"
    return ImageHeader(
        format="exr",
        width=right - left + 1,
        height=bottom - top + 1,
        channels=len(names),
        bit_depth=16 if kinds == {1} else 32,
        is_float=bool(kinds & {1, 2}),
        orientation=1,
        color=color,
        has_alpha="A" in names,
    )


def _exr_attributes(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    def text() -> str:
        letters = bytearray()
        while (letter := exactly(file, 1)) != b"\0":
            letters += letter
            if len(letters) > 255:
                raise Malformed("its header is damaged")
        return letters.decode("utf-8", "replace")

    while name := text():
        text()  # the attribute's type, implied by its name
        (size,) = struct.unpack("<i", exactly(file, 4))
        if size < 0 or size > 1 << 24:
            raise Malformed("its header is damaged")
        yield name, exactly(file, size)
