# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled loops that compute light and patterns for what a depth buffer shows.

Positions are metres. Images are row by row from the top.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# Columns of a finish's row, see `quick.pack_finish`.
F_PATTERN, F_SCALE, F_STRETCH, F_TURN, F_EDGE, F_GRAIN, F_GRAIN_SCALE = 0, 1, 2, 5, 6, 7, 8
F_ROUGHNESS, F_METALLIC, F_UPRIGHT, F_COLOURS, F_WIDTH = 9, 10, 11, 12, 21


@njit(cache=True, fastmath=True)
def _lit(x, y, z, axes, reach, depth, blur, bias):
    """Return the part of the light, 0 to 1, that reaches a point through a light map."""
    side = depth.shape[0]
    scale = side / (2 * reach)
    u = side / 2 + scale * (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z)
    v = side / 2 + scale * (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z)
    h = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z + bias
    if blur <= 0.0:
        i, j = int(v), int(u)
        if i < 0 or j < 0 or i >= side or j >= side:
            return 1.0
        return 1.0 if depth[i, j] <= h else 0.0
    total = 0.0
    for k in range(8):
        r = blur * math.sqrt((k + 0.5) / 8)
        a = 2.39996 * k + 12.9898 * u + 78.233 * v  # turns make grain of bands
        i, j = int(v + r * math.sin(a)), int(u + r * math.cos(a))
        if i < 0 or j < 0 or i >= side or j >= side or depth[i, j] <= h:
            total += 1.0
    return total / 8


@njit(cache=True, fastmath=True)
def _hash(i, j, k):
    """Return a fixed pseudo-random number, 0 to 1, for a lattice point."""
    n = (i * 73856093) ^ (j * 19349663) ^ (k * 83492791)
    n = (n ^ (n >> 13)) * 1274126177
    return ((n ^ (n >> 16)) & 0xFFFF) / 65535.0


@njit(cache=True, fastmath=True)
def _noise(x, y, z):
    """Return smooth noise, 0 to 1, with one feature per unit."""
    fi, fj, fk = math.floor(x), math.floor(y), math.floor(z)
    i, j, k = int(fi), int(fj), int(fk)
    u, v, w = x - fi, y - fj, z - fk
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    low = (_hash(i, j, k) * (1 - u) + _hash(i + 1, j, k) * u) * (1 - v) + (
        _hash(i, j + 1, k) * (1 - u) + _hash(i + 1, j + 1, k) * u
    ) * v
    high = (_hash(i, j, k + 1) * (1 - u) + _hash(i + 1, j, k + 1) * u) * (1 - v) + (
        _hash(i, j + 1, k + 1) * (1 - u) + _hash(i + 1, j + 1, k + 1) * u
    ) * v
    return low * (1 - w) + high * w


@njit(cache=True, fastmath=True)
def _rough_noise(x, y, z):
    """Return noise of three octaves, 0 to 1."""
    return (
        0.55 * _noise(x, y, z)
        + 0.3 * _noise(2.1 * x + 7, 2.1 * y, 2.1 * z)
        + 0.15 * _noise(4.3 * x, 4.3 * y + 5, 4.3 * z)
    )


