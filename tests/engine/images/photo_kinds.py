# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos of many kinds, made on the fly, and the pixels that each must give.

The TIFFs, and PNGs with odd chunks, are written here byte by byte. So they do not depend on the
reader that is tested.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image

WIDTH, HEIGHT = 67, 45


def colors(dtype: Any = np.uint8, channels: int = 3, seed: int = 4) -> np.ndarray:
    """A picture with smooth and with sudden changes, (HEIGHT, WIDTH, channels)."""
    random = np.random.default_rng(seed)
    small = random.random((5, 6, channels))
    smooth = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    smooth = smooth.reshape(HEIGHT, WIDTH, channels)
    smooth[5:9, 7:20] = random.random((4, 13, channels))
    if np.issubdtype(dtype, np.floating):
        return smooth.astype(dtype)
    return np.rint(smooth * np.iinfo(dtype).max).astype(dtype)


# TIFF
def _strip_of(encoded: bytes) -> bytes:
    with tifffile.TiffFile(io.BytesIO(encoded)) as tiff:
        page: Any = tiff.pages.first
        assert len(page.dataoffsets) == 1
        return encoded[page.dataoffsets[0] : page.dataoffsets[0] + page.databytecounts[0]]


def _by_libtiff(data: bytes, compression: str) -> bytes:
    file = io.BytesIO()
    image = Image.frombytes("L", (len(data), 1), data)
    image.save(file, "TIFF", compression=compression)
    return _strip_of(file.getvalue())


