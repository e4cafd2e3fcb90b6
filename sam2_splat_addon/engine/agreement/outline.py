# SPDX-License-Identifier: GPL-3.0-or-later
"""How the hull looks on each photo, and how far the photo's mask agrees with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.cameras.find import PhotoCamera
from ...core.geometry.resample import upsample_binary
from .aim import Floats32, Mask, aim
from .hull import DOUBTFUL, Hull, Stop, never, splat

Bools = NDArray[np.bool_]

LONG_SIDE: Final = 384
"""Longest side of the grid on which masks and hull are compared, px."""

_MOST: Final = 0.98
_LIMITS: Final = (0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.94, 0.97)


def grid_of(width: int, height: int, long_side: int = LONG_SIDE) -> tuple[int, int]:
    """Return columns and rows of the grid over a photo."""
    scale = min(1.0, long_side / max(width, height))
    return max(round(width * scale), 1), max(round(height * scale), 1)


class Outlines:
    """The hull on the photos.

    Parameters
    ----------
    hull
        The hull.
    masks
        The masks that made it, and others with a camera.
    go_on
        Called between photos; may raise to stop.
    """

    def __init__(self, hull: Hull, masks: Sequence[Mask], go_on: Stop = never) -> None:
        self.hull = hull
        self._size = max(8, round(2 * hull.radius / hull.voxel))
        self._shares: dict[int, Floats32] = {}
        self._inside: dict[int, Bools] = {}
        for mask in masks:
            columns, rows = grid_of(mask.camera.width, mask.camera.height)
            self._shares[mask.frame] = self.shares(mask.camera, columns, rows)
            self._inside[mask.frame] = upsample_binary(mask.logits, columns, rows)
            go_on()
        self.limit = self._best_limit()

    def shares(self, camera: PhotoCamera, columns: int, rows: int) -> Floats32:
        """Return the greatest share of any voxel behind each place of a photo, (rows, columns)."""
        aimed = aim(camera, self.hull.centre, self.hull.radius, self._size)
        drawn = splat(aimed, self.hull.centres, self.hull.sizes, self.hull.shares)
        # Voxels at the finest size leave single pixels open where they are seen from near.
        whole = cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        return aimed.on_photo(whole.astype(np.float32), columns, rows)

    def _best_limit(self) -> float:
        """Return the share at which the hull fits the trusted masks best.

        It depends on how many masks are wrong, and how often something stands before the subject.
        """
        scores = []
        for limit in _LIMITS:
            found = [
                trust * overlap(self._shares[frame] >= limit, self._inside[frame])
                for frame, trust in self.hull.trust.items()
                if frame in self._shares and trust > 0
            ]
            scores.append(sum(found))
        return _LIMITS[int(np.argmax(scores))]

    def frames(self) -> list[int]:
        """Return the frames that are compared."""
        return sorted(self._shares)

    def shape(self, frame: int, stricter: float = 0.0) -> Bools:
        """Return where the hull is on a photo's grid; a negative ``stricter`` asks for a smaller share."""
        return self._shares[frame] >= min(max(self.limit + stricter, DOUBTFUL), _MOST)

    def depth(self, camera: PhotoCamera) -> Floats32:
        """Return the distance of the hull's surface on a photo's grid, (rows, columns); 0 for none."""
        hull = self.hull
        held = hull.shares >= self.limit
        place = (camera.position - hull.centre).astype(np.float32)
        away = np.linalg.norm(hull.centres[held] - place, axis=1)
        near = (1.0 / np.maximum(away, 1e-9)).astype(np.float32)
        aimed = aim(camera, hull.centre, hull.radius, self._size)
        drawn = splat(aimed, hull.centres[held], hull.sizes[held], near)
        whole = cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        found = aimed.on_photo(whole.astype(np.float32), *grid_of(camera.width, camera.height))
        return np.divide(1.0, found, out=np.zeros_like(found), where=found > 0).astype(np.float32)

    def inside(self, frame: int) -> Bools:
        """Return the photo's mask on the same grid."""
        return self._inside[frame]


def overlap(one: Bools, other: Bools) -> float:
    """Return the IoU of two masks. Two empty masks agree."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def deep_places(area: Bools, count: int) -> list[tuple[int, int]]:
    """Return places (row, column) deep inside an area, and far from each other; fewer in a small area."""
    depth = np.asarray(
        cv2.distanceTransform(np.pad(area, 1).astype(np.uint8), cv2.DIST_L2, 3), dtype=np.float64
    )[1:-1, 1:-1]
    rows, columns = np.nonzero(depth > 1)
    worth = depth[rows, columns]
    found: list[tuple[int, int]] = []
    for _ in range(count):
        if not len(worth) or worth.max() <= 0:
            break
        row, column = int(rows[worth.argmax()]), int(columns[worth.argmax()])
        found.append((row, column))
        # The next place is deep and far from the earlier ones.
        worth = worth * np.minimum(np.hypot(rows - row, columns - column) / max(area.shape), 1.0)
    return found
