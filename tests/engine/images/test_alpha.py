# SPDX-License-Identifier: GPL-3.0-or-later
"""Alpha is the union of the objects' mattes, and edges lie where they should, to the pixel."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.geometry.resample import upsample
from sam2_splat_addon.engine.images import alpha as matte
from sam2_splat_addon.engine.images.alpha import combine, covered

WIDTH, HEIGHT = 120, 170


def logits(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(34, 24)).astype(np.float32)
    return (cv2.GaussianBlur(noise, (0, 0), 3) * 40).astype(np.float16)


def shape(*filled: tuple[int, int, int, int]) -> np.ndarray:
    """A drawn mask of boxes (left, top, right, bottom)."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for left, top, right, bottom in filled:
        mask[top:bottom, left:right] = True
    return mask


def bake(drawn: np.ndarray, **options: Any) -> np.ndarray:
    return combine([], [drawn], WIDTH, HEIGHT, BakeOptions(**options))


def blob() -> np.ndarray:
    return upsample(logits(), WIDTH, HEIGHT) > 0


def within(distance: float, mask: np.ndarray) -> np.ndarray:
    """Pixels with a mask pixel at most ``distance`` away, found by trying every offset."""
    reach = int(distance)
    height, width = mask.shape
    padded = np.pad(mask, reach)
    out = np.zeros_like(mask)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dx * dx + dy * dy <= distance * distance:
                y, x = reach + dy, reach + dx
                out |= padded[y : y + height, x : x + width]
    return out


@pytest.mark.parametrize(("depth", "full"), [(8, 255), (16, 65535)])
def test_binary_alpha_is_the_sign_of_the_interpolated_logits(depth: Any, full: int) -> None:
    alpha = combine([logits()], [], WIDTH, HEIGHT, BakeOptions(), depth)
    assert alpha.dtype.itemsize * 8 == depth
    assert np.array_equal(alpha, np.where(blob(), full, 0))


@pytest.mark.parametrize("kind", ["binary", "soft"])
def test_several_objects_are_joined_by_maximum(kind: Any) -> None:
    options = BakeOptions(alpha=kind)
    one, two = (combine([logits(i)], [], WIDTH, HEIGHT, options) for i in (1, 2))
    box = shape((5, 5, 30, 40))
    both = combine([logits(1), logits(2)], [box], WIDTH, HEIGHT, options)
    assert np.array_equal(both, np.maximum(np.maximum(one, two), box * np.uint8(255)))


@pytest.mark.parametrize("depth", [8, 16])
def test_soft_alpha_keeps_the_edge_and_is_hard_elsewhere(depth: Any) -> None:
    options = BakeOptions(alpha="soft")
    alpha = combine([logits()], [], WIDTH, HEIGHT, options, depth).astype(float)
    full = 2**depth - 1
    certain = np.abs(alpha / full - 0.5) > 0.02
    assert np.array_equal((alpha > full / 2)[certain], blob()[certain])
    assert len(np.unique(alpha)) > 50
    # Two samples of the small logits (5 px each) away from the edge, nothing is uncertain.
    far = ~(within(22, blob()) & within(22, ~blob()))
    assert far.any()
    assert set(np.unique(alpha[far])) <= {0, full}


def test_doubt_far_from_the_edge_stays_out_of_soft_alpha() -> None:
    doubtful = np.full((20, 20), 0.1, dtype=np.float16)
    doubtful[:, :10] = -0.1
    alpha = combine([doubtful], [], 200, 200, BakeOptions(alpha="soft"))
    assert (alpha[:, :60] == 0).all()
    assert (alpha[:, 140:] == 255).all()


def test_holes_below_the_size_are_closed_and_larger_ones_stay() -> None:
    mask = shape((20, 20, 100, 150))
    mask[30:34, 30:34] = False  # 16 px
    mask[60:65, 60:65] = False  # 25 px
    mask[20:24, 90:93] = False  # open to the outside
    filled = bake(mask, fill_holes_px=25)
    mask[30:34, 30:34] = True
    assert np.array_equal(filled, mask * np.uint8(255))
    mask[60:65, 60:65] = True
    assert np.array_equal(bake(mask, fill_holes_px=26), mask * np.uint8(255))


def test_a_gap_at_the_frames_border_is_no_hole() -> None:
    mask = np.ones((HEIGHT, WIDTH), dtype=bool)
    mask[:3, 50:53] = False
    assert np.array_equal(bake(mask, fill_holes_px=50), mask * np.uint8(255))


