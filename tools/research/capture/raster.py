# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled loops that draw triangles into depth buffers.

Positions are metres. Images are row by row from the top. A depth buffer holds 1 / depth for a view,
or the height along the light for a light map. So in both, nearer is larger.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

NEAR = 0.02  # metres; nothing closer to the camera is drawn


@njit(cache=True, fastmath=True)
def _fill(ax, ay, az, bx, by, bz, cx, cy, cz, index, depth, owner):
    """Draw one triangle of px positions and depths where it is nearer than the buffer."""
    height, width = depth.shape
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if abs(area) < 1e-9:
        return
    left = max(int(math.floor(min(ax, bx, cx) - 0.5)), 0)
    right = min(int(math.ceil(max(ax, bx, cx) + 0.5)), width - 1)
    top = max(int(math.floor(min(ay, by, cy) - 0.5)), 0)
    bottom = min(int(math.ceil(max(ay, by, cy) + 0.5)), height - 1)
    inverse = 1.0 / area
    for y in range(top, bottom + 1):
        py = y + 0.5
        for x in range(left, right + 1):
            px = x + 0.5
            u = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * inverse
            v = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * inverse
            w = 1.0 - u - v
            if u >= 0.0 and v >= 0.0 and w >= 0.0:
                z = u * az + v * bz + w * cz
                if z > depth[y, x]:
                    depth[y, x] = z
                    owner[y, x] = index


@njit(cache=True, fastmath=True)
def draw_view(points, triangles, focal, depth, owner):
    """Draw triangles as a camera at the origin sees them (x right, y up, looking along -z).

    `points` has the shape (N, 3), `triangles` (T, 3), `depth` and `owner` (H, W); `focal` is px.
    """
    height, width = depth.shape
    middle_x, middle_y = width / 2, height / 2
    polygon = np.empty((4, 3))
    for index in range(triangles.shape[0]):
        count = 0
        for k in range(3):
            a = points[triangles[index, k]]
            b = points[triangles[index, (k + 1) % 3]]
            da, db = -a[2], -b[2]
            if da >= NEAR:
                polygon[count, 0], polygon[count, 1], polygon[count, 2] = a[0], a[1], da
                count += 1
            if (da >= NEAR) != (db >= NEAR):
                t = (NEAR - da) / (db - da)
                polygon[count, 0] = a[0] + t * (b[0] - a[0])
                polygon[count, 1] = a[1] + t * (b[1] - a[1])
                polygon[count, 2] = NEAR
                count += 1
        if count < 3:
            continue
        for k in range(count):
            d = polygon[k, 2]
            polygon[k, 0] = middle_x + focal * polygon[k, 0] / d
            polygon[k, 1] = middle_y - focal * polygon[k, 1] / d
            polygon[k, 2] = 1.0 / d
        for k in range(1, count - 1):
            _fill(
                polygon[0, 0],
                polygon[0, 1],
                polygon[0, 2],
                polygon[k, 0],
                polygon[k, 1],
                polygon[k, 2],
                polygon[k + 1, 0],
                polygon[k + 1, 1],
                polygon[k + 1, 2],
                index,
                depth,
                owner,
            )


@njit(cache=True, fastmath=True)
def draw_light_map(points, triangles, axes, reach, depth, owner):
    """Draw triangles as seen from along `axes[2]` (rows: across, up, to the light; shape (3, 3)).

    The map shows `reach` metres to each side of the origin.
    """
    side = depth.shape[0]
    scale = side / (2 * reach)
    flat = np.empty((points.shape[0], 3))
    for n in range(points.shape[0]):
        for k in range(3):
            dot = 0.0
            for m in range(3):
                dot += axes[k, m] * points[n, m]
            flat[n, k] = dot
        flat[n, 0] = side / 2 + scale * flat[n, 0]
        flat[n, 1] = side / 2 + scale * flat[n, 1]
    for index in range(triangles.shape[0]):
        a, b, c = flat[triangles[index, 0]], flat[triangles[index, 1]], flat[triangles[index, 2]]
        _fill(a[0], a[1], a[2], b[0], b[1], b[2], c[0], c[1], c[2], index, depth, owner)
