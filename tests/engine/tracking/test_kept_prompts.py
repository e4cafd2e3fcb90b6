# SPDX-License-Identifier: GPL-3.0-or-later
"""A mask agrees with its prompts, whatever the model says. May import: anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sam2_splat_addon.core.prompts import BoxPrompt, FramePrompts, PointPrompt
from sam2_splat_addon.engine.tracking.kept_prompts import keep_prompts
from sam2_splat_addon.engine.tracking.prompt_tensors import prompt_tensors
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter

from ..random_models import random_frames, random_model

SIDE = 128  # of the input; the grid is a quarter of it
WIDTH, HEIGHT = 300, 200  # of the photo


def given(*points: tuple[float, float, bool], box: BoxPrompt | None = None) -> dict[str, Tensor]:
    """Clicks (x, y, include) in px of the photo, as sam2 takes them."""
    prompts = FramePrompts(1, tuple(PointPrompt(x, y, include) for x, y, include in points), box)
    tensors = prompt_tensors(prompts, WIDTH, HEIGHT, SIDE, torch.device("cpu"))
    assert tensors.points is not None
    return tensors.points


def mask_of(logits: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """The matte's mask at the photo's size."""
    size = (HEIGHT, WIDTH)
    full = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return np.asarray(full[0, 0].numpy() > 0)


def halves() -> Tensor:
    """Features (1, 4, 16, 16) of two kinds: the left half and the right one."""
    features = torch.zeros(1, 4, 16, 16)
    features[:, 0, :, :8] = 1
    features[:, 1, :, 8:] = 1
    return features


def test_an_answer_that_agrees_stays_the_same_tensor() -> None:
    logits = torch.full((1, 1, 32, 32), -5.0)
    logits[..., 8:20, 8:20] = 5.0
    points = given((130.0, 90.0, True), (280.0, 190.0, False))
    assert keep_prompts(logits, points, halves(), SIDE) is logits


def test_a_missed_click_takes_what_looks_like_it_along_and_nothing_else() -> None:
    logits = torch.full((1, 1, 32, 32), -2.0)
    kept = keep_prompts(logits, given((130.0, 100.0, True)), halves(), SIDE)
    mask = mask_of(kept)
    assert mask[100, 130]
    assert mask.sum() > 30  # more than a dot
    assert not mask[:, 155:].any()  # beyond the edge between the two kinds
    assert torch.equal(kept[..., 28:, :], logits[..., 28:, :]) or not mask[180:].any()


def test_an_obeyed_click_beside_a_missed_one_stays_obeyed() -> None:
    logits = torch.full((1, 1, 32, 32), 3.0)
    points = given((120.0, 100.0, False), (132.0, 100.0, True), (100.0, 60.0, True))
    mask = mask_of(keep_prompts(logits, points, halves(), SIDE))
    assert not mask[100, 120]
    assert mask[100, 132]
    assert mask[60, 100]


@pytest.mark.parametrize("seed", range(12))
def test_every_click_is_obeyed_at_its_own_pixel_whatever_the_answer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    logits = torch.randn(1, 1, 32, 32) * float(rng.choice([0.5, 5.0, 1000.0]))
    count = int(rng.integers(1, 15))
    places = rng.permutation(15 * 10)[:count]  # 20 px apart: two cells of the grid
    points = [
        (20.0 * (at % 15) + 9.5, 20.0 * (at // 15) + 9.5, bool(rng.random() < 0.5)) for at in places
    ]
    kept = keep_prompts(logits, given(*points), torch.randn(1, 8, 8, 8), SIDE)
    mask = mask_of(kept)
    assert bool(torch.isfinite(kept).all())
    for x, y, include in points:
        assert mask[int(y), int(x)] == include


def test_the_same_prompts_give_the_same_bits() -> None:
    torch.manual_seed(1)
    logits, features = torch.randn(1, 1, 32, 32), torch.randn(1, 8, 8, 8)
    points = given((50.0, 50.0, True), (200.0, 120.0, False), (210.0, 60.0, True))
    first = keep_prompts(logits, points, features, SIDE)
    assert torch.equal(first, keep_prompts(logits, points, features, SIDE))


def test_nothing_is_left_outside_a_box_but_a_little_room() -> None:
    logits = torch.full((1, 1, 32, 32), 4.0)
    points = given(box=BoxPrompt(60.0, 50.0, 180.0, 140.0))
    mask = mask_of(keep_prompts(logits, points, halves(), SIDE))
    assert mask[55:135, 65:175].all()
    room = 12  # 3 % of its sides, and a cell of the grid
    outside = np.ones_like(mask)
    outside[50 - room : 140 + room, 60 - room : 180 + room] = False
    assert not mask[outside].any()


def test_clicks_at_the_photos_rim_are_obeyed() -> None:
    logits = torch.full((1, 1, 32, 32), -4.0)
    points = [(0.5, 0.5, True), (299.5, 199.5, True), (299.5, 0.5, True)]
    mask = mask_of(keep_prompts(logits, given(*points), halves(), SIDE))
    assert all(mask[int(y), int(x)] for x, y, _ in points)


@pytest.mark.parametrize("include", [True, False])
def test_the_bundled_model_obeys_through_its_steps_and_remembers_what_it_shows(
    include: bool,
) -> None:
    model = random_model("bundled", image_size=SIDE, always_seen=True)
    steps = Sam2Adapter(model, 1)
    with torch.inference_mode():
        image = steps.encode(random_frames(1, SIDE).tensors[0])
        points = [(150.0, 100.0, True), (40.0, 30.0, include)]
        prompts = FramePrompts(1, tuple(PointPrompt(x, y, kind) for x, y, kind in points))
        tensors = prompt_tensors(prompts, WIDTH, HEIGHT, SIDE, torch.device("cpu"))
        found = steps.condition(0, image, tensors)
    mask = mask_of(found.logits)
    assert [bool(mask[int(y), int(x)]) for x, y, _ in points] == [True, include]
    expected = F.interpolate(found.logits, (SIDE, SIDE), mode="bilinear", align_corners=False)
    assert torch.equal(found.logits_at_input, expected)
