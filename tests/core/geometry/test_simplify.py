# SPDX-License-Identifier: GPL-3.0-or-later
"""Outlines with a chosen number of points keep the important parts of their shape."""

from __future__ import annotations

import numpy as np
import pytest

from sam2_splat_addon.core.geometry.rasterize import fill
from sam2_splat_addon.core.geometry.simplify import fit_count, point_importance, point_importances
from sam2_splat_addon.core.geometry.trace import signed_area, trace
from tests.core.shapes import HARD_SHAPES, intersection_over_union, logits_of


def test_importance_of_several_outlines_at_once_is_that_of_each() -> None:
    # Many parts and holes.
    noise = np.kron(np.random.default_rng(2).normal(size=(16, 16)), np.ones((4, 4)))
    outlines = [contour.points for contour in trace(noise, 300, 450)]
    for outline, importance in zip(outlines, point_importances(outlines), strict=True):
        assert np.array_equal(importance, point_importance(outline))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 64, 500, 3000])
def test_fitted_outline_has_exactly_the_count(count: int) -> None:
    points = trace(logits_of(HARD_SHAPES["chair"]), 600, 900)[0].points
    fitted = fit_count(points, count)
    assert fitted.shape == (count, 2)
    assert (fitted.min(axis=0) >= points.min(axis=0) - 1e-9).all()
    assert (fitted.max(axis=0) <= points.max(axis=0) + 1e-9).all()


def test_fitting_keeps_the_corners_that_matter_and_padding_keeps_the_shape() -> None:
    corners = np.array([[0.0, 0.0], [0.0, 30.0], [50.0, 30.0], [50.0, 0.0]])
    dense = fit_count(corners, 160)
    assert np.allclose(abs(signed_area(dense)), 1500.0)
    steps = np.hypot(*(np.roll(dense, -1, axis=0) - dense).T)
    assert steps.max() / steps.min() < 1.1
    assert np.array_equal(fit_count(dense, 4), corners)


def test_more_points_describe_the_shape_better() -> None:
    contour = trace(logits_of(HARD_SHAPES["thin_limbs"]), 900, 900)[0]
    whole = fill([contour.points], 900, 900)
    scores = [
        intersection_over_union(fill([fit_count(contour.points, count)], 900, 900), whole)
        for count in (16, 32, 64, 128, 256)
    ]
    assert scores == sorted(scores)
    assert scores[-1] > 0.999
