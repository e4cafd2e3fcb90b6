# SPDX-License-Identifier: GPL-3.0-or-later
"""The half-pixel conventions, for portrait and landscape; tests/blender tests the Blender side."""

from __future__ import annotations

import numpy as np
import pytest

from sam2_splat_addon.core.geometry.coordinates import (
    marker_to_pixel,
    mask_to_pixels,
    pixel_to_marker,
    pixels_to_mask,
)

PORTRAIT, LANDSCAPE, SQUARE = (1200, 1800), (1920, 1080), (512, 512)
SIZES = [PORTRAIT, LANDSCAPE, SQUARE, (6000, 9000), (1, 1)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_marker_corners_are_the_frames_corners(width: int, height: int) -> None:
    assert pixel_to_marker(0, 0, width, height) == (0.0, 1.0)  # top left
    assert pixel_to_marker(width, height, width, height) == (1.0, 0.0)  # bottom right
    assert marker_to_pixel(0.0, 0.0, width, height) == (0.0, height)
    assert marker_to_pixel(1.0, 1.0, width, height) == (width, 0.0)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_first_pixels_centre_is_half_a_pixel_from_the_top_left_corner(
    width: int, height: int
) -> None:
    x, y = pixel_to_marker(0.5, 0.5, width, height)
    assert x == pytest.approx(0.5 / width)
    assert y == pytest.approx((height - 0.5) / height)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pixels_survive_marker_space_to_a_thousandth(width: int, height: int) -> None:
    rng = np.random.default_rng(5)
    for x, y in rng.uniform(0, (width, height), (50, 2)):
        # Blender stores marker coordinates as 32-bit floats.
        u, v = (float(np.float32(c)) for c in pixel_to_marker(x, y, width, height))
        assert marker_to_pixel(u, v, width, height) == pytest.approx((x, y), abs=1e-3)


@pytest.mark.parametrize(
    ("size", "pixel", "mask"),
    [
        (PORTRAIT, (600, 900), (0.5, 0.5)),
        (PORTRAIT, (0, 0), (1 / 6, 1.0)),  # the shorter side is in the middle of the unit square
        (PORTRAIT, (1200, 1800), (5 / 6, 0.0)),
        (LANDSCAPE, (960, 540), (0.5, 0.5)),
        (LANDSCAPE, (0, 0), (0.0, 0.5 + 540 / 1920)),
        (LANDSCAPE, (1920, 1080), (1.0, 0.5 - 540 / 1920)),
        (SQUARE, (0.5, 0.5), (0.5 / 512, 511.5 / 512)),
    ],
)
def test_mask_space_spans_one_along_the_longer_side(
    size: tuple[int, int], pixel: tuple[float, float], mask: tuple[float, float]
) -> None:
    found = pixels_to_mask(np.array([pixel], dtype=np.float64), *size)
    np.testing.assert_allclose(found, [mask], atol=1e-12)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pixels_survive_mask_space(width: int, height: int) -> None:
    points = np.random.default_rng(6).uniform(-10, (width + 10, height + 10), (100, 2))
    before = points.copy()
    there = pixels_to_mask(points, width, height)
    np.testing.assert_allclose(mask_to_pixels(there, width, height), points, atol=1e-9)
    np.testing.assert_array_equal(points, before)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_one_pixel_is_one_pixel_in_both_directions_of_mask_space(width: int, height: int) -> None:
    square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    corner, right, down = pixels_to_mask(square, width, height)
    side = 1 / max(width, height)
    np.testing.assert_allclose(right - corner, [side, 0], atol=1e-12)
    np.testing.assert_allclose(down - corner, [0, -side], atol=1e-12)


def test_no_points_stay_no_points() -> None:
    none = np.zeros((0, 2))
    assert pixels_to_mask(none, 10, 20).shape == (0, 2)
    assert mask_to_pixels(none, 10, 20).shape == (0, 2)
