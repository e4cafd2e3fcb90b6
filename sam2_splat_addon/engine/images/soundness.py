# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether a photo's bytes are whole, where its decoder would not say.

Decoders show whatever they can. So damage is looked for in three ways:

- A check sum in the file is checked (PNG, deflate).
- The data must give exactly the right number of pixels (LZW, run lengths), or at least enough
  (PNG).
- Some decoders notice too little data, but not too much. Then decoding must fail without the last
  bytes (WebP).

JPEGs are checked in `jpeg`. Uncompressed pixels can't show damage.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, Final, cast

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ...core.footage.tiff_header import PICTURES
from .jpeg import UnusualJpeg, decode_jpeg

_DAMAGED: Final = "its image data is damaged or cut short"
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _require(is_so: bool) -> None:
    if not is_so:
        raise ValueError(_DAMAGED)


_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# The passes of an interlaced PNG: first column and row, then the steps.
_PNG_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_INFLATE_ERROR: Final = cast(type[Exception], isal_zlib.error)  # its stub wrongly has an instance
_PNG_PIECE: Final = 1 << 16  # bytes unpacked at once: they give 66 MB at most


def require_whole_png(data: bytes) -> None:
    """Raise ValueError if a PNG has a wrong check sum, no end, or too little data for its pixels."""
    at, view = 8, memoryview(data)
    wanted, stream = _png_size(data), isal_zlib.decompressobj()
    while True:
        _require(at + 12 <= len(data))
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        _require(end + 4 <= len(data))
        _require(zlib.crc32(view[at + 4 : end]) == struct.unpack_from(">I", data, end)[0])
        if data[at + 4 : at + 8] == b"IDAT" and wanted > 0:
            try:
                for begin in range(at + 8, end, _PNG_PIECE):
                    wanted -= len(stream.decompress(view[begin : min(end, begin + _PNG_PIECE)]))
            except _INFLATE_ERROR as problem:
                raise ValueError(_DAMAGED) from problem
        if data[at + 4 : at + 8] == b"IEND":
            _require(wanted <= 0)
            return
        at = end + 4


