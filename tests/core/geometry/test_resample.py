# SPDX-License-Identifier: GPL-3.0-or-later
"""Upsampled logits equal those of PyTorch at all sizes, and stripes change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from sam2_splat_addon.core.geometry.resample import stripes, upsample, upsample_binary

torch = pytest.importorskip("torch")

SIZES = [
    ((64, 64), (450, 300)),
    ((256, 256), (1801, 1199)),
    ((32, 48), (777, 333)),
    ((96, 64), (48, 40)),
    ((1, 1), (5, 7)),
    ((1, 9), (70, 9)),
    ((5, 3), (5, 3)),
]


def noise(shape: tuple[int, int]) -> np.ndarray:
    return (np.random.default_rng(3).normal(size=shape) * 8).astype(np.float16)


def theirs(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    tensor = torch.from_numpy(logits.astype(np.float32))[None, None]
    return torch.nn.functional.interpolate(tensor, size=size, mode="bilinear", align_corners=False)[
        0, 0
    ].numpy()


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_upsampling_equals_pytorchs(small: tuple[int, int], large: tuple[int, int]) -> None:
    logits = noise(small)
    height, width = large
    assert np.abs(upsample(logits, width, height) - theirs(logits, large)).max() < 1e-5


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_binary_mattes_equal_pytorchs_to_the_pixel(
    small: tuple[int, int], large: tuple[int, int]
) -> None:
    logits = noise(small)
    height, width = large
    assert np.array_equal(upsample_binary(logits, width, height), theirs(logits, large) > 0)


@pytest.mark.parametrize("corner", [(0, 0), (0, 11), (7, 0), (7, 11), (3, 5)])
def test_a_single_inside_sample_is_found_anywhere(corner: tuple[int, int]) -> None:
    logits = np.full((8, 12), -3.0, dtype=np.float16)
    logits[corner] = 4.0
    assert np.array_equal(upsample_binary(logits, 121, 83), theirs(logits, (83, 121)) > 0)


def test_nothing_inside_gives_an_empty_matte_and_all_inside_a_full_one() -> None:
    assert not upsample_binary(np.full((4, 4), -1, np.float16), 50, 60).any()
    assert not upsample_binary(np.zeros((4, 4), np.float16), 50, 60).any()
    assert upsample_binary(np.full((4, 4), 1, np.float16), 50, 60).all()


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
def test_stripes_cover_every_row_once_whatever_their_height(rows: int) -> None:
    logits = noise((16, 24))
    whole = upsample(logits, 50, 131)
    tops = []
    for top, stripe in stripes(logits, 50, 131, rows):
        assert np.array_equal(stripe, whole[top : top + len(stripe)])
        tops.append(top)
    assert tops == list(range(0, 131, rows))


@pytest.mark.parametrize("seed", range(12))
def test_the_quick_way_to_a_binary_mask_equals_the_interpolation(seed: int) -> None:
    """Also where a value is so near to 0 that rounding decides, and for tiny or infinite samples."""
    rng = np.random.default_rng(seed)
    height, width, rows, columns = rng.integers(1, (60, 60, 300, 300))
    logits = rng.normal(size=(height, width)).astype(np.float32)
    if seed % 3 == 0:
        logits = np.round(logits * 2)
    if seed % 4 == 1:
        logits *= np.where(rng.random(logits.shape) < 0.5, 1e-6, 1e3).astype(np.float32)
    if seed % 5 == 2:
        logits[rng.random(logits.shape) < 0.1] = np.inf
    if seed % 2:
        logits = logits.astype(np.float16)
    with np.errstate(invalid="ignore"):
        expected = upsample(logits, int(columns), int(rows)) > 0
        found = upsample_binary(logits, int(columns), int(rows))
    assert np.array_equal(found, expected)
