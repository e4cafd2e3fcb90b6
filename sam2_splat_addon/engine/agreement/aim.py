# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the subject is in space, and how each photo sees it from there.

Each camera is aimed anew: a plain pinhole camera at the same place looks straight at the subject, and the
subject fills its picture. The mask is looked up once for each pixel of that picture, whatever lens took the
photo. After that, one product of matrices takes any point of space to its pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.cameras.find import PhotoCamera

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]

UNSEEN: Final = 255
"""Value of a pixel outside of the photo in an aimed mask. The others are 0 to `FULL`."""
FULL: Final = 254

_WIDEST: Final = math.radians(
    60
)  # half of the widest aimed picture, for cameras inside of the sphere
_ROUNDS: Final = 20
_SHARP: Final = 1.0  # probability is the sigmoid of this many times the logits
_TABLE_STEP: Final = 8  # px of an aimed picture between places that are projected exactly


@dataclass(frozen=True, eq=False)
class Mask:
    """The mask of a photo, with its camera.

    Attributes
    ----------
    frame
        The frame number.
    logits
        (h, w) on the grid of the matte, stretched over the photo; inside is > 0.
    trust
        0 to 1: how much its vote counts at first. 0 for a photo without a mask of the subject.
    fixed
        Whether the user has drawn or clicked this photo, so that its trust stays.
    clicks
        (x, y) of the include clicks, px of the photo.
    """

    frame: int
    camera: PhotoCamera
    logits: NDArray[np.floating[Any]]
    trust: float = 1.0
    fixed: bool = False
    clicks: tuple[tuple[float, float], ...] = ()

    def middle(self) -> Floats | None:
        """Return the mean pixel of the mask in px of the photo, (2,); None for an empty mask."""
        rows, columns = np.nonzero(self.logits > 0)
        if not len(rows):
            return None
        height, width = self.logits.shape
        found: Floats = np.array(
            [
                (columns.mean() + 0.5) * self.camera.width / width,
                (rows.mean() + 0.5) * self.camera.height / height,
            ]
        )
        return found


def meeting_point(origins: Floats, directions: Floats) -> tuple[Floats, Floats]:
    """Return the point that is nearest to most lines, and each line's distance to it.

    Lines that miss the point by far count little, and one behind its origin counts nothing.

    Parameters
    ----------
    origins, directions
        (n, 3) each; the directions have length 1.

    Returns
    -------
    point : NDArray
        (3,).
    distances : NDArray
        (n,).
    """
    weights = np.ones(len(origins))
    point = origins.mean(axis=0)
    distances = np.zeros(len(origins))
    for _ in range(_ROUNDS):
        across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
        matrix = (weights[:, None, None] * across).sum(axis=0)
        wanted = (weights[:, None] * np.einsum("nij,nj->ni", across, origins)).sum(axis=0)
        point = np.linalg.lstsq(matrix, wanted, rcond=1e-9)[0]
        off = point - origins
        along = (off * directions).sum(axis=1)
        distances = np.linalg.norm(off - along[:, None] * directions, axis=1)
        # As an angle: a far camera may miss by more.
        angle = distances / np.maximum(np.linalg.norm(off, axis=1), 1e-12)
        usual = max(float(np.median(angle)), 1e-4)
        weights = 1.0 / (1.0 + (angle / (2 * usual)) ** 2)
        weights[along <= 0] = 1e-6
    return point, distances


def axes_meet(cameras: Sequence[PhotoCamera]) -> Floats:
    """Return where the optical axes meet, (3,)."""
    origins = np.array([camera.position for camera in cameras])
    return meeting_point(origins, np.array([camera.axis for camera in cameras]))[0]


def masks_meet(masks: Sequence[Mask]) -> Floats | None:
    """Return where the middles of the masks meet, (3,); None if fewer than two photos have a mask."""
    origins, directions = [], []
    for mask in masks:
        middle = mask.middle()
        if middle is None or mask.trust <= 0:
            continue
        ray = mask.camera.rays(middle[None])[0]
        if np.isfinite(ray).all():
            origins.append(mask.camera.position)
            directions.append(ray)
    if len(origins) < 2:
        return None
    return meeting_point(np.array(origins), np.array(directions))[0]


