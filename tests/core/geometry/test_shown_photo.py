# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos upright and back: the map between shown and stored pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sam2_splat_addon.core.geometry.orientation import (
    PhotoShape,
    back,
    turned,
    turned_box,
    turned_points,
    turned_size,
)
from sam2_splat_addon.core.geometry.shown_photo import ShownPhoto

ORIENTATIONS = range(1, 9)


def picture(width: int = 7, height: int = 5) -> NDArray[np.uint8]:
    """Return a picture whose values are all different."""
    return np.arange(width * height, dtype=np.uint8).reshape(height, width)


def uprighted(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Let Pillow turn a picture by its EXIF orientation: the independent witness."""
    image = Image.fromarray(pixels)
    image.getexif()[274] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pictures_are_turned_as_pillow_turns_them_and_back(orientation: int) -> None:
    stored = picture()
    upright = turned(stored, orientation)
    assert np.array_equal(upright, uprighted(stored, orientation))
    assert (upright.shape[1], upright.shape[0]) == turned_size(7, 5, orientation)
    assert np.array_equal(turned(upright, back(orientation)), stored)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_colours_are_turned_like_grey(orientation: int) -> None:
    stored = picture()
    color = np.stack([stored, stored + 50, stored + 100], axis=2)
    assert np.array_equal(turned(color, orientation)[:, :, 1], turned(stored, orientation) + 50)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_middle_of_each_pixel_goes_where_the_pixel_goes(orientation: int) -> None:
    stored = picture()
    upright = uprighted(stored, orientation)
    rows, columns = np.indices(stored.shape)
    middles = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    there = turned_points(middles, 7, 5, orientation)
    at = np.floor(there).astype(int)
    assert np.array_equal(upright[at[:, 1], at[:, 0]], stored.ravel())
    again = turned_points(there, *turned_size(7, 5, orientation), back(orientation))
    assert np.array_equal(again, middles)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_box_holds_the_same_pixels(orientation: int) -> None:
    marked = np.zeros((5, 7), np.uint8)
    marked[1:3, 2:6] = 1
    left, top, right, bottom = map(int, turned_box((2, 1, 6, 3), 7, 5, orientation))
    there = uprighted(marked, orientation)
    assert there[top:bottom, left:right].all() and there.sum() == 8
    assert (right - left) * (bottom - top) == 8


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("frame", [None, (300, 400), (400, 300), (1000, 200), (37, 91)])
def test_points_boxes_and_masks_go_to_the_frame_and_back(
    orientation: int, frame: tuple[int, int] | None
) -> None:
    photo = ShownPhoto(
        PhotoShape(400, 300, orientation), frame or turned_size(400, 300, orientation)
    )
    points = np.array([[0.5, 0.5], [400.0, 0.0], [123.25, 77.75], [0.0, 300.0]])
    shown = photo.points_to_shown(points)
    left, top, right, bottom = photo.part
    assert np.all(shown >= (left, top)) and np.all(shown <= (right, bottom))
    assert np.allclose(photo.points_to_stored(shown), points, atol=1e-9)
    assert photo.point_to_shown(123.25, 77.75) == tuple(shown[2].tolist())
    assert photo.point_to_stored(*shown[2].tolist()) == pytest.approx((123.25, 77.75))
    box = (100.0, 20.0, 260.0, 290.0)
    assert photo.box_to_stored(photo.box_to_shown(box)) == pytest.approx(box)
    corners = photo.points_to_shown(np.array(box).reshape(2, 2))
    assert photo.box_to_shown(box) == pytest.approx((*corners.min(axis=0), *corners.max(axis=0)))
    mask = picture()
    assert np.array_equal(photo.mask_to_stored(photo.mask_to_shown(mask)), mask)


def test_a_photo_that_fits_is_exact_and_fills_the_frame() -> None:
    photo = ShownPhoto(PhotoShape(400, 300, 6), (300, 400))
    assert photo.part == (0, 0, 300, 400) and photo.scale == (1.0, 1.0)
    assert photo.point_to_shown(10.1, 20.2) == (300 - 20.2, 10.1)
    assert not photo.is_as_stored
    assert ShownPhoto(PhotoShape(400, 300, 1), (400, 300)).is_as_stored


def test_another_shape_gets_bars_and_keeps_its_own() -> None:
    """A landscape photo among portraits is as wide as the frame, in the middle."""
    photo = ShownPhoto(PhotoShape(400, 300, 1), (300, 400))
    assert photo.part == (0, 87, 300, 312)
    assert photo.point_to_shown(200, 150) == pytest.approx((150, 199.5))
    tall = ShownPhoto(PhotoShape(400, 300, 8), (400, 300))
    assert tall.part == (87, 0, 312, 300)
    small = ShownPhoto(PhotoShape(40, 30, 1), (400, 300))
    assert small.part == (0, 0, 400, 300) and small.scale == (10.0, 10.0)


def test_a_line_of_a_photo_still_has_a_part() -> None:
    assert ShownPhoto(PhotoShape(10000, 1, 1), (30, 30)).part == (0, 14, 30, 15)
