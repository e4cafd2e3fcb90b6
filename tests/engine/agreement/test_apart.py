# SPDX-License-Identifier: GPL-3.0-or-later
"""Things that stand apart from the clicked one are left out of the hull; pieces of it are not."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.engine.agreement.aim import Mask
from sam2_splat_addon.engine.agreement.apart import without_others
from sam2_splat_addon.engine.agreement.hull import Hull, carve
from sam2_splat_addon.engine.agreement.outline import Outlines
from tests.engine.agreement.solid import CENTRE, POINTS, cameras, iou, logits_of, truth

ASIDE = np.array([0.0, 1.4, 0.0])
OTHER = POINTS + ASIDE  # a stool like the first, beside it
VIEWS = cameras(16, far=4.5)


def masks_with(points: NDArray[np.float64], at: NDArray[np.float64] | None = CENTRE) -> list[Mask]:
    """Return masks of points, the same on all photos. The first photo has a click on a place in space."""
    masks = []
    for frame, view in enumerate(VIEWS, 1):
        mask = Mask(frame, view, logits_of(truth(view, points)), fixed=frame == 1)
        if frame == 1 and at is not None:
            pixels, _ = view.project(at[None])
            click = (float(pixels[0, 0]), float(pixels[0, 1]))
            mask = dataclasses.replace(mask, clicks=(click,))
        masks.append(mask)
    return masks


def hull_of(masks: list[Mask]) -> tuple[Hull, Outlines]:
    hull = carve(masks, across=128)
    assert hull is not None
    found = without_others(hull, masks, Outlines(hull, masks).limit)
    return found, Outlines(found, masks)


def mean_iou(outlines: Outlines, points: NDArray[np.float64]) -> float:
    found = [iou(outlines.shape(frame), truth(view, points)) for frame, view in enumerate(VIEWS, 1)]
    return float(np.mean(found))


SEAT = CENTRE + np.array([0.0, 0.0, 0.45])


def test_of_two_things_that_all_masks_hold_the_clicked_one_stays() -> None:
    both = np.concatenate([POINTS, OTHER])
    for place, points in ((SEAT, POINTS), (SEAT + ASIDE, OTHER)):
        hull, outlines = hull_of(masks_with(both, place))
        assert hull.others == 1
        assert mean_iou(outlines, points) > 0.6 > 0.5 > mean_iou(outlines, both)


def test_without_a_click_the_place_deepest_in_the_mask_counts() -> None:
    small = CENTRE + ASIDE + (POINTS - CENTRE) * 0.6
    hull, outlines = hull_of(masks_with(np.concatenate([POINTS, small]), None))
    assert hull.others == 1
    assert mean_iou(outlines, POINTS) > 0.6


def test_with_a_click_on_each_both_stay() -> None:
    masks = masks_with(np.concatenate([POINTS, OTHER]), SEAT)
    pixels, _ = VIEWS[4].project((SEAT + ASIDE)[None])
    click = (float(pixels[0, 0]), float(pixels[0, 1]))
    masks[4] = dataclasses.replace(masks[4], fixed=True, clicks=(click,))
    hull, _ = hull_of(masks)
    assert hull.others == 0


def test_a_small_piece_apart_may_be_of_the_subject() -> None:
    rng = np.random.default_rng(1)
    piece = CENTRE + ASIDE + rng.uniform(-0.06, 0.06, (4000, 3))
    hull, outlines = hull_of(masks_with(np.concatenate([POINTS, piece]), SEAT))
    assert hull.others == 0
    seen = [outlines.shape(frame) & truth(view, piece) for frame, view in enumerate(VIEWS, 1)]
    assert min(int(one.sum()) for one in seen) > 0


def test_clicks_that_meet_nothing_leave_all_as_it_was() -> None:
    masks = masks_with(np.concatenate([POINTS, OTHER]), CENTRE + np.array([0.0, 0.0, 3.0]))
    hull = carve(masks, across=96)
    assert hull is not None
    assert without_others(hull, masks, 0.8) is hull
    nobody = [dataclasses.replace(mask, fixed=False) for mask in masks]
    assert without_others(hull, nobody, 0.8) is hull
