# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a matte fits its truth: region, boundary, thin parts.

J and F are the measures of the DAVIS benchmark (Perazzi et al., "A Benchmark Dataset and Evaluation
Methodology for Video Object Segmentation", CVPR 2016).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

BOUNDARY_BOUND: Final = 0.008
"""The largest distance between matching boundary pixels, as a part of the picture's diagonal."""

GRID: Final = 512
"""Side of the square on which thin parts are judged, px: the bundled model's input."""

THINNER: Final = 17
"""Parts narrower than this on the grid are thin, px: legs, rungs, handles. Odd, because it is
the width of a disk."""

THIN_BAND: Final = 3
"""A thin part's pixel counts as found if the matte is this near on the grid, px."""


def region_iou(guess: Mask, truth: Mask) -> float:
    """J, the intersection over union of two (H, W) masks; 1 when both are empty."""
    union = int(np.count_nonzero(guess | truth))
    return int(np.count_nonzero(guess & truth)) / union if union else 1.0


def boundary(mask: Mask) -> Mask:
    """Return pixels whose right, lower or lower right neighbour is on the mask's other side, (H, W).

    As in DAVIS. Neighbours outside the picture count as equal. So a mask that the picture's edge
    cuts off has no boundary there.
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    return np.asarray(
        (here != padded[:-1, 1:]) | (here != padded[1:, :-1]) | (here != padded[1:, 1:])
    )


def boundary_f(guess: Mask, truth: Mask, bound: float = BOUNDARY_BOUND) -> float:
    """Return F, the harmonic mean of the boundaries' precision and recall.

    Parameters
    ----------
    guess, truth
        (H, W).
    bound
        Part of the diagonal within which boundaries match. It is rounded up to whole px.

    Returns
    -------
    float
        0 to 1. It is 1 if neither has a boundary, 0 if only one has.
    """
    reach = math.ceil(bound * math.hypot(*truth.shape))
    of_guess, of_truth = boundary(guess), boundary(truth)
    guess_size, truth_size = int(of_guess.sum()), int(of_truth.sum())
    if guess_size == 0 or truth_size == 0:
        return float(guess_size == truth_size)
    # Far from both boundaries nothing can match, and distances cost time.
    window = _around(of_guess | of_truth)
    of_guess, of_truth = of_guess[window], of_truth[window]
    precision = int((of_guess & _within(of_truth, reach)).sum()) / guess_size
    recall = int((of_truth & _within(of_guess, reach)).sum()) / truth_size
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@dataclass(frozen=True)
class ThinParts:
    """How much of the truth's thin parts was found, px of the grid."""

    found: int
    total: int


def thin_parts(guess: Mask, truth: Mask) -> ThinParts:
    """Compare the truth's thin parts with the matte, both resized to the grid."""
    small = _squashed(truth)
    thin = thin_pixels(small)
    total = int(thin.sum())
    if total == 0:
        return ThinParts(0, 0)
    near = _within(_squashed(guess), THIN_BAND)
    return ThinParts(int((thin & near).sum()), total)


def boundary_distance(guess: Mask, truth: Mask) -> float:
    """Return the distance of the two boundaries, px: the mean of both directions.

    It is the picture's diagonal if only one has a boundary, and 0 if neither has.
    """
    of_guess, of_truth = boundary(guess), boundary(truth)
    if not of_guess.any() or not of_truth.any():
        return math.hypot(*truth.shape) if of_guess.any() or of_truth.any() else 0.0
    window = _around(of_guess | of_truth)
    of_guess, of_truth = of_guess[window], of_truth[window]
    return (_mean_distance(of_guess, of_truth) + _mean_distance(of_truth, of_guess)) / 2


def _mean_distance(points: Mask, to: Mask) -> float:
    away = cv2.distanceTransform((~to).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(away[points].mean())


def thin_recall(guess: Mask, truth: Mask, *, within: float) -> float:
    """Return the part of the truth's thin pixels near the matte, within a number of px.

    It is measured at the photo's own size. Thin is what is thin on the grid (`thin_pixels`). It is
    1 if nothing is thin.
    """
    small = thin_pixels(_squashed(truth)).astype(np.uint8)
    height, width = truth.shape
    thin = truth & (cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST) > 0)
    total = int(thin.sum())
    return int((thin & _within(guess, within)).sum()) / total if total else 1.0


def thin_pixels(mask: Mask) -> Mask:
    """Return what an opening with a disk of `THINNER` px removes, without small pieces, (H, W).

    An opening also rounds off every corner. Such a piece is smaller than a segment of a thin part,
    and is dropped.
    """
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (THINNER, THINNER))
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disk)
    rest = mask & (opened == 0)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(rest.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= THINNER**2 // 4
    large[0] = False  # the ground
    return np.asarray(large[labels])


def _squashed(mask: Mask) -> Mask:
    """Return the mask on the grid, (GRID, GRID). A pixel is inside if at least half of it is."""
    share = cv2.resize(mask.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(share >= 0.5)


def _within(mask: Mask, reach: float) -> Mask:
    """The mask dilated by a disk: every pixel whose centre is at most ``reach`` px from it."""
    if not mask.any():
        return np.zeros_like(mask)
    away = cv2.distanceTransform(
        (~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )  # exact up to float32's rounding; two different distances always differ by more than the slack
    return np.asarray(away <= reach + 1e-3)


def _around(mask: Mask) -> tuple[slice, slice]:
    """The smallest window that holds the mask, which must not be empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
