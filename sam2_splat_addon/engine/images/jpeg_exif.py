# SPDX-License-Identifier: GPL-3.0-or-later
"""Put EXIF into a JPEG."""

from __future__ import annotations

import struct

_EXIF = b"Exif\0\0"
_MOST = 0xFFFF - 2 - len(_EXIF)


def with_exif(jpeg: bytes, exif: bytes) -> bytes:
    """Return a JPEG with an EXIF segment at its start, as the standard wants it.

    Parameters
    ----------
    jpeg
        A JPEG without EXIF. A JFIF segment stays, behind it.
    exif
        A TIFF structure. One that is too long for a segment is left out.
    """
    if len(exif) > _MOST:
        return jpeg
    body = _EXIF + exif
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
