# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode a photo at its full depth.

Pixels keep their stored order. EXIF orientation is never applied, and its tag is kept. Values of 8
and 16 bit files are the decoder's own. Floating-point files are scene-linear and go through one
view transform: times 2^exposure, clipped to 0..1, sRGB transfer function (IEC 61966-2-1), 16 bit.

A photo decodes whole or not at all. Some decoders hide damage; `jpeg` and `soundness` find it.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from ...core.errors import DamagedPhoto, FootageError
from ...core.footage.file_stamps import Stamp, stamp_of
from ...core.footage.headers import ImageHeader, read_header
from ...core.system.safe_read import open_plain, read_plain, require_plain_file
from .jpeg import UnusualJpeg, decode_jpeg
from .soundness import require_whole_png, require_whole_tiff, require_whole_webp

# We limit the size in our own header check. A long editing history or a profile is no attack.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 1 << 26

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
FloatPixels = NDArray[np.float32]

# Errors that decoders raise on damaged data. Any other error is our own fault and is not caught.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    RuntimeError,
    ArithmeticError,
    TypeError,  # when a library confuses two tags
    AttributeError,
    struct.error,
    zlib.error,
    cv2.error,
    tifffile.TiffFileError,
)

# EXIF tags that describe the photo. A TIFF's other tags describe the file's layout.
_TIFF_EXIF_TAGS = (270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 33432, 34665, 34853)

_DIRECT_COMPRESSIONS = (1, 8, 32946, 32773)  # none, two names of deflate, PackBits

# Compressions that only OpenCV's own library decodes. It silently makes some unknown ones black.
_OTHER_COMPRESSIONS = (2, 3, 4, 5, 6, 7, 32809, 34676, 34677)

_NOT_SUPPORTED = "its compression or colour model is not supported, export it as RGB"

_STRIPE_ROWS = 256  # bounds the view transform's temporary memory

# Photos that this process has found whole, so that they are not checked again.
_whole: set[Stamp] = set()


@dataclass(frozen=True, eq=False)
class ImagePixels:
    """A decoded photo.

    Attributes
    ----------
    array
        RGB, (height, width, 3), uint8 or uint16, stored order, straight (not multiplied by alpha).
    alpha
        The file's own alpha, (height, width), same type, or None.
    icc
        ICC profile, or None. Profiles of grey and CMYK files are dropped, because the pixels are
        RGB now.
    exif
        EXIF as a TIFF structure (without the "Exif" prefix), or None.
    """

    array: Pixels
    alpha: Pixels | None
    icc: bytes | None
    exif: bytes | None


def decode(path: Path, *, exposure: float = 0.0) -> ImagePixels:
    """Decode a photo at its full depth.

    Parameters
    ----------
    path
        JPEG, PNG, TIFF, WebP or EXR file.
    exposure
        Stops added to floating-point files before the view transform. Other files are not changed.

    Returns
    -------
    ImagePixels
        Colours, alpha and metadata.

    Raises
    ------
    DamagedPhoto
        The file does not decode whole, or this kind can't be decoded. The message names the file.
    FootageError
        The file is missing or can't be opened.

    Examples
    --------
    >>> pixels = decode(Path("photos/IMG_0001.JPG"))
    >>> pixels.array.shape, pixels.array.dtype, pixels.alpha is None
    ((4000, 6000, 3), dtype('uint8'), True)
    """
    header = read_header(path)
    try:
        if header.format == "exr":
            pixels = _decode_exr(path, exposure)
        elif header.format == "tiff":
            pixels = _decode_tiff(path, header, exposure)
        elif header.format == "jpeg":
            pixels = _decode_jpeg(path, header)
        else:
            pixels = _decode_png_or_webp(path, header)
    except (FileNotFoundError, *DAMAGED) as problem:
        raise unreadable(path, problem) from problem
    if pixels.array.shape != (header.height, header.width, 3):
        raise damaged(path, "its header gives another size")
    return pixels


def unreadable(path: Path, problem: Exception) -> FootageError:
    """Return the error for a photo that is not there, or that can't be decoded."""
    if isinstance(problem, FileNotFoundError):
        return FootageError(
            f"{path.name} can't be opened: {problem.strerror}.",
            "Check that the file is there and that you may read it.",
        )
    return damaged(path, reason(problem))


def damaged(path: Path, reason: str) -> DamagedPhoto:
    """Return the error that says why a photo can't be decoded."""
    return DamagedPhoto(
        f"{path.name} can't be decoded: {reason}.",
        "Copy or export this photo again, or remove it.",
    )


def to_8_bit(array: Pixels) -> NDArray[np.uint8]:
    """Return the nearest 8 bit values. 8 bit input is returned unchanged."""
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    out = np.empty(array.shape, dtype=np.uint8)
    for top in range(0, array.shape[0], _STRIPE_ROWS):
        rows = array[top : top + _STRIPE_ROWS].astype(np.uint32)
        out[top : top + _STRIPE_ROWS] = (rows + 128) // 257
    return out


