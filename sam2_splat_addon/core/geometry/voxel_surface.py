# SPDX-License-Identifier: GPL-3.0-or-later
"""The surface of voxels, as squares, and which points lie in them."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# The four corners of each side of a cube, seen from outside against the clock, and the way outwards.
_SIDES: Final = (
    ((1, 0, 0), ((1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1))),
    ((-1, 0, 0), ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0))),
    ((0, 1, 0), ((0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 0))),
    ((0, -1, 0), ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1))),
    ((0, 0, 1), ((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1))),
    ((0, 0, -1), ((0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0))),
)


class VoxelGrid:
    """Voxels of several sizes, brought to one size.

    Parameters
    ----------
    centres
        (n, 3).
    sizes
        (n,): length of each voxel's side.
    across
        Most cells across the longest side.
    """

    def __init__(self, centres: NDArray[Any], sizes: NDArray[Any], across: int = 96) -> None:
        places, half = np.asarray(centres, np.float64), np.asarray(sizes, np.float64)[:, None] / 2
        self.low = (places - half).min(axis=0) if len(places) else np.zeros(3)
        high = (places + half).max(axis=0) if len(places) else np.ones(3)
        longest = float((high - self.low).max())
        finest = float(half.min()) * 2 if len(places) else longest
        self.cell = max(finest, longest / across)
        shape = np.maximum(np.ceil((high - self.low) / self.cell - 1e-6), 1).astype(int)
        self._filled = np.zeros(shape, bool)
        for size in np.unique(half):
            some = places[half[:, 0] == size]
            steps = max(1, math.ceil(2 * size / self.cell - 1e-6))
            inner = ((np.arange(steps) + 0.5) / steps * 2 - 1) * size
            for x in inner:
                for y in inner:
                    for z in inner:
                        self._fill(some + np.array([x, y, z]))

    def _fill(self, points: Floats) -> None:
        at = self._cells(points)
        self._filled[at[:, 0], at[:, 1], at[:, 2]] = True

    def _cells(self, points: Floats) -> NDArray[np.intp]:
        at = np.floor((points - self.low) / self.cell).astype(np.intp)
        found: NDArray[np.intp] = at.clip(0, np.array(self._filled.shape) - 1)
        return found

    def holds(self, points: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which points lie in a cell, (n,)."""
        at = np.floor((np.asarray(points, np.float64) - self.low) / self.cell)
        inside = np.isfinite(at).all(axis=1) & (at >= 0).all(axis=1)
        inside &= (at < self._filled.shape).all(axis=1)
        cells = at[inside].astype(np.intp)
        inside[inside] = self._filled[cells[:, 0], cells[:, 1], cells[:, 2]]
        found: NDArray[np.bool_] = inside
        return found

    def surface(self) -> tuple[Floats, NDArray[np.int32]]:
        """Return the corners, (n, 3), and the squares between them, (m, 4), seen from outside."""
        padded = np.pad(self._filled, 1)
        corners, squares = [], 0
        for way, side in _SIDES:
            beside = np.roll(padded, [-step for step in way], axis=(0, 1, 2))
            cells = np.argwhere(padded & ~beside) - 1
            corners.append((cells[:, None] + np.array(side)).reshape(-1, 3))
            squares += len(cells)
        every = np.concatenate(corners) if squares else np.zeros((0, 3), int)
        unique, places = np.unique(every, axis=0, return_inverse=True)
        quads = places.reshape(-1, 4).astype(np.int32)
        return self.low + unique * self.cell, quads
