# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode a photo at its full depth.

Pixels keep their stored order: EXIF orientation is told and not applied. Values of 8
and 16 bit files are the decoder's own. Floating-point files are scene-linear and go through one
view transform: times 2^exposure, clipped to 0..1, sRGB transfer function (IEC 61966-2-1), 16 bit.

A photo decodes whole or not at all. Some decoders hide damage; `jpeg` and `soundness` find it. What
`core/footage/headers.py` reads can be decoded here: other kinds are refused when photos are loaded.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from ...core.errors import DamagedPhoto, FootageError
from ...core.footage.exr_header import read_exr
from ...core.footage.file_stamps import Stamp, stamp_of
from ...core.footage.headers import ImageHeader
from ...core.footage.heif_header import read_heif
from ...core.footage.tiff_header import read_tiff
from ...core.footage.tiff_tags import Malformed
from ...core.geometry.orientation import AS_STORED
from ...core.settings import RawSource
from ...core.system.safe_read import open_plain, read_plain
from . import metadata
from .colors import Pixels, rgb_of_pillow, scaled
from .exr import decode_exr
from .heic import decode_heic
from .jpeg import UnusualJpeg, decode_jpeg
from .jxl import decode_jxl
from .metadata import Metadata
from .orientation_tag import exif_of_turned, xmp_of_turned
from .raw import decode_raw, read_header
from .soundness import require_whole_png, require_whole_webp
from .tiff import decode_tiff, picture_first
from .upright import upright

# We limit the size in our own header check. A long editing history or a profile is no attack.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 1 << 26

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

# What decoders say about damage, in words that help nobody.
_OF_LIBRARIES = ("decoder error", "broken data stream", "unrecognized data", "failed to", "OpenCV")

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
    xmp
        An XMP packet, or None.
    chunks
        Chunks of a PNG that say what its colours mean, as (kind, data).
    orientation
        How the photo is turned upright, 1 to 8 as in EXIF.
    """

    array: Pixels
    alpha: Pixels | None
    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    orientation: int = AS_STORED

    @property
    def upright(self) -> Pixels:
        """The colours of the upright photo, in row order."""
        return upright(self.array, self.orientation)

    def turned(self) -> ImagePixels:
        """Return the same photo with upright pixels. Its tags don't turn it any more."""
        if self.orientation == AS_STORED:
            return self
        return replace(
            self,
            array=self.upright,
            alpha=None if self.alpha is None else upright(self.alpha, self.orientation),
            exif=exif_of_turned(self.exif, self.orientation),
            xmp=xmp_of_turned(self.xmp),
            orientation=AS_STORED,
        )


def decode(path: Path, *, exposure: float = 0.0, raw: RawSource = "developed") -> ImagePixels:
    """Decode a photo at its full depth.

    Parameters
    ----------
    path
        JPEG, PNG, TIFF, WebP, AVIF, HEIC, JPEG XL, camera RAW or EXR file.
    exposure
        Stops added to floating-point files before the view transform. Other files are not changed.
    raw
        What is taken from a camera RAW.

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
            pixels = _decode_tiff(path, exposure)
        elif header.format == "jpeg":
            pixels = _decode_jpeg(path, header)
        elif header.format == "avif":
            pixels = _decode_avif(path)
        elif header.format == "heic":
            pixels = _assemble(*decode_heic(read_plain(path)))
        elif header.format == "jxl":
            pixels = _assemble(*decode_jxl(read_plain(path)))
        elif header.format == "raw":
            pixels = _assemble(*decode_raw(path, raw))
        elif header.format == "png":
            pixels = _decode_png(path, header)
        else:
            pixels = _decode_webp(path)
    except Malformed as problem:  # the file has changed since its header was read
        raise damaged(path, str(problem)) from None
    except (FileNotFoundError, *DAMAGED) as problem:
        raise unreadable(path, problem) from problem
    if pixels.array.shape != (header.height, header.width, 3):
        raise damaged(path, "its header gives another size")
    return replace(pixels, orientation=header.orientation)


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


def reason(problem: BaseException) -> str:
    """Return a decoder's message as the end of a sentence."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    if str(problem).startswith(_OF_LIBRARIES):
        return "its image data is damaged or cut short"
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")


def _decode_jpeg(path: Path, header: ImageHeader) -> ImagePixels:
    data = read_plain(path)
    said = metadata.of_jpeg(data)
    try:
        if header.color != "cmyk":
            # Gives the same values as Pillow, three times as fast.
            return _assemble(decode_jpeg(data), None, said)
        decode_jpeg(data, "CMYK", factor=8)  # Pillow would not tell whether it is whole
    except UnusualJpeg:
        pass
    with Image.open(io.BytesIO(data)) as image:
        return _assemble(rgb_of_pillow(image, said.icc), None, said)


