# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes that a mask layer's splines enclose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.geometry.coordinates import mask_to_pixels
from ...core.geometry.trace import from_outlines
from .keys import SplineState

# Blender draws every curve between two points as this many straight pieces.
_CUBIC_STEPS = 24


def outlines(state: Sequence[SplineState], size: tuple[int, int]) -> list[NDArray[np.float64]]:
    """Return what splines enclose on a picture of a size in px.

    Returns
    -------
    list of (n, 2) arrays
        Closed outlines in px. As seen on screen, outer ones go counter-clockwise, and holes (outlines
        inside an odd number of others) go clockwise. Curves are sampled as Blender draws them. Open
        splines and splines outside the picture are ignored.
    """
    closed = [mask_to_pixels(polygon(spline), *size) for spline in state if spline.cyclic]
    seen = [outline for outline in closed if _touches_picture(outline, size)]
    return [contour.points for contour in from_outlines(seen)]


def polygon(spline: SplineState) -> NDArray[np.float64]:
    """Convert a closed spline to straight pieces, (n, 2) in mask space."""
    begin = spline.co.astype(np.float64)
    if np.array_equal(spline.co, spline.left) and np.array_equal(spline.co, spline.right):
        return begin
    leave = spline.right.astype(np.float64)
    end = np.roll(begin, -1, axis=0)
    arrive = np.roll(spline.left.astype(np.float64), -1, axis=0)
    straight = ((leave == begin) & (arrive == end)).all(axis=1)
    u = (np.arange(_CUBIC_STEPS) / _CUBIC_STEPS)[None, :, None]
    curve: NDArray[np.float64] = (
        (1 - u) ** 3 * begin[:, None]
        + 3 * u * (1 - u) ** 2 * leave[:, None]
        + 3 * u**2 * (1 - u) * arrive[:, None]
        + u**3 * end[:, None]
    )  # (n, steps, 2)
    wanted = np.ones(curve.shape[:2], dtype=bool)
    wanted[straight, 1:] = False
    kept: NDArray[np.float64] = curve[wanted]
    return kept


def _touches_picture(outline: NDArray[np.float64], size: tuple[int, int]) -> bool:
    return bool((outline.max(axis=0) > 0).all() and (outline.min(axis=0) < size).all())
