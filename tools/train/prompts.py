# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws clicks as a user would place them. May import: numpy, OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Mask = NDArray[np.bool_]


def centre_click(mask: Mask) -> tuple[float, float]:
    """Return the px (x, y) that lies deepest inside a mask; pixel centres are whole numbers.

    Raises
    ------
    ValueError
        When the mask is empty.
    """
    if not mask.any():
        raise ValueError("An empty mask has no point to click on.")
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return float(x), float(y)


def random_clicks(rng: Rng, mask: Mask, count: int) -> NDArray[np.float32]:
    """Return random points inside, off the rim where the mask is thick enough.

    Returns
    -------
    ndarray
        [count, 2] px (x, y).

    Raises
    ------
    ValueError
        When the mask is empty.
    """
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    inside = np.flatnonzero(inner if inner.any() else mask)
    if inside.size == 0:
        raise ValueError("An empty mask has no point to click on.")
    rows, columns = np.divmod(rng.choice(inside, count), mask.shape[1])
    return np.column_stack([columns, rows]).astype(np.float32)


def clicks(rng: Rng, mask: Mask, count: int) -> NDArray[np.float32]:
    """Draw include clicks: the first often deep inside, the rest anywhere, spread out.

    Returns
    -------
    ndarray
        [count, 2] px (x, y).
    """
    drawn = random_clicks(rng, mask, 1 + 3 * (count - 1))
    first = centre_click(mask) if rng.random() < 0.4 else drawn[0]
    chosen = [np.array(first, np.float32)]
    for candidates in drawn[1:].reshape(-1, 3, 2):
        gaps = [min(float(np.hypot(*(c - old))) for old in chosen) for c in candidates]
        chosen.append(candidates[int(np.argmax(gaps))])
    return np.stack(chosen)


def box(rng: Rng, mask: Mask, jitter: float = 0.05) -> NDArray[np.float32]:
    """Return the mask's box as corners [2, 2] px, each moved by up to `jitter` of its length."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    corners = np.array([[x, y], [x + w - 1, y + h - 1]], np.float32)
    return corners + rng.uniform(-jitter, jitter, (2, 2)).astype(np.float32) * np.array(
        [w, h], np.float32
    )


def corrective_click(rng: Rng, truth: Mask, guess: Mask) -> tuple[tuple[float, float], int]:
    """Return a click inside the larger kind of error and its label, 1 include or 0 exclude.

    Where nothing is wrong the click falls inside the object.
    """
    missing, extra = truth & ~guess, guess & ~truth
    if not (missing.any() or extra.any()):
        missing = truth
    include = int(missing.sum() >= extra.sum())
    wrong = missing if include else extra
    if rng.random() < 0.5:
        return centre_click(wrong), include
    x, y = random_clicks(rng, wrong, 1)[0].tolist()
    return (x, y), include
