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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from ..errors import DamagedPhoto, FootageError
from ..geometry.orientation import AS_STORED
from ..system.safe_read import open_plain
from .exr_header import read_exr
from .heif_header import is_heif, read_heif
from .jxl_header import is_jxl, read_jxl
from .png_exif import orientation_at_end, orientation_in_text
from .raw_header import is_raw, require_whole_raw
from .raw_photos import RawPhoto, RawPhotosUnknown
from .tiff_header import read_tiff
from .tiff_tags import Malformed, Unsupported, exactly, exif_orientation

ImageFormat = Literal["jpeg", "png", "tiff", "webp", "exr", "avif", "heic", "jxl", "raw"]
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
        How the channels make a colour; "layers" for an EXR whose picture is in a layer.
    has_alpha
        True when the pixels carry transparency.
    needs_copy
        Whether Blender can't show this photo, or would show another size.
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
    needs_copy: bool = False

    @property
    def is_shown_itself(self) -> bool:
        """Whether Blender shows the file itself, upright. Blender ignores EXIF orientation."""
        return not self.needs_copy and self.orientation == AS_STORED

    @property
    def is_linear(self) -> bool:
        """Whether its values are scene-linear, so that *Exposure* and the view transform apply."""
        return self.is_float and self.format in ("exr", "tiff")


RawReader = Callable[[Path], RawPhoto]
"""Tells what LibRaw says about a RAW photo: the engine by LibRaw itself, Blender by `RawPhotos.of`."""


def read_header(path: Path, raw: RawReader | None = None) -> ImageHeader:
    """Read the header of an image.

    Parameters
    ----------
    path
        JPEG, PNG, TIFF (classic or BigTIFF), WebP, AVIF, HEIC, JPEG XL, camera RAW or OpenEXR file,
        whatever its extension.
    raw
        Tells the size of a RAW photo.

    Returns
    -------
    ImageHeader

    Raises
    ------
    DamagedPhoto
        The file is empty, of another format, cut short, or claims something impossible.
    RawPhotosUnknown
        It is a RAW photo, and its size is not known.
    FootageError
        The file is missing or can't be opened.

    All errors name the file.
    """
    try:
        with open_plain(path) as file:
            start = file.read(16)
            if is_raw(start, path.name, file):
                require_whole_raw(start, file)
                if raw is None:
                    raise RawPhotosUnknown([path])
                header = _raw(raw(path))
            else:
                file.seek(0)
                header = _read(file)
            _require_possible(header)
    except Unsupported as problem:
        raise DamagedPhoto(
            f"{path.name} can't be used: {problem}.",
            "Export this photo as PNG, or as TIFF in RGB with 8 or 16 bits, or remove it.",
        ) from None
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
    elif is_heif(start):
        header = _heif(file)
    elif is_jxl(start):
        header = _jxl(file)
    else:
        raise Malformed("it is not a JPEG, PNG, TIFF, WebP, AVIF, HEIC, JPEG XL, RAW or EXR image")
    return header