def view_transform(linear: FloatPixels, exposure: float = 0.0) -> NDArray[np.uint16]:
    """Convert scene-linear values of any shape to 16 bit sRGB. Not-a-number becomes black.

    The transfer function is IEC 61966-2-1: 12.92 v up to 0.0031308, else 1.055 v^(1/2.4) - 0.055.
    """
    out = np.empty(linear.shape, dtype=np.uint16)
    gain = np.float32(2.0**exposure)
    for top in range(0, linear.shape[0], _STRIPE_ROWS):
        v = np.nan_to_num(linear[top : top + _STRIPE_ROWS] * gain, nan=0.0, posinf=1.0, neginf=0.0)
        v = np.clip(v, 0.0, 1.0)
        v = np.where(
            v <= 0.0031308, 12.92 * v, 1.055 * np.power(v, 1 / 2.4, dtype=np.float32) - 0.055
        )
        out[top : top + _STRIPE_ROWS] = np.rint(v * 65535.0).astype(np.uint16)
    return out


def reason(problem: BaseException) -> str:
    """Return a decoder's message as the end of a sentence."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")


def _decode_jpeg(path: Path, header: ImageHeader) -> ImagePixels:
    data = read_plain(path)
    cmyk = header.color == "cmyk"
    with Image.open(io.BytesIO(data)) as image:
        icc, exif = _icc(image), _exif(image)
        try:
            # Gives the same values as Pillow, three times as fast.
            array = decode_jpeg(data, "CMYK" if cmyk else "RGB", factor=8 if cmyk else 1)
        except UnusualJpeg:
            cmyk = True
        if cmyk:
            array = np.asarray(image.convert("RGB"))
    return _assemble(array, icc, exif)


def _decode_png_or_webp(path: Path, header: ImageHeader) -> ImagePixels:
    data, stamp = read_plain(path), stamp_of(path)
    if stamp not in _whole:
        if header.format == "png":
            require_whole_png(data)
        else:
            require_whole_webp(data)
        _whole.add(stamp)
    with Image.open(io.BytesIO(data)) as image:
        if header.bit_depth == 16:
            array = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
            if array is None or array.dtype != np.uint16:
                raise ValueError("its image data is damaged")
            return _assemble(_from_bgr(array), _icc(image), _exif(image) or _late_exif(path))
        image.load()
        has_alpha = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
        array = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
        return _assemble(array, _icc(image), _exif(image))


def _decode_tiff(path: Path, header: ImageHeader, exposure: float) -> ImagePixels:
    with open_plain(path) as file, tifffile.TiffFile(file, name=path.name) as tiff:
        page: Any = tiff.pages[0]
        stamp = stamp_of(path)
        if stamp not in _whole:
            require_whole_tiff(read_plain(path), page)
            _whole.add(stamp)
        profile = page.tags.get(34675)
        icc = None if profile is None else bytes(profile.value)
        orientation = page.tags.get(274)
        # OpenCV's own library decodes other compressions and colour models.
        direct = page.compression in _DIRECT_COMPRESSIONS and page.photometric in (1, 2)
        direct = direct and header.bit_depth >= 8
        if page.compression not in (*_DIRECT_COMPRESSIONS, *_OTHER_COMPRESSIONS):
            raise ValueError(_NOT_SUPPORTED)
        if (
            not direct
            and page.planarconfig == 2
            and page.samplesperpixel > 1
            and page.bitspersample > 8
        ):
            # OpenCV would take one plane as the whole picture, and fill the rest with random memory.
            raise ValueError("its channels are stored apart, export it with interleaved channels")
        if direct:
            array = page.asarray()
            if page.planarconfig == 2 and array.ndim == 3:
                array = np.moveaxis(array, 0, 2)
        else:
            array = _decode_upright(path, None if orientation is None else orientation.valueoffset)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        extra = tuple(page.extrasamples)
        inverted = page.photometric == 0 and header.bit_depth == 16  # OpenCV inverts 8 bit itself
    color, alpha = _apart(array, has_alpha=header.has_alpha)
    if color.dtype.kind == "f":
        color = color.astype(np.float32, copy=False)
    elif color.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{color.dtype} pixels are not supported, export it with 8 or 16 bits per channel"
        )
    if inverted:
        color = np.iinfo(color.dtype).max - color
    # For 8 bit, OpenCV uses libtiff's RGBA reader, which multiplies colours by any alpha.
    if alpha is not None and (1 in extra or (not direct and color.dtype == np.uint8)):
        color = _straight(color, alpha)
    if color.dtype.kind == "f":
        color, icc = view_transform(color, exposure), None
        if alpha is not None:
            alpha = np.rint(np.clip(np.nan_to_num(alpha), 0.0, 1.0) * 65535.0).astype(np.uint16)
    array = color if alpha is None else np.dstack([color, alpha])
    return _assemble(array, icc if _is_rgb(icc) else None, _tiff_exif(path))


def _apart(array: NDArray[Any], *, has_alpha: bool) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Split a picture into colours (H, W, 1 or 3) and alpha (H, W). Other channels are dropped."""
    if array.ndim == 2:
        array = array[:, :, None]
    colors = 3 if array.shape[2] >= 3 else 1
    more = has_alpha and array.shape[2] > colors
    return array[:, :, :colors], array[:, :, colors] if more else None


