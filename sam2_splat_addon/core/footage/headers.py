# SPDX-License-Identifier: GPL-3.0-or-later
"""Read size, colour, depth and orientation of an image file from its header.

Only the bytes that describe the image are read, so thousands of large photos take a moment. The
content tells the format, never the extension. Files that were cut short are found if that needs no
decoding. A header is believed only within bounds: no photo is larger than `MAX_SIDE` and
`MAX_PIXELS`, and none has more pixels than its bytes can hold.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from ..errors import DamagedPhoto, FootageError
from ..system.safe_read import open_plain
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

MAX_SIDE = 65535
"""The longest side of a photo, px: the limit of JPEG."""

MAX_PIXELS = 250_000_000
"""The most pixels of a photo. A panorama of 20000x10000 px is below; damaged headers often claim more."""

_MAX_CHANNELS = 64
_MAX_DECODED_BYTES = 1 << 32

_TAIL = 65536  # bytes searched first for the end marker; cameras rarely append more
_BLOCK = 1 << 20  # bytes searched at a time

# The most pixels, or bytes of pixels, that one byte of the file can stand for.
_JPEG_PIXELS = 512  # a bit for each block of 8 x 8
_DEFLATED = 1032
_LZW = 2731  # a code of 12 bits for 4096 bytes
_RUN_LENGTHS = 64


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the header of an image file says.

    Attributes
    ----------
    format
        The format of the file, by content.
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
    """Read the header of an image.

    Parameters
    ----------
    path
        JPEG, PNG, TIFF (classic or BigTIFF), WebP or OpenEXR file, whatever its extension.

    Returns
    -------
    ImageHeader

    Raises
    ------
    DamagedPhoto
        The file is empty, of another format, cut short, or claims something impossible.
    FootageError
        The file is missing or can't be opened.

    Both errors name the file.
    """
    try:
        with open_plain(path) as file:
            header = _read(file)
    except Malformed as problem:
        raise DamagedPhoto(
            f"{path.name} can't be read: {problem}.",
            "Copy or export this photo again, or remove it.",
        ) from None
    except (struct.error, IndexError, OverflowError, ValueError):
        raise DamagedPhoto(
            f"{path.name} can't be read: its header is damaged.",
            "Copy or export this photo again, or remove it.",
        ) from None
    except OSError as problem:
        raise FootageError(
            f"{path.name} can't be opened: {problem.strerror or problem}.",
            "Check that the file exists and that you may read it.",
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
        raise Malformed("its header has no image size")
    if max(header.width, header.height) > MAX_SIDE or header.width * header.height > MAX_PIXELS:
        raise Malformed(
            f"it says that it has {header.width}x{header.height} px, but the limit is"
            f" {MAX_PIXELS // 1_000_000} megapixels"
        )
    bits = header.width * header.height * header.channels * header.bit_depth
    if not 1 <= header.channels <= _MAX_CHANNELS or not 1 <= bits <= 8 * _MAX_DECODED_BYTES:
        raise Malformed("its header is damaged")
    return header


def _require_room(pixels: int, each: int, held: int) -> None:
    """Refuse a file that claims more pixels, or bytes of pixels, than `held` bytes can stand for.

    One byte stands for at most `each` of them.
    """
    if pixels > each * (held + 64):
        raise Malformed("the file is cut short: its header says that it has more pixels")


def _require_end_marker(file: BinaryIO, marker: bytes, after: int) -> None:
    """Refuse a file without its end marker. Reads the tail first, then everything if needed."""
    size = file.seek(0, os.SEEK_END)
    for begin in (max(after, size - _TAIL), after):
        file.seek(begin)
        last = b""
        while block := file.read(_BLOCK):
            if marker in last + block:
                return
            last = block[1 - len(marker) :]
    raise Malformed("the file is cut short")


# JPEG: ISO/IEC 10918-1 annex B. Only decoding shows whether the scan is complete: some cameras leave
# out the end marker.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MAX_STRAY = 1 << 16
_JPEG_STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}


def _jpeg(file: BinaryIO) -> ImageHeader:
    file.seek(2)
    orientation = 1
    found: tuple[int, int, int, int] | None = None
    stray = 0
    while True:
        # Stray bytes may stand between segments, and fill bytes before a marker.
        while (byte := exactly(file, 1)) != b"\xff":
            stray += 1
            if stray > _MAX_STRAY:
                raise Malformed("its header is damaged")
        while byte == b"\xff" and stray <= _MAX_STRAY:
            byte, stray = exactly(file, 1), stray + 1
        marker = byte[0]
        if marker in _JPEG_STANDALONE or marker == 0:
            continue
        if marker == 0xD9:
            raise Malformed("it holds no image")
        (length,) = struct.unpack(">H", exactly(file, 2))
        if length < 2:
            raise Malformed("its header is damaged")
        following = file.tell() + length - 2
        if marker in _JPEG_FRAMES:
            depth, height, width, channels = struct.unpack(">BHHB", exactly(file, 6))
            found = width, height, channels, depth
            entropy_coded = marker < 0xC8  # arithmetic coding can take less than a bit per block
        elif marker == 0xE1 and orientation == 1:
            segment = exactly(file, length - 2)
            if segment.startswith(b"Exif\0\0"):
                orientation = exif_orientation(segment[6:])
        elif marker == 0xDA:
            if found is None:
                raise Malformed("its header is damaged")
            break
        file.seek(following)
    width, height, channels, depth = found
    if entropy_coded:
        _require_room(width * height, _JPEG_PIXELS, file.seek(0, os.SEEK_END) - following)
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
    begin = file.tell()
    held = file.seek(0, os.SEEK_END) - begin
    _require_room(width * height * channels * depth // 8, _DEFLATED, held)
    _require_end_marker(file, b"IEND", begin)
    return ImageHeader("png", width, height, channels, depth, False, orientation, color, has_alpha)


# TIFF 6.0 and BigTIFF.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 256, 257, 258, 259, 262, 277
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339
_OFFSETS_AND_COUNTS = ((273, 279), (324, 325))  # strips, tiles
# Bytes of pixels that one byte can stand for, by compression. 7 is JPEG: there it counts pixels.
_TIFF_ROOM = {1: 1, 5: _LZW, 7: _JPEG_PIXELS, 8: _DEFLATED, 32946: _DEFLATED, 32773: _RUN_LENGTHS}


def _tiff(file: BinaryIO) -> ImageHeader:
    wanted = {
        _WIDTH,
        _HEIGHT,
        _BITS,
        _COMPRESSION,
        _PHOTOMETRIC,
        ORIENTATION,
        _SAMPLES,
        _EXTRA_SAMPLES,
        _SAMPLE_FORMAT,
    }
    tags = integer_tags(file, frozenset(wanted).union(*_OFFSETS_AND_COUNTS))
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise Malformed("its header has no image size")
    size, held = file.seek(0, os.SEEK_END), 0
    for offsets, counts in _OFFSETS_AND_COUNTS:
        ends = map(sum, zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False))
        if max(ends, default=0) > size:
            raise Malformed("the file is cut short")
        held += sum(tags.get(counts, ()))
    channels = tags.get(_SAMPLES, (1,))[0]
    of_colors = channels - len(tags.get(_EXTRA_SAMPLES, ()))
    if tags.get(_PHOTOMETRIC) == (0,) and of_colors >= 3:
        # "0 is white" exists only for grey: decoders would invert the colours.
        raise Malformed(
            "its header is damaged: it says grey, but it has the channels of a colour picture"
        )
    depth, compression = tags.get(_BITS, (1,))[0], tags.get(_COMPRESSION, (1,))[0]
    if compression in _TIFF_ROOM:
        pixels = tags[_WIDTH][0] * tags[_HEIGHT][0]
        decoded = pixels if compression == 7 else pixels * channels * depth // 8
        _require_room(decoded, _TIFF_ROOM[compression], held)
    colors: dict[int, ColorModel] = {2: "rgb", 3: "palette", 5: "cmyk", 6: "rgb", 8: "rgb"}
    # Extra samples: 1 associated alpha, 2 unassociated alpha, 0 anything.
    has_alpha = any(value in (1, 2) for value in tags.get(_EXTRA_SAMPLES, ()))
    return ImageHeader(
        format="tiff",
        width=tags[_WIDTH][0],
        height=tags[_HEIGHT][0],
        channels=channels,
        bit_depth=depth,
        is_float=tags.get(_SAMPLE_FORMAT, (1,))[0] == 3,
        orientation=valid_orientation(tags),
        color=colors.get(tags.get(_PHOTOMETRIC, (1,))[0], "grey"),
        has_alpha=has_alpha,
    )


# WebP: RFC 9649. The size of lossy data is in the header of its key frame (RFC 6386, 9.1).
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


# OpenEXR: "OpenEXR File Layout". An empty name ends the attributes; only the first part is read.
_EXR_WANTED = frozenset({"dataWindow", "channels", "compression"})
# Bytes of pixels that one byte can stand for: no compression, run lengths, deflate (lines, blocks, PXR24).
_EXR_ROOM = {b"\0": 1, b"\1": _RUN_LENGTHS, b"\2": _DEFLATED, b"\3": _DEFLATED, b"\5": _DEFLATED}


def _exr(file: BinaryIO) -> ImageHeader:
    file.seek(8)
    attributes = dict(_exr_attributes(file))
    begin = file.tell()
    held = file.seek(0, os.SEEK_END) - begin
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
    width, height = right - left + 1, bottom - top + 1
    room = _EXR_ROOM.get(attributes.get("compression", b"")[:1])
    # Channels may have fewer pixels than the picture; a quarter is the least in use.
    _require_room(width * height // 4 * (1 if kinds == {1} else 2), room or _DEFLATED**2, held)
    color: ColorModel = "layers"
    if {"R", "G", "B"} <= set(names):
        color = "rgb"
    elif "Y" in names:
        color = "grey"
    return ImageHeader(
        format="exr",
        width=width,
        height=height,
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
        text()  # the type of the attribute: the name tells it already
        (size,) = struct.unpack("<i", exactly(file, 4))
        if size < 0 or size > 1 << 24:
            raise Malformed("its header is damaged")
        if name in _EXR_WANTED:
            yield name, exactly(file, size)
        else:
            file.seek(size, os.SEEK_CUR)
