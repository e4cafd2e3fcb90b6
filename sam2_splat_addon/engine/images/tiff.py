# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode the picture of a TIFF.

tifffile reads the structure. Pillow's libtiff unpacks bytes, Pillow and OpenCV decode pictures that
are stored inside, and OpenCV decodes what only libtiff itself knows. Predictors, planes, tiles, odd
depths and the meaning of samples are handled here, the same for every compression.
`core/footage/tiff_header.py` has the list of kinds.
"""

from __future__ import annotations

import io
import lzma
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import tifffile
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from ...core.footage.tiff_header import (
    BY_LIBTIFF,
    BYTES_PACKED,
    PICTURES,
    PREDICTED,
    TiffHeader,
)
from .colors import alpha_16, rgb_of_cmyk, rgb_of_lab, scaled, straight, view_transform
from .soundness import require_whole_tiff

Samples = NDArray[Any]

_NONE, _LZW, _LZMA, _ZSTD = 1, 5, 34925, 50000
_DEFLATES: Final = (8, 32946)
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_BIT_ROWS: Final = 64  # rows whose bits are unpacked at once
_SIGNED_LAB: Final = 8
_DAMAGED: Final = "its image data is damaged or cut short"


def picture_first(data: bytes, directory: int) -> bytes:
    """Return the file with this directory as its first one, for libraries that only read that."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    at, code = (8, "Q") if is_big else (4, "I")
    (first,) = struct.unpack_from(order + code, data, at)
    if first == directory:
        return data
    changed = bytearray(data)
    struct.pack_into(order + code, changed, at, directory)
    return bytes(changed)


