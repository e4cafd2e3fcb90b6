# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera's way around the subject, and projection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from .mesh import Array

SENSOR_MM = 36.0  # along the longer side of the picture


@dataclass(frozen=True)
class Pose:
    """Where the camera stands and how it looks.

    Attributes
    ----------
    position
        Shape (3,), metres.
    axes
        Shape (3, 3); the columns are the camera's right, up and backward directions.
    lens
        Focal length in millimetres for a sensor whose longer side is 36 mm.
    size
        Width and height of the picture in px.
    """

    position: Array
    axes: Array
    lens: float
    size: tuple[int, int]

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return px positions, shape (N, 2), and depths, shape (N,), of points of shape (N, 3).

        Positions count from the picture's top left corner, so the first pixel's centre is
        (0.5, 0.5). Depths are metres along the view.
        """
        local = (points - self.position) @ self.axes  # (N, 3)
        depth = np.maximum(-local[:, 2], 1e-6)
        focal = self.lens / SENSOR_MM * max(self.size)  # px
        x = self.size[0] / 2 + focal * local[:, 0] / depth
        y = self.size[1] / 2 - focal * local[:, 1] / depth
        return np.stack([x, y], axis=1), depth


def look_at(position: Array, target: Array, roll: float) -> Array:
    """Return the camera's axes (see `Pose`) when it looks from `position` to `target`."""
    back = position - target
    back = back / np.linalg.norm(back)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    c, s = math.cos(roll), math.sin(roll)
    return np.stack([c * right + s * up, -s * right + c * up, back], axis=1)


class Drift:
    """A smooth random curve over the frames: three sines, about -1 to 1."""

    def __init__(self, rng: Random) -> None:
        self._waves = [
            (rng.uniform(0.25, 0.5), rng.uniform(0.4, 3.5), rng.uniform(0, 2 * math.pi))
            for _ in range(3)
        ]

    def __call__(self, progress: float) -> float:
        """Return the value at `progress` through the capture, 0 to 1."""
        return sum(a * math.sin(2 * math.pi * f * progress + p) for a, f, p in self._waves)


def plan_orbit(
    rng: Random, points: Array, size: tuple[int, int], frames: int, sweep: float
) -> list[Pose]:
    """Return one pose for each frame of an orbit about the z axis.

    Parameters
    ----------
    points
        Shape (N, 3), the subject's vertices; the picture is framed on them.
    size
        Width and height in px.
    sweep
        The whole angle of the orbit in radians; its sign is the direction.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2
    lens = rng.uniform(26.0, 55.0)
    start = rng.uniform(-math.pi, math.pi) if abs(sweep) < 6 else rng.uniform(-2.3, -0.8)
    elevation = math.radians(rng.uniform(12, 34))
    rise = math.radians(rng.uniform(3, 12))
    fill = rng.uniform(0.42, 0.68)
    height_drift, distance_drift, roll_drift = Drift(rng), Drift(rng), Drift(rng)
    aim_x, aim_y, step_drift = Drift(rng), Drift(rng), Drift(rng)
    jitter = [(rng.gauss(0, 1), rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(frames)]
    unit = float(np.linalg.norm(high - low))

    def pose(index: int, distance: float) -> Pose:
        progress = index / max(frames, 1)
        gait = jitter[index]
        azimuth = start + sweep * (progress + 0.12 / frames * (step_drift(progress) + gait[0]))
        tilt = max(elevation + rise * height_drift(progress) + 0.008 * gait[1], math.radians(5))
        away = distance * (1 + 0.09 * distance_drift(progress) + 0.01 * gait[2])
        direction = np.array(
            [math.cos(tilt) * math.cos(azimuth), math.cos(tilt) * math.sin(azimuth), math.sin(tilt)]
        )
        side = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
        aim = 0.045 * unit * aim_x(progress) * side
        aim = aim + np.array([0.0, 0.0, 0.045 * unit * aim_y(progress)])
        position = centre + direction * away
        position[2] = max(position[2], 0.18)
        roll = math.radians(1.6) * roll_drift(progress)
        return Pose(position, look_at(position, centre + aim, roll), lens, size)

    def filling(distance: float) -> float:
        shares = []
        for index in range(0, frames, max(1, frames // 6)):
            px, _ = pose(index, distance).project(points)
            extent = px.max(axis=0) - px.min(axis=0)
            shares.append(max(extent[1] / size[1], extent[0] / size[0] * 0.8))
        return float(np.mean(shares))

    near, far = unit * 0.6, unit * 40
    for _ in range(30):
        middle = math.sqrt(near * far)
        near, far = (middle, far) if filling(middle) > fill else (near, middle)
    return [pose(index, near) for index in range(frames)]
