# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn colours of any model into RGB, and values of any depth into 8 or 16 bit."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
FloatPixels = NDArray[np.float32]

_STRIPE_ROWS: Final = 256  # bounds temporary memory

# XYZ of D50 to linear sRGB, adapted to D65 as by Bradford; W of D50. ICC.1 and IEC 61966-2-1.
_D50: Final = (0.9642, 1.0, 0.8249)
_SRGB_OF_D50: Final = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)


def stripes(height: int) -> Iterator[slice]:
    """Yield the rows of a picture, some at a time."""
    for top in range(0, height, _STRIPE_ROWS):
        yield slice(top, top + _STRIPE_ROWS)


def to_8_bit(array: Pixels) -> NDArray[np.uint8]:
    """Return the nearest 8 bit values. 8 bit input is returned unchanged."""
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    out = np.empty(array.shape, dtype=np.uint8)
    for rows in stripes(array.shape[0]):
        out[rows] = (array[rows].astype(np.uint32) + 128) // 257
    return out


def view_transform(linear: FloatPixels, exposure: float = 0.0) -> NDArray[np.uint16]:
    """Convert scene-linear values of any shape to 16 bit sRGB. Not-a-number becomes black.

    The transfer function is IEC 61966-2-1: 12.92 v up to 0.0031308, else 1.055 v^(1/2.4) - 0.055.
    """
    out = np.empty(linear.shape, dtype=np.uint16)
    gain = np.float32(2.0**exposure)
    for rows in stripes(linear.shape[0]):
        v = np.nan_to_num(linear[rows] * gain, nan=0.0, posinf=1.0, neginf=0.0)
        v = np.clip(v, 0.0, 1.0)
        v = np.where(
            v <= 0.0031308, 12.92 * v, 1.055 * np.power(v, 1 / 2.4, dtype=np.float32) - 0.055
        )
        out[rows] = np.rint(v * 65535.0).astype(np.uint16)
    return out


def alpha_16(alpha: FloatPixels) -> NDArray[np.uint16]:
    """Return alpha, 0 to 1, as 16 bit."""
    levels = np.rint(np.clip(np.nan_to_num(alpha), 0.0, 1.0) * 65535.0)
    return np.asarray(levels.astype(np.uint16))


def scaled(samples: NDArray[Any], bits: int) -> Pixels:
    """Return samples of 1 to 16 bits as 8 bit, or as 16 bit if they have more than 8."""
    dtype: Any = np.uint8 if bits <= 8 else np.uint16
    if bits in (8, 16):
        return samples.astype(dtype, copy=False)
    every = np.arange(1 << bits) * (np.iinfo(dtype).max / ((1 << bits) - 1))
    return np.asarray(np.rint(every).astype(dtype)[samples])


def straight(color: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Divide colours by the alpha that they were multiplied by. They stay as stored where alpha is 0."""
    full = 1.0 if color.dtype.kind == "f" else float(np.iinfo(color.dtype).max)
    out = np.empty_like(color)
    for rows in stripes(len(color)):
        share = alpha[rows].astype(np.float32) / full
        share = np.where(share > 0, share, np.float32(1))[:, :, None]
        found = color[rows] / share
        if color.dtype.kind != "f":
            found = np.rint(np.clip(found, 0, full))
        out[rows] = found
    return out


def rgb_of_cmyk(ink: Pixels, icc: bytes | None) -> Pixels:
    """Convert ink (H, W, 4), full is all ink, to RGB (H, W, 3).

    With a profile of the inks LittleCMS converts, to 8 bit sRGB. Without one, each ink takes away its
    share of light.
    """
    profile = _profile(icc, b"CMYK")
    if profile is not None:
        image = Image.fromarray(np.ascontiguousarray(to_8_bit(ink)), "CMYK")
        try:
            return np.asarray(_to_srgb(image, profile))
        except ImageCms.PyCMSError:
            pass  # a broken profile costs the profile
    if ink.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(ink), "CMYK").convert("RGB"))
    full = int(np.iinfo(ink.dtype).max)
    full = 65535
    out = np.empty((*ink.shape[:2], 3), dtype=np.uint16)
    for rows in stripes(len(ink)):
        light = full - ink[rows].astype(np.uint32)
        out[rows] = (light[..., :3] * light[..., 3:] + full // 2) // full
    return out


def rgb_of_pillow(image: Image.Image, icc: bytes | None) -> NDArray[np.uint8]:
    """Return a picture that Pillow has opened as RGB (H, W, 3); inks as in `rgb_of_cmyk`."""
    if image.mode == "CMYK":
        return to_8_bit(rgb_of_cmyk(np.asarray(image), icc))
    return np.asarray(image.convert("RGB"))


def rgb_of_lab(samples: Pixels, *, is_signed: bool) -> Pixels:
    """Convert CIE L*a*b* of D50 (H, W, 3), as TIFFs store it, to sRGB of the same depth.

    Parameters
    ----------
    is_signed
        True for TIFF's CIELab: a and b have a sign. False for ICCLab: 128 (of 8 bit) is grey.
    """
    is_8_bit = samples.dtype == np.uint8
    out: NDArray[Any] = np.empty(samples.shape, dtype=samples.dtype)
    step = 1 if is_8_bit else 256
    white = 255.0 if is_8_bit else (65535.0 if is_signed else 65280.0)
    for rows in stripes(len(samples)):
        part: NDArray[Any] = samples[rows]
        lightness = part[..., 0] * (100.0 / white)
        if is_signed:
            signed: Any = np.int8 if is_8_bit else np.int16
            ab = np.asarray(part[..., 1:].view(signed)) / step
        else:
            ab = part[..., 1:] / step - 128.0
        fy = (lightness + 16.0) / 116.0
        f = np.stack([fy + ab[..., 0] / 500.0, fy, fy - ab[..., 1] / 200.0], axis=2)
        xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _D50
        shown = view_transform((xyz @ _SRGB_OF_D50.T).astype(np.float32))
        out[rows] = to_8_bit(shown) if is_8_bit else shown
    return out


def _profile(icc: bytes | None, space: bytes) -> ImageCms.ImageCmsProfile | None:
    """Return a profile of this colour space; None without one, or if it is broken."""
    if icc is None or icc[16:20] != space:
        return None
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except (OSError, ImageCms.PyCMSError):
        return None


def _to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # only a conversion in place returns nothing
    return converted