def _straight(color: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Divide colours by the alpha that they were multiplied by. They stay as stored where alpha is 0."""
    full = 1.0 if color.dtype.kind == "f" else float(np.iinfo(color.dtype).max)
    out = np.empty_like(color)
    for top in range(0, len(color), _STRIPE_ROWS):
        rows = slice(top, top + _STRIPE_ROWS)
        share = alpha[rows].astype(np.float32) / full
        share = np.where(share > 0, share, np.float32(1))[:, :, None]
        found = color[rows] / share
        if color.dtype.kind != "f":
            found = np.rint(np.clip(found, 0, full))
        out[rows] = found
    return out


def _decode_upright(path: Path, orientation_offset: int | None) -> NDArray[Any]:
    """Decode a TIFF with OpenCV. The orientation tag is set to 1, so that OpenCV does not turn pixels."""
    data = np.frombuffer(bytearray(read_plain(path)), dtype=np.uint8)
    if orientation_offset is not None:
        upright = (1, 0) if data[0] == ord("I") else (0, 1)
        data[orientation_offset : orientation_offset + 2] = upright
    array = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError(_NOT_SUPPORTED)
    return _from_bgr(array)


def _decode_exr(path: Path, exposure: float) -> ImagePixels:
    require_plain_file(path)  # the library opens it by its name
    with OpenEXR.File(str(path), separate_channels=True) as file:
        if not file.parts:  # the library only prints what it could not read
            raise ValueError("its image data is damaged or cut short")
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    colors = _exr_color_names(tuple(channels))
    if not colors:
        raise ValueError("it has no colour channels")
    linear = np.stack([channels[name].astype(np.float32) for name in colors], axis=2)
    opacity = channels.get(colors[0].rpartition(".")[0] + ".A" if "." in colors[0] else "A")
    if opacity is None:
        return _assemble(view_transform(linear, exposure), None, None)
    opacity = opacity.astype(np.float32)
    # EXR colour is multiplied by alpha. Where alpha is 0, straight colour is undefined, so the
    # stored colour stays.
    linear /= np.where(opacity > 0, opacity, np.float32(1.0))[:, :, None]
    alpha = np.rint(np.clip(np.nan_to_num(opacity), 0.0, 1.0) * 65535.0).astype(np.uint16)
    return _assemble(np.dstack([view_transform(linear, exposure), alpha]), None, None)


def _exr_color_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return R, G, B (or Y) of the top level, else of the first layer that has them."""
    layers = sorted({name.rpartition(".")[0] for name in names})
    for layer in layers:
        prefix = f"{layer}." if layer else ""
        for wanted in (("R", "G", "B"), ("Y",)):
            if all(prefix + name in names for name in wanted):
                return tuple(prefix + name for name in wanted)
    return ()


def _from_bgr(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 2:
        return array
    return cv2.cvtColor(array, cv2.COLOR_BGRA2RGBA if array.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _assemble(array: NDArray[Any], icc: bytes | None, exif: bytes | None) -> ImagePixels:
    """Split off alpha and widen grey to RGB. ``array`` is (H, W) or (H, W, 1 to 4)."""
    if array.ndim == 2:
        array = array[:, :, None]
    channels = array.shape[2]
    alpha = np.ascontiguousarray(array[:, :, -1]) if channels in (2, 4) else None
    color = np.repeat(array[:, :, :1], 3, axis=2) if channels < 3 else array[:, :, :3]
    return ImagePixels(np.ascontiguousarray(color), alpha, icc, exif)


def _is_rgb(icc: bytes | None) -> bool:
    # Bytes 16 to 19 of an ICC profile name the colour space of its pixels.
    return icc is not None and icc[16:20] == b"RGB "


def _icc(image: Image.Image) -> bytes | None:
    icc = image.info.get("icc_profile")
    return icc if isinstance(icc, bytes) and _is_rgb(icc) else None


def _exif(image: Image.Image) -> bytes | None:
    exif = image.info.get("exif")
    if not isinstance(exif, bytes):
        return None
    return exif.removeprefix(b"Exif\0\0") or None


def _late_exif(path: Path) -> bytes | None:
    """Find EXIF that stands after the pixels of a PNG. Pillow sees it only after reading the pixels."""
    with open_plain(path) as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"eXIf":
                return file.read(length) or None
            file.seek(length + 4, os.SEEK_CUR)
    return None


def _tiff_exif(path: Path) -> bytes | None:
    """Collect the tags of a TIFF that describe the photo. A TIFF keeps EXIF among its own tags."""
    try:
        with open_plain(path) as file, Image.open(file) as image:
            source = image.getexif()
            kept = Image.Exif()
            for tag in _TIFF_EXIF_TAGS:
                if tag in source:
                    kept[tag] = source.get_ifd(tag) if tag in (34665, 34853) else source[tag]
            return kept.tobytes().removeprefix(b"Exif\0\0") if len(kept) else None
    except UnidentifiedImageError:
        return None  # Pillow has no mode for these pixels, but tifffile has read them
