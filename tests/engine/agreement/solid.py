# SPDX-License-Identifier: GPL-3.0-or-later
"""A solid thing with thin legs, the cameras round it, and its true masks."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.cameras.capture import Camera
from sam2_splat_addon.core.cameras.find import PhotoCamera
from sam2_splat_addon.core.cameras.lens import Lens
from sam2_splat_addon.engine.agreement.aim import Mask

WIDTH, HEIGHT = 320, 240
CENTRE = np.array([4.0, -3.0, 2.0])  # the subject is nowhere near the origin
PINHOLE = Lens("PINHOLE", WIDTH, HEIGHT, (300.0, 300.0, 160.0, 120.0))
FISHEYE = Lens(
    "OPENCV_FISHEYE", WIDTH, HEIGHT, (220.0, 220.0, 158.0, 122.0, -0.02, 0.003, 0.0, 0.0)
)


def stool_points(thin: float = 0.02) -> NDArray[np.float64]:
    """Return points all over a stool: a seat on three thin legs, about 1 high."""
    rng = np.random.default_rng(0)
    seat = rng.uniform(-1, 1, (60000, 3)) * [0.45, 0.45, 0.06] + [0, 0, 0.45]
    seat = seat[np.hypot(seat[:, 0], seat[:, 1]) < 0.45]
    legs = []
    for angle in (0.3, 2.4, 4.5):
        along = rng.uniform(0, 1, (6000, 1))
        foot = np.array([0.42 * math.cos(angle), 0.42 * math.sin(angle), -0.5])
        top = np.array([0.2 * math.cos(angle), 0.2 * math.sin(angle), 0.42])
        legs.append(top + along * (foot - top) + rng.uniform(-thin, thin, (6000, 3)))
    return np.concatenate([seat, *legs]) + CENTRE


POINTS = stool_points()


def cameras(count: int = 24, lens: Lens = PINHOLE, far: float = 2.2) -> list[PhotoCamera]:
    """Return cameras in two rings round the stool, each a little off its middle."""
    found = []
    for at in range(count):
        angle, up = 2 * math.pi * at / count, (0.25, 0.7)[at % 2]
        ahead = -np.array(
            [math.cos(angle) * math.cos(up), math.sin(angle) * math.cos(up), math.sin(up)]
        )
        place = CENTRE - far * ahead
        ahead = ahead + 0.03 * np.array([math.sin(3 * at), math.cos(5 * at), 0])
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        turn = np.stack([right, np.cross(ahead, right), ahead])
        camera = Camera.at(f"{at:04d}.jpg", lens, turn, place)
        found.append(PhotoCamera(camera, np.eye(2, 3), WIDTH, HEIGHT))
    return found


def truth(camera: PhotoCamera, points: NDArray[np.float64] = POINTS) -> NDArray[np.bool_]:
    """Return the stool's mask on a photo, (height, width)."""
    pixels, _ = camera.project(points)
    pixels = pixels[camera.inside(pixels)].astype(np.int64)
    drawn = np.zeros((camera.height, camera.width), np.uint8)
    drawn[pixels[:, 1], pixels[:, 0]] = 1
    return cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0


def logits_of(mask: NDArray[np.bool_], side: int = 160) -> NDArray[np.float16]:
    """Return logits on the grid of a matte."""
    inside = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return ((inside - 0.5) * 16).astype(np.float16)


def masks_of(
    views: list[PhotoCamera], wrong: dict[int, NDArray[np.bool_]] | None = None
) -> list[Mask]:
    """Return the true masks of all photos, but for those given by frame."""
    found = []
    for frame, view in enumerate(views, 1):
        inside = (wrong or {}).get(frame)
        inside = truth(view) if inside is None else inside
        found.append(Mask(frame, view, logits_of(inside), 1.0 if inside.any() else 0.0))
    return found


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0
