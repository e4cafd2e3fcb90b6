# SPDX-License-Identifier: GPL-3.0-or-later
"""Refined mattes follow the photo's edges, change nothing far from an edge, and have no seams."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sam2_splat_addon.core.errors import Cancelled
from sam2_splat_addon.core.geometry.resample import upsample, upsample_binary
from sam2_splat_addon.engine.refine import edge_refine
from sam2_splat_addon.engine.refine.edge_model import (
    CERTAIN,
    EDGE_METADATA_KEY,
    EdgeModel,
    load_edge_model,
)
from sam2_splat_addon.engine.refine.edge_refine import refine, steps

WIDTH, HEIGHT = 720, 900
GRID = 48


def picture(dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    """A grainy photo of a ring on a pole, and the mask of both."""
    truth = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    cv2.circle(truth, (360, 300), 180, (1,), 60)
    cv2.line(truth, (360, 480), (400, 880), (1,), 50)
    rng = np.random.default_rng(0)
    photo = np.where(truth[..., None] > 0, (170.0, 90.0, 50.0), (70.0, 90.0, 110.0))
    photo = cv2.GaussianBlur(photo, (0, 0), 0.8) + rng.normal(0, 3, photo.shape)
    full = np.iinfo(dtype).max
    return np.rint(np.clip(photo, 0, 255) / 255 * full).astype(dtype), truth > 0


def coarse(truth: np.ndarray) -> np.ndarray:
    """Logits of a model that knows the shape to about one cell of its grid."""
    share = cv2.resize(truth.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(1).normal(size=share.shape).astype(np.float32)
    bend = cv2.GaussianBlur(noise, (0, 0), 1.5) * 6
    return ((cv2.GaussianBlur(share, (0, 0), 0.7) - 0.5) * 10 + bend).astype(np.float16)


def wrong(guess: np.ndarray, truth: np.ndarray) -> int:
    return int((guess != truth).sum())


def test_a_rough_matte_comes_to_the_photos_edge() -> None:
    photo, truth = picture()
    logits = coarse(truth)
    fine = refine(photo, logits).alpha > 0
    assert wrong(fine, truth) < 0.5 * wrong(upsample_binary(logits, WIDTH, HEIGHT), truth)


def test_alpha_is_full_or_nothing_and_partial_only_where_soft_was_asked_for() -> None:
    photo, truth = picture()
    logits = coarse(truth)
    hard, soft = refine(photo, logits).alpha, refine(photo, logits, soft=True).alpha
    assert set(np.unique(hard)) == {0, 255}
    partial = (soft > 0) & (soft < 255)
    assert partial.any()
    assert partial.mean() < 0.2
    assert np.array_equal(hard > 0, soft > 127)


def test_nothing_changes_far_from_the_coarse_edge() -> None:
    photo, _ = picture()
    logits = np.full((GRID, GRID), -8.0, dtype=np.float32)
    logits[16:32, 16:32] = 8.0  # a square that the photo does not show
    alpha = refine(photo, logits).alpha > 0
    plain = upsample_binary(logits, WIDTH, HEIGHT)
    cell = HEIGHT // GRID
    kernel = np.ones((8 * cell + 1,) * 2, dtype=np.uint8)
    far = cv2.dilate(plain.astype(np.uint8), kernel) == cv2.erode(plain.astype(np.uint8), kernel)
    assert far.any()
    assert np.array_equal(alpha[far], plain[far])


def test_an_empty_matte_stays_empty_and_asks_the_model_nothing() -> None:
    photo, _ = picture()
    refined = refine(photo, np.full((GRID, GRID), -3.0, dtype=np.float32))
    assert not refined.alpha.any()
    assert refined.computed == 0


def test_tiles_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, truth = picture()
    logits = coarse(truth)
    tiled = refine(photo, logits).alpha
    monkeypatch.setattr(edge_refine, "_TILE", 1024)  # each step in one piece
    whole = refine(photo, logits).alpha
    assert (tiled != whole).mean() < 2e-4


def test_cost_follows_the_outline_and_not_the_area() -> None:
    photo = np.full((2400, 2400, 3), 128, dtype=np.uint8)
    logits = np.full((64, 64), -8.0, dtype=np.float32)
    logits[30:34, 30:34] = 8.0
    assert refine(photo, logits).computed < 0.35 * 2400 * 2400


def test_sixteen_bits_give_what_eight_give() -> None:
    logits = coarse(picture()[1])
    eight, sixteen = (refine(picture(kind)[0], logits).alpha for kind in (np.uint8, np.uint16))
    assert (eight != sixteen).mean() < 2e-3


def test_the_same_input_gives_the_same_bytes() -> None:
    photo, truth = picture()
    first, second = (refine(photo, coarse(truth), soft=True).alpha for _ in range(2))
    assert np.array_equal(first, second)


def test_what_goes_on_may_stop_it() -> None:
    photo, truth = picture()

    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        refine(photo, coarse(truth), go_on=stop)


@pytest.mark.parametrize(
    ("width", "height", "grid", "count"),
    [(6000, 9000, 256, 4), (1200, 1800, 128, 3), (400, 300, 128, 1), (8192, 4096, 128, 5)],
)
def test_steps_about_double_up_to_the_photo(width: int, height: int, grid: int, count: int) -> None:
    sizes = steps(width, height, grid)
    assert sizes[-1] == (width, height)
    assert len(sizes) == count
    for (small, _), (large, _) in itertools.pairwise(sizes):
        assert 1.4 < large / small < 2.9


def test_a_photo_smaller_than_a_tile_is_refined_too() -> None:
    photo = np.zeros((37, 53, 3), dtype=np.uint8)
    photo[10:25, 10:40] = 255
    logits = np.full((16, 16), -5.0, dtype=np.float32)
    logits[5:10, 4:11] = 5.0
    alpha = refine(photo, logits).alpha
    assert alpha.shape == (37, 53)
    assert alpha[18, 25] == 255


def test_without_change_the_model_gives_the_bilinear_matte() -> None:
    photo, truth = picture()
    logits = coarse(truth)
    unlearned = EdgeModel().eval()  # its last layer is 0
    plain = upsample(logits, WIDTH, HEIGHT)
    clear = np.abs(plain) > 0.5  # two steps of interpolation round differently
    alpha = refine(photo, logits, model=unlearned).alpha > 0
    assert np.array_equal(alpha[clear], plain[clear] > 0)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "edges.safetensors"
    save_file({"a": torch.zeros(1)}, path, {EDGE_METADATA_KEY: '{"architecture": "other"}'})
    with pytest.raises(ValueError, match="edges"):
        load_edge_model(path)


def test_a_matte_that_is_very_sure_is_no_surer_to_the_edge_model() -> None:
    """Otherwise one wild logit would outweigh everything that the photo shows."""
    photo, truth = picture()
    model = load_edge_model()
    colours = torch.from_numpy(photo[:320, :320].copy()).permute(2, 0, 1)[None].float() / 255
    inside = torch.from_numpy(np.where(truth[:320, :320], 1.0, -1.0)).float()[None, None]
    with torch.no_grad():
        sure, surer = (model(colours, factor * inside) for factor in (CERTAIN, 50 * CERTAIN))
        less = model(colours, 0.5 * CERTAIN * inside)
    assert torch.equal(sure, surer)
    assert not torch.equal(sure, less)
