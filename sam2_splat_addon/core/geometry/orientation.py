# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn pictures, points and boxes upright, and back to the order in which a file stores them.

An orientation is a number from 1 to 8, as in EXIF 2.32 (tag 274). It says how the stored pixels must
be turned or mirrored so that the photo is upright. Points are pixel-edge coordinates, as in
`coordinates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""

_Scalar = TypeVar("_Scalar", bound=np.generic)

AS_STORED: Final = 1
"""The orientation of a photo that is stored upright."""

# See `turning`.
_STEPS: Final = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
_BACK: Final = {6: 8, 8: 6}


def turning(orientation: int) -> tuple[bool, bool, bool]:
    """Return whether x and y change places, and whether x and y then count from the other side."""
    return _STEPS[orientation]


def back(orientation: int) -> int:
    """Return the orientation that undoes this one."""
    return _BACK.get(orientation, orientation)


def turned_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return the width and height of a picture after it is turned."""
    return (height, width) if _STEPS[orientation][0] else (width, height)


def turned(picture: NDArray[_Scalar], orientation: int) -> NDArray[_Scalar]:
    """Turn a picture, (h, w) or (h, w, channels), as its orientation says. No value changes.

    The result is a view of the same memory. `turned(picture, back(orientation))` brings an upright
    picture back to its stored order.
    """
    swap, flip_x, flip_y = _STEPS[orientation]
    out: NDArray[Any] = picture.swapaxes(0, 1) if swap else picture
    out = out[:, ::-1] if flip_x else out
    return out[::-1] if flip_y else out


def turned_points(points: Points, width: float, height: float, orientation: int) -> Points:
    """Turn points, (n, 2), of a picture that has this size before it is turned."""
    swap, flip_x, flip_y = _STEPS[orientation]
    out = np.array(points[:, ::-1] if swap else points, dtype=np.float64)
    across, down = (height, width) if swap else (width, height)
    if flip_x:
        out[:, 0] = across - out[:, 0]
    if flip_y:
        out[:, 1] = down - out[:, 1]
    return out


def turned_box(box: Sequence[float], width: float, height: float, orientation: int) -> Box:
    """Turn a box of a picture that has this size before it is turned."""
    corners = turned_points(
        np.array(box, dtype=np.float64).reshape(2, 2), width, height, orientation
    )
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left, top, right, bottom


@dataclass(frozen=True)
class PhotoShape:
    """The size of a photo as its file stores it, and how it is turned upright.

    Attributes
    ----------
    width, height
        Size of the photo, stored px.
    orientation
        1 to 8, as in EXIF.
    """

    width: int
    height: int
    orientation: int = AS_STORED

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the upright photo at its own scale, px."""
        return turned_size(self.width, self.height, self.orientation)

    def mask_to_upright(self, mask: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Turn a mask of the stored photo, (h, w) of any size, upright. The result is a view."""
        return turned(mask, self.orientation)

    def mask_to_stored(self, mask: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Turn a mask of the upright photo, (h, w) of any size, back to stored order."""
        return turned(mask, back(self.orientation))

    def points_to_upright(self, points: Points) -> Points:
        """Turn points, (n, 2) stored px, upright."""
        return turned_points(points, self.width, self.height, self.orientation)

    def points_to_stored(self, points: Points) -> Points:
        """Turn points, (n, 2) px of the upright photo, back to stored order."""
        return turned_points(points, *self.upright, back(self.orientation))

    def box_to_upright(self, box: Sequence[float]) -> Box:
        """Turn a box (left, top, right, bottom) in stored px upright."""
        return turned_box(box, self.width, self.height, self.orientation)
