# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode the picture of an EXR, with the reference library.

The header says which part and which channels are the picture: see `core/footage/exr_header.py`.
Colours of other primaries are converted to those of sRGB. The result has the display window's
size: beside the data window everything is black, and transparent if there is alpha.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from ...core.footage.exr_header import SRGB_PRIMARIES, ExrHeader
from .colors import FloatPixels, alpha_16, stripes, view_transform
from .metadata import Metadata

# Bradford's matrix, from XYZ to the responses of the eye's cones.
_BRADFORD: Final = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def decode_exr(
    path: Path, header: ExrHeader, exposure: float
) -> tuple[NDArray[np.uint16], NDArray[np.uint16] | None, Metadata]:
    """Decode an EXR.

    Parameters
    ----------
    path
        The file.
    header
        What `read_exr` says of it.
    exposure
        Stops that are added.

    Returns
    -------
    tuple
        Colours (H, W, 1 or 3), alpha (H, W) or None, both 16 bit and straight; and XMP.

    Raises
    ------
    ValueError
        The data is damaged or cut short.
    """
    with OpenEXR.File(str(path), separate_channels=True) as file:
        if len(file.parts) <= header.part:  # the library only prints what it could not read
            raise ValueError("its image data is damaged or cut short")
        part = file.parts[header.part]
        channels: dict[str, NDArray[Any]] = {}
        for name in (*header.colors, *((header.alpha,) if header.alpha else ())):
            pixels = part.channels[name].pixels
            if pixels is None:
                raise ValueError("its image data is damaged or cut short")
            channels[name] = np.asarray(pixels, dtype=np.float32)
    height, width = (
        header.data[3] - header.data[1] + 1,
        header.data[2] - header.data[0] + 1,
    )
    planes = [_whole(channels[name], width, height) for name in header.colors]
    linear = np.stack(planes, axis=2)
    if header.is_luma_chroma:
        linear = _rgb_of_luma_chroma(linear, header.primaries)
    opacity = None
    if header.alpha:
        opacity = _whole(channels[header.alpha], width, height)
        # EXR colour is multiplied by alpha. Where alpha is 0, straight colour is undefined, so the
        # stored colour stays.
        linear /= np.where(opacity > 0, opacity, np.float32(1.0))[:, :, None]
    if linear.shape[2] == 3 and header.primaries != SRGB_PRIMARIES:
        linear = _converted(linear, header.primaries)
    color = _framed(view_transform(linear, exposure), header)
    alpha = None if opacity is None else _framed(alpha_16(opacity), header)
    return color, alpha, Metadata(xmp=header.xmp)


def _whole(plane: FloatPixels, width: int, height: int) -> FloatPixels:
    """Return a channel at full size. Its first pixel is that of the data window."""
    if plane.shape == (height, width):
        return plane
    across, down = round(width / plane.shape[1]), round(height / plane.shape[0])
    # Pixel i of the small channel belongs to pixel i * step of the picture.
    columns = np.arange(width, dtype=np.float32) / across
    rows = np.arange(height, dtype=np.float32) / down
    grid = np.meshgrid(columns, rows)
    return np.asarray(
        cv2.remap(plane, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _rgb_of_luma_chroma(planes: FloatPixels, primaries: tuple[float, ...]) -> FloatPixels:
    """Return RGB of luminance Y and chroma RY = (R - Y) / Y, BY = (B - Y) / Y."""
    luma = planes[:, :, :1]
    weights = _xyz_of_rgb(primaries)[1]
    red, blue = (planes[:, :, 1:2] + 1) * luma, (planes[:, :, 2:3] + 1) * luma
    green = (luma - red * weights[0] - blue * weights[2]) / weights[1]
    return np.asarray(np.concatenate([red, green, blue], axis=2), dtype=np.float32)


def _converted(linear: FloatPixels, primaries: tuple[float, ...]) -> FloatPixels:
    """Convert linear colours to the primaries and the white of sRGB."""
    matrix = rgb_matrix(primaries).astype(np.float32)
    out = np.empty_like(linear)
    for rows in stripes(len(linear)):
        out[rows] = linear[rows] @ matrix.T
    return out


def rgb_matrix(primaries: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the matrix (3, 3) from linear colours of some primaries to linear sRGB.

    Parameters
    ----------
    primaries
        CIE x and y of red, green, blue and white.
    """
    cones = _BRADFORD @ _xyz_of_white(primaries)
    wanted = _BRADFORD @ _xyz_of_white(SRGB_PRIMARIES)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(wanted / cones) @ _BRADFORD
    return np.asarray(np.linalg.inv(_xyz_of_rgb(SRGB_PRIMARIES)) @ adapted @ _xyz_of_rgb(primaries))


def _xyz_of_white(primaries: tuple[float, ...]) -> NDArray[np.float64]:
    x, y = primaries[6:8]
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _xyz_of_rgb(primaries: tuple[float, ...]) -> NDArray[np.float64]:
    points = np.array(primaries[:6]).reshape(3, 2)
    columns = np.stack([points[:, 0], points[:, 1], 1 - points.sum(axis=1)])
    return np.asarray(columns * np.linalg.solve(columns, _xyz_of_white(primaries)))


def _framed(picture: NDArray[np.uint16], header: ExrHeader) -> NDArray[np.uint16]:
    """Put a picture of the data window into the display window."""
    if header.data == header.display:
        return picture
    left, top, right, bottom = header.display
    out = np.zeros((bottom - top + 1, right - left + 1, *picture.shape[2:]), picture.dtype)
    begin = max(left, header.data[0]), max(top, header.data[1])
    end = min(right, header.data[2]) + 1, min(bottom, header.data[3]) + 1
    out[begin[1] - top : end[1] - top, begin[0] - left : end[0] - left] = picture[
        begin[1] - header.data[1] : end[1] - header.data[1],
        begin[0] - header.data[0] : end[0] - header.data[0],
    ]
    return out
