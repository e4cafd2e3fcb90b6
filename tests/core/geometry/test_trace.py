# SPDX-License-Identifier: GPL-3.0-or-later
"""Outlines traced from logits enclose the matte, and simpler ones stay close to it."""

from __future__ import annotations

import numpy as np
import pytest

from sam2_splat_addon.core.geometry.rasterize import fill
from sam2_splat_addon.core.geometry.simplify import fit_count
from sam2_splat_addon.core.geometry.trace import Contour, from_outlines, signed_area, trace
from tests.core.shapes import (
    HARD_SHAPES,
    disc,
    everything,
    intersection_over_union,
    logits_of,
    matte_of,
    nothing,
    union,
    without,
)

SIZES = [(300, 450), (450, 300), (214, 176)]


def _outlines(contours: list[Contour]) -> list[np.ndarray]:
    return [contour.points for contour in contours]


def _noise(side: int, grain: int, seed: int) -> np.ndarray:
    """Logits with many parts, holes and saddles."""
    coarse = np.random.default_rng(seed).normal(size=(side // grain, side // grain))
    return np.kron(coarse, np.ones((grain, grain)))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", HARD_SHAPES)
def test_outlines_enclose_the_matte(name: str, size: tuple[int, int]) -> None:
    logits = logits_of(HARD_SHAPES[name])
    filled = fill(_outlines(trace(logits, *size)), *size)
    matte = matte_of(logits, *size)
    # In a speck of a few pixels, a pixel whose centre is on the edge may be on either side.
    assert intersection_over_union(filled, matte) >= 0.995 or (filled != matte).sum() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_outlines_of_noise_enclose_the_matte_through_every_saddle(seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(40, 30))
    filled = fill(_outlines(trace(logits, 300, 400, min_area=0.0)), 300, 400)
    matte = matte_of(logits, 300, 400)
    assert (filled != matte).mean() < 2e-3


def test_outer_outlines_are_counter_clockwise_on_screen_and_holes_clockwise() -> None:
    contours = trace(logits_of(HARD_SHAPES["nested"]), 300, 300)
    assert [contour.is_hole for contour in contours] == [False, True, False, True, False]
    for contour in contours:
        assert (signed_area(contour.points) > 0) == (not contour.is_hole)
        assert contour.area == pytest.approx(abs(signed_area(contour.points)))
    square = np.array([[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [10.0, 0.0]])
    assert signed_area(square) == 100.0  # down, right, up: counter-clockwise where y goes down


def test_every_outline_names_the_one_around_it() -> None:
    contours = trace(logits_of(HARD_SHAPES["nested"]), 300, 300)
    assert [contour.parent for contour in contours] == [-1, 0, 1, 2, 3]
    two = trace(logits_of(without(union(disc(0.2, 0.5, 0.15), disc(0.7, 0.5, 0.2)),
                                  disc(0.2, 0.5, 0.05))), 300, 300)  # fmt: skip
    assert [contour.parent for contour in two] == [-1, -1, 1]


def test_shape_that_touches_the_border_is_closed_along_it() -> None:
    (whole,) = trace(logits_of(everything), 300, 450)
    assert whole.area == 300 * 450
    assert set(map(tuple, fit_count(whole.points, 4).tolist())) == {
        (0.0, 0.0), (0.0, 450.0), (300.0, 450.0), (300.0, 0.0)
    }  # fmt: skip
    (quarter,) = trace(logits_of(disc(0.0, 0.0, 0.5)), 300, 300)
    assert quarter.points.min() == 0.0
    assert quarter.area == pytest.approx(np.pi * 150**2 / 4, rel=1e-3)


def test_outline_lies_where_the_interpolated_logits_are_zero() -> None:
    ramp = np.tile(np.array([3.0, 1.0, -3.0, -5.0]), (4, 1))
    (contour,) = trace(ramp, 40, 40)
    # Centres are at 5, 15, 25, 35 px. The zero is a quarter of the way after the second one.
    right = contour.points[contour.points[:, 0] > 0.0]
    assert np.allclose(right[(right[:, 1] > 0) & (right[:, 1] < 40)][:, 0], 17.5)


def test_no_inside_gives_no_outline_and_specks_can_be_left_out() -> None:
    assert trace(logits_of(nothing), 300, 300) == []
    speck = logits_of(disc(0.5, 0.5, 0.01))
    assert len(trace(speck, 300, 300)) == 1
    assert trace(speck, 300, 300, min_area=100.0) == []


def test_tracing_twice_gives_the_same() -> None:
    logits = _noise(64, 4, 1)
    one, two = trace(logits, 300, 450), trace(logits, 300, 450)
    assert len(one) == len(two) > 5
    assert all(np.array_equal(a.points, b.points) for a, b in zip(one, two, strict=True))
    for contour in one:
        assert contour.points[0, 1] == contour.points[:, 1].min()


def test_drawn_outlines_get_the_right_direction_and_nesting_whatever_theirs_is() -> None:
    contours = trace(logits_of(HARD_SHAPES["nested"]), 300, 300)
    drawn = [
        points[::-1] if turn % 2 else points for turn, points in enumerate(_outlines(contours))
    ]
    again = from_outlines([*drawn[::-1], np.zeros((2, 2))])
    assert [(one.is_hole, one.parent) for one in again] == [
        (one.is_hole, one.parent) for one in contours
    ]
    assert all((signed_area(one.points) < 0) == one.is_hole for one in again)


def test_fill_covers_the_pixels_whose_centres_lie_inside() -> None:
    square = np.array([[1.4, 0.6], [1.4, 3.6], [4.6, 3.6], [4.6, 0.6]])
    inner = np.array([[2.4, 1.4], [3.6, 1.4], [3.6, 2.6], [2.4, 2.6]])
    expected = np.zeros((5, 6), dtype=bool)
    expected[1:4, 1:5] = True
    assert np.array_equal(fill([square], 6, 5), expected)
    expected[1:3, 2:4] = False
    assert np.array_equal(fill([square, inner], 6, 5), expected)
    assert not fill([square - 100.0], 6, 5).any()
