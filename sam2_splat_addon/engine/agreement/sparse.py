# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sparse points of a capture say of depth: what stands before a place, and how far a click goes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...core.cameras.find import PhotoCameras
from .aim import Floats

_NEAR: Final = 0.015  # of the photo's long side: points so near to a pixel tell its depth
_BEFORE: Final = 0.9  # of the distance: what is nearer stands before it
_SURE: Final = 3  # points that must stand before a place, so that it counts as hidden


def shown_points(cameras: PhotoCameras, frame: int) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Return the sparse points of a photo: their pixels, their distances, and their places in the cloud.

    If nothing says which points a photo shows, all that lie in it count.
    """
    view = cameras.by_frame[frame]
    known = cameras.shown.get(frame)
    numbers = np.arange(len(cameras.points)) if known is None else np.asarray(known, np.intp)
    pixels, far = view.project(cameras.points[numbers])
    inside = view.inside(pixels)
    return pixels[inside], far[inside], numbers[inside]


def unhidden(cameras: PhotoCameras, frame: int, places: Floats) -> NDArray[np.bool_]:
    """Return which places no sparse point hides on a photo, (n,). They need not lie in the photo."""
    view = cameras.by_frame[frame]
    pixels, far = view.project(places)
    seen, depths, _ = shown_points(cameras, frame)
    found = np.ones(len(places), bool)
    if frame not in cameras.shown or not len(seen):
        return found  # a cloud without tracks also has what is behind
    near = _NEAR * max(view.width, view.height)
    for at, (pixel, distance) in enumerate(zip(pixels, far, strict=True)):
        if not np.isfinite(pixel).all():
            continue
        beside = np.hypot(*(seen - pixel).T) < near
        found[at] = int((depths[beside] < _BEFORE * distance).sum()) < _SURE
    return found
