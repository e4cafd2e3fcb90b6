# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks from the truth, as a user would set them one after the other.

Everything is deterministic: of points with the same depth the topmost counts, then the leftmost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.prompts import PointPrompt
from tools.research.bench.evaluation.prompting import Places, deepest, depths

Mask = NDArray[np.bool_]


def next_click(guess: Mask, truth: Mask, counts: Mask | None = None) -> PointPrompt | None:
    """Return a click in the deepest point of the largest error.

    Missing area and extra area are two errors. The larger is the one with the deepest point. That
    is the point farthest from everything that is right.

    Parameters
    ----------
    guess, truth
        (H, W).
    counts
        Pixels that count, (H, W). None is all.

    Returns
    -------
    PointPrompt or None
        An include click on missing area, or an exclude click on extra area, at the centre of a
        pixel. None if nothing is wrong.
    """
    missing, surplus = truth & ~guess, guess & ~truth
    if counts is not None:
        missing, surplus = missing & counts, surplus & counts
    of_missing, of_surplus = depths(missing), depths(surplus)
    if not missing.any() and not surplus.any():
        return None
    include = bool(of_missing.max() >= of_surplus.max())
    x, y = deepest(of_missing if include else of_surplus)
    return PointPrompt(x, y, include)


def obeys(mask: Mask, click: PointPrompt) -> bool:
    """Whether a mask, (H, W), has the pixel under a click inside or outside, as the click says."""
    return bool(mask[int(click.y), int(click.x)]) == click.include


def deepest_clicks(truth: Mask, count: int, given: Places = ()) -> list[tuple[float, float]]:
    """Return clicks on a mask: the deepest point, then the deepest of the rest, and so on.

    Each click removes the largest disc around it that lies inside. Then depths are measured again.
    If nothing is left, as on small round objects, there are fewer clicks.

    Parameters
    ----------
    truth
        (H, W), not empty.
    count
        Largest number of clicks.
    given
        Places that come first.

    Returns
    -------
    list of (x, y)
        Centres of pixels inside, px from the top left corner.
    """
    chosen: list[tuple[float, float]] = []
    left = truth.copy()
    rows, columns = np.indices(truth.shape, sparse=True)
    while len(chosen) < count and left.any():
        depth = depths(left)
        x, y = given[len(chosen)] if len(chosen) < len(given) else deepest(depth)
        chosen.append((x, y))
        left &= np.hypot(columns + 0.5 - x, rows + 0.5 - y) >= depth[int(y), int(x)]
    return chosen
