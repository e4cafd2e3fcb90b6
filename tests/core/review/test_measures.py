# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures of one matte: what they count, and what does not change them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores
from sam2_splat_addon.core.review.measures import MatteShape, agreement, measure

SCORES = MatteScores(5.0, 0.9, 0.1)


def shape_of(
    inside: NDArray[np.bool_], size: tuple[int, int] = (400, 400), logit: float = 8.0
) -> MatteShape:
    logits = np.where(inside, logit, -logit).astype(np.float16)
    return measure(MatteRecord(1, 1, *size, logits, SCORES))


def chair(left: float, top: float, height: float, side: int = 128) -> NDArray[np.bool_]:
    """Draw a seat, a back and two legs at any place and height, (side, side)."""
    y, x = (np.mgrid[:side, :side] + 0.5 - np.array([top, left])[:, None, None]) / height
    back = (x > 0) & (x < 0.15) & (y > 0) & (y < 0.6)
    seat = (x > 0) & (x < 0.6) & (y > 0.5) & (y < 0.6)
    legs = ((x > 0) & (x < 0.1) | (x > 0.5) & (x < 0.6)) & (y > 0.6) & (y < 1)
    return back | seat | legs


def test_an_empty_matte_is_absent_and_agrees_with_an_empty_one_only() -> None:
    empty, there = shape_of(np.zeros((64, 64), bool)), shape_of(chair(40, 30, 60))
    assert empty.absent
    assert not there.absent
    assert agreement(empty, empty) == 1.0
    assert agreement(empty, there) == agreement(there, empty) == 0.0


def test_moving_and_growing_keep_the_shape_and_losing_a_leg_does_not() -> None:
    whole = shape_of(chair(20, 20, 60))
    assert agreement(whole, whole) == 1.0
    assert agreement(whole, shape_of(chair(45, 31, 60))) > 0.85
    assert agreement(whole, shape_of(chair(10, 10, 95))) > 0.8
    lame = chair(20, 20, 60)
    lame[56:, 40:] = False
    assert agreement(whole, shape_of(lame)) < 0.75


def test_the_photos_shape_is_told_apart_from_the_logits_shape() -> None:
    # Logits are always square. This is the same bar, upright in a portrait photo of 1:2.
    inside = np.zeros((128, 128), bool)
    inside[16:112, 56:72] = True
    upright = shape_of(inside, (400, 800))
    assert upright.centroid == pytest.approx((0.25, 0.5))
    # 12 px of 128 in height and 4 in width, divided by the square root of 12.
    tall, wide = 96 / 128, 16 / 128 / 2
    assert upright.spread == pytest.approx(np.sqrt((tall**2 + wide**2) / 12 / 2), rel=1e-3)


def test_specks_are_no_parts() -> None:
    inside = np.zeros((128, 128), bool)
    inside[20:80, 20:80] = True
    inside[100:110, 100:110] = True
    inside[5, 5] = inside[9, 90] = True
    shape = shape_of(inside)
    assert shape.parts == 2
    assert shape.specks == pytest.approx(2 / 3702)


def test_a_matte_on_the_border_is_seen_there() -> None:
    inside = np.zeros((64, 64), bool)
    inside[20:40, 20:40] = True
    assert shape_of(inside).border == 0.0
    inside[40:, 20:40] = True
    assert shape_of(inside).border == pytest.approx(20 / 252)


def test_weak_logits_promise_less_than_strong_ones() -> None:
    inside = chair(20, 20, 60)
    assert shape_of(inside, logit=8.0).sureness > 0.99
    assert shape_of(inside, logit=1.0).sureness < 0.5