@dataclass(frozen=True, eq=False)
class Aimed:
    """A camera that looks at the subject.

    Attributes
    ----------
    size
        Width and height of its picture, px.
    matrix
        (3, 4) float32: takes a point (x, y, z, 1), seen from the ball's centre, to (u w, v w, w), with
        pixel (u, v).
    place
        Where the camera is, (3,).
    focal
        Focal length, px.
    table
        (size, size, 2) float32: pixel of the photo for each pixel; NaN where the photo has none.
    """

    camera: PhotoCamera
    size: int
    matrix: Floats32
    place: Floats
    focal: float
    table: Floats32

    def aimed(self, logits: NDArray[np.floating[Any]]) -> Bytes:
        """Return the mask as this camera sees it, (size, size): 0 to `FULL`, or `UNSEEN`."""
        rows, columns = logits.shape
        x = self.table[..., 0] * (columns / self.camera.width) - 0.5
        y = self.table[..., 1] * (rows / self.camera.height) - 0.5
        seen = np.isfinite(x)
        x, y = np.nan_to_num(x, nan=-10.0), np.nan_to_num(y, nan=-10.0)
        small = np.ascontiguousarray(logits, dtype=np.float32)
        values = _looked_at(small, x, y, cv2.BORDER_REPLICATE)
        with np.errstate(over="ignore"):
            share = 1.0 / (1.0 + np.exp(-_SHARP * values))
        found: Bytes = np.rint(share * FULL).astype(np.uint8)
        found[~seen] = UNSEEN
        return found

    def on_photo(self, picture: NDArray[np.float32], columns: int, rows: int) -> Floats32:
        """Return a picture of this camera on a grid over the photo, (rows, columns); else 0."""
        x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
        pixels = np.stack(
            [x.ravel() * (self.camera.width / columns), y.ravel() * (self.camera.height / rows)], -1
        )
        rays = self.camera.rays(pixels)
        ahead = rays @ self.matrix[:, :3].astype(np.float64).T
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = ahead[:, 0] / ahead[:, 2] - 0.5, ahead[:, 1] / ahead[:, 2] - 0.5
        lost = ~(np.isfinite(u) & np.isfinite(v) & (ahead[:, 2] > 0))
        u[lost], v[lost] = -10.0, -10.0
        x, y = (one.reshape(rows, columns).clip(-1e4, 1e4) for one in (u, v))
        return _looked_at(picture, x, y, cv2.BORDER_CONSTANT)


def _looked_at(
    picture: NDArray[np.float32], x: NDArray[Any], y: NDArray[Any], border: int
) -> Floats32:
    """Return the picture's values at places, bilinear; outside 0, or those of its border."""
    across, down = x.astype(np.float32), y.astype(np.float32)
    found: Floats32 = np.asarray(
        cv2.remap(picture, across, down, cv2.INTER_LINEAR, borderMode=border),
        dtype=np.float32,
    )
    return found


def aim(camera: PhotoCamera, centre: Floats, radius: float, size: int) -> Aimed:
    """Aim a camera at a ball, which then fills its picture of ``size`` x ``size`` px."""
    away = centre - camera.position
    distance = float(np.linalg.norm(away))
    half = _WIDEST if distance <= radius else min(math.asin(radius / distance), _WIDEST)
    ahead = away / distance if distance > 1e-9 * radius else camera.axis
    down = camera.camera.rotation[1]
    right = np.cross(down, ahead)
    if np.linalg.norm(right) < 1e-3:  # it looks along its own vertical
        right = np.cross(camera.camera.rotation[2], ahead)
    right = right / np.linalg.norm(right)
    turn = np.stack([right, np.cross(ahead, right), ahead])
    focal = size / 2 / math.tan(half)
    inner = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    matrix = inner @ np.concatenate([turn, (turn @ away)[:, None]], axis=1)
    return Aimed(
        camera,
        size,
        matrix.astype(np.float32),
        np.asarray(camera.position),
        focal,
        _table(camera, turn, focal, size),
    )


def _table(camera: PhotoCamera, turn: Floats, focal: float, size: int) -> Floats32:
    """Return the photo's pixel of each pixel: exact on a coarse grid, and between it interpolated."""
    steps = max(2, math.ceil(size / _TABLE_STEP) + 1)
    at = np.linspace(0.5, size - 0.5, steps)
    u, v = np.meshgrid(at, at)
    rays = np.stack([(u - size / 2) / focal, (v - size / 2) / focal, np.ones_like(u)], -1) @ turn
    pixels, _ = camera.project(camera.position + rays.reshape(-1, 3))
    coarse = pixels.reshape(steps, steps, 2).astype(np.float32)
    places = (np.arange(size, dtype=np.float32) * ((steps - 1) / max(size - 1, 1))).astype(
        np.float32
    )
    map_x, map_y = np.meshgrid(places, places)
    table: Floats32 = np.stack(
        [
            cv2.remap(np.ascontiguousarray(coarse[..., axis]), map_x, map_y, cv2.INTER_LINEAR)
            for axis in (0, 1)
        ],
        axis=-1,
    )
    x, y = table[..., 0], table[..., 1]
    with np.errstate(invalid="ignore"):
        inside = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
    table[~inside] = np.nan
    return table