@njit(cache=True, fastmath=True)
def _pattern(finish, x, y, z, colour):
    """Write the finish's linear RGB at a point of the object into `colour`, shape (3,)."""
    if finish[F_UPRIGHT] > 0:
        y, z = z, y
    c, s = math.cos(finish[F_TURN]), math.sin(finish[F_TURN])
    scale = finish[F_SCALE]
    u = (c * x - s * y) * finish[F_STRETCH] * scale
    v = (s * x + c * y) * finish[F_STRETCH + 1] * scale
    w = z * finish[F_STRETCH + 2] * scale
    kind = int(finish[F_PATTERN])
    first, second, third = 1.0, 0.0, 0.0  # shares of the three colours
    edge = finish[F_EDGE]
    if kind == 1:  # NOISE
        t = (_rough_noise(u, v, w) - 0.3) / 0.4
        t = min(max(t, 0.0), 1.0)
        if t < 0.5:
            first, second = 1 - 2 * t, 2 * t
        else:
            first, second, third = 0.0, 2 - 2 * t, 2 * t - 1
    elif kind == 2:  # CHECKER
        parity = (
            int(math.floor(u + 1e-4)) + int(math.floor(v + 1e-4)) + int(math.floor(w + 1e-4))
        ) & 1
        if parity == 1:
            first, second = 0.0, 1.0
    elif kind == 3:  # STRIPES
        t = (u + v * 0.0 + w) - math.floor(u + w)
        if t > edge:
            first = 0.0
            if t > 0.5 + edge / 2:
                third = 1.0
            else:
                second = 1.0
    elif kind == 4:  # SPOTS
        near = 9.0
        fi, fj, fk = int(math.floor(u)), int(math.floor(v)), int(math.floor(w))
        for i in range(fi - 1, fi + 2):
            for j in range(fj - 1, fj + 2):
                for k in range(fk - 1, fk + 2):
                    du = i + 0.2 + 0.6 * _hash(i, j, k) - u
                    dv = j + 0.2 + 0.6 * _hash(j, k, i + 57) - v
                    dw = k + 0.2 + 0.6 * _hash(k + 31, i, j) - w
                    near = min(near, du * du + dv * dv + dw * dw)
        if near < edge * edge * 1.4:
            first, second = 0.0, 1.0
    elif kind == 5:  # BRICKS
        row = math.floor(v)
        along = u / edge + (row * 0.5 if edge < 4 else row * 0.37)
        if edge < 1.5:
            along = u
        brick = math.floor(along)
        joint = 0.02
        fu, fv = (along - brick) * edge, v - row
        if fu < joint or fv < joint or fu > edge - joint or fv > 1 - joint:
            first, third = 0.0, 1.0
        else:
            second = _hash(int(brick), int(row), 3)
            first = 1 - second
    factor = 1.0
    if finish[F_GRAIN] > 0:
        g = finish[F_GRAIN_SCALE]
        t = min(max((_rough_noise(x * g, y * g, z * g) - 0.3) / 0.35, 0.0), 1.0)
        factor = 1 - finish[F_GRAIN] * (1 - t)
    for k in range(3):
        colour[k] = factor * (
            first * finish[F_COLOURS + k]
            + second * finish[F_COLOURS + 3 + k]
            + third * finish[F_COLOURS + 6 + k]
        )


@njit(cache=True, fastmath=True)
def _sky(z, sky, colour):
    """Write the sky's RGB towards a direction of height `z` (-1 to 1) into `colour`."""
    low, high, t = (1, 0, min(z / 0.5, 1.0)) if z >= 0 else (1, 2, min(-z / 0.05, 1.0))
    for k in range(3):
        colour[k] = sky[low, k] * (1 - t) + sky[high, k] * t


