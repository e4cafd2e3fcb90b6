# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage's geometry as triangles, and what they cover on a frame.

Coverage is counted with a depth buffer. It does not depend on the renderer that makes the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import raster
from .finishes import Finish
from .identity import CHANNELS, GROUND, channel
from .mesh import Array
from .orbit import SENSOR_MM, Pose
from .scene import Item
from .stage import Stage

FloatImage = npt.NDArray[np.float32]
Owners = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Triangles:
    """Items as triangles; see `shading.shade_view` for the shapes."""

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


class Geometry:
    """The triangles of a stage, kept from frame to frame."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._standing = triangulate(stage.items)
        self._subject = triangulate(stage.items[:1])

    def at(self, index: int) -> Triangles:
        """Return everything that stands on the stage on a frame."""
        occluder = self._stage.occluder(index)
        return self._standing if occluder is None else triangulate([*self._stage.items, occluder])

    def silhouette(self, index: int, oversampling: int) -> FloatImage:
        """Return what the subject would cover if nothing were in front of it, shape (H, W)."""
        _, owner = draw(self._subject, self._stage.poses[index], oversampling)
        return _share(owner >= 0, oversampling)

    def coverage(self, index: int, oversampling: int) -> FloatImage:
        """Return what each thing covers, shape (H, W, CHANNELS), from `oversampling` squared samples."""
        scene = self.at(index)
        _, owner = draw(scene, self._stage.poses[index], oversampling)
        channels = np.array([channel(int(i)) for i in scene.instances], dtype=np.int8)
        of_triangle = np.append(channels[scene.item_of], np.int8(-1))  # the last for the sky's -1
        which = of_triangle[owner]  # (H * k, W * k)
        cover = [_share(which == number, oversampling) for number in range(CHANNELS)]
        return np.stack(cover, axis=2)


def _share(looks: npt.NDArray[np.bool_], oversampling: int) -> FloatImage:
    """Return the fraction of each pixel's samples that are true, shape (H, W)."""
    height, width = (side // oversampling for side in looks.shape)
    cells = looks.reshape(height, oversampling, width, oversampling)
    return cells.sum(axis=(1, 3), dtype=np.float32) / np.float32(oversampling**2)


def draw(scene: Triangles, pose: Pose, oversampling: int) -> tuple[Array, Owners]:
    """Return 1 / depth and the visible triangle (-1: none), both (H * k, W * k)."""
    width, height = (side * oversampling for side in pose.size)
    depth = np.zeros((height, width))
    owner = np.full((height, width), -1, dtype=np.int32)
    focal = pose.lens / SENSOR_MM * max(width, height)
    local = (scene.points - pose.position) @ pose.axes
    raster.draw_view(local, scene.triangles, focal, depth, owner)
    return depth, owner


def pack_finish(finish: Finish) -> list[float]:
    """Return a finish as a row of numbers. `shading` lists the columns."""
    colours = [value for colour in finish.colours for value in colour]
    return [
        float(finish.pattern),
        finish.scale,
        *finish.stretch,
        finish.turn,
        finish.edge,
        finish.grain,
        finish.grain_scale,
        finish.roughness,
        finish.metallic,
        float(finish.upright),
        *colours,
    ]


def triangulate(items: list[Item]) -> Triangles:
    """Return the triangles of all items where they stand."""
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
        flat = np.cross(
            vertices[index[:, 1]] - vertices[index[:, 0]],
            vertices[index[:, 2]] - vertices[index[:, 0]],
        )  # (T, 3)
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
    return Triangles(
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
