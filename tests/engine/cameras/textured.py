# SPDX-License-Identifier: GPL-3.0-or-later
"""A small capture in an instant: a box with patterns on a patterned ground, with true cameras and masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2_splat_addon.core.cameras.capture import Camera
from sam2_splat_addon.core.cameras.find import PhotoCamera, PhotoCameras
from sam2_splat_addon.core.cameras.lens import Floats, Lens
from tools.research.bench.evaluation.camera_errors import errors

WIDTH, HEIGHT = 320, 240
LENS = Lens("PINHOLE", WIDTH, HEIGHT, (340.0, 340.0, WIDTH / 2, HEIGHT / 2))
_SIDE = 512  # px of a pattern
_BOX = 0.8  # half of its side
_GROUND = 2.9
_AWAY, _HIGH = 4.3, 2.4


@dataclass(frozen=True, eq=False)
class Textured:
    """A folder of photos, its cameras, and where the box is on each photo, (height, width)."""

    folder: Path
    cameras: tuple[Camera, ...]
    masks: tuple[NDArray[np.bool_], ...]


def pattern(seed: int) -> NDArray[np.uint8]:
    """Return noise of all sizes in colours, (512, 512, 3)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((_SIDE, _SIDE, 3), np.float32)
    for cells in (4, 8, 16, 32, 64):
        noise = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        total += np.asarray(cv2.resize(noise, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC))
    return np.asarray(np.clip(128 + 60 * total, 0, 255), np.uint8)


def camera_at(angle: float, name: str) -> Camera:
    """Return a camera that looks at the box from an angle."""
    away = np.array([_AWAY * math.cos(angle), _AWAY * math.sin(angle), _HIGH])
    ahead = np.array([0.0, 0.0, 0.3]) - away
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return Camera.at(name, LENS, np.stack([right, np.cross(ahead, right), ahead]), away)


def _faces() -> list[Floats]:
    """Return the corners of the box's faces, four each, seen from outside, and the top."""
    b, top = _BOX, 2 * _BOX
    around = [(b, -b), (b, b), (-b, b), (-b, -b)]
    sides = []
    for at in range(4):
        (x0, y0), (x1, y1) = around[at], around[(at + 1) % 4]
        sides.append(np.array([[x0, y0, 0], [x1, y1, 0], [x1, y1, top], [x0, y0, top]], float))
    return [*sides, np.array([[x, y, top] for x, y in around], float)]


def _draw(
    picture: NDArray[np.uint8], camera: Camera, corners: Floats, seed: int
) -> NDArray[np.bool_]:
    """Draw a face, and return where it is."""
    pixels = camera.lens.project(camera.seen_from(corners)).astype(np.float32)
    flat = np.array([[0, 0], [_SIDE, 0], [_SIDE, _SIDE], [0, _SIDE]], np.float32)
    warp = cv2.getPerspectiveTransform(flat, pixels)
    drawn = cv2.warpPerspective(pattern(seed), warp, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
    full = np.full((_SIDE, _SIDE), 255, np.uint8)
    inside = np.asarray(cv2.warpPerspective(full, warp, (WIDTH, HEIGHT))) > 127
    picture[inside] = np.asarray(drawn)[inside]
    return inside


def make(
    folder: Path,
    count: int = 8,
    sweep: float = math.radians(115),
    *,
    turning: bool = False,
    seed: int = 0,
) -> Textured:
    """Write the photos.

    Parameters
    ----------
    turning
        Whether the box turns before a camera that stands still. The cameras are then those of the box.
    seed
        Another number gives other patterns.
    """
    folder.mkdir(parents=True)
    b = _GROUND
    ground = np.array([[b, -b, 0], [b, b, 0], [-b, b, 0], [-b, -b, 0]], float)
    cameras, masks = [], []
    for at in range(count):
        camera = camera_at(sweep * at / count, f"IMG {at:03d}.jpg")
        picture = np.full((HEIGHT, WIDTH, 3), (150, 170, 200), np.uint8)
        _draw(picture, camera_at(0.0, "") if turning else camera, ground, seed + 50)
        mask = np.zeros((HEIGHT, WIDTH), bool)
        for number, corners in enumerate(_faces()):
            normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
            if normal @ (camera.position - corners[0]) > 0:
                mask |= _draw(picture, camera, corners, seed + number)
        Image.fromarray(picture).save(folder / camera.name, quality=92)
        cameras.append(camera)
        masks.append(mask)
    return Textured(folder, tuple(cameras), tuple(masks))


def differences(found: PhotoCameras, cameras: Sequence[Camera]) -> tuple[float, float]:
    """Return the largest distance of found cameras, in shares of the ring, and angle, degrees."""
    as_stored = np.eye(2, 3)
    true = {
        at: PhotoCamera(camera, as_stored, WIDTH, HEIGHT)
        for at, camera in enumerate(cameras, start=1)
    }
    off = errors(found.by_frame, true)
    return float(off.far.max()), float(off.angles.max())
