# SPDX-License-Identifier: GPL-3.0-or-later
"""Find EXIF in the unusual places of a PNG: in a text, or behind the pixels."""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO, Final

from .tiff_tags import exactly, exif_orientation

_TEXTS: Final = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
_TAIL: Final = 65536  # bytes at the end that are searched
_MOST: Final = 1 << 24  # bytes of one text


def raw_profile(text: bytes) -> bytes:
    """Return data that ImageMagick and others write as a text: name, length, hexadecimal digits.

    Broken text gives nothing.
    """
    try:
        return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except ValueError:
        return b""


def orientation_in_text(file: BinaryIO, kind: bytes, length: int) -> int:
    """Return the orientation in a text chunk that holds EXIF, 0 if it holds none.

    Parameters
    ----------
    file
        At the first byte of the chunk's body, and left there.
    kind
        ``tEXt`` or ``zTXt``.
    length
        Bytes of the body.

    Raises
    ------
    Malformed
        The file ends too early.
    """
    begin = file.tell()
    name = file.read(min(length, len(_TEXTS[0])))
    text = exactly(file, length - len(name)) if name in _TEXTS else b""
    file.seek(begin)
    if kind == b"zTXt":
        try:
            text = zlib.decompressobj().decompress(text[1:], _MOST)
        except zlib.error:
            text = b""
    exif = raw_profile(text).removeprefix(b"Exif\0\0")
    return exif_orientation(exif) if exif else 0


def orientation_at_end(file: BinaryIO, after: int) -> int:
    """Return the orientation in EXIF behind the pixels, not far from the end; 1 if there is none.

    Parameters
    ----------
    file
        The PNG.
    after
        Where the pixels begin.
    """
    file.seek(max(after, file.seek(0, os.SEEK_END) - _TAIL))
    tail = file.read(_TAIL)
    at = tail.find(b"eXIf", 4)
    while at >= 0:
        (length,) = struct.unpack_from(">I", tail, at - 4)
        end = at + 4 + length
        if tail[end : end + 4] == zlib.crc32(tail[at:end]).to_bytes(4, "big"):
            return exif_orientation(tail[at + 4 : end])
        at = tail.find(b"eXIf", at + 1)
    return 1
