# SPDX-License-Identifier: GPL-3.0-or-later
"""The fast renderer: a scene as depth buffers with simple light.

Its pictures are for training and for a quick check of a scene. A frame takes a fraction of a
second, where Cycles needs many seconds. Geometry and looks are those of the Cycles renderer. Soft
light is only similar.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from . import raster, shading
from .geometry import Geometry, Triangles, draw
from .mesh import Array, rotation
from .orbit import SENSOR_MM
from .scene import Sky
from .stage import Stage

FloatImage = npt.NDArray[np.float32]
_DOME_DIRECTIONS = 14
_DOME_SIDE = 256  # px
_SUN_SIDE = 1024  # px


class QuickRenderer:
    """Render frames of one stage, with `oversampling` squared samples for each pixel."""

    def __init__(self, stage: Stage, oversampling: int = 2) -> None:
        self._stage = stage
        self._oversampling = oversampling
        self._geometry = Geometry(stage)
        low, high = stage.subject.bounds()
        self._reach = 2.2 * float(np.linalg.norm(high - low))
        self._dome_axes = np.stack([_light_axes(d) for d in _dome(_DOME_DIRECTIONS)])
        self._sky = _sky_rows(stage.weather.sky)

    def render(self, index: int) -> FloatImage:
        """Return a frame's linear RGB, shape (H, W, 3)."""
        scene = self._geometry.at(index)
        state, _ = self._stage.weather.at(self._stage.progress(index))
        pose = self._stage.poses[index]
        depth, owner = draw(scene, pose, self._oversampling)
        focal = pose.lens / SENSOR_MM * max(depth.shape)
        shadows = scene.casting_shadow()
        sun_axes = _light_axes(state.to_sun)
        sun_map = self._light_map(scene, shadows, sun_axes, _SUN_SIDE)
        domes = np.stack(
            [self._light_map(scene, shadows, axes, _DOME_SIDE) for axes in self._dome_axes]
        )
        blur = max(0.7, math.tan(state.softness) * 0.35 * _SUN_SIDE / (2 * self._reach))
        lit = np.empty((*depth.shape, 3))
        shading.shade_view(
            depth,
            owner,
            focal,
            pose.position,
            pose.axes,
            scene.points,
            scene.normals,
            scene.triangles,
            scene.smooth,
            scene.item_of,
            scene.finish_of,
            scene.items,
            scene.finishes,
            self._sky * state.sky,
            np.array(state.sun),
            state.to_sun,
            sun_axes,
            sun_map,
            blur,
            self._dome_axes,
            domes,
            self._reach,
            self._oversampling,
            lit,
        )
        return self._gather(lit)

    def _light_map(
        self, scene: Triangles, shadows: npt.NDArray[np.int32], axes: Array, side: int
    ) -> Array:
        depth = np.full((side, side), -1e9)
        owner = np.empty((side, side), dtype=np.int32)
        raster.draw_light_map(scene.points, shadows, axes, self._reach, depth, owner)
        return depth

    def _gather(self, fine: Array) -> FloatImage:
        """Return the mean of each pixel's samples."""
        k = self._oversampling
        height, width = fine.shape[0] // k, fine.shape[1] // k
        clipped = np.minimum(fine, 4.0)  # one highlight must not fill its whole pixel
        return clipped.reshape(height, k, width, k, -1).mean(axis=(1, 3)).astype(np.float32)


def _dome(count: int) -> Array:
    """Return directions spread evenly over the upper half sphere, shape (count, 3)."""
    k = np.arange(count)
    z = (k + 0.5) / count
    turn = 2.39996 * k
    ring = np.sqrt(1 - z * z)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)


def _light_axes(towards: Array) -> Array:
    """Return rows across, up and towards a light, shape (3, 3)."""
    towards = towards / np.linalg.norm(towards)
    across = np.cross([0.0, 0.0, 1.0], towards)
    if np.linalg.norm(across) < 1e-6:
        return rotation("z", 0.0)
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(towards, across), towards])


def _sky_rows(sky: Sky) -> Array:
    return np.array([sky.zenith, sky.horizon, sky.below])
