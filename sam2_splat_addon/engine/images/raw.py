# SPDX-License-Identifier: GPL-3.0-or-later
"""Read camera RAW photos with LibRaw: their headers, and their pixels, developed in one fixed way.

- 16 bit, sRGB primaries and sRGB's transfer function (IEC 61966-2-1).
- The camera's white balance, or daylight if the file has none.
- No change of brightness, also none that depends on the photo: equal light gives equal values in all
  photos. Highlights are clipped.
- AHD demosaicing. No noise reduction, no sharpening, no correction of the lens.
- The area that the camera's own JPEG shows, if the file says it.

Or, if that is wanted, the camera's own JPEG inside. It must have the size of that area: only then clicks
and masks lie on the same pixels. A photo without such a JPEG is developed.
"""

from __future__ import annotations

import functools
import io
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import rawpy
from numpy.typing import NDArray

from ...core.errors import DamagedPhoto, FootageError
from ...core.footage import headers
from ...core.footage.file_stamps import Stamp, stamp_of
from ...core.footage.headers import ImageHeader
from ...core.footage.raw_photos import RawPhoto, unusable
from ...core.settings import RawSource
from ...core.system.safe_read import read_plain
from . import metadata
from .jpeg import UnusualJpeg, decode_jpeg
from .metadata import Metadata

_DAMAGED: Final = "its image data is damaged or cut short"
_UNKNOWN: Final = "this kind of camera RAW is not known, or it is damaged"
# EXIF orientation, by LibRaw's own number: 1 mirrors left to right, 2 top to bottom, 4 swaps both.
_ORIENTATIONS: Final = {0: 1, 1: 2, 3: 3, 2: 4, 4: 5, 6: 6, 7: 7, 5: 8}
_SMALLEST_AREA: Final = 0.5  # of a side: smaller areas are not believed


def read_header(path: Path) -> ImageHeader:
    """Read the header of any photo, as `core.footage.headers.read_header`, also of a RAW photo."""
    return headers.read_header(path, looked_at)


def looked_at(path: Path) -> RawPhoto:
    """Return what LibRaw says about a RAW photo. Raises DamagedPhoto, ValueError and OSError."""
    return _known(path, stamp_of(path))


@functools.lru_cache(maxsize=4096)
def _known(path: Path, stamp: Stamp) -> RawPhoto:
    with _opened(path, read_plain(path)) as raw:
        _, _, width, height = _area(path, raw.sizes)
        return RawPhoto(width, height, _ORIENTATIONS.get(raw.sizes.flip, 1))


def look_at(path: Path) -> RawPhoto:
    """Return what a RAW photo is, or why it can't be used.

    Its data is unpacked too: only then LibRaw tells of some kinds that it does not know them.

    Raises
    ------
    FootageError
        It is gone.
    """
    try:
        read_header(path)
        with _opened(path, read_plain(path)) as raw:
            _unpack(path, raw)
    except DamagedPhoto as problem:
        # The error names the file once more when it is shown.
        return RawPhoto(problem=problem.message.partition(": ")[2].rstrip("."))
    except ValueError as problem:
        return RawPhoto(problem=str(problem))
    except OSError as problem:
        raise FootageError(
            f"{path.name} can't be opened: {problem.strerror or problem}.", "Load the photos again."
        ) from problem
    return looked_at(path)


def decode_raw(path: Path, source: RawSource = "developed") -> tuple[NDArray[Any], None, Metadata]:
    """Develop a RAW photo, or take the camera's own JPEG of it.

    Returns
    -------
    tuple
        Colours (H, W, 1 or 3) in the order of the sensor, uint16, or uint8 from a JPEG; no alpha; and
        what the file says beside its pixels.

    Raises
    ------
    DamagedPhoto
        LibRaw does not know this kind.
    ValueError
        It is damaged.
    """
    data = read_plain(path)
    with _opened(path, data) as raw:
        left, top, width, height = _area(path, raw.sizes)
        orientation = _ORIENTATIONS.get(raw.sizes.flip, 1)
        preview = _preview(raw)
        said = metadata.of_raw(data, preview, orientation)
        if source == "camera":
            found = _camera_picture(preview, (width, height))
            if found is not None:
                return found, None, replace(said, icc=metadata.of_jpeg(preview).icc)
        _unpack(path, raw)
        try:
            found = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                adjust_maximum_thr=0.0,  # else the brightest pixel of a photo would change all
                highlight_mode=rawpy.HighlightMode.Clip,
                demosaic_algorithm=rawpy.DemosaicAlgorithm.AHD,
                output_color=rawpy.ColorSpace.sRGB,
                gamma=(2.4, 12.92),
                output_bps=16,
                user_flip=0,
            )
        except (rawpy.LibRawError, rawpy.NotSupportedError) as problem:
            raise ValueError(_DAMAGED) from problem
    return found[top : top + height, left : left + width], None, said


def _opened(path: Path, data: bytes) -> rawpy.RawPy:
    raw = rawpy.RawPy()
    try:
        raw.open_buffer(io.BytesIO(data))
    except rawpy.LibRawFileUnsupportedError as problem:
        raise unusable(path, _UNKNOWN) from problem
    except rawpy.LibRawError as problem:
        raise ValueError(_DAMAGED) from problem
    return raw


def _unpack(path: Path, raw: rawpy.RawPy) -> None:
    try:
        raw.unpack()
    except (rawpy.LibRawFatalError, rawpy.LibRawUnspecifiedError) as problem:
        raise ValueError(_DAMAGED) from problem
    except (rawpy.LibRawError, rawpy.NotSupportedError) as problem:
        raise unusable(path, _UNKNOWN) from problem


def _area(path: Path, sizes: Any) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the picture in what LibRaw develops, px."""
    if not 0.999 < sizes.pixel_aspect < 1.001:
        raise unusable(path, "its pixels are not square")
    left, top = sizes.crop_left_margin - sizes.left_margin, sizes.crop_top_margin - sizes.top_margin
    width, height = sizes.crop_width, sizes.crop_height
    is_inside = (
        0 <= left <= sizes.width - width
        and 0 <= top <= sizes.height - height
        and width >= _SMALLEST_AREA * sizes.width
        and height >= _SMALLEST_AREA * sizes.height
    )
    return (left, top, width, height) if is_inside else (0, 0, sizes.width, sizes.height)


def _camera_picture(preview: bytes, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Decode the JPEG inside, if it has the photo's size and is whole."""
    try:
        found = decode_jpeg(preview) if preview else None
    except (UnusualJpeg, ValueError):
        return None
    return found if found is not None and found.shape[1::-1] == size else None


def _preview(raw: rawpy.RawPy) -> bytes:
    """Return the largest JPEG inside; nothing without one."""
    try:
        thumb = raw.extract_thumb()
    except (rawpy.LibRawError, rawpy.NotSupportedError):
        return b""
    return thumb.data if isinstance(thumb.data, bytes) else b""
