# SPDX-License-Identifier: GPL-3.0-or-later
"""The quick renderer: a scene as depth buffers and simple light; numpy, numba and no bpy.

Its pictures are for training and for looking a scene over: a frame takes a fraction of a second
where Cycles needs many. Geometry, coverage and looks are those of the Cycles renderer; soft
light is only near to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import raster
from .finishes import Finish
from .identity import CHANNELS, GROUND, channel
from .mesh import Array, rotation
from .scene import Development, Item, Sky
from .stage import Stage

FloatImage = npt.NDArray[np.float32]
_DOME_DIRECTIONS = 14
_DOME_SIDE = 256  # px
_SUN_SIDE = 1024  # px


@dataclass(frozen=True)
class _Triangles:
    """Items as triangles; see `raster.shade_view` for the shapes."""

    points: Array
    triangles: npt.NDArray[np.int32]
    normals: Array
    smooth: npt.NDArray[np.bool_]
    item_of: npt.NDArray[np.int32]
    finish_of: npt.NDArray[np.int32]
    items: Array
    finishes: Array
    instances: npt.NDArray[np.uint8]  # (I,)

    def casting_shadow(self) -> npt.NDArray[np.int32]:
        """Return the triangles, shape (S, 3), of everything but the ground."""
        return self.triangles[self.instances[self.item_of] != GROUND]


class QuickRenderer:
    """Renders frames of one stage, with `oversampling` squared looks per pixel."""

    def __init__(self, stage: Stage, oversampling: int = 2) -> None:
        self._stage = stage
        self._oversampling = oversampling
        self._static = _triangulate(stage.items)
        low, high = stage.subject.bounds()
        self._reach = 2.2 * float(np.linalg.norm(high - low))
        self._dome_axes = np.stack([_light_axes(d) for d in _dome(_DOME_DIRECTIONS)])
        self._sky_base = _sky_rows(stage.weather.sky)

    def render(self, index: int) -> tuple[FloatImage, FloatImage, Development]:
        """Return linear RGB (H, W, 3), coverage (H, W, 9) and the development of a frame."""
        stage = self._stage
        occluder = stage.occluder(index)
        scene = self._static if occluder is None else _triangulate([*stage.items, occluder])
        state, development = stage.weather.at(stage.progress(index))
        pose = stage.poses[index]
        width, height = (side * self._oversampling for side in pose.size)
        focal = pose.lens / 36.0 * max(width, height)
        depth = np.zeros((height, width))
        owner = np.full((height, width), -1, dtype=np.int32)
        local = (scene.points - pose.position) @ pose.axes
        raster.draw_view(local, scene.triangles, focal, depth, owner)
        shadows = scene.casting_shadow()
        sun_axes = _light_axes(state.to_sun)
        sun_map = self._light_map(scene, shadows, sun_axes, _SUN_SIDE)
        domes = np.stack(
            [self._light_map(scene, shadows, axes, _DOME_SIDE) for axes in self._dome_axes]
        )
        blur = max(0.7, math.tan(state.softness) * 0.35 * _SUN_SIDE / (2 * self._reach))
        lit = np.empty((height, width, 3))
        raster.shade_view(
            depth, owner, focal, pose.position, pose.axes, scene.points, scene.normals, scene.triangles,
            scene.smooth, scene.item_of, scene.finish_of, scene.items, scene.finishes,
            self._sky_base * state.sky, np.array(state.sun), state.to_sun, sun_axes, sun_map, blur,
            self._dome_axes, domes, self._reach, lit,
        )
        return self._gather(lit), self._cover(scene, owner), development

    def _light_map(
        self, scene: _Triangles, shadows: npt.NDArray[np.int32], axes: Array, side: int
    ) -> Array:
        depth = np.full((side, side), -1e9)
        owner = np.empty((side, side), dtype=np.int32)
        raster.draw_light_map(scene.points, shadows, axes, self._reach, depth, owner)
        return depth

    def _gather(self, fine: Array) -> FloatImage:
        """Return the mean over each pixel's looks."""
        k = self._oversampling
        height, width = fine.shape[0] // k, fine.shape[1] // k
        clipped = np.minimum(fine, 4.0)  # a highlight must not outshine its whole pixel
        return clipped.reshape(height, k, width, k, -1).mean(axis=(1, 3)).astype(np.float32)

    def _cover(self, scene: _Triangles, owner: npt.NDArray[np.int32]) -> FloatImage:
        channels = np.array([channel(int(i)) for i in scene.instances], dtype=np.int32)
        of_triangle = np.append(channels[scene.item_of], -1)
        which = of_triangle[owner]  # (H * k, W * k)
        return self._gather((which[..., None] == np.arange(CHANNELS)).astype(np.float64))


def pack_finish(finish: Finish) -> list[float]:
    """Return a finish as a row of numbers; the columns stand in `raster`."""
    colours = [value for colour in finish.colours for value in colour]
    return [float(finish.pattern), finish.scale, *finish.stretch, finish.turn, finish.edge, finish.grain,
            finish.grain_scale, finish.roughness, finish.metallic, float(finish.upright), *colours]


def _triangulate(items: list[Item]) -> _Triangles:
    points, triangles, normals, smooth, item_of, finish_of = [], [], [], [], [], []
    finishes: list[list[float]] = []
    base = 0
    for number, item in enumerate(items):
        vertices = item.vertices()
        rows = {}
        for role in item.model.roles:
            rows[role] = len(finishes)
            finishes.append(pack_finish(item.finishes[role]))
        corners, face_of = [], []
        for k, face in enumerate(item.model.faces):
            for j in range(1, len(face) - 1):
                corners.append((face[0], face[j], face[j + 1]))
                face_of.append(k)
        index = np.array(corners, dtype=np.int32)  # (T, 3)
        flags = np.array(item.model.face_smooth, dtype=bool)[face_of]
        flat = np.cross(vertices[index[:, 1]] - vertices[index[:, 0]],
                        vertices[index[:, 2]] - vertices[index[:, 0]])  # (T, 3)
        gathered = np.zeros_like(vertices)
        for k in range(3):
            np.add.at(gathered, index[flags, k], flat[flags])
        normals.append(np.where(flags[:, None, None], gathered[index], flat[:, None, :]))
        points.append(vertices)
        triangles.append(index + base)
        smooth.append(flags)
        item_of.append(np.full(len(index), number, dtype=np.int32))
        rows_of = [rows[role] for role in item.model.face_roles]
        finish_of.append(np.array(rows_of, dtype=np.int32)[face_of])
        base += len(vertices)
    places = [[*item.at, math.cos(item.turn), math.sin(item.turn)] for item in items]
    joined = np.concatenate(normals)
    joined /= np.maximum(np.linalg.norm(joined, axis=2, keepdims=True), 1e-12)
    return _Triangles(
        points=np.concatenate(points),
        triangles=np.concatenate(triangles).astype(np.int32),
        normals=joined,
        smooth=np.concatenate(smooth),
        item_of=np.concatenate(item_of),
        finish_of=np.concatenate(finish_of),
        items=np.array(places),
        finishes=np.array(finishes),
        instances=np.array([item.instance for item in items], dtype=np.uint8),
    )


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