@njit(cache=True, fastmath=True)
def shade_view(
    depth,
    owner,
    focal,
    position,
    axes,
    points,
    normals,
    triangles,
    smooth,
    item_of,
    finish_of,
    items,
    finishes,
    sky,
    sun,
    to_sun,
    sun_axes,
    sun_map,
    sun_blur,
    dome_axes,
    dome_maps,
    reach,
    block,
    out,
):
    """Light every pixel of a view into `out`, shape (H, W, 3), linear RGB.

    Arrays: `normals` (T, 3, 3) per corner, `smooth` (T,), `item_of` and `finish_of` (T,), `items`
    (I, 5) as x, y, z and cosine and sine of the turn, `finishes` (F, F_WIDTH), `sky` (3, 3) as
    zenith, horizon and below, `sun` (3,), `dome_axes` (K, 3, 3), `dome_maps` (K, M, M). Light is
    computed once for each triangle in a square of `block` px. Patterns and highlights are computed
    for each px.
    """
    height, width = depth.shape
    colour, env, ambient = np.zeros(3), np.zeros(3), np.zeros(3)
    domes = dome_axes.shape[0]
    known, light, total = -1, 0.0, 0.0
    for step in range(height * width):
        inside = step % (block * block)
        square = step // (block * block)
        row = square // (width // block) * block + inside // block
        column = square % (width // block) * block + inside % block
        if inside == 0:
            known = -1
        rx = (column + 0.5 - width / 2) / focal
        ry = (height / 2 - row - 0.5) / focal
        dx = axes[0, 0] * rx + axes[0, 1] * ry - axes[0, 2]
        dy = axes[1, 0] * rx + axes[1, 1] * ry - axes[1, 2]
        dz = axes[2, 0] * rx + axes[2, 1] * ry - axes[2, 2]
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        t = owner[row, column]
        if t < 0:
            _sky(dz / length, sky, env)
            for k in range(3):
                out[row, column, k] = env[k]
            continue
        far = 1.0 / depth[row, column]
        x, y, z = position[0] + dx * far, position[1] + dy * far, position[2] + dz * far
        dx, dy, dz = dx / length, dy / length, dz / length
        nx, ny, nz = normals[t, 0, 0], normals[t, 0, 1], normals[t, 0, 2]
        if smooth[t]:
            a, b, c = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
            e0x, e0y, e0z = b[0] - a[0], b[1] - a[1], b[2] - a[2]
            e1x, e1y, e1z = c[0] - a[0], c[1] - a[1], c[2] - a[2]
            px, py, pz = x - a[0], y - a[1], z - a[2]
            d00, d01 = e0x * e0x + e0y * e0y + e0z * e0z, e0x * e1x + e0y * e1y + e0z * e1z
            d11 = e1x * e1x + e1y * e1y + e1z * e1z
            p0, p1 = px * e0x + py * e0y + pz * e0z, px * e1x + py * e1y + pz * e1z
            whole = d00 * d11 - d01 * d01
            if whole > 1e-18:
                v = (d11 * p0 - d01 * p1) / whole
                w = (d00 * p1 - d01 * p0) / whole
                u = 1 - v - w
                n = normals[t]
                nx = u * n[0, 0] + v * n[1, 0] + w * n[2, 0]
                ny = u * n[0, 1] + v * n[1, 1] + w * n[2, 1]
                nz = u * n[0, 2] + v * n[1, 2] + w * n[2, 2]
        size = max(math.sqrt(nx * nx + ny * ny + nz * nz), 1e-9)
        nx, ny, nz = nx / size, ny / size, nz / size
        facing = nx * dx + ny * dy + nz * dz
        if facing > 0:
            nx, ny, nz, facing = -nx, -ny, -nz, -facing
        item = items[item_of[t]]
        lx, ly = x - item[0], y - item[1]
        finish = finishes[finish_of[t]]
        _pattern(
            finish, item[3] * lx + item[4] * ly, item[3] * ly - item[4] * lx, z - item[2], colour
        )
        if t != known:
            known = t
            bias = 0.006
            near = x * x + y * y < reach * reach * 0.9
            ox, oy, oz = x + nx * bias, y + ny * bias, z + nz * bias
            cosine = nx * to_sun[0] + ny * to_sun[1] + nz * to_sun[2]
            light = 0.0
            if cosine > 0:
                light = cosine
                if near:
                    light *= _lit(ox, oy, oz, sun_axes, reach, sun_map, sun_blur, 0.002)
            for k in range(3):
                ambient[k] = 0.0
            total = 0.0
            for q in range(domes):
                weight = nx * dome_axes[q, 2, 0] + ny * dome_axes[q, 2, 1] + nz * dome_axes[q, 2, 2]
                if weight <= 0:
                    continue
                total += weight
                if near:
                    weight *= 0.12 + 0.88 * _lit(
                        ox, oy, oz, dome_axes[q], reach, dome_maps[q], 0.0, 0.004
                    )
                _sky(dome_axes[q, 2, 2], sky, env)
                for k in range(3):
                    ambient[k] += weight * env[k]
        up = 0.5 + 0.5 * nz
        roughness, metallic = finish[F_ROUGHNESS], finish[F_METALLIC]
        hx, hy, hz = to_sun[0] - dx, to_sun[1] - dy, to_sun[2] - dz
        half = max(math.sqrt(hx * hx + hy * hy + hz * hz), 1e-9)
        spread = max((nx * hx + ny * hy + nz * hz) / half, 0.0)
        power = 2.0 / max(roughness**4, 1e-3)
        gleam = (power + 2) / 8 * spread**power * light
        _sky(dz - 2 * facing * nz, sky, env)
        fresnel = (1 + facing) ** 5
        for k in range(3):
            glow = ambient[k] / max(total, 1e-6) * up + sky[2, k] * 0.5 * (1 - up)
            matt = colour[k] * (sun[k] * light / math.pi + glow)
            tint = metallic * colour[k] + (1 - metallic) * 0.04
            mirror = tint + (1 - tint) * fresnel * (1 - roughness)
            blocked = ambient[k] / max(total * sky[1, k], 1e-6)
            shine = mirror * env[k] * min(blocked, 1.0) * (1 - 0.5 * roughness)
            out[row, column, k] = (
                (1 - 0.9 * metallic) * matt
                + shine * (1 - 0.6 * roughness * (1 - metallic))
                + tint * sun[k] / math.pi * min(gleam, 30.0)
            )