def test_a_diagonal_line_closes_a_hole_and_joins_parts() -> None:
    ring = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for x, y in ((10, 9), (9, 10), (11, 10), (10, 11)):
        ring[y, x] = True
    closed = bake(ring, fill_holes_px=2)
    assert closed[10, 10] == 255
    assert (bake(ring, drop_specks_px=4) > 0).sum() == 4
    assert not bake(ring, drop_specks_px=5).any()


def test_specks_below_the_size_are_dropped() -> None:
    mask = shape((20, 20, 60, 60), (80, 80, 84, 84), (100, 100, 105, 105), (0, 0, 2, 2))
    kept = shape((20, 20, 60, 60), (100, 100, 105, 105))
    assert np.array_equal(bake(mask, drop_specks_px=25), kept * np.uint8(255))


def test_dropping_a_soft_speck_leaves_no_halo() -> None:
    small = np.full((34, 24), -6.0, dtype=np.float16)
    small[5:20, 5:15] = 6.0
    small[28, 20] = 3.0
    soft = combine([small], [], WIDTH, HEIGHT, BakeOptions(alpha="soft"))
    assert soft[130:, 90:].any()
    dropped = combine([small], [], WIDTH, HEIGHT, BakeOptions(alpha="soft", drop_specks_px=200))
    assert not dropped[130:, 90:].any()
    assert np.array_equal(dropped[:110], soft[:110])


@pytest.mark.parametrize("distance", [1.0, 2.5, 7.0])
@pytest.mark.parametrize("stripe", [16, 512])
def test_growing_and_shrinking_are_exact(
    monkeypatch: pytest.MonkeyPatch, distance: float, stripe: int
) -> None:
    monkeypatch.setattr(matte, "_STRIPE_ROWS", stripe)
    mask = blob()
    grown = bake(mask, grow_px=distance)
    assert np.array_equal(grown > 0, within(distance, mask))
    shrunk = bake(mask, grow_px=-distance)
    assert np.array_equal(shrunk > 0, ~within(distance, ~mask))


def test_the_frames_border_does_not_shrink_or_feather_the_subject() -> None:
    full = np.ones((HEIGHT, WIDTH), dtype=bool)
    assert (bake(full, grow_px=-9) == 255).all()
    half = shape((0, 0, 60, HEIGHT))
    assert np.array_equal(bake(half, grow_px=-9), shape((0, 0, 51, HEIGHT)) * np.uint8(255))
    feathered = bake(half, feather_px=12)
    assert (feathered[:, :40] == 255).all()
    assert (feathered == feathered[:1]).all()


@pytest.mark.parametrize("distance", [6.0, 20.0, -6.0, -12.0])
def test_soft_edges_move_with_their_values(distance: float) -> None:
    edge = np.full((34, 24), -6.0, dtype=np.float16)
    edge[10:24, 7:17] = 6.0
    before = combine([edge], [], WIDTH, HEIGHT, BakeOptions(alpha="soft"))
    after = combine([edge], [], WIDTH, HEIGHT, BakeOptions(alpha="soft", grow_px=distance))
    middle = before[85].astype(int), after[85].astype(int)
    right_edge = [np.flatnonzero(row > 127)[-1] for row in middle]
    assert abs((right_edge[1] - right_edge[0]) - distance) <= 1
    assert set(np.unique(after)) <= set(np.unique(before))


def test_feather_is_a_centred_ramp_of_about_its_width() -> None:
    row = bake(shape((0, 0, 60, HEIGHT)), feather_px=16)[80].astype(int)
    assert (np.diff(row) <= 0).all()
    assert abs(row[59] + row[60] - 255) <= 1
    ramp = ((row > 0.025 * 255) & (row < 0.975 * 255)).sum()
    assert 14 <= ramp <= 18


def test_invert_comes_last() -> None:
    mask = blob()
    options = {"grow_px": 3.0, "feather_px": 4.0, "fill_holes_px": 30, "drop_specks_px": 30}
    assert np.array_equal(bake(mask, invert=True, **options), 255 - bake(mask, **options))


def test_nothing_inside_stays_nothing_under_every_option() -> None:
    for kind in ("binary", "soft"):
        options = BakeOptions(
            alpha=kind, grow_px=5, feather_px=5, fill_holes_px=9, drop_specks_px=9
        )
        empty = combine([np.full((8, 8), -9, np.float16)], [], WIDTH, HEIGHT, options)
        assert not empty.any()
        assert combine([], [], WIDTH, HEIGHT, BakeOptions(invert=True)).all()


def test_the_covered_region_is_the_smallest_with_a_margin_inside_the_frame() -> None:
    alpha = shape((3, 100, 9, 110)).astype(np.uint8)
    region = covered(alpha, 5)
    assert region is not None
    assert (region.top, region.bottom, region.left, region.right) == (95, 115, 0, 14)
    assert covered(np.zeros_like(alpha)) is None
