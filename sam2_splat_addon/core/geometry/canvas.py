# SPDX-License-Identifier: GPL-3.0-or-later
"""Paint on a mask: strokes of a round brush on pixels, and the outlines of what is painted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rasterize import fill
from .trace import Contour, trace_pixels

Points = NDArray[np.float64]

# The longest side of a whole photo's canvas, px. Larger ones take too long after each stroke.
_MOST_SIDE = 4096
# Most px of the canvas for one px of the photo. They make the edges of small photos smooth.
_MOST_SCALE = 4.0
# The least radius of a brush, px of the canvas. Thinner strokes would fall apart.
_LEAST_RADIUS = 1.0


@dataclass(frozen=True, eq=False)
class Canvas:
    """A mask of a photo, or of a part of it, as pixels to paint on.

    Attributes
    ----------
    pixels
        (h, w) bool. True is inside the mask.
    part
        Left, top, right and bottom of the canvas, px of the photo.
    """

    pixels: NDArray[np.bool_]
    part: tuple[int, int, int, int]

    @classmethod
    def of(
        cls, outlines: Iterable[Points], part: tuple[int, int, int, int], scale: float
    ) -> Canvas:
        """Fill a mask's outlines, (n, 2) px of the photo each. ``scale`` is canvas px per photo px."""
        left, top, right, bottom = part
        width = max(1, round((right - left) * scale))
        height = max(1, round((bottom - top) * scale))
        factor = (width / (right - left), height / (bottom - top))
        moved = ((points - (left, top)) * factor for points in outlines)
        return cls(fill(moved, width, height), part)

    @classmethod
    def of_photo(cls, outlines: Iterable[Points], width: int, height: int) -> Canvas:
        """Fill a mask's outlines on a canvas of the whole photo."""
        return cls.of(outlines, (0, 0, width, height), photo_scale(width, height))

    @property
    def scale(self) -> tuple[float, float]:
        """Px of the canvas for one px of the photo, across and down."""
        height, width = self.pixels.shape
        left, top, right, bottom = self.part
        return width / (right - left), height / (bottom - top)

    def paint(
        self, begin: tuple[float, float], end: tuple[float, float], radius: float, *, inside: bool
    ) -> None:
        """Paint or erase along a straight line with a round brush. All are in px of the photo."""
        across, down = self.scale
        left, top = self.part[:2]
        x0, x1 = (begin[0] - left) * across, (end[0] - left) * across
        y0, y1 = (begin[1] - top) * down, (end[1] - top) * down
        reach = max(radius * math.sqrt(across * down), _LEAST_RADIUS)
        height, width = self.pixels.shape
        first = min(max(math.floor(min(y0, y1) - reach), 0), height)
        last = min(max(math.ceil(max(y0, y1) + reach), 0), height)
        low, high = _rows_of_stroke(np.arange(first, last) + 0.5, (x0, y0), (x1, y1), reach)
        starts = np.ceil(np.clip(low - 0.5, 0, width)).astype(int).tolist()
        stops = np.ceil(np.clip(high - 0.5, 0, width)).astype(int).tolist()
        for row, start, stop in zip(range(first, last), starts, stops, strict=True):
            self.pixels[row, start:stop] = inside

    def contours(self) -> list[Contour]:
        """Trace what is inside. The outlines are in px of the photo, largest first."""
        rows = np.flatnonzero(self.pixels.any(axis=1))
        if not len(rows):
            return []
        columns = np.flatnonzero(self.pixels.any(axis=0))
        top, bottom = rows[0], rows[-1] + 1
        left, right = columns[0], columns[-1] + 1
        found = trace_pixels(self.pixels[top:bottom, left:right])
        factor = np.array(self.scale)
        begin = np.array(self.part[:2]) + np.array([left, top]) / factor
        area = float(factor.prod())
        return [
            Contour(one.points / factor + begin, one.is_hole, one.area / area, one.parent)
            for one in found
        ]


def photo_scale(width: int, height: int) -> float:
    """Return the px of a whole photo's canvas for one px of the photo."""
    return min(_MOST_SCALE, _MOST_SIDE / max(width, height))


def _rows_of_stroke(
    y: Points, begin: tuple[float, float], end: tuple[float, float], radius: float
) -> tuple[Points, Points]:
    """Return where the rows at ``y`` enter and leave a line with round ends, (n,) each.

    A row that does not meet it has a leave before its enter.
    """
    low, high = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for x_middle, y_middle in (begin, end):
        half = np.sqrt(np.maximum(radius**2 - (y - y_middle) ** 2, 0.0))
        meets = np.abs(y - y_middle) < radius
        low = np.where(meets, np.minimum(low, x_middle - half), low)
        high = np.where(meets, np.maximum(high, x_middle + half), high)
    along = (end[0] - begin[0], end[1] - begin[1])
    length = math.hypot(*along)
    if length > 0.0:
        aside = (-along[1] / length * radius, along[0] / length * radius)
        corners = [
            (place[0] + turn * aside[0], place[1] + turn * aside[1])
            for turn, place in ((1, begin), (1, end), (-1, end), (-1, begin))
        ]
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            if y0 == y1:
                continue
            share = (y - y0) / (y1 - y0)
            meets = (share >= 0.0) & (share <= 1.0)
            x = x0 + share * (x1 - x0)
            low = np.where(meets, np.minimum(low, x), low)
            high = np.where(meets, np.maximum(high, x), high)
    return low, np.maximum(high, np.where(np.isinf(low), -np.inf, low))
