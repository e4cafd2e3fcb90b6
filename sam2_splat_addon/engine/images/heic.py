# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode the primary picture of a HEIC."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import pillow_heif
from numpy.typing import NDArray

from ...core.footage.heif_header import read_heif
from ...core.geometry.orientation import back, turned
from . import metadata
from .colors import scaled, straight
from .metadata import Metadata

# We never use these pictures beside the primary one.
pillow_heif.options.THUMBNAILS = False
pillow_heif.options.DEPTH_IMAGES = False
pillow_heif.options.AUX_IMAGES = False

_PREMULTIPLIED: Final = "a"
_REFUSED: Final = (OSError, RuntimeError, ValueError, SyntaxError, EOFError, IndexError)


def decode_heic(data: bytes) -> tuple[NDArray[Any], NDArray[Any] | None, Metadata]:
    """Decode a HEIC.

    The library cuts, turns and mirrors the picture as the file says. The turns are taken back: pixels
    have their stored order, and the orientation is in EXIF.

    Returns
    -------
    tuple
        Colours (H, W) or (H, W, 3), uint8, or uint16 if the file has more than 8 bits; straight alpha
        (H, W) or None; and what the file says beside its pixels.

    Raises
    ------
    Malformed, ValueError
        It is damaged, or the library can't decode it.
    """
    header = read_heif(io.BytesIO(data))
    try:
        picture = pillow_heif.open_heif(
            io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=False
        )
        if not picture.info["primary"]:  # the library would give another picture
            raise ValueError("its primary picture is missing")
        pixels = np.asarray(picture)
    except _REFUSED as problem:
        raise ValueError("its image data is damaged, cut short or of an unknown kind") from problem
    found = turned(pixels, back(header.orientation))
    # A mode such as RGB, RGBA;10 or RGBa;12
    channels, _, depth = picture.mode.partition(";")
    found = scaled(found, int(depth or 8))
    said = metadata.of_heif(picture.info, header.color, header.orientation)
    if channels[-1:].upper() != "A":
        return found, None, said
    color, alpha = found[:, :, :-1], found[:, :, -1]
    return straight(color, alpha) if channels[-1] == _PREMULTIPLIED else color, alpha, said
