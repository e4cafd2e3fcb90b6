# SPDX-License-Identifier: GPL-3.0-or-later
"""Strokes on a canvas are as wide as the brush, stay in one piece, and their outlines are exact."""

from __future__ import annotations

import time

import numpy as np
import pytest

from sam2_splat_addon.core.geometry.canvas import Canvas, photo_scale
from sam2_splat_addon.core.geometry.rasterize import fill
from sam2_splat_addon.core.geometry.simplify import within
from sam2_splat_addon.core.geometry.trace import trace_pixels


def distance_to_line(
    size: tuple[int, int], begin: tuple[float, float], end: tuple[float, float]
) -> np.ndarray:
    """Return the distance of each pixel's centre from a line, (h, w)."""
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    along = np.subtract(end, begin)
    share = ((x - begin[0]) * along[0] + (y - begin[1]) * along[1]) / max(along @ along, 1e-9)
    share = np.clip(share, 0, 1)
    found: np.ndarray = np.hypot(x - begin[0] - share * along[0], y - begin[1] - share * along[1])
    return found


@pytest.mark.parametrize(
    ("begin", "end", "radius"),
    [
        ((30.0, 20.0), (80.0, 70.0), 9.0),
        ((80.0, 70.0), (30.0, 66.0), 4.5),
        ((50.0, 40.0), (50.0, 40.0), 12.0),
        ((20.0, 50.0), (90.0, 50.0), 3.0),
        ((50.0, 10.0), (50.0, 90.0), 3.0),
        ((-20.0, 50.0), (130.0, 60.0), 7.0),
    ],
)
def test_a_stroke_has_every_pixel_within_the_radius(
    begin: tuple[float, float], end: tuple[float, float], radius: float
) -> None:
    canvas = Canvas(np.zeros((100, 110), dtype=bool), (0, 0, 110, 100))
    canvas.paint(begin, end, radius, inside=True)
    away = distance_to_line((110, 100), begin, end)
    assert canvas.pixels[away < radius - 1e-6].all()
    assert not canvas.pixels[away > radius + 1e-6].any()
    canvas.paint(begin, end, radius, inside=False)
    assert not canvas.pixels.any()


def test_a_part_of_the_photo_gets_the_same_stroke_as_the_whole() -> None:
    whole = Canvas(np.zeros((90, 120), dtype=bool), (0, 0, 120, 90))
    part = Canvas(np.zeros((40, 60), dtype=bool), (30, 20, 90, 60))
    for canvas in (whole, part):
        canvas.paint((40.0, 10.0), (100.0, 50.0), 6.0, inside=True)
    assert np.array_equal(part.pixels, whole.pixels[20:60, 30:90])


@pytest.mark.parametrize("size", [(600, 900), (6000, 9000)])
def test_the_thinnest_stroke_stays_in_one_piece_through_its_outlines(
    size: tuple[int, int],
) -> None:
    canvas = Canvas.of_photo([], *size)
    side = size[0] / 600
    for begin, end in (((100, 100), (400, 160)), ((400, 160), (420, 700)), ((90, 640), (420, 700))):
        canvas.paint(
            (begin[0] * side, begin[1] * side), (end[0] * side, end[1] * side), 0.1, inside=True
        )
    tolerance = max(0.2 / 1024 * size[1], 0.75 / photo_scale(*size))
    outlines = within([one.points for one in canvas.contours()], tolerance)
    assert len(outlines) == 1
    again = Canvas.of_photo(outlines, *size)
    lost = canvas.pixels & ~again.pixels
    assert lost.sum() < 0.25 * canvas.pixels.sum()
    assert len(again.contours()) == 1, "the line falls apart"


def test_a_thin_hole_survives() -> None:
    canvas = Canvas.of_photo(
        [np.array([(10.0, 10.0), (10.0, 290.0), (190.0, 290.0), (190.0, 10.0)])], 200, 300
    )
    canvas.paint((100.0, 60.0), (100.0, 200.0), 0.1, inside=False)
    contours = canvas.contours()
    assert [one.is_hole for one in contours] == [False, True]
    outlines = within([one.points for one in contours], 0.75 / photo_scale(200, 300))
    again = Canvas.of_photo(outlines, 200, 300)
    assert [one.is_hole for one in again.contours()] == [False, True]
    hole = ~canvas.pixels[200:1000, 300:500]
    assert (hole & again.pixels[200:1000, 300:500]).sum() < 0.25 * hole.sum()


def test_outlines_of_pixels_enclose_these_pixels() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.random((40, 50)) > 0.6
    pixels[:, 0] = pixels[0] = True  # also along the border
    outlines = [one.points for one in trace_pixels(pixels, min_area=0.0)]
    assert np.array_equal(fill(outlines, 50, 40), pixels)


def test_a_large_photo_is_traced_in_a_moment() -> None:
    canvas = Canvas.of_photo([], 6000, 9000)
    canvas.paint((2500.0, 3000.0), (3500.0, 6500.0), 1400.0, inside=True)
    begin = time.process_time()
    (outline,) = canvas.contours()
    assert time.process_time() - begin < 1.0
    assert abs(outline.area / (np.pi * 1400**2 + 2800 * np.hypot(1000, 3500)) - 1) < 0.001