def decode_tiff(
    data: bytes, header: TiffHeader, icc: bytes | None, exposure: float, *, is_whole: bool
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Decode a TIFF.

    Parameters
    ----------
    data
        The file, its picture in the first directory: see `picture_first`.
    header
        The header of that picture.
    icc
        Its colour profile.
    exposure
        Stops that are added to floating-point pictures.
    is_whole
        Whether the file is known to be whole. If not, that is checked first.

    Returns
    -------
    tuple
        Colours (H, W, 1 or 3), and alpha (H, W) or None: uint8 or uint16, straight.

    Raises
    ------
    ValueError
        The data is damaged or cut short. Libraries raise other errors too: see `decode.DAMAGED`.
    """
    bits = header.bits
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page: Any = tiff.pages[0]
        if not is_whole:
            require_whole_tiff(data, page)
        if page.compression in BY_LIBTIFF or header.model in ("ycbcr", "logluv"):
            samples, bits = _by_libtiff(data, page, header), 8
        else:
            samples = _samples(data, page, header)
        color = samples if header.alpha is None else samples[:, :, : header.alpha]
        alpha = None if header.alpha is None else samples[:, :, header.alpha]
        if samples.dtype.kind == "f":
            return _shown(color[:, :, : _colors(header)], alpha, header, exposure)
        if alpha is not None:
            alpha = scaled(alpha, bits)
        color = _meant(color[:, :, : _colors(header)], page, header, bits, icc)
    if alpha is not None and header.is_multiplied:
        color = straight(color, alpha)
    if alpha is not None and color.dtype != alpha.dtype:
        alpha = scaled(alpha >> 8, 8)  # a profile has made the colours 8 bit
    return color, alpha


def _colors(header: TiffHeader) -> int:
    """Return how many samples make the colour."""
    if header.model in ("ycbcr", "logluv"):
        return 3
    return min(header.samples, {"grey": 1, "palette": 1, "cmyk": 4}.get(header.model, 3))


def _meant(
    color: Samples, page: Any, header: TiffHeader, bits: int, icc: bytes | None
) -> NDArray[Any]:
    """Turn samples into grey or RGB of 8 or 16 bit, by the colour model."""
    if header.model == "palette":
        table = np.asarray(page.colormap)
        table = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
        return np.asarray(table.T[color[:, :, 0]])
    if header.model == "lab" and color.shape[2] == 3:
        return rgb_of_lab(color, is_signed=page.photometric == _SIGNED_LAB)
    if header.model == "cmyk" and color.shape[2] == 4:
        return rgb_of_cmyk(color, icc)
    values = scaled(color, bits)
    is_inverted = page.photometric == 0 and page.compression not in BY_LIBTIFF
    return np.iinfo(values.dtype).max - values if is_inverted else values


def _shown(
    color: Samples, alpha: Samples | None, header: TiffHeader, exposure: float
) -> tuple[NDArray[np.uint16], NDArray[np.uint16] | None]:
    """Turn scene-linear floats into what is seen."""
    color = color.astype(np.float32, copy=False)
    if alpha is None:
        return view_transform(color, exposure), None
    alpha = alpha.astype(np.float32, copy=False)
    if header.is_multiplied:
        color = straight(color, alpha)
    return view_transform(color, exposure), alpha_16(alpha)


def _by_libtiff(data: bytes, page: Any, header: TiffHeader) -> Samples:
    """Decode with libtiff's own conversion to colours, (H, W, 1, 3 or 4)."""
    if header.model == "cmyk":
        with Image.open(io.BytesIO(data)) as image:
            if image.mode != "CMYK":
                raise ValueError(_DAMAGED)
            return np.asarray(image)
    encoded = np.frombuffer(bytearray(data), dtype=np.uint8)
    orientation = page.tags.get(274)
    if orientation is not None:  # else OpenCV turns the pixels
        at = orientation.valueoffset
        encoded[at : at + 2] = (1, 0) if data[:2] == b"II" else (0, 1)
    found = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if found is None:
        raise ValueError(_DAMAGED)
    if found.ndim == 2:
        return found[:, :, None]
    code = cv2.COLOR_BGRA2RGBA if found.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(found, code)


@dataclass(frozen=True)
class _Place:
    """Where a strip or tile belongs: its plane, its first row and column, its rows and columns."""

    plane: int
    top: int
    left: int
    rows: int
    columns: int


def _places(page: Any, planes: int) -> Iterator[_Place]:
    width, height = page.imagewidth, page.imagelength
    if page.is_tiled:
        across, down = page.tilewidth, page.tilelength
        for plane in range(planes):
            for top in range(0, height, down):
                for left in range(0, width, across):
                    yield _Place(plane, top, left, down, across)
        return
    rows = min(page.rowsperstrip or height, height)
    for plane in range(planes):
        for top in range(0, height, rows):
            yield _Place(plane, top, 0, min(rows, height - top), width)


def _samples(data: bytes, page: Any, header: TiffHeader) -> Samples:
    """Return the stored samples, (H, W, samples), in the machine's byte order."""
    is_apart = page.planarconfig == 2
    each = 1 if is_apart else header.samples
    places = list(_places(page, header.samples if is_apart else 1))
    view = memoryview(data)
    segments = [
        view[offset : offset + count]
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
    ]
    if len(segments) < len(places):
        raise ValueError(_DAMAGED)
    reader = _Reader(page, header, "<" if data[:2] == b"II" else ">", each)
    blocks = reader.blocks(places, segments)
    out: Samples | None = None
    for place, block in zip(places, blocks, strict=True):
        if out is None:
            out = np.empty((header.height, header.width, header.samples), block.dtype)
        first, last = (place.plane, place.plane + 1) if is_apart else (0, header.samples)
        target = out[
            place.top : place.top + place.rows, place.left : place.left + place.columns, first:last
        ]
        target[:] = block[: target.shape[0], : target.shape[1]]
    if out is None:
        raise ValueError(_DAMAGED)
    return out


@dataclass(frozen=True)
class _Reader:
    """Decodes strips and tiles of one picture.

    Attributes
    ----------
    order
        Byte order, "<" or ">".
    each
        Samples of a pixel in one segment.
    """

    page: Any
    header: TiffHeader
    order: str
    each: int

    def blocks(self, places: Sequence[_Place], segments: Sequence[memoryview]) -> Iterator[Samples]:
        """Yield the samples of each segment, (rows, columns, each)."""
        if self.page.compression in PICTURES:
            for place, segment in zip(places, segments, strict=False):
                yield self._picture(place, segment)
            return
        assert self.page.compression in BYTES_PACKED
        if self.page.fillorder == 2:
            segments = [memoryview(bytes(part).translate(_REVERSED)) for part in segments]
        sizes = [place.rows * self._row_bytes(place) for place in places]
        unpacked = _unpacked(int(self.page.compression), segments[: len(places)], sizes)
        for place, flat, size in zip(places, unpacked, sizes, strict=True):
            if len(flat) < size:
                raise ValueError(_DAMAGED)
            yield self._block(place, flat[:size].reshape(place.rows, -1))

    def _row_bytes(self, place: _Place) -> int:
        return -(-place.columns * self.each * self.header.bits // 8)

    def _picture(self, place: _Place, segment: memoryview) -> Samples:
        if self.header.bits == 8:
            with Image.open(io.BytesIO(segment)) as image:
                found = np.asarray(image)
        else:
            decoded = cv2.imdecode(np.frombuffer(segment, np.uint8), cv2.IMREAD_UNCHANGED)
            if decoded is None:
                raise ValueError(_DAMAGED)
            found = decoded
            if found.ndim == 3:
                code = cv2.COLOR_BGRA2RGBA if found.shape[2] == 4 else cv2.COLOR_BGR2RGB
                found = cv2.cvtColor(found, code)
        found = found[:, :, None] if found.ndim == 2 else found
        if found.shape[2] != self.each or found.dtype.itemsize * 8 != self.header.bits:
            raise ValueError("a picture inside it has other samples than its header says")
        if found.shape[0] < place.rows or found.shape[1] < place.columns:
            raise ValueError(_DAMAGED)
        return found

    def _block(self, place: _Place, rows: NDArray[np.uint8]) -> Samples:
        bits, shape = self.header.bits, (place.rows, place.columns, self.each)
        if bits not in (8, 16, 32, 64):
            return np.concatenate(
                [
                    _from_bits(rows[top : top + _BIT_ROWS], bits, shape[1] * shape[2])
                    for top in range(0, place.rows, _BIT_ROWS)
                ]
            ).reshape(shape)
        predictor = self.page.predictor if self.page.compression in PREDICTED else 1
        kind = "f" if self.header.is_float else "u"
        if predictor == 3:
            return _without_predictor_3(rows, shape, bits // 8)
        whole = rows.view(np.dtype(f"{self.order}u{bits // 8}")).reshape(shape)
        whole = whole.astype(whole.dtype.newbyteorder("="), copy=False)
        if predictor == 2:
            whole = np.cumsum(whole, axis=1, dtype=whole.dtype)
        return np.ascontiguousarray(whole).view(np.dtype(f"{kind}{bits // 8}"))


def _from_bits(rows: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint16]:
    """Return ``count`` numbers of ``bits`` bits from each row of bytes, the highest bit first."""
    single = np.unpackbits(rows, axis=1)[:, : count * bits].reshape(len(rows), count, bits)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    found = np.zeros((len(rows), count), np.uint16)
    for place, weight in enumerate(weights):
        found += single[:, :, place] * weight
    return found


def _without_predictor_3(
    rows: NDArray[np.uint8], shape: tuple[int, int, int], size: int
) -> NDArray[np.floating[Any]]:
    """Undo the predictor for floats: bytes of equal rank stand together, each minus the one before."""
    height, width, each = shape
    sums = np.cumsum(rows.reshape(height, -1, each), axis=1, dtype=np.uint8)
    by_rank = sums.reshape(height, size, width * each).transpose(0, 2, 1)
    big_endian = np.ascontiguousarray(by_rank).view(f">f{size}")
    return big_endian.reshape(shape).astype(f"f{size}")


def _unpacked(
    compression: int, segments: Sequence[memoryview], sizes: Sequence[int]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the bytes of each segment."""
    if compression in (_NONE, _LZMA, *_DEFLATES):
        for segment, size in zip(segments, sizes, strict=True):
            plain: bytes | memoryview = segment
            if compression in _DEFLATES:
                plain = isal_zlib.decompressobj().decompress(segment, size)
            elif compression == _LZMA:
                try:
                    plain = lzma.LZMADecompressor().decompress(segment, size)
                except lzma.LZMAError as problem:
                    raise ValueError(_DAMAGED) from problem
            yield np.frombuffer(plain, np.uint8)
        return
    # One call for many segments of the same size: opening a file costs more than unpacking a strip.
    at = 0
    while at < len(segments):
        end = at
        while end < len(segments) and sizes[end] == sizes[at] and (end - at) * sizes[at] < 1 << 28:
            end += 1
        yield from _unpacked_by_libtiff(compression, segments[at:end], sizes[at])
        at = end


def _unpacked_by_libtiff(
    compression: int, segments: Sequence[memoryview], size: int
) -> Iterator[NDArray[np.uint8]]:
    """Let Pillow's libtiff unpack segments, as rows of a grey picture of ``size`` columns."""
    count = len(segments)
    lengths = [len(segment) for segment in segments]
    behind_tags = 8 + 2 + 12 * 9 + 4
    first = behind_tags + (8 * count if count > 1 else 0)
    offsets = [int(offset) for offset in np.cumsum([first, *lengths])[:-1]]
    # A single value stands in its tag, several stand behind the tags.
    where = (offsets[0], lengths[0]) if count == 1 else (behind_tags, behind_tags + 4 * count)
    tags = [(256, 1, size), (257, 1, count), (258, 1, 8), (259, 1, compression), (262, 1, 1)]
    tags += [(273, count, where[0]), (277, 1, 1), (278, 1, 1), (279, count, where[1])]
    entries = b"".join(struct.pack("<HHII", tag, 4, number, value) for tag, number, value in tags)
    more = b"" if count == 1 else struct.pack(f"<{2 * count}I", *offsets, *lengths)
    file = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + more
    with warnings.catch_warnings(), Image.open(io.BytesIO(b"".join([file, *segments]))) as image:
        warnings.simplefilter("ignore")
        rows = np.asarray(image)
    if rows.shape != (count, size):
        raise ValueError(_DAMAGED)
    yield from rows