def _require_possible(header: ImageHeader) -> None:
    """Raise Malformed if a header claims more than a photo has."""
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
_JPEG_DECODED = frozenset(
    {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
)  # Huffman and arithmetic, no lossless kinds
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
            if marker not in _JPEG_DECODED:
                raise Unsupported("it is a lossless or hierarchical JPEG")
            if depth != 8:
                raise Unsupported(f"it is a JPEG of {depth} bits, only 8 bits are supported")
            if channels not in (1, 3, 4):
                raise Unsupported(f"it is a JPEG of {channels} channels")
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
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def _png(file: BinaryIO) -> ImageHeader:
    file.seek(8)
    length, kind = struct.unpack(">I4s", exactly(file, 8))
    if kind != b"IHDR" or length != 13:
        raise Malformed("its header is damaged")
    width, height, depth, color_type = struct.unpack(">IIBB", exactly(file, 13)[:10])
    if depth not in _PNG_DEPTHS.get(color_type, ()):
        raise Malformed("its header is damaged")
    color, channels, has_alpha = _PNG_COLORS[color_type]
    file.seek(4, os.SEEK_CUR)
    orientation = 0
    while True:
        length, kind = struct.unpack(">I4s", exactly(file, 8))
        if kind == b"tRNS":
            has_alpha = True
        elif kind == b"eXIf":
            orientation = exif_orientation(exactly(file, length))
            length = 0
        elif kind in (b"tEXt", b"zTXt") and not orientation:
            orientation = orientation_in_text(file, kind, length)
        elif kind in (b"IDAT", b"IEND"):
            break
        file.seek(length + 4, os.SEEK_CUR)
    if kind == b"IEND":
        raise Malformed("it holds no image")
    begin = file.tell()
    held = file.seek(0, os.SEEK_END) - begin
    _require_room(width * height * channels * depth // 8, _DEFLATED, held)
    _require_end_marker(file, b"IEND", begin)
    orientation = orientation or orientation_at_end(file, begin)
    return ImageHeader("png", width, height, channels, depth, False, orientation, color, has_alpha)


def _tiff(file: BinaryIO) -> ImageHeader:
    tiff = read_tiff(file)
    color: ColorModel = "rgb"
    if tiff.model in ("grey", "palette", "cmyk"):
        color = tiff.model
    return ImageHeader(
        format="tiff",
        width=tiff.width,
        height=tiff.height,
        channels=tiff.samples,
        bit_depth=tiff.bits,
        is_float=tiff.is_float,
        orientation=tiff.orientation,
        color=color,
        has_alpha=tiff.alpha is not None,
        needs_copy=tiff.needs_copy,
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
    has_alpha, is_animated, orientation = False, False, 1
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
        elif kind == b"ANMF":
            is_animated = True
        elif kind == b"EXIF":
            orientation = exif_orientation(exactly(file, length).removeprefix(b"Exif\0\0"))
    channels = 4 if has_alpha else 3
    return ImageHeader(
        "webp", width, height, channels, 8, False, orientation, "rgb", has_alpha, is_animated
    )


def _exr(file: BinaryIO) -> ImageHeader:
    exr = read_exr(file)
    left, top, right, bottom = exr.data
    if (right - left + 1) * (bottom - top + 1) > MAX_PIXELS:
        raise Malformed(f"the limit is {MAX_PIXELS // 1_000_000} megapixels")
    color: ColorModel = "rgb" if len(exr.colors) == 3 else "grey"
    return ImageHeader(
        format="exr",
        width=exr.width,
        height=exr.height,
        channels=exr.count,
        bit_depth=16 if exr.is_half else 32,
        is_float=True,
        orientation=1,
        color="layers" if exr.is_layer else color,
        has_alpha=bool(exr.alpha),
        # Blender reads the data window and no chroma of half the size, and may show another layer.
        needs_copy=exr.data != exr.display or exr.is_luma_chroma or exr.has_layers,
    )


def _raw(raw: RawPhoto) -> ImageHeader:
    return ImageHeader(
        format="raw",
        width=raw.width,
        height=raw.height,
        channels=3,
        bit_depth=16,
        is_float=False,
        orientation=raw.orientation,
        color="rgb",
        has_alpha=False,
        needs_copy=True,
    )


def _heif(file: BinaryIO) -> ImageHeader:
    heif = read_heif(file)
    return ImageHeader(
        format=heif.kind,
        width=heif.width,
        height=heif.height,
        channels=4 if heif.has_alpha else 3,
        bit_depth=heif.bits,
        is_float=False,
        orientation=heif.orientation,
        color="rgb",
        has_alpha=heif.has_alpha,
        needs_copy=True,
    )


def _jxl(file: BinaryIO) -> ImageHeader:
    jxl = read_jxl(file)
    return ImageHeader(
        format="jxl",
        width=jxl.width,
        height=jxl.height,
        channels=4 if jxl.has_alpha else 3,
        bit_depth=jxl.bits,
        is_float=jxl.is_float,
        orientation=jxl.orientation,
        color="rgb",
        has_alpha=jxl.has_alpha,
        needs_copy=True,
    )
