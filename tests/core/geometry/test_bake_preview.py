# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preview of the bake changes on small logits: holes, specks and soft edges, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from sam2_splat_addon.core.geometry.bake_preview import (
    SOFT_LOGIT,
    Floats,
    feather_sigma,
    soft_band,
    tidied,
)

PHOTO = (160, 160)  # four px for a cell of 40 x 40 logits
FULL = np.full((40, 40), 2.0, np.float32)
EMPTY = np.full((40, 40), -2.0, np.float32)


def with_square(matte: Floats, at: tuple[int, int], side: int, value: float) -> Floats:
    """Return the matte with a square of this value."""
    changed = matte.copy()
    changed[at[0] : at[0] + side, at[1] : at[1] + side] = value
    return changed


def test_a_soft_edge_is_four_sigmas_wide() -> None:
    assert feather_sigma(8.0) == 2.0
    assert feather_sigma(0.0) == 0.0


def test_a_soft_band_keeps_logits_at_the_edge_alone() -> None:
    row = np.array([-1.0, -1.0, -0.5, 1.5, 1.0, 3.0, 1.0], np.float32)
    band = soft_band(np.tile(row, (5, 1)))
    assert band.dtype == np.float32
    np.testing.assert_array_equal(band, np.tile([-4.0, -4.0, -0.5, 1.5, 4.0, 4.0, 4.0], (5, 1)))
    column = soft_band(np.array([[-9.0], [-0.5], [0.0], [5.0], [0.1]], np.float32))
    np.testing.assert_array_equal(column[:, 0], [-4.0, -4.0, 0.0, 4.0, 4.0])
    corner = np.full((4, 4), -1.0, np.float32)
    corner[0, 0] = 1.0
    assert soft_band(corner)[1, 1] == -1.0  # it touches the edge at a corner
    assert soft_band(corner)[2, 2] == -4.0


def test_nothing_is_changed_where_nothing_is_asked_or_there_is_nothing_to_change() -> None:
    hole = with_square(FULL, (10, 10), 2, -1.0)
    assert tidied([], PHOTO, fill_px=9, drop_px=9) == []
    for fill, drop in ((0, 0), (0, 100), (30, 0)):  # the hole has about 64 px
        (found,) = tidied([hole], PHOTO, fill_px=fill, drop_px=drop)
        assert found is hole
    (found,) = tidied([EMPTY], PHOTO, fill_px=500, drop_px=500)
    assert found is EMPTY


def test_a_hole_is_measured_in_px_of_the_photo_and_closed() -> None:
    hole = with_square(FULL, (10, 20), 3, -1.5)
    for size, fill in ((PHOTO, 250), ((640, 640), 4000)):
        (found,) = tidied([hole], size, fill_px=fill, drop_px=0)
        assert (found > 0).all()
        np.testing.assert_array_equal(found[10:13, 20:23], 1.5)  # as sure as it was of the hole
        elsewhere = np.ones_like(found, bool)
        elsewhere[10:13, 20:23] = False
        np.testing.assert_array_equal(found[elsewhere], hole[elsewhere])
    assert tidied([hole], (640, 640), fill_px=250, drop_px=0)[0] is hole
    bay = with_square(FULL, (0, 20), 3, -1.5)  # open to the rim of the photo
    assert tidied([bay], PHOTO, fill_px=250, drop_px=0)[0] is bay


def test_a_speck_is_dropped_and_the_larger_part_stays() -> None:
    speck = with_square(with_square(EMPTY, (5, 5), 20, 3.0), (32, 32), 2, 1.5)
    (found,) = tidied([speck], PHOTO, fill_px=0, drop_px=150)
    np.testing.assert_array_equal(found, with_square(speck, (32, 32), 2, -1.5))
    assert tidied([speck], PHOTO, fill_px=0, drop_px=30)[0] is speck


def test_a_hole_between_objects_goes_to_the_surer_one_and_the_other_stays() -> None:
    left, right = EMPTY.copy(), EMPTY.copy()
    left[:, :20], right[:, 20:] = 2.0, 2.0
    left, right = (with_square(at, (15, 18), 4, -3.0) for at in (left, right))
    left[15:19, 18:22] = -1.0
    found = tidied([left, right], PHOTO, fill_px=500, drop_px=0)
    assert (np.maximum(*found) > 0).all()
    assert (found[0][15:19, 18:22] > 0).all()
    assert found[1] is right
    # A speck of one object that touches the other is none.
    touching = with_square(EMPTY, (10, 30), 2, 1.0)
    body = EMPTY.copy()
    body[:, :30] = 2.0
    assert tidied([touching, body], PHOTO, fill_px=0, drop_px=200)[0] is touching


@pytest.mark.parametrize("soft", [False, True])
def test_a_changed_logit_says_clearly_on_which_side_it_is(soft: bool) -> None:
    hole = with_square(FULL * 3, (10, 10), 2, 0.0)
    (found,) = tidied([soft_band(hole) if soft else hole], PHOTO, fill_px=250, drop_px=0, soft=soft)
    least = SOFT_LOGIT if soft else 1e-3
    assert (found[10:12, 10:12] >= np.float32(least)).all()
    assert (found.astype(np.float16) > 0).all()


def test_what_is_barely_inside_connects_the_parts_of_a_soft_matte() -> None:
    matte = with_square(with_square(EMPTY * 2, (5, 5), 20, 4.0), (27, 27), 3, 4.0)
    bridged = with_square(matte, (25, 25), 2, -1.0)
    assert tidied([bridged], PHOTO, fill_px=0, drop_px=250, soft=True)[0] is bridged
    (found,) = tidied([bridged], PHOTO, fill_px=0, drop_px=250)
    assert not (found[27:30, 27:30] > 0).any()


def test_parts_that_touch_at_a_corner_are_one_and_such_holes_are_two() -> None:
    holes = with_square(with_square(FULL, (10, 10), 3, -2.0), (13, 13), 3, -2.0)
    (found,) = tidied([holes], PHOTO, fill_px=200, drop_px=0)  # each has about 144 px
    assert (found > 0).all()
    specks = -holes
    assert tidied([specks], PHOTO, fill_px=0, drop_px=200)[0] is specks


def test_a_speck_is_measured_in_px_of_the_photo() -> None:
    speck = with_square(with_square(EMPTY, (5, 5), 20, 3.0), (32, 32), 2, 1.5)
    assert tidied([speck], (640, 640), fill_px=0, drop_px=600)[0] is speck
    assert not (tidied([speck], (640, 640), fill_px=0, drop_px=1500)[0][32:34, 32:34] > 0).any()