def _png_size(data: bytes) -> int:
    """Return the bytes of a PNG's rows, each with its filter byte."""
    _require(len(data) >= 33)
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * _PNG_CHANNELS.get(color, 0)
    size = 0
    for left, top, across, down in _PNG_PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            size += rows * (1 + -(-columns * bits // 8))
    return size


# TIFF: a segment is a strip or a tile.
_TIFF_HEADER: Final = 8  # bytes


def require_whole_tiff(data: bytes, page: Any) -> None:
    """Raise ValueError if a segment of a TIFF does not give the pixels that it should.

    Parameters
    ----------
    data
        The file.
    page
        Its first page, from tifffile.
    """
    compression = int(page.compression)
    if compression in (34925, 50000):
        return  # LZMA and zstd have check sums, or give the wrong size
    if compression in PICTURES:
        _require_whole_pictures(data, page)
        return
    if compression not in (1, 5, 7, 8, 32946, 32773):
        _require_decoded_by_pillow(data)
        return
    tables = page.tags.get(347)
    wanted = list(_segment_sizes(page))
    _require(len(page.dataoffsets) >= len(wanted) and len(page.databytecounts) >= len(wanted))
    if compression == 1:
        _require_apart(
            [(at, size) for at, (size, _) in zip(page.dataoffsets, wanted, strict=False)]
        )
    reverse = page.fillorder == 2 and compression in (5, 32773)
    for offset, count, (least, most) in zip(
        page.dataoffsets, page.databytecounts, wanted, strict=False
    ):
        segment = data[offset : offset + count]
        _require(len(segment) == count)
        if reverse:
            segment = segment.translate(_REVERSED)
        if compression == 1:
            _require(count >= least)
        elif compression in (8, 32946):
            _require_deflated(segment, least, most)
        elif compression == 32773:
            _require(_unpacked_size(segment) in (least, most))
        elif compression == 5:
            if segment[:1] == b"\0" and segment[1:2] and segment[1] & 1:
                _require_decoded_by_pillow(data)  # the older LZW, from before TIFF 6
                return
            _require_lzw(segment, least, most)
        else:
            _require_jpeg(segment, b"" if tables is None else bytes(tables.value))


def _require_whole_pictures(data: bytes, page: Any) -> None:
    check = {34933: require_whole_png, 50001: require_whole_webp}.get(int(page.compression))
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        segment = data[offset : offset + count]
        _require(len(segment) == count)
        if check is not None:
            check(segment)
        else:  # JPEG 2000 ends with a marker
            _require(segment.rstrip(b"\0").endswith(b"\xff\xd9"))


def _require_apart(places: list[tuple[int, int]]) -> None:
    """Raise ValueError if segments, by offset and size, overlap each other or the header."""
    end = _TIFF_HEADER
    for begin, size in sorted(places):
        _require(begin >= end)
        end = begin + size


def _segment_sizes(page: Any) -> Iterator[tuple[int, int]]:
    """Yield the bytes of every decoded segment: the bytes needed, and the bytes if it is padded."""
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    bits = page.bitspersample * (1 if page.planarconfig == 2 else page.samplesperpixel)
    # Colours at a lower resolution would need fewer bytes. Only JPEG uses that.
    if page.is_tiled:
        row = -(-page.tilewidth * bits // 8)
        across, down = (
            -(-page.imagewidth // page.tilewidth),
            -(-page.imagelength // page.tilelength),
        )
        for _ in range(planes * across * down):
            yield row * page.tilelength, row * page.tilelength
        return
    row = -(-page.imagewidth * bits // 8)
    rows = min(page.rowsperstrip or page.imagelength, page.imagelength)
    for _ in range(planes):
        for top in range(0, page.imagelength, rows):
            yield row * min(rows, page.imagelength - top), row * rows


def _require_deflated(segment: bytes, least: int, most: int) -> None:
    """Require a whole zlib stream with the right check sum."""
    stream = zlib.decompressobj()
    try:
        size = len(stream.decompress(segment, most + 1))
        if not stream.eof:
            size += len(stream.decompress(stream.unconsumed_tail, 1))
    except zlib.error as problem:
        raise ValueError(_DAMAGED) from problem
    _require(stream.eof and size in (least, most))


def _unpacked_size(segment: bytes) -> int:
    """Return the number of bytes that PackBits run lengths give."""
    at = size = 0
    while at < len(segment):
        count = segment[at]
        if count < 128:
            at, size = at + 2 + count, size + 1 + count
            _require(at <= len(segment))
        elif count > 128:
            _require(at + 1 < len(segment))
            at, size = at + 2, size + 257 - count
        else:
            at += 1
    return size


def _lzw_schedule() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, after a clear code, the bit where each code begins and its length in bits.

    A code's length depends on the table's size, and the table grows by one entry with each code. So
    both are known without reading the codes.
    """
    free = 258 + np.maximum(np.arange(4096 - 256) - 1, 0)
    lengths = 9 + (free >= 511).astype(np.int64) + (free >= 1023) + (free >= 2047)
    return np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths


_LZW_BEGINS, _LZW_LENGTHS = _lzw_schedule()
_LZW_CLEAR, _LZW_END, _LZW_FIRST = 256, 257, 258


def _require_lzw(segment: bytes, least: int, most: int) -> None:
    """Check LZW as in TIFF 6: every code must be in the table, and all together give the right size."""
    padded = np.frombuffer(segment + bytes(4), dtype=np.uint8).astype(np.int64)
    bits, at, size = 8 * len(segment), 0, 0
    while True:
        places = at + _LZW_BEGINS
        there = int(np.searchsorted(places + _LZW_LENGTHS, bits, side="right"))
        places, lengths = places[:there], _LZW_LENGTHS[:there]
        first = places >> 3
        window = (padded[first] << 16) | (padded[first + 1] << 8) | padded[first + 2]
        codes = (window >> (24 - (places & 7) - lengths)) & ((1 << lengths) - 1)
        ends = np.flatnonzero((codes == _LZW_CLEAR) | (codes == _LZW_END))
        count = int(ends[0]) if len(ends) else there
        sizes = _lzw_sizes(codes[:count])
        if not len(ends):  # without an end code, padding bits of the last byte may follow
            _require(there < len(_LZW_BEGINS))
            totals = size + np.cumsum(sizes)
            _require(bool(np.any((totals == least) | (totals == most))))
            return
        size += int(sizes.sum())
        _require(size <= most)
        if codes[count] == _LZW_END:
            _require(size in (least, most))
            return
        at = int(places[count] + lengths[count])


def _lzw_sizes(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of bytes that each code of a table stands for."""
    # The n-th code makes entry n of the table, which is one byte longer than the code's own entry.
    shorter = codes - _LZW_FIRST
    _require(bool(np.all(shorter < np.arange(len(codes)))))
    sizes = np.ones(len(codes), dtype=np.int64)
    left = np.flatnonzero(shorter >= 0)
    sizes[left] += 1
    # Each round doubles the distance, until the code that is a single byte.
    sizes -= 1
    while len(left):
        sizes[left] += sizes[shorter[left]]
        shorter[left] = shorter[shorter[left]]
        left = left[shorter[left] >= 0]
    return sizes + 1


def _require_jpeg(segment: bytes, tables: bytes) -> None:
    whole = tables[:-2] + segment[2:] if tables else segment
    try:
        decode_jpeg(whole)
    except UnusualJpeg:
        return


def _require_decoded_by_pillow(data: bytes) -> None:
    """Let Pillow's libtiff decode the file. It reports errors; other libraries are silent."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            image.load()
    except UnidentifiedImageError:
        return  # Pillow does not know this kind
    except (OSError, SyntaxError, ValueError) as problem:
        raise ValueError(_DAMAGED) from problem


# WebP: RFC 9649, and RFC 6386 for lossy data.
_CUT: Final = 8  # bytes: more than an encoder's padding, but no picture can lose so many
_SMALLEST: Final = 32


def require_whole_webp(data: bytes) -> None:
    """Raise ValueError if a WebP decodes just as well without its last bytes.

    WebP data has no check sum and no end mark. Damaged data gives other pixels, and uses more or
    fewer of the bytes. The decoder notices if it needs more. This function finds out if it needs
    fewer.
    """
    chunks = list(_chunks(data))
    if any(kind == b"ANIM" for kind, _ in chunks):
        return
    for at, (kind, body) in enumerate(chunks):
        for shorter in _shortened(kind, body):
            cut = b"".join(
                _chunk(name, shorter if place == at else held)
                for place, (name, held) in enumerate(chunks)
            )
            _require(not _is_webp(b"RIFF" + struct.pack("<I", len(cut) + 4) + b"WEBP" + cut))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, end = 12, min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) & 1)


def _shortened(kind: bytes, body: bytes) -> Iterator[bytes]:
    """Yield the image data of a chunk without the last bytes, once for each of its parts."""
    if kind == b"VP8 ":
        tag = int.from_bytes(body[:3], "little")
        first = tag >> 5
        begin = 10 + first
        # Up to 8 parts follow the first one. The sizes of all but the last stand before them.
        for parts in (1, 2, 4, 8):
            sizes = [int.from_bytes(body[begin + 3 * i :][:3], "little") for i in range(parts - 1)]
            if sum(sizes) + 3 * (parts - 1) + begin >= len(body):
                break
        if first >= _SMALLEST:
            shorter = (tag & 31 | (first - _CUT) << 5).to_bytes(3, "little")
            yield shorter + body[3 : begin - _CUT] + body[begin:]
        if len(body) - begin >= _SMALLEST:
            yield body[:-_CUT]
    elif len(body) >= 2 * _SMALLEST and (kind == b"VP8L" or (kind == b"ALPH" and body[0] & 3 == 1)):
        yield body[:-_CUT]


def _is_webp(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True
