# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a clip shows a photo: the map between shown pixels and the photo's stored pixels.

A clip shows all its photos in frames of one size. Each photo is turned upright. If it then has
another size than the frame, it is shown as large as fits, in the middle, with bars beside it.

Shown pixels are pixel-edge coordinates of the frame, as in `coordinates`. Prompts, mattes in a store
and baked images are of stored pixels. This is the only place that knows both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .orientation import AS_STORED, Box, PhotoShape, Points

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class ShownPhoto:
    """How a clip shows one photo.

    Attributes
    ----------
    photo
        The photo as its file stores it, and how the clip turns it.
    frame
        Width and height of the clip's frames, shown px.

    Examples
    --------
    >>> shown = ShownPhoto(PhotoShape(400, 300, 6), (300, 400))
    >>> shown.points_to_shown(np.array([[10.0, 20.0]])).tolist()
    [[280.0, 10.0]]
    >>> shown.points_to_stored(np.array([[280.0, 10.0]])).tolist()
    [[10.0, 20.0]]
    """

    photo: PhotoShape
    frame: tuple[int, int]

    @property
    def is_as_stored(self) -> bool:
        """Whether shown pixels are stored pixels."""
        return self.photo.orientation == AS_STORED and self._fills

    @cached_property
    def part(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the photo in the frame, shown px."""
        (width, height), (across, down) = self.photo.upright, self.frame
        scale = min(across / width, down / height)
        columns = min(across, max(1, round(width * scale)))
        rows = min(down, max(1, round(height * scale)))
        left, top = (across - columns) // 2, (down - rows) // 2
        return left, top, left + columns, top + rows

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Shown px for one px of the upright photo, across and down. Equal but for rounding."""
        left, top, right, bottom = self.part
        return (right - left) / self.photo.upright[0], (bottom - top) / self.photo.upright[1]

    def points_to_shown(self, points: Points) -> Points:
        """Convert points, (n, 2), from stored to shown pixels."""
        upright = self.photo.points_to_upright(points)
        return upright if self._fills else upright * self.scale + self.part[:2]

    def points_to_stored(self, points: Points) -> Points:
        """Convert points, (n, 2), from shown to stored pixels. Those on a bar lie outside the photo."""
        upright = points if self._fills else (points - self.part[:2]) / self.scale
        return self.photo.points_to_stored(upright)

    def point_to_shown(self, x: float, y: float) -> tuple[float, float]:
        """Convert one point from stored to shown pixels."""
        x, y = self.points_to_shown(np.array([[x, y]]))[0].tolist()
        return x, y

    def point_to_stored(self, x: float, y: float) -> tuple[float, float]:
        """Convert one point from shown to stored pixels."""
        x, y = self.points_to_stored(np.array([[x, y]]))[0].tolist()
        return x, y

    def box_to_shown(self, box: Sequence[float]) -> Box:
        """Convert a box (left, top, right, bottom) from stored to shown pixels."""
        return _around(self.points_to_shown(np.array(box, dtype=np.float64).reshape(2, 2)))

    def box_to_stored(self, box: Sequence[float]) -> Box:
        """Convert a box (left, top, right, bottom) from shown to stored pixels."""
        return _around(self.points_to_stored(np.array(box, dtype=np.float64).reshape(2, 2)))

    def mask_to_shown(self, mask: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Turn a mask of the stored photo, (h, w) of any size, so that it covers `part` of the frame."""
        return self.photo.mask_to_upright(mask)

    def mask_to_stored(self, mask: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Turn a mask that covers `part` of the frame, (h, w) of any size, back to stored order."""
        return self.photo.mask_to_stored(mask)

    @property
    def _fills(self) -> bool:
        return self.photo.upright == self.frame


def _around(corners: Points) -> Box:
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left, top, right, bottom
