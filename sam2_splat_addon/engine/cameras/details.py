# SPDX-License-Identifier: GPL-3.0-or-later
"""Find details in a photo that can be found again in others: SIFT, on a small upright copy."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pycolmap
from numpy.typing import NDArray
from PIL import Image

from ...core.geometry.orientation import turned_size
from ...core.settings import RawSource
from ..images.raw import read_header
from ..images.reduced import small_upright

SIDE: Final = 1600
"""px: the longer side of the copies."""

MOST: Final = 4096
"""The most details of a photo. The largest ones are kept."""

_GUESSED: Final = (
    1.2  # longer sides: the focal length if the photo does not tell it, as COLMAP has it
)
_FILM: Final = math.hypot(36.0, 24.0)  # mm
_MM: Final = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # EXIF's units of resolution
_LIKELY: Final = (0.3, 12.0)  # longer sides: focal lengths that are believed

_EXIF, _FOCAL, _FOCAL_35, _PER_UNIT, _UNIT, _PIXELS = 34665, 37386, 41989, 41486, 41488, 40962

_own = threading.local()


@dataclass(frozen=True, eq=False)
class Details:
    """What is known of a photo, in px of its small upright copy (`scale_of`).

    Attributes
    ----------
    width, height
        Size of the copy, rounded.
    centre
        Its exact middle.
    places
        (n, 4) float32: x, y, size and angle, the largest details first.
    descriptors
        (n, 128) uint8.
    focal
        The focal length.
    is_told
        Whether the photo itself tells it.
    """

    width: int
    height: int
    centre: tuple[float, float]
    places: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    focal: float
    is_told: bool

    def only(self, kept: NDArray[np.bool_]) -> Details:
        """Return some of the details. ``kept`` is (n,)."""
        return replace(
            self,
            places=np.ascontiguousarray(self.places[kept]),
            descriptors=np.ascontiguousarray(self.descriptors[kept]),
        )


def scale_of(width: int, height: int) -> float:
    """Return how large the copy of an upright photo is: 1 is the photo's own size."""
    return min(1.0, SIDE / max(width, height))


def details_of(photo: Path, raw: RawSource = "developed") -> Details:
    """Find the details of a photo; raises FootageError if it is missing or damaged."""
    picture, exif = small_upright(photo, SIDE, raw)
    height, width = picture.shape[:2]
    grey = np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    found, descriptors = _extractor().extract_from_uint8_array(grey)
    places = pycolmap.keypoints_to_matrix(found).reshape(-1, 4)
    order = np.argsort(-places[:, 2], kind="stable")[:MOST]
    places = np.ascontiguousarray(places[order], dtype=np.float32)
    header = read_header(photo)
    whole = turned_size(header.width, header.height, header.orientation)
    scale = scale_of(*whole)
    exact = (whole[0] * scale, whole[1] * scale)  # a picture has whole pixels, the copy need not
    places[:, 0] *= exact[0] / width
    places[:, 1] *= exact[1] / height
    focal = _told_focal(exif, max(exact), math.hypot(*exact))
    return Details(
        width,
        height,
        (exact[0] / 2, exact[1] / 2),
        places,
        np.ascontiguousarray(descriptors.data.reshape(-1, 128)[order]),
        focal or _GUESSED * max(exact),
        focal is not None,
    )


def _extractor() -> Any:
    """Return this thread's extractor: one is for one thread."""
    if not hasattr(_own, "extractor"):
        options = pycolmap.FeatureExtractionOptions()
        options.use_gpu = False
        options.num_threads = 1
        options.sift.max_num_features = 2 * MOST
        _own.extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
    return _own.extractor


def _told_focal(exif: bytes | None, longer: float, diagonal: float) -> float | None:
    """Return the focal length that the photo tells, px of a copy; None if it tells none."""
    told = Image.Exif()
    try:
        told.load(exif or b"")
        tags = told.get_ifd(_EXIF)
        film = float(tags.get(_FOCAL_35) or 0)
        millimetres = float(tags.get(_FOCAL) or 0)
        per_mm = float(tags.get(_PER_UNIT) or 0) / _MM.get(int(tags.get(_UNIT) or 2), 25.4)
        pixels = float(tags.get(_PIXELS) or 0)
    except Exception:  # noqa: BLE001 - Pillow has no list of what damaged tags raise; the photo is fine
        return None
    focal = 0.0
    if film > 0:
        focal = film / _FILM * diagonal
    elif millimetres > 0 and per_mm > 0 and pixels > 0:
        focal = millimetres * per_mm * longer / max(pixels, float(tags.get(_PIXELS + 1) or 0))
    low, high = _LIKELY
    return focal if low * longer < focal < high * longer else None
