# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw clicks and boxes as a user would place them."""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Mask = NDArray[np.bool_]

_DEEP_SHARE: Final = 0.8  # of drawn clicks: they lie deep inside the error
_LEAST_DEPTH: Final = 1.0  # px; nobody clicks on a thinner error


class Click(NamedTuple):
    """A click at px indices (x, y), which includes or excludes."""

    x: float
    y: float
    include: bool


def deepest(mask: Mask) -> tuple[float, int, int]:
    """Return how deep a mask is, px, and the deepest place (x, y). The picture's edge counts as an edge."""
    depth = _depth(mask)
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return float(depth[y, x]), int(x), int(y)


def next_click(truth: Mask, found: Mask, rng: Rng | None = None) -> Click | None:
    """Return the next corrective click: at the deepest point of the deepest error.

    Parameters
    ----------
    truth, found : ndarray of bool
        (H, W).
    rng : numpy.random.Generator, optional
        Draws a place near the deepest one, as a hand would. Without it, exactly the deepest.

    Returns
    -------
    Click or None
        None if no error is thick enough to click on.
    """
    best: tuple[float, Click] | None = None
    for include, wrong in ((True, truth & ~found), (False, found & ~truth)):
        if not wrong.any():
            continue
        depth = _depth(wrong)
        most = float(depth.max())
        if most < _LEAST_DEPTH or (best is not None and most <= best[0]):
            continue
        if rng is None:
            y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        else:
            deep = rng.random() < _DEEP_SHARE
            rows, columns = np.nonzero(depth >= max(0.5 * most, 0.5) if deep else depth > 0)
            at = int(rng.integers(len(rows)))
            y, x = rows[at], columns[at]
        best = (most, Click(float(x), float(y), include))
    return None if best is None else best[1]


def click_inside(rng: Rng, mask: Mask) -> Click:
    """Draw an include click in a mask, mostly deep inside; raises ValueError if the mask is empty."""
    click = next_click(mask, np.zeros_like(mask), rng)
    if click is None:
        rows, columns = np.nonzero(mask)
        if not len(rows):
            raise ValueError("An empty mask has no point to click on.")
        at = int(rng.integers(len(rows)))
        click = Click(float(columns[at]), float(rows[at]), True)
    return click


def box(rng: Rng, mask: Mask, jitter: float = 0.05) -> NDArray[np.float32]:
    """Return the mask's box as corners (2, 2) px, each moved by up to `jitter` of its length."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    corners = np.array([[x, y], [x + w - 1, y + h - 1]], np.float32)
    return corners + rng.uniform(-jitter, jitter, (2, 2)).astype(np.float32) * np.array(
        [w, h], np.float32
    )


def _depth(mask: Mask) -> NDArray[np.float32]:
    padded = np.pad(mask.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1], np.float32)
