# SPDX-License-Identifier: GPL-3.0-or-later
"""Develop a linear picture and write it as a camera would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, TiffImagePlugin

from sam2_splat_addon.core.system.atomic_file import atomic_file

Bytes = npt.NDArray[np.uint8]
_LENS_BLUR = 0.55  # px, standard deviation: no lens is sharper than the pixels


@dataclass(frozen=True)
class Shot:
    """What the photo's EXIF says: time, exposure (seconds), ISO, focal length and model."""

    taken: datetime
    exposure: Fraction
    iso: int
    focal_mm: float


def develop(
    linear: npt.NDArray[np.float32], exposure: float, warmth: float, noise: float, seed: int
) -> Bytes:
    """Return an sRGB photo, shape (H, W, 3).

    Parameters
    ----------
    linear
        Shape (H, W, 3), linear light with sRGB primaries.
    exposure, warmth, noise
        See `lights.Development`.
    seed
        Of the sensor's noise.
    """
    gains = np.array([1 + warmth, 1.0, 1 - warmth], dtype=np.float32) * np.float32(2.0**exposure)
    light = cv2.GaussianBlur(np.maximum(linear * gains, 0.0), (0, 0), _LENS_BLUR)
    height, width = light.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = (
        light * (1.0 - 0.11 * (x * x + y * y)).astype(np.float32)[..., None]
    )  # the lens's fall-off
    # Bright tones are compressed, as in cameras. Below the middle tones everything stays linear.
    knee = np.float32(0.55)
    over = np.maximum(light - knee, 0.0)
    light = np.minimum(light, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee) * 0.85))
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    encoded += 0.06 * (encoded - 0.5) * (1 - np.abs(2 * encoded - 1))  # a little contrast
    if noise > 0:
        grain = np.random.default_rng(seed).standard_normal(light.shape, dtype=np.float32)
        encoded += grain * np.float32(noise)
    return (np.clip(encoded, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)


def write_photo(path: Path, pixels: Bytes, quality: int, shot: Shot | None) -> None:
    """Write a JPEG, with EXIF and an sRGB profile if `shot` is given. Never leaves half a file."""
    image = Image.fromarray(pixels)
    if shot is None:
        _write(path, lambda stream: image.save(stream, "JPEG", quality=quality))
        return
    exif = _exif(shot, image.size)
    _write(
        path,
        lambda stream: image.save(
            stream,
            "JPEG",
            quality=quality,
            optimize=True,
            subsampling="4:2:0",
            exif=exif,
            icc_profile=_srgb_profile(),
        ),
    )


def write_grey(path: Path, pixels: Bytes) -> None:
    """Write an 8-bit grey PNG. Never leaves half a file."""
    image = Image.fromarray(pixels)
    _write(path, lambda stream: image.save(stream, "PNG", optimize=True))


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file. Never leaves half a file."""
    _write(path, lambda stream: stream.write(text.encode("utf-8")))


def _write(path: Path, save: Callable[[IO[bytes]], object]) -> None:
    with atomic_file(path) as stream:
        save(stream)


def plan_shot(index: int, exposure: float, lens: float) -> Shot:
    """Return believable EXIF values for frame `index` (a step every few seconds)."""
    taken = datetime(2025, 5, 17, 14, 3, 12) + timedelta(seconds=4 * index + (index * 7) % 3)
    speed = min((60, 80, 100, 125, 160, 200, 250), key=lambda s: abs(s - 125 / 2.0**exposure))
    return Shot(taken=taken, exposure=Fraction(1, speed), iso=400, focal_mm=lens)


def _exif(shot: Shot, size: tuple[int, int]) -> Image.Exif:
    stamp = shot.taken.strftime("%Y:%m:%d %H:%M:%S")
    exif = Image.Exif()
    ratio = TiffImagePlugin.IFDRational
    exif[0x010F] = "Splat Optics"  # Make
    exif[0x0110] = "Orbit One"  # Model
    exif[0x0112] = 1  # Orientation: as stored
    exif[0x011A] = exif[0x011B] = ratio(72, 1)  # XResolution, YResolution
    exif[0x0128] = 2  # ResolutionUnit: inches
    exif[0x0131] = "Blender, Cycles"  # Software
    exif[0x0132] = stamp  # DateTime
    details = exif.get_ifd(0x8769)
    details[0x829A] = ratio(shot.exposure.numerator, shot.exposure.denominator)  # ExposureTime
    details[0x829D] = ratio(8, 1)  # FNumber
    details[0x8827] = shot.iso  # PhotographicSensitivity
    details[0x9003] = details[0x9004] = stamp  # DateTimeOriginal, DateTimeDigitized
    details[0x920A] = ratio(round(shot.focal_mm * 10), 10)  # FocalLength
    details[0xA001] = 1  # ColorSpace: sRGB
    details[0xA002], details[0xA003] = size  # PixelXDimension, PixelYDimension
    details[0xA405] = round(shot.focal_mm)  # FocalLengthIn35mmFilm
    return exif


def _srgb_profile() -> bytes:
    """Return an sRGB ICC profile with a fixed date, so that equal photos are equal files."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes([0x07, 0xE9, 0, 5, 0, 17, 0, 0, 0, 0, 0, 0])  # 2025-05-17
    profile[84:100] = bytes(16)  # the profile id is a check sum, and may be missing
    return bytes(profile)
