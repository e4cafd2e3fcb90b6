# SPDX-License-Identifier: GPL-3.0-or-later
"""Solid shapes gathered into one model.

Lengths are metres, +z is up, and a model stands on the plane z = 0 around the z axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Point = tuple[float, float, float]
Array = npt.NDArray[np.float64]


def rotation(axis: str, angle: float) -> Array:
    """Return the 3x3 matrix of a turn by `angle` radians about the axis ``"x"``, ``"y"`` or ``"z"``."""
    c, s = math.cos(angle), math.sin(angle)
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }[axis]
    return np.array(rows, dtype=np.float64)


def rounded_rectangle(width: float, height: float, radius: float, steps: int = 4) -> list[Point]:
    """Return the outline (counter-clockwise, z = 0) of a rectangle about the origin."""
    radius = min(radius, 0.499 * width, 0.499 * height)
    outline: list[Point] = []
    for corner, (sx, sy) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        cx, cy = sx * (width / 2 - radius), sy * (height / 2 - radius)
        for step in range(steps + 1):
            angle = math.pi / 2 * (corner + step / steps)
            outline.append((cx + radius * math.cos(angle), cy + radius * math.sin(angle), 0.0))
    return outline


def ellipse(width: float, height: float, sides: int = 24) -> list[Point]:
    """Return the outline (counter-clockwise, z = 0) of an ellipse about the origin."""
    turns = [2 * math.pi * i / sides for i in range(sides)]
    return [(width / 2 * math.cos(a), height / 2 * math.sin(a), 0.0) for a in turns]


@dataclass
class Model:
    """Faces with a material role each, and named points on the surface.

    Attributes
    ----------
    vertices, faces
        Positions in metres, and for each face the indices of its corners.
    face_roles, face_smooth
        For each face: the name of its material role, and whether its shading is smooth.
    anchors
        Named points on the surface (seat, leg, handle ...), best click first.
    """

    vertices: list[Point] = field(default_factory=list)
    faces: list[tuple[int, ...]] = field(default_factory=list)
    face_roles: list[str] = field(default_factory=list)
    face_smooth: list[bool] = field(default_factory=list)
    anchors: dict[str, Point] = field(default_factory=dict)

    @property
    def roles(self) -> list[str]:
        """Material roles in the order of their first use."""
        return list(dict.fromkeys(self.face_roles))

    def bounds(self) -> tuple[Array, Array]:
        """Return the lowest and the highest corner of the bounding box, each of shape (3,)."""
        points = np.array(self.vertices)
        return points.min(axis=0), points.max(axis=0)

    def radius(self) -> float:
        """Return the largest distance of any vertex from the z axis, in metres."""
        points = np.array(self.vertices)
        return float(np.hypot(points[:, 0], points[:, 1]).max())

    def stand_on_ground(self) -> None:
        """Move the model so that its bounding box is centred on the z axis and starts at z = 0."""
        low, high = self.bounds()
        self.transform(np.eye(3), (-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]))

    def transform(
        self, linear: Array, offset: Sequence[float] = (0.0, 0.0, 0.0), first: int = 0
    ) -> None:
        """Apply a 3x3 matrix and an offset to the vertices from index `first` on.

        The anchors follow only when the whole model moves.
        """
        move = np.array(offset, dtype=np.float64)
        if len(self.vertices) > first:
            moved = np.array(self.vertices[first:]) @ linear.T + move
            self.vertices[first:] = [(float(x), float(y), float(z)) for x, y, z in moved]
        if first == 0:
            for name, point in self.anchors.items():
                x, y, z = np.array(point) @ linear.T + move
                self.anchors[name] = (float(x), float(y), float(z))

    @contextmanager
    def placed(self, linear: Array, offset: Sequence[float] = (0.0, 0.0, 0.0)) -> Iterator[None]:
        """Transform everything that is added inside the block."""
        first = len(self.vertices)
        yield
        if first < len(self.vertices):
            moved = np.array(self.vertices[first:]) @ linear.T + np.array(offset)
            self.vertices[first:] = [(float(x), float(y), float(z)) for x, y, z in moved]

    def add(
        self,
        role: str,
        vertices: Sequence[Sequence[float]],
        faces: Sequence[Sequence[int]],
        smooth: bool = False,
    ) -> None:
        """Add faces whose indices count from the first of `vertices`."""
        base = len(self.vertices)
        self.vertices.extend((float(v[0]), float(v[1]), float(v[2])) for v in vertices)
        for face in faces:
            self.faces.append(tuple(base + i for i in face))
            self.face_roles.append(role)
            self.face_smooth.append(smooth)

    def box(self, role: str, centre: Point, size: Point, bevel: float = 0.004) -> None:
        """Add a box with chamfered edges, its sides along the axes."""
        half = np.array(size) / 2
        bevel = min(bevel, 0.45 * float(half.min()))
        vertices: list[Array] = []
        index: dict[tuple[int, int, int, int], int] = {}
        for sx in (-1, 1):
            for sy in (-1, 1):
                for sz in (-1, 1):
                    for axis in range(3):
                        corner = half - bevel
                        corner[axis] = half[axis]
                        index[sx, sy, sz, axis] = len(vertices)
                        vertices.append(np.array(centre) + corner * np.array([sx, sy, sz]))
        faces: list[list[int]] = []
        for axis in range(3):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            for sign in (-1, 1):
                faces.append([])
                for su, sv in [(-1, -1), (1, -1), (1, 1), (-1, 1)]:
                    key = [0, 0, 0]
                    key[axis], key[u], key[v] = sign, su, sv
                    faces[-1].append(index[key[0], key[1], key[2], axis])
            for su in (-1, 1):
                for sv in (-1, 1):
                    edge = []
                    for along, which in [(-1, u), (1, u), (1, v), (-1, v)]:
                        key = [0, 0, 0]
                        key[axis], key[u], key[v] = along, su, sv
                        edge.append(index[key[0], key[1], key[2], which])
                    faces.append(edge)
        faces += [
            [index[sx, sy, sz, axis] for axis in range(3)]
            for sx in (-1, 1)
            for sy in (-1, 1)
            for sz in (-1, 1)
        ]
        self.add(role, [v.tolist() for v in vertices], faces)

    def bar(
        self,
        role: str,
        start: Sequence[float],
        end: Sequence[float],
        radius: float,
        end_radius: float | None = None,
        sides: int = 10,
    ) -> None:
        """Add a straight bar between two points; four sides make it square."""
        self.tube(role, [start, end], [radius, radius if end_radius is None else end_radius], sides)

    def tube(
        self,
        role: str,
        path: Sequence[Sequence[float]],
        radii: Sequence[float] | float,
        sides: int = 8,
        closed: bool = False,
    ) -> None:
        """Add a tube along a path, with capped ends unless the path is closed."""
        points = np.array(path, dtype=np.float64)
        count = len(points)
        radius = np.full(count, radii) if isinstance(radii, float) else np.array(radii)
        if closed:
            tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
        else:
            tangents = np.gradient(points, axis=0)
        tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9)
        normal = np.cross(
            tangents[0], [0.31, 0.17, 0.93] if abs(tangents[0][2]) < 0.9 else [1, 0, 0]
        )
        turn = 2 * math.pi * (np.arange(sides) + 0.5) / sides
        rings = []
        for point, tangent, r in zip(points, tangents, radius, strict=True):
            normal = normal - tangent * float(normal @ tangent)
            normal /= max(float(np.linalg.norm(normal)), 1e-9)
            side = np.cross(tangent, normal)
            rings.append(
                point + r * (np.cos(turn)[:, None] * normal + np.sin(turn)[:, None] * side)
            )
        vertices = np.concatenate(rings)
        faces = []
        for ring in range(count if closed else count - 1):
            a, b = ring * sides, (ring + 1) % count * sides
            for i in range(sides):
                j = (i + 1) % sides
                faces.append((a + i, a + j, b + j, b + i))
        self.add(role, vertices.tolist(), faces, smooth=sides > 5)
        if not closed:
            # Caps have their own vertices, so that they don't bend the normals of the smooth side.
            self.add(role, rings[0].tolist(), [tuple(reversed(range(sides)))])
            self.add(role, rings[-1].tolist(), [tuple(range(sides))])

    def lathe(
        self,
        role: str,
        profile: Sequence[tuple[float, float]],
        centre: Point = (0, 0, 0),
        sides: int = 28,
        smooth: bool = True,
    ) -> None:
        """Add the solid of revolution of (radius, height) pairs about a vertical axis."""
        turn = 2 * math.pi * np.arange(sides) / sides
        vertices = [
            (centre[0] + r * math.cos(a), centre[1] + r * math.sin(a), centre[2] + z)
            for r, z in profile
            for a in turn
        ]
        faces = [
            (
                k * sides + i,
                k * sides + (i + 1) % sides,
                (k + 1) * sides + (i + 1) % sides,
                (k + 1) * sides + i,
            )
            for k in range(len(profile) - 1)
            for i in range(sides)
        ]
        self.add(role, vertices, faces, smooth=smooth)
        for k, order in ((0, -1), (len(profile) - 1, 1)):
            if profile[k][0] > 1e-4:
                ring = vertices[k * sides : (k + 1) * sides]
                self.add(role, ring, [tuple(range(sides))[::order]])

    def ellipsoid(self, role: str, centre: Point, radii: Point, sides: int = 18) -> None:
        """Add an ellipsoid with its half axes along x, y and z."""
        first = len(self.vertices)
        stacks = max(6, sides // 2)
        angles = [math.pi * (k / stacks - 0.5) for k in range(stacks + 1)]
        profile = [(max(math.cos(a), 0.0), math.sin(a)) for a in angles]
        profile[0], profile[-1] = (1e-5, -1.0), (1e-5, 1.0)
        self.lathe(role, profile, sides=sides)
        moved = np.array(self.vertices[first:]) * np.array(radii) + np.array(centre)
        self.vertices[first:] = [(float(x), float(y), float(z)) for x, y, z in moved]

    def ring(
        self,
        role: str,
        centre: Sequence[float],
        radius: float,
        thickness: float,
        facing: Array | None = None,
        sides: int = 8,
        steps: int = 28,
    ) -> None:
        """Add a torus around z, or around the z axis of the matrix `facing`."""
        turn = 2 * math.pi * np.arange(steps) / steps
        path = np.stack([radius * np.cos(turn), radius * np.sin(turn), 0 * turn], axis=1)
        if facing is not None:
            path = path @ facing.T
        self.tube(role, (path + np.array(centre)).tolist(), thickness, sides, closed=True)

    def slab(
        self,
        role: str,
        outline: Sequence[Point],
        thickness: float,
        hole: Sequence[Point] | None = None,
        bevel: float = 0.003,
    ) -> None:
        """Add an extruded outline around the plane z = 0, with an optional hole.

        The hole must have as many points as the outline, each opposite its partner.
        """
        outer = np.array(outline, dtype=np.float64)
        count = len(outer)
        half = thickness / 2
        bevel = min(bevel, 0.4 * half)
        middle = outer[:, :2].mean(axis=0)

        def level(points: Array, z: float, shrink: float) -> list[list[float]]:
            away = points[:, :2] - middle
            length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
            xy = points[:, :2] - away / length * shrink
            return [[float(x), float(y), z] for x, y in xy]

        def wall(loops: list[list[list[float]]], inward: bool) -> None:
            vertices = [v for loop in loops for v in loop]
            faces = []
            for k in range(len(loops) - 1):
                for i in range(count):
                    j = (i + 1) % count
                    quad = (k * count + i, k * count + j, (k + 1) * count + j, (k + 1) * count + i)
                    faces.append(quad[::-1] if inward else quad)
            self.add(role, vertices, faces)

        levels = [(-half, bevel), (-half + bevel, 0.0), (half - bevel, 0.0), (half, bevel)]
        wall([level(outer, z, shrink) for z, shrink in levels], inward=False)
        top, bottom = level(outer, half, bevel), level(outer, -half, bevel)
        if hole is None:
            self.add(role, top, [tuple(range(count))])
            self.add(role, bottom, [tuple(reversed(range(count)))])
            return
        inner = np.array(hole, dtype=np.float64)
        wall([level(inner, z, -shrink) for z, shrink in levels], inward=True)
        for outside, inside, flip in (
            (top, level(inner, half, -bevel), False),
            (bottom, level(inner, -half, -bevel), True),
        ):
            faces = []
            for i in range(count):
                j = (i + 1) % count
                quad = (i, j, count + j, count + i)
                faces.append(quad[::-1] if flip else quad)
            self.add(role, outside + inside, faces)
