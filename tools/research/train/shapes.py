# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw stand-in objects, backgrounds and occluders in numpy.

Rendered captures show the model what things look like. These drawings show it what a mask is (bars,
holes, thin parts, any texture). They are used before a capture exists, and later between captures.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.research.train.library import Image

Rng = np.random.Generator


def _colour(rng: Rng) -> tuple[int, int, int]:
    r, g, b = rng.integers(10, 246, 3).tolist()
    return r, g, b


def texture(rng: Rng, side: int) -> Image:
    """Draw a random texture: noise, checks, stripes, planks or one colour with a gradient.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all choices.
    side : int
        Side in px.

    Returns
    -------
    Image
        (side, side, 3) RGB.
    """
    wanted, side = side, max(8, side // 2)  # drawn at half size, which is four times as fast
    first, second = np.array(_colour(rng), np.float32), np.array(_colour(rng), np.float32)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    kind = int(rng.integers(5))
    cells = float(rng.uniform(3, 24))
    if kind == 0:
        coarse = rng.random((int(rng.integers(3, 40)),) * 2, dtype=np.float32)
        blend = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    elif kind == 1:
        blend = ((np.floor(x * cells) + np.floor(y * cells)) % 2).astype(np.float32)
    elif kind == 2:
        angle = rng.uniform(0, np.pi)
        blend = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * cells * 6.28)
    elif kind == 3:
        row = np.floor(y * cells)
        shade = rng.random(int(cells) + 2).astype(np.float32)[row.astype(int)]
        seam = ((y * cells) % 1 < 0.06) | ((x * cells / 4 + row * 0.37) % 1 < 0.02)
        blend = np.where(seam, 1.0, shade * 0.6)
    else:
        blend = np.full((side, side), 0.0, np.float32)
    blend = np.clip(blend, 0, 1)[..., None] * np.float32(rng.uniform(0.2, 1.0))
    light = (
        1 + (x - 0.5) * float(rng.uniform(-0.4, 0.4)) + (y - 0.5) * float(rng.uniform(-0.4, 0.4))
    )
    out = (first * (1 - blend) + second * blend) * light[..., None]
    out += rng.standard_normal(out.shape, np.float32) * rng.uniform(0, 12)
    picture = np.clip(out, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(picture, (wanted, wanted)), np.uint8)


def ground(rng: Rng, side: int) -> Image:
    """Draw a floor in perspective below a wall; (side, side, 3) RGB."""
    floor = texture(rng, side)
    skew = rng.uniform(0.0, 0.35, 2) * side
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    horizon = float(rng.uniform(-0.2, 0.6)) * side
    seen = np.array(
        [[skew[0], horizon], [side - skew[1], horizon], [side * 1.6, side], [-side * 0.6, side]],
        np.float32,
    )
    matrix = cv2.getPerspectiveTransform(corners, seen)
    out = cv2.warpPerspective(floor, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    if horizon > 2:
        out[: int(horizon)] = texture(rng, side)[: int(horizon)]
    return np.asarray(out, np.uint8)


def _part(rng: Rng, earlier: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Points of a part in 3D, (N, 3) in about -1..1: a bar, board or blob, joined to another."""
    centre = rng.uniform(-0.3, 0.3, 3)
    if earlier:
        other = earlier[int(rng.integers(len(earlier)))]
        at = other[int(rng.integers(len(other)))]
        centre = np.clip(at + (other.mean(axis=0) - at) * rng.uniform(0, 0.6), -0.8, 0.8)
    kind = rng.random()
    size = rng.uniform(0.2, 0.9, 3)
    if kind < 0.5:  # bar
        size = np.full(3, rng.uniform(0.02, 0.08))
        size[int(rng.integers(3))] = rng.uniform(0.4, 1.0)
    elif kind < 0.8:  # board
        size[int(rng.integers(3))] = rng.uniform(0.02, 0.1)
    signs = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)], float)
    if kind > 0.9:
        signs = rng.normal(size=(40, 3))
        signs /= np.linalg.norm(signs, axis=1, keepdims=True)
    points: NDArray[np.float64] = centre + signs * size * 0.7
    return points


def sprites(rng: Rng, count: int, side: int = 192) -> list[Image]:
    """Draw an object of bars, boards and blobs from `count` neighbouring views.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all choices.
    count : int
        Views, turned by a few degrees from one to the next.
    side : int
        Side in px.

    Returns
    -------
    list of Image
        (side, side, 4) RGBA, alpha hard.
    """
    parts: list[NDArray[np.float64]] = []
    for _ in range(int(rng.integers(2, 8))):
        parts.append(_part(rng, parts))
    skins = [texture(rng, side) if rng.random() < 0.6 else None for _ in parts]
    colours = [_colour(rng) for _ in parts]
    if rng.random() < 0.7:
        skins, colours = [skins[0]] * len(parts), [colours[0]] * len(parts)
    start, step = rng.uniform(0, 6.28), np.radians(rng.uniform(-14, 14))
    tilt = rng.uniform(0, 0.6)
    views: list[Image] = []
    for view in range(count):
        a = start + view * step
        turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        lean = np.array(
            [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
        )
        out = np.zeros((side, side, 4), np.uint8)
        seen = [part @ turn.T @ lean.T for part in parts]
        for index in np.argsort([-part[:, 2].mean() for part in seen]):
            points = seen[index]
            flat = (points[:, :2] / (3.0 + points[:, 2:3]) * 1.25 + 0.5) * side
            hull = cv2.convexHull(flat.astype(np.float32)).round().astype(np.int32)
            mask = np.zeros((side, side), np.uint8)
            cv2.fillConvexPoly(mask, hull, [255])
            skin = skins[index]
            out[mask > 0, :3] = skin[mask > 0] if skin is not None else colours[index]
            out[mask > 0, 3] = 255
        views.append(out)
    return views


def bar(rng: Rng, side: int) -> Image:
    """Draw an occluder, a pole or a board at any angle; (side, side, 4) RGBA, centred."""
    out = np.zeros((side, side, 4), np.uint8)
    width = side * rng.uniform(0.04, 0.3)
    box = cv2.boxPoints(((side / 2, side / 2), (width, side * 2.5), float(rng.uniform(-40, 40))))
    mask = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(mask, box.round().astype(np.int32), [255])
    out[..., :3] = texture(rng, side)
    out[..., 3] = mask
    return out
