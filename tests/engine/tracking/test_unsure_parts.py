# SPDX-License-Identifier: GPL-3.0-or-later
"""Weak crumbs and weak holes go; thin parts, second objects and real gaps stay."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sam2_splat_addon.engine.tracking.unsure_parts import without_unsure_parts


def photo() -> NDArray[np.float32]:
    """A sure subject of 40 x 40 cells on a sure ground of 128 x 128."""
    logits = np.full((128, 128), -8.0, np.float32)
    logits[40:80, 40:80] = 9.0
    return logits


def test_a_sure_mask_stays_as_it_is() -> None:
    logits = photo()
    assert np.array_equal(without_unsure_parts(logits), logits)
    nothing = np.full((128, 128), -3.0, np.float32)
    assert np.array_equal(without_unsure_parts(nothing), nothing)
    everything = np.full((128, 128), 3.0, np.float32)
    assert np.array_equal(without_unsure_parts(everything), everything)


def test_a_weak_crumb_goes_and_nothing_else_changes() -> None:
    clean, logits = photo(), photo()
    logits[10:14, 100:104] = 2.5
    found = without_unsure_parts(logits)
    assert not (found[10:14, 100:104] > 0).any()
    found[10:14, 100:104] = clean[10:14, 100:104]
    assert np.array_equal(found, clean)


@pytest.mark.parametrize(
    ("side", "peak", "stays"),
    [(4, 3.9, False), (4, 4.1, True), (17, 3.9, False), (19, 3.9, True)],
    ids=["weak", "sure", "weak and still small", "weak and large"],
)
def test_a_piece_stays_if_it_is_sure_or_large(side: int, peak: float, *, stays: bool) -> None:
    logits = photo()
    logits[90 : 90 + side, 90 : 90 + side] = 1.0
    logits[91, 91] = peak  # one sure cell is enough
    found = without_unsure_parts(logits)
    assert bool((found[90 : 90 + side, 90 : 90 + side] > 0).all()) == stays
    assert bool((found[90 : 90 + side, 90 : 90 + side] > 0).any()) == stays


@pytest.mark.parametrize(
    ("gap", "peak", "stays"), [(2, 1.1, True), (2, 0.9, False), (3, 1.1, False)]
)
def test_a_thin_part_may_be_weak_if_its_gap_is_small(gap: int, peak: float, *, stays: bool) -> None:
    logits = photo()
    leg = (slice(80 + gap - 1, 100), slice(60, 61))  # below the subject, which ends at row 79
    logits[leg] = peak
    assert bool((without_unsure_parts(logits)[leg] > 0).all()) == stays


def test_pieces_that_touch_at_a_corner_are_one() -> None:
    logits = photo()
    logits[80:84, 80:84] = 1.0  # below the subject's lower right corner
    assert (without_unsure_parts(logits)[80:84, 80:84] > 0).all()


@pytest.mark.parametrize(
    ("side", "depth", "stays"),
    [(4, -1.9, False), (4, -2.1, True), (6, -1.9, True)],
    ids=["weak", "sure", "large"],
)
def test_a_hole_stays_if_it_is_sure_or_large(side: int, depth: float, *, stays: bool) -> None:
    logits = photo()
    logits[50 : 50 + side, 50 : 50 + side] = -0.5
    logits[51, 51] = depth
    found = without_unsure_parts(logits)
    assert bool((found[50 : 50 + side, 50 : 50 + side] <= 0).all()) == stays
    assert bool((found[50 : 50 + side, 50 : 50 + side] <= 0).any()) == stays


def test_a_gap_that_reaches_the_photos_edge_stays() -> None:
    logits = np.full((128, 128), 9.0, np.float32)
    for rows, columns in (
        ((0, 3), (60, 63)),
        ((125, 128), (60, 63)),
        ((60, 63), (0, 3)),
        ((60, 63), (125, 128)),
    ):
        logits[slice(*rows), slice(*columns)] = -0.5
    assert np.array_equal(without_unsure_parts(logits), logits)


def test_a_hole_that_touches_the_outside_only_at_a_corner_is_a_hole() -> None:
    logits = photo()
    logits[40, 40] = -0.5  # its neighbours to the left and above are outside: no hole
    logits[42:44, 42:44] = -0.5
    found = without_unsure_parts(logits)
    assert found[40, 40] == np.float32(-0.5)
    assert (found[42:44, 42:44] > 0).all()
