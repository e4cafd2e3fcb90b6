# SPDX-License-Identifier: GPL-3.0-or-later
"""The evaluation's measures, against slow references and by hand; imports numpy, OpenCV, pytest."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tools.research.bench.evaluation.measures import (
    GRID,
    THIN_BAND,
    THINNER,
    boundary,
    boundary_distance,
    boundary_f,
    region_iou,
    thin_parts,
    thin_pixels,
    thin_recall,
)

Mask = NDArray[np.bool_]


def blobs(seed: int, height: int = 61, width: int = 83) -> Mask:
    noise = np.random.default_rng(seed).normal(size=(height, width))
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 5) > 0.03)


def reference_boundary(mask: Mask) -> set[tuple[int, int]]:
    """Pixel by pixel: another value to the right, below, or to the lower right."""
    height, width = mask.shape
    found = set()
    for y, x in itertools.product(range(height), range(width)):
        below, right = min(y + 1, height - 1), min(x + 1, width - 1)
        others = (mask[y, right], mask[below, x], mask[below, right])
        if any(other != mask[y, x] for other in others):
            found.add((y, x))
    return found


def reference_f(guess: Mask, truth: Mask, bound: float) -> float:
    """Pair by pair: a pixel matches when one of the other boundary lies within the disk."""
    reach = math.ceil(bound * math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2))
    a, b = reference_boundary(guess), reference_boundary(truth)

    def matched(these: set[tuple[int, int]], those: set[tuple[int, int]]) -> float:
        near = sum(any((y - v) ** 2 + (x - u) ** 2 <= reach**2 for v, u in those) for y, x in these)
        return near / len(these)

    precision, recall = matched(a, b), matched(b, a)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bound", [0.008, 0.02])
def test_boundary_measure_equals_a_brute_force_one(seed: int, bound: float) -> None:
    truth, guess = blobs(seed), np.roll(blobs(seed), (1, 2), (0, 1)) ^ (blobs(seed + 50, 61, 83))
    assert boundary_f(guess, truth, bound) == pytest.approx(reference_f(guess, truth, bound))


def test_boundary_equals_a_brute_force_one_and_stops_at_the_picture() -> None:
    mask = blobs(7)
    mask[:, -9:] = True
    rows, columns = np.nonzero(boundary(mask))
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == reference_boundary(mask)
    assert not boundary(np.ones((5, 7), bool)).any()


def test_nothing_against_nothing_is_right_and_against_something_wrong() -> None:
    empty, full = np.zeros((20, 30), bool), blobs(1, 20, 30)
    for measure in (region_iou, boundary_f):
        assert measure(empty, empty) == 1.0
        assert measure(full, full) == 1.0
        assert measure(empty, full) == 0.0
        assert measure(full, empty) == 0.0


def test_region_measure_is_intersection_over_union() -> None:
    left, right = np.zeros((4, 9), bool), np.zeros((4, 9), bool)
    left[:, :6] = right[:, 3:] = True
    assert region_iou(left, right) == pytest.approx(1 / 3)


def chair() -> tuple[Mask, Mask]:
    """A seat with one leg of 8 px of the grid, and the leg alone."""
    mask = np.zeros((GRID, GRID), bool)
    mask[100:200, 100:300] = True
    leg = np.zeros_like(mask)
    leg[200:400, 150:158] = True
    return mask | leg, leg


def test_thin_is_the_leg_without_the_seats_corners() -> None:
    mask, leg = chair()
    thin = thin_pixels(mask)
    assert not (thin & ~leg).any()
    assert thin.sum() > 0.9 * leg.sum()
    thick = np.zeros_like(mask)
    thick[100:200, 100 : 100 + THINNER + 2] = True
    assert not thin_pixels(thick).any()


def test_thin_parts_are_found_within_the_band_and_not_beyond() -> None:
    mask, leg = chair()
    parts = thin_parts(mask, mask)
    assert parts.found == parts.total > 0
    assert thin_parts(np.roll(mask, THIN_BAND, 1), mask).found >= 0.98 * parts.total
    shifted = thin_parts(np.roll(mask, 8 + THIN_BAND + 1, 1), mask)
    assert shifted.found < 0.1 * parts.total
    without = thin_parts(mask & ~leg, mask)
    assert without.found <= 0.05 * without.total
    half = mask.copy()
    half[300:] = False
    assert thin_parts(half, mask).found == pytest.approx(parts.total / 2, rel=0.1)


def test_thin_parts_are_judged_on_the_grid_whatever_the_photos_size() -> None:
    mask, _ = chair()
    large = np.kron(mask, np.ones((3, 2), bool))
    assert thin_parts(large, large) == thin_parts(mask, mask)


def test_boundary_distance_is_how_far_a_moved_edge_lies_from_the_other() -> None:
    truth = np.zeros((200, 300), dtype=bool)
    truth[:, 150:] = True
    assert boundary_distance(np.roll(truth, 7, axis=1) & truth, truth) == pytest.approx(7)
    assert boundary_distance(truth, truth) == 0
    empty = np.zeros_like(truth)
    assert boundary_distance(empty, empty) == 0
    assert boundary_distance(empty, truth) == pytest.approx(math.hypot(200, 300))


def test_thin_recall_counts_a_leg_that_is_missing_and_forgives_so_many_pixels() -> None:
    truth = np.zeros((1024, 1024), dtype=bool)
    truth[100:300, 100:900] = True
    truth[300:900, 200:212] = truth[300:900, 800:812] = True
    one_leg = truth.copy()
    one_leg[300:900, 800:812] = False
    assert thin_recall(truth, truth, within=2) == 1
    assert thin_recall(one_leg, truth, within=2) == pytest.approx(0.5, abs=0.03)
    assert thin_recall(np.roll(truth, 2, axis=1), truth, within=2) == 1
    blank = np.zeros_like(truth)
    blank[100:300, 100:900] = True
    assert thin_recall(blank, blank, within=2) == 1