def _packbits(data: bytes) -> bytes:
    parts = [data[at : at + 128] for at in range(0, len(data), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def _by_pillow(block: np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(block.squeeze()).save(file, kind, **options)
    return file.getvalue()


def _by_opencv(block: np.ndarray, extension: str, options: Sequence[int] = ()) -> bytes:
    swapped = block.squeeze()
    if block.shape[2] >= 3:
        code = cv2.COLOR_RGB2BGR if block.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        swapped = cv2.cvtColor(block, code)
    return bytes(cv2.imencode(extension, swapped, list(options))[1])


_PACKERS = {
    1: lambda data: data,
    5: lambda data: _by_libtiff(data, "tiff_lzw"),
    8: zlib.compress,
    32946: zlib.compress,
    32773: _packbits,
    34925: lzma.compress,
    50000: lambda data: _by_libtiff(data, "zstd"),
}
"""Compressions of bytes, by TIFF's number."""

_PREDICTED = (5, 8, 32946, 34925, 50000)

_PICTURE_CODERS = {
    7: lambda block: _by_pillow(block, "JPEG", quality=95, subsampling=0),
    34712: lambda block: _by_opencv(block, ".jp2", (cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000)),
    34933: lambda block: _by_opencv(block, ".png"),
    50001: lambda block: _by_pillow(block, "WEBP", lossless=True, exact=True),
}
"""Compressions of pictures, by TIFF's number."""


def _predicted(block: np.ndarray, predictor: int, order: Any) -> np.ndarray:
    """Apply TIFF's predictor 2 or 3 to rows (rows, columns, samples). Returns what is then packed."""
    if predictor == 2:
        bits: Any = {1: "u1", 2: "u2", 4: "u4", 8: "u8"}[block.dtype.itemsize]
        whole = block.view(bits)
        out = whole.copy()
        out[:, 1:] = whole[:, 1:] - whole[:, :-1]
        return out.astype(np.dtype(bits).newbyteorder(order))
    if predictor == 3:
        rows, columns, samples = block.shape
        size = block.dtype.itemsize
        parts = block.astype(block.dtype.newbyteorder(">")).view(np.uint8)
        planes = parts.reshape(rows, columns * samples, size).transpose(0, 2, 1)
        flat = planes.reshape(rows, columns * samples * size)
        out = flat.copy()
        out[:, samples:] = flat[:, samples:] - flat[:, :-samples]
        return out
    ordered: Any = block.dtype.newbyteorder(order)
    return block.astype(ordered)


def _bits_packed(block: np.ndarray, bits: int) -> bytes:
    """Pack samples of ``bits`` bits, most significant first; every row begins at a byte."""
    rows = block.reshape(len(block), -1)
    single = (rows[:, :, None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(single.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


@dataclass
class Directory:
    """One picture of a TIFF.

    Attributes
    ----------
    array
        (H, W, samples).
    bits
        Bits of a sample; 0 means those of the array's type.
    more
        Further tags: number -> (type, values).
    """

    array: np.ndarray
    photometric: int = 2
    bits: int = 0
    compression: int = 1
    predictor: int = 1
    planar: int = 1
    tile: tuple[int, int] | None = None
    rows: int = 8
    extra: tuple[int, ...] = ()
    fill_order: int = 1
    more: dict[int, tuple[int, Any]] = field(default_factory=dict)

    def segments(self, order: str) -> list[bytes]:
        """Return the strips or tiles, packed."""
        planes = [self.array]
        if self.planar == 2:
            planes = [self.array[:, :, i : i + 1] for i in range(self.array.shape[2])]
        packed = []
        for plane in planes:
            for block in self._blocks(plane):
                data = self._packed(block, order)
                if self.fill_order == 2:
                    data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
                packed.append(data)
        return packed

    def _blocks(self, plane: np.ndarray) -> list[np.ndarray]:
        height, width = plane.shape[:2]
        if self.tile is None:
            return [plane[top : top + self.rows] for top in range(0, height, self.rows)]
        down, across = self.tile
        blocks = []
        for top in range(0, height, down):
            for left in range(0, width, across):
                part = plane[top : top + down, left : left + across]
                missing = (down - part.shape[0], across - part.shape[1])
                blocks.append(np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge"))
        return blocks

    def _packed(self, block: np.ndarray, order: str) -> bytes:
        if self.compression in _PICTURE_CODERS:
            return _PICTURE_CODERS[self.compression](np.ascontiguousarray(block))
        block = np.ascontiguousarray(block)
        if self.bits and self.bits != 8 * block.dtype.itemsize:
            return _PACKERS[self.compression](_bits_packed(block, self.bits))
        # The tag of a predictor means nothing beside other compressions: libtiff and TIFF 6 say so.
        predictor = self.predictor if self.compression in _PREDICTED else 1
        data = np.ascontiguousarray(_predicted(block, predictor, order)).tobytes()
        return _PACKERS[self.compression](data)

    def tags(self, order: str) -> tuple[dict[int, tuple[int, Any]], list[bytes]]:
        """Return all tags but the offsets of the segments, and the segments."""
        height, width, samples = self.array.shape
        bits = self.bits or 8 * self.array.dtype.itemsize
        kind = {"u": 1, "i": 2, "f": 3}[self.array.dtype.kind]
        segments = self.segments(order)
        tags: dict[int, tuple[int, Any]] = {
            256: (4, [width]),
            257: (4, [height]),
            258: (3, [bits] * samples),
            259: (3, [self.compression]),
            262: (3, [self.photometric]),
            277: (3, [samples]),
            284: (3, [self.planar]),
            339: (3, [kind] * samples),
        }
        if self.predictor != 1:
            tags[317] = (3, [self.predictor])
        if self.fill_order != 1:
            tags[266] = (3, [self.fill_order])
        if self.extra:
            tags[338] = (3, list(self.extra))
        counts = [len(data) for data in segments]
        if self.tile is None:
            tags |= {278: (4, [self.rows]), 279: (4, counts)}
        else:
            tags |= {322: (4, [self.tile[1]]), 323: (4, [self.tile[0]]), 325: (4, counts)}
        return {**tags, **self.more}, segments


_CODES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 7: "B", 10: "i", 13: "I", 16: "Q"}


Tags = dict[int, tuple[int, Any]]
"""Number of a tag -> its type and its values."""


def tiff(
    *directories: Directory,
    order: str = "<",
    big: bool = False,
    inner: Sequence[Directory] = (),
    notes: dict[int, Tags] | None = None,
) -> bytes:
    """Write a TIFF.

    Parameters
    ----------
    inner
        Pictures inside the first directory.
    notes
        Further directories inside the first one, such as EXIF, by the tag that names them.
    """
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HHQ", 8, 0, 0) if big else struct.pack(f"{order}I", 0)
    out = bytearray(head)
    address, room, far = ("Q", 8, 16) if big else ("I", 4, 4)

    def append(data: bytes) -> int:
        out.extend(bytes(len(out) & 1) + data)
        return len(out) - len(data)

    def write(tags: Tags) -> tuple[int, int]:
        """Append a directory. Return where it begins, and where the offset of the next one goes."""
        entries = b""
        for tag, (kind, given) in sorted(tags.items()):
            values = list(given)
            data = struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
            if len(data) > room:
                data = struct.pack(order + address, append(data))
            count = len(values) // 2 if kind in (5, 10) else len(values)
            entries += struct.pack(f"{order}HH{address}", tag, kind, count) + data.ljust(
                room, b"\0"
            )
        begin = append(
            struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + bytes(room)
        )
        return begin, len(out) - room

    def write_picture(directory: Directory, more: Tags) -> tuple[int, int]:
        tags, segments = directory.tags(order)
        offsets = [append(data) for data in segments]
        tags[273 if directory.tile is None else 324] = (far, offsets)
        return write({**tags, **more})

    more: Tags = {tag: (far, [write(tags)[0]]) for tag, tags in (notes or {}).items()}
    if inner:
        more[330] = (far, [write_picture(directory, {})[0] for directory in inner])
    link = 8 if big else 4
    for directory in directories:
        begin, following = write_picture(directory, more)
        struct.pack_into(order + address, out, link, begin)
        link, more = following, {}
    return bytes(out)


# PNG
def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk with its check sum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples: np.ndarray, depth: int, color: int, *chunks: bytes, behind: bytes = b"") -> bytes:
    """Write a PNG of samples (H, W, channels) with further chunks ahead of or behind the pixels."""
    height, width = samples.shape[:2]
    if depth < 8:
        packed = _bits_packed(samples, depth)
    else:
        packed = samples.astype(">u2" if depth == 16 else "u1").tobytes()
    row = len(packed) // height
    rows = b"".join(b"\0" + packed[at : at + row] for at in range(0, len(packed), row))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(rows))
        + behind
        + chunk(b"IEND", b"")
    )


XYZ_OF_SRGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
BLACK, WHITE = 256, 16383


def dng(
    linear: np.ndarray,
    *,
    neutral: Sequence[float] = (1.0, 1.0, 1.0),
    pattern: Sequence[int] = (0, 1, 1, 2),
    more: Tags | None = None,
    is_mosaic: bool = True,
    black: int = BLACK,
    jpeg: np.ndarray | None = None,
    **options: Any,
) -> bytes:
    """Write a camera RAW of scene-linear sRGB, (H, W, 3), as a camera with its very primaries sees it.

    Parameters
    ----------
    neutral
        What the camera sees of white.
    pattern
        The colour of each of 2x2 pixels.
    jpeg
        The camera's own JPEG inside, (h, w, 3) uint8.
    """
    seen = linear * np.array(neutral)
    if is_mosaic:
        mosaic = np.zeros((*linear.shape[:2], 1))
        for place, color in enumerate(pattern):
            down, across = divmod(place, 2)
            mosaic[down::2, across::2, 0] = seen[down::2, across::2, color]
        seen = mosaic
    samples = np.rint(black + seen * (WHITE - black)).clip(0, 65535).astype(np.uint16)
    matrix = np.rint(np.linalg.inv(XYZ_OF_SRGB) * 10000).astype(int)
    tags: Tags = {
        254: (4, [0]),
        271: (2, b"Maker\0"),
        272: (2, b"Model\0"),
        50706: (1, [1, 4, 0, 0]),
        50707: (1, [1, 1, 0, 0]),
        50708: (2, b"Maker Model\0"),
        50714: (4, [black] * samples.shape[2]),
        50717: (4, [WHITE] * samples.shape[2]),
        50721: (10, [number for value in matrix.ravel() for number in (int(value), 10000)]),
        50728: (5, [number for value in neutral for number in (round(value * 10000), 10000)]),
        50778: (3, [21]),
    }
    if is_mosaic:
        tags |= {33421: (3, [2, 2]), 33422: (1, list(pattern))}
    kind = 32803 if is_mosaic else 34892
    raw = Directory(samples, kind, more={**tags, **(more or {})})
    if jpeg is None:
        return tiff(raw, **options)
    preview = Directory(jpeg, 6, compression=7, rows=len(jpeg), more=raw.more | {254: (4, [1])})
    for tag in (33421, 33422):
        preview.more.pop(tag, None)
    return tiff(preview, inner=[raw], **options)


def turned_jxl(data: bytes, orientation: int) -> bytes:
    """Return a bare JPEG XL of 8 bit RGB with another orientation. Its library can't write that.

    Together with a wish for a size, which changes no pixel, this takes 16 bits of the header (ISO/IEC
    18181-1, D.2 and D.3). So all behind them stays at whole bytes.
    """
    bits, left = int.from_bytes(data, "little"), 8 * len(data)
    written, length = 0, 0

    def put(value: int, size: int) -> None:
        nonlocal written, length
        written |= value << length
        length += size

    def copy(size: int) -> int:
        nonlocal bits, left
        value = bits & (1 << size) - 1
        put(value, size)
        bits, left = bits >> size, left - size
        return value

    lengths = (9, 13, 18, 30)
    copy(16)
    if copy(1):  # both sides are multiples of 8
        copy(5)
        copy(0 if copy(3) else 5)
    else:
        copy(lengths[copy(2)])
        if not copy(3):  # the width is no simple ratio of the height
            copy(lengths[copy(2)])
    assert copy(1) == 0, "all values are those by default"
    assert bits & 1 == 0, "it has further fields already"
    bits, left = bits >> 1, left - 1
    # Further fields: the orientation, a size, no preview, no animation.
    for value, size in ((1, 1), (orientation - 1, 3), (0b11, 2), (0, 5), (1, 3), (0, 2)):
        put(value, size)
    assert copy(1 + 2 + 1 + 2 + 1) & 0b1110111 == 0, "it is not 8 bit RGB"
    assert copy(1) == 1, "its colours are not sRGB"
    put(1, 1)  # tone mapping by default
    copy(left)
    return written.to_bytes(length // 8, "little")