def _decode_png(path: Path, header: ImageHeader) -> ImagePixels:
    data, stamp = read_plain(path), stamp_of(path)
    if stamp not in _whole:
        require_whole_png(data)
        _whole.add(stamp)
    chunks = dict(metadata.png_chunks(data))
    key = chunks.get(b"tRNS", b"") if header.color != "palette" else b""
    # Decoders would take part of an animation, or apply a gamma. Only the picture is left.
    plain = _png_of(data, (b"IHDR", b"PLTE", b"IDAT", b"IEND", *((b"tRNS",) if not key else ())))
    if header.bit_depth == 16:
        found = cv2.imdecode(np.frombuffer(plain, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None or found.dtype != np.uint16:
            raise ValueError("its image data is damaged")
        if found.ndim == 3:
            swap = cv2.COLOR_BGRA2RGBA if found.shape[2] == 4 else cv2.COLOR_BGR2RGB
            found = cv2.cvtColor(found, swap)
    else:
        with Image.open(io.BytesIO(plain)) as image:
            image.load()
            mode = {"grey": "L", "palette": "RGB"}.get(header.color, "RGB")
            if header.has_alpha and not key:
                mode = "RGBA" if header.color != "grey" else "LA"
            found = np.asarray(image.convert(mode))
    found = found[:, :, None] if found.ndim == 2 else found
    alpha: NDArray[Any] | None = None
    if key:
        values = struct.unpack(f">{len(key) // 2}H", key)[: found.shape[2]]
        clear = scaled(np.array(values), header.bit_depth)
        full = 65535 if header.bit_depth == 16 else 255
        alpha = np.where(np.all(found == clear, axis=2), 0, full).astype(clear.dtype)
    elif found.shape[2] in (2, 4):
        found, alpha = found[:, :, :-1], found[:, :, -1]
    return _assemble(found, alpha, metadata.of_png(data))


def _png_of(data: bytes, kinds: tuple[bytes, ...]) -> bytes:
    """Return a PNG of these kinds of chunks alone."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in kinds:
            parts.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(parts)


def _decode_webp(path: Path) -> ImagePixels:
    data, stamp = read_plain(path), stamp_of(path)
    if stamp not in _whole:
        require_whole_webp(data)
        _whole.add(stamp)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        found = np.asarray(image.convert("RGBA" if image.mode == "RGBA" else "RGB"))
    alpha = found[:, :, 3] if found.shape[2] == 4 else None
    return _assemble(found[:, :, :3], alpha, metadata.of_webp(data))


def _decode_avif(path: Path) -> ImagePixels:
    data = read_plain(path)
    header = read_heif(io.BytesIO(data))
    with Image.open(io.BytesIO(data), formats=["AVIF"]) as image:
        image.load()
        found = np.asarray(image.convert("RGBA" if header.has_alpha else "RGB"))
        said = metadata.of_heif(
            {str(k): v for k, v in image.info.items()}, header.color, header.orientation
        )
    alpha = found[:, :, 3] if header.has_alpha else None
    return _assemble(found[:, :, :3], alpha, said)


def _decode_tiff(path: Path, exposure: float) -> ImagePixels:
    data, stamp = read_plain(path), stamp_of(path)
    header = read_tiff(io.BytesIO(data))
    picture = picture_first(data, header.directory)
    said = metadata.of_tiff(picture, data)
    color, alpha = decode_tiff(picture, header, said.icc, exposure, is_whole=stamp in _whole)
    _whole.add(stamp)
    if header.is_float:
        said = Metadata(None, said.exif, said.xmp)
    return _assemble(color, alpha, said)


def _decode_exr(path: Path, exposure: float) -> ImagePixels:
    with open_plain(path) as file:
        header = read_exr(file)
    return _assemble(*decode_exr(path, header, exposure))


def _assemble(color: NDArray[Any], alpha: NDArray[Any] | None, said: Metadata) -> ImagePixels:
    """Widen grey to RGB. ``color`` is (H, W) or (H, W, 1 or 3)."""
    color = color[:, :, None] if color.ndim == 2 else color
    rgb = np.repeat(color, 3, axis=2) if color.shape[2] == 1 else color
    return ImagePixels(
        np.ascontiguousarray(rgb),
        None if alpha is None else np.ascontiguousarray(alpha),
        said.icc if _is_rgb(said.icc) else None,
        said.exif,
        said.xmp,
        said.chunks,
    )


def _is_rgb(icc: bytes | None) -> bool:
    # Bytes 16 to 19 of an ICC profile name the colour space of its pixels.
    return icc is not None and icc[16:20] == b"RGB "
