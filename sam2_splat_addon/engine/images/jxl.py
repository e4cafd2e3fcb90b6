# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode a JPEG XL."""

from __future__ import annotations

import io
from typing import Any

import pyjpegxl
from numpy.typing import NDArray

from ...core.footage.jxl_header import read_jxl
from ...core.geometry.orientation import back, turned
from . import metadata
from .colors import straight
from .metadata import Metadata


def decode_jxl(data: bytes) -> tuple[NDArray[Any], NDArray[Any] | None, Metadata]:
    """Decode a JPEG XL.

    The library turns and mirrors the picture as the file says. This is taken back: pixels have their
    stored order, and the orientation is in EXIF.

    Returns
    -------
    tuple
        Colours (H, W, 1 or 3), uint8, or uint16 if the file has more than 8 bits or numbers with a
        fraction; straight alpha (H, W) or None; and what the file says beside its pixels.

    Raises
    ------
    Malformed, ValueError
        It is damaged, or the library can't decode it.
    """
    header = read_jxl(io.BytesIO(data))
    dtype = "uint8" if header.bits <= 8 and not header.is_float else "uint16"
    try:
        said, found = pyjpegxl.decode_to_numpy(data, dtype=dtype)
    except (RuntimeError, ValueError) as problem:
        raise ValueError("its image data is damaged or cut short") from problem
    found = turned(found, back(header.orientation))
    beside = metadata.of_jxl(said.exif, said.xmp, said.icc, header.orientation)
    if not header.has_alpha:
        return found, None, beside
    color, alpha = found[:, :, :-1], found[:, :, -1]
    return straight(color, alpha) if header.is_multiplied else color, alpha, beside
