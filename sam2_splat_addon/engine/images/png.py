# SPDX-License-Identifier: GPL-3.0-or-later
"""Write PNG files fast, whole or not at all.

Every row goes through PNG's "up" filter: the difference to the row above. The image is filtered and
compressed in stripes, so no second copy of it is held.

Intel's library deflates most stripes of a large image. It is three times as fast as zlib-ng, but
zlib-ng's result is an eighth smaller. So zlib-ng gets the other stripes. The files are about as
large as from the usual encoders, in much less time. Formats: ISO/IEC 15948, RFC 1950.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, Unpack

import cv2
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from ...core.system.atomic_file import FolderSync, atomic_file

Pixels = NDArray[np.unsignedinteger[Any]]  # uint8 or uint16
Bytes = NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _RGBA = 0, 2, 6  # colour types
_CHANNELS = {_GREY: 1, _RGB: 3, _RGBA: 4}
_FILTER_UP = 2
_QUICK_LEVEL, _PATIENT_LEVEL = 2, 3  # of isal, of zlib-ng
_STRIPE_BYTES = 4 << 20
# zlib-ng gets all stripes of a small image, where time does not matter, and some of a large one.
_PATIENT_FIRST, _PATIENT_EVERY = 4, 3
_RAW, _MEMORY = -15, 9  # a raw window of 32 KiB; the most memory
# The first two bytes of a zlib stream, and deflate's empty last block.
_ZLIB_HEADER, _LAST_BLOCK = b"\x78\x5e", b"\x03\x00"


class Writing(TypedDict, total=False):
    """How a PNG is written.

    Attributes
    ----------
    go_on
        Called several times while writing. If it raises, writing stops and no file is left.
    folders
        Collects the folder, to be synced later with others. None syncs it at once.
    """

    go_on: Callable[[], None] | None
    folders: FolderSync | None


class ColorWriting(Writing, total=False):
    """How a PNG is written, and what it says about its picture.

    Attributes
    ----------
    icc
        ICC profile for an iCCP chunk.
    exif
        EXIF as a TIFF structure for an eXIf chunk.
    xmp
        XMP packet for an iTXt chunk.
    chunks
        Further chunks that say what the colours mean, as (kind, data).
    """

    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None
    chunks: Sequence[tuple[bytes, bytes]]


def write_rgba(path: Path, rgb: Pixels, alpha: Pixels, **how: Unpack[ColorWriting]) -> None:
    """Write an RGBA PNG with straight alpha. The colours are kept where alpha is 0.

    Parameters
    ----------
    path
        Replaced in one step when everything is written.
    rgb
        (height, width, 3) uint8 or uint16.
    alpha
        (height, width), same type.
    how
        See `ColorWriting`.

    Raises
    ------
    OSError
        The file can't be written. Nothing of it is left.
    ValueError
        The two arrays don't fit together.

    Examples
    --------
    >>> rgb = np.zeros((1080, 1920, 3), np.uint8)
    >>> alpha = np.full((1080, 1920), 255, np.uint8)
    >>> write_rgba(Path("IMG_0001.png"), rgb, alpha)
    """
    if rgb.shape != (*alpha.shape, 3) or rgb.dtype != alpha.dtype:
        raise ValueError(f"rgb {rgb.shape} {rgb.dtype} and alpha {alpha.shape} {alpha.dtype}")

    def rows(top: int, bottom: int) -> Pixels:
        stripe: Pixels = np.empty((bottom - top, rgb.shape[1], 4), dtype=rgb.dtype)
        channels = [0, 0, 1, 1, 2, 2, 3, 3]
        cv2.mixChannels([rgb[top:bottom], alpha[top:bottom]], [stripe], channels)
        return stripe

    _write(path, alpha, _RGBA, rows, how, _said(how))


def write_rgb(path: Path, rgb: Pixels, **how: Unpack[ColorWriting]) -> None:
    """Write an RGB PNG, (height, width, 3) uint8 or uint16. Otherwise as `write_rgba`."""
    _write(path, rgb, _RGB, lambda top, bottom: rgb[top:bottom], how, _said(how))


def write_grey(path: Path, grey: Pixels, **how: Unpack[Writing]) -> None:
    """Write a one-channel PNG, (height, width) uint8 or uint16. Otherwise as `write_rgba`.

    Examples
    --------
    >>> write_grey(Path("IMG_0001_mask.png"), np.full((1080, 1920), 255, np.uint8))
    """
    _write(path, grey, _GREY, lambda top, bottom: grey[top:bottom], how)


def _said(how: ColorWriting) -> list[tuple[bytes, bytes]]:
    """Return the chunks that say where a picture comes from and what its colours mean."""
    said = list(how.get("chunks", ()))
    if icc := how.get("icc"):
        said.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if exif := how.get("exif"):
        said.append((b"eXIf", exif))
    if xmp := how.get("xmp"):
        said.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    return said


def _write(
    path: Path,
    like: Pixels,
    color_type: int,
    rows: Callable[[int, int], Pixels],
    how: Writing,
    said: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Write a PNG with the size and depth of an array, from rows that are made when needed."""
    (height, width), depth_bytes = like.shape[:2], like.dtype.itemsize
    go_on = how.get("go_on")
    row_bytes = width * depth_bytes * _CHANNELS[color_type]
    stripe_rows = max(1, _STRIPE_BYTES // row_bytes)
    with atomic_file(path, folders=how.get("folders")) as file:
        file.write(_SIGNATURE)
        header = struct.pack(">IIBBBBB", width, height, depth_bytes * 8, color_type, 0, 0, 0)
        _chunk(file, b"IHDR", header)
        for kind, data in said:
            _chunk(file, kind, data)
        begin, checksum = _ZLIB_HEADER, isal_zlib.adler32(b"")
        above = np.zeros((1, row_bytes), dtype=np.uint8)
        for number, top in zip(itertools.count(), range(0, height, stripe_rows), strict=False):
            if go_on is not None:
                go_on()
            stripe = _big_endian_bytes(rows(top, min(top + stripe_rows, height)), row_bytes)
            filtered = _filtered(stripe, above)
            checksum = isal_zlib.adler32(filtered, checksum)
            _chunk(file, b"IDAT", begin + _deflated(filtered, number))
            begin, above = b"", stripe[-1:]
        _chunk(file, b"IDAT", _LAST_BLOCK + struct.pack(">I", checksum))
        _chunk(file, b"IEND", b"")


def _deflated(filtered: Bytes, number: int) -> bytes:
    """Return a stripe as deflate blocks that end at a whole byte, so that others can follow."""
    if number < _PATIENT_FIRST or number % _PATIENT_EVERY == 0:
        patient = zlib_ng.compressobj(_PATIENT_LEVEL, zlib_ng.DEFLATED, _RAW, _MEMORY)
        return patient.compress(filtered) + patient.flush(zlib_ng.Z_SYNC_FLUSH)
    quick = isal_zlib.compressobj(_QUICK_LEVEL, isal_zlib.DEFLATED, _RAW, _MEMORY)
    return quick.compress(filtered) + quick.flush(isal_zlib.Z_SYNC_FLUSH)


def _big_endian_bytes(pixels: Pixels, row_bytes: int) -> Bytes:
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(">u2")
    return np.ascontiguousarray(pixels).view(np.uint8).reshape(-1, row_bytes)


def _filtered(stripe: Bytes, above: Bytes) -> Bytes:
    """Return the rows minus the row above each (modulo 256), with the filter type in front."""
    out = np.empty((stripe.shape[0], 1 + stripe.shape[1]), dtype=np.uint8)
    out[:, 0] = _FILTER_UP
    np.subtract(stripe[:1], above, out=out[:1, 1:])
    np.subtract(stripe[1:], stripe[:-1], out=out[1:, 1:])
    return out


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    if data or kind == b"IEND":
        file.write(struct.pack(">I", len(data)) + kind)
        file.write(data)
        file.write(struct.pack(">I", isal_zlib.crc32(data, isal_zlib.crc32(kind))))
