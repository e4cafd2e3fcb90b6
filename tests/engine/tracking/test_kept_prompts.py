# SPDX-License-Identifier: GPL-3.0-or-later
"""A mask agrees with its prompts, whatever the model says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.nn import functional as F

from sam2_splat_addon.core.prompts import BoxPrompt, FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.tracking.kept_prompts import (
    MARGIN,
    in_turn,
    inside_box,
    keep_prompts,
    obeys,
)
from sam2_splat_addon.engine.tracking.prompt_tensors import PromptTensors, prompt_tensors
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter

from ..random_models import HEIGHT as PHOTO_HEIGHT
from ..random_models import WIDTH as PHOTO_WIDTH
from ..random_models import propagated, random_frames, random_model

SIDE = 128  # of the input; the grid's side is a quarter of it
WIDTH, HEIGHT = 300, 200  # of the photo


def given(*points: tuple[float, float, bool], box: BoxPrompt | None = None) -> dict[str, Tensor]:
    """Clicks (x, y, include) in px of the photo, in sam2's form."""
    prompts = FramePrompts(1, tuple(PointPrompt(x, y, include) for x, y, include in points), box)
    tensors = prompt_tensors(prompts, WIDTH, HEIGHT, SIDE, torch.device("cpu"))
    assert tensors.points is not None
    return tensors.points


def mask_of(logits: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return the matte's mask at the photo's size."""
    size = (HEIGHT, WIDTH)
    full = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return np.asarray(full[0, 0].numpy() > 0)


def halves() -> Tensor:
    """Features (1, 4, 16, 16) of two kinds: the left half and the right half."""
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
    assert not mask[:, 155:].any()  # on the other side of the edge between the two kinds
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


def test_a_click_changes_what_hangs_together_with_it_alone() -> None:
    logits = torch.full((1, 1, 32, 32), -0.4)
    logits[..., 6:8] = 3.0  # a wall inside the left half, whose two sides look alike
    before = mask_of(logits)
    kept = keep_prompts(logits, given((30.0, 100.0, True)), halves(), SIDE)
    after = mask_of(kept)
    assert after[100, 30] and not before[100, 30]
    beyond = kept[0, 0, 16, 8:14]  # alike, so no longer certain, and still outside
    assert torch.allclose(beyond, torch.full_like(beyond, -0.3))
    assert (after[:, 90:] == before[:, 90:]).all()  # on the other side of the wall


def shown_at(logits: Tensor, x: float, y: float) -> float:
    """Return the logit at a place of the photo, interpolated as the matte is."""
    full = F.interpolate(logits, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
    return float(full[0, 0, int(y), int(x)])


def test_a_click_that_is_hardly_obeyed_is_made_sure() -> None:
    for include, sign in ((True, 1.0), (False, -1.0)):
        logits = torch.full((1, 1, 32, 32), 0.1 * sign)
        kept = keep_prompts(logits, given((140.5, 100.5, include)), halves(), SIDE)
        assert sign * shown_at(kept, 140.5, 100.5) == pytest.approx(MARGIN, abs=0.02)


def test_the_more_clicks_there_are_the_less_far_a_correction_spreads() -> None:
    logits = torch.full((1, 1, 32, 32), -2.0)
    missed = (30.5, 100.5, True)
    others = [
        (280.5, 20.5 + 30 * at, False) for at in range(5)
    ]  # they are obeyed, and look different
    alone, among = (
        int(mask_of(keep_prompts(logits, given(*points), halves(), SIDE)).sum())
        for points in ([missed], [missed, *others])
    )
    assert 0 < among < 0.8 * alone


def test_a_correction_bounds_logits_that_say_no_more() -> None:
    logits = torch.full((1, 1, 32, 32), -1000.0)
    kept = keep_prompts(logits, given((130.0, 100.0, True)), halves(), SIDE)
    assert float(kept.min()) >= -32.0
    assert mask_of(kept)[100, 130]


def test_clicks_so_near_that_they_share_cells_are_all_obeyed() -> None:
    points = [(150.5, 100.5, True), (157.5, 100.5, False), (150.5, 105.5, False)]
    for level in (-6.0, 6.0):
        kept = keep_prompts(torch.full((1, 1, 32, 32), level), given(*points), halves(), SIDE)
        for x, y, include in points:
            assert (shown_at(kept, x, y) > 0) == include


def test_a_box_leaves_a_little_room_and_what_lies_further_out_is_the_surer_outside() -> None:
    logits = torch.full((1, 1, SIDE, SIDE), 4.0)
    # 100 x 50 px of the model's input, so 3 and 1.5 px of room.
    points = {
        "point_coords": torch.tensor([[[19.5, 39.5], [119.5, 89.5]]]),
        "point_labels": torch.tensor([[2, 3]]),
    }
    bounded = inside_box(logits, points, SIDE)[0, 0]
    across = [float(bounded[64, at]) for at in (15, 16, 17, 18, 121, 122, 123, 124)]
    assert across == pytest.approx([-1.7, -0.7, 4.0, 4.0, 4.0, 4.0, -0.7, -1.7])
    down = [float(bounded[at, 64]) for at in (37, 38, 39, 90, 91, 92)]
    assert down == pytest.approx([-1.2, 4.0, 4.0, 4.0, 4.0, -1.2])
    corner = {name: part[:, :1] for name, part in points.items()}
    assert inside_box(logits, corner, SIDE) is logits  # half a box is none


def test_a_correction_does_not_grow_out_of_a_box() -> None:
    logits = torch.full((1, 1, 32, 32), -2.0)
    box = BoxPrompt(20.0, 60.0, 100.0, 140.0)
    mask = mask_of(keep_prompts(logits, given((92.0, 100.0, True), box=box), halves(), SIDE))
    assert mask[100, 92]
    room = 12  # 3 % of its sides, and a cell of the grid
    assert not mask[:, 100 + room :].any()


def test_numbers_of_half_size_around_it_change_nothing() -> None:
    torch.manual_seed(5)
    logits, features = torch.randn(1, 1, 32, 32) * 5, torch.randn(1, 8, 8, 8)
    points = given((50.5, 50.5, True), (200.5, 120.5, False), (210.5, 60.5, True))
    expected = keep_prompts(logits, points, features, SIDE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(keep_prompts(logits, points, features, SIDE), expected)


def test_a_click_on_the_line_itself_is_not_obeyed() -> None:
    on_the_line = torch.zeros(1, 1, 32, 32)
    for include in (True, False):
        points = given((130.0, 90.0, include))
        assert not obeys(on_the_line, points, SIDE)
        assert obeys(on_the_line + (0.1 if include else -0.1), points, SIDE)
        assert not obeys(on_the_line - (0.1 if include else -0.1), points, SIDE)
    assert obeys(on_the_line, given(box=BoxPrompt(1.0, 1.0, 9.0, 9.0)), SIDE)  # no click to miss


def answered(steps: Sam2Adapter, *points: tuple[float, float, bool]) -> Tensor:
    """Return the logits for a frame of noise, from these clicks alone."""
    prompts = FramePrompts(1, tuple(PointPrompt(x, y, kind) for x, y, kind in points))
    tensors = prompt_tensors(prompts, WIDTH, HEIGHT, SIDE, torch.device("cpu"))
    with torch.inference_mode():
        image = steps.encode(random_frames(1, SIDE).tensors[0])
        return steps.condition(0, image, tensors).logits


def test_the_bundled_model_is_asked_after_each_click_and_moved_where_it_misses_one() -> None:
    model = random_model("bundled", image_size=SIDE, always_seen=True)
    steps, alone = Sam2Adapter(model, 1), Sam2Adapter(model, 1, keeps_prompts=False)
    places = [(150.0, 100.0, True), (40.0, 30.0, True), (250.0, 160.0, False)]
    with torch.inference_mode():
        image = alone.encode(random_frames(1, SIDE).tensors[0])
        *finer, embedding = (
            maps.permute(1, 2, 0).view(1, -1, *size)
            for maps, size in zip(image.maps, image.sizes, strict=True)
        )
        embedding = embedding + model.no_mem_embed.detach().view(1, -1, 1, 1)
        expected = keep_prompts(answered(alone, places[0]), given(places[0]), embedding, SIDE)
        for count in (2, 3):
            answer = model._forward_sam_heads(
                backbone_features=embedding,
                point_inputs=given(*places[:count]),
                mask_inputs=expected,
                high_res_features=finer,
            )[3]
            # From the third click on, it counts less far away.
            cells = (np.arange(SIDE // 4) + 0.5) / (SIDE // 4)
            x, y = (given(places[2])["point_coords"][0, 0].numpy() + 0.5) / SIDE
            away = np.hypot(cells[:, None] - y, cells - x) * 128 / 10
            share = 0.6 if count == 2 else 0.2 + 0.4 * np.exp(-(away**2))
            expected = expected + torch.as_tensor(share).float() * (answer - expected)
            expected = keep_prompts(expected, given(*places[:count]), embedding, SIDE)
    assert torch.allclose(answered(steps, *places), expected, atol=1e-4)
    assert all(mask_of(expected)[int(y), int(x)] == kind for x, y, kind in places)
    missed = mask_of(answered(alone, *places))
    assert any(missed[int(y), int(x)] != kind for x, y, kind in places)


def test_answers_to_earlier_clicks_are_taken_up_with_equal_results() -> None:
    model = random_model("bundled", image_size=SIDE, always_seen=True)
    steps = Sam2Adapter(model, 1)
    box = BoxPrompt(20.0, 10.0, 260.0, 180.0)
    clicks = [PointPrompt(150, 100), PointPrompt(40, 30, False), PointPrompt(250, 160)]
    turns: dict[bytes, Tensor] = {}
    with torch.inference_mode():
        image = steps.encode(random_frames(1, SIDE).tensors[0])
        for count in range(4):
            prompts = FramePrompts(1, tuple(clicks[:count]), box)
            tensors = prompt_tensors(prompts, WIDTH, HEIGHT, SIDE, torch.device("cpu"))
            known = len(turns)
            assert known == count
            taken_up = steps.condition(0, image, tensors, turns)
            anew = steps.condition(0, image, tensors)
            assert torch.equal(taken_up.logits, anew.logits)
            assert torch.equal(taken_up.pointer, anew.pointer)


class Asked:
    """Counts how often a model's mask decoder is asked."""

    def __init__(self, model: SAM2Base, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self._real = model._forward_sam_heads
        monkeypatch.setattr(model, "_forward_sam_heads", self._count)

    def _count(self, *given: Any, **named: Any) -> Any:
        self.times += 1
        return self._real(*given, **named)


def clicks_of(*points: tuple[float, float, bool]) -> PromptTensors:
    prompts = FramePrompts(1, tuple(PointPrompt(x, y, kind) for x, y, kind in points))
    return prompt_tensors(prompts, WIDTH, HEIGHT, SIDE, torch.device("cpu"))


def test_known_answers_save_the_turns_before_the_newest_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model("bundled", image_size=SIDE, always_seen=True)
    asked, steps = Asked(model, monkeypatch), Sam2Adapter(model, 1)
    places = [(150.0, 100.0, True), (40.0, 30.0, False), (250.0, 160.0, True)]
    turns: dict[bytes, Tensor] = {}
    with torch.inference_mode():
        image = steps.encode(random_frames(1, SIDE).tensors[0])
        steps.condition(0, image, clicks_of(*places))
        assert asked.times == 3  # one turn for each click
        steps.condition(0, image, clicks_of(*places[:2]), turns)
        asked.times = 0
        steps.condition(0, image, clicks_of(*places), turns)
        assert asked.times == 1
        mask = torch.zeros(1, 1, SIDE, SIDE)
        mask[..., 30:70, 30:70] = 1.0
        points = clicks_of(*places)
        with_mask: dict[bytes, Tensor] = {}
        steps.condition(0, image, replace(points, mask=mask), with_mask)
    assert not with_mask  # these answers are to the mask too, and the keys don't tell it


@pytest.mark.parametrize("advice", [True, False])
def test_a_closer_look_is_one_turn_from_what_is_known_and_hints_need_not_be_obeyed(
    advice: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model("bundled", image_size=SIDE, always_seen=True)
    steps = Sam2Adapter(model, 1)
    places = [(150.0, 100.0, True), (40.0, 30.0, True), (250.0, 160.0, False)]
    torch.manual_seed(2)
    before = torch.randn(1, 1, SIDE // 4, SIDE // 4) * 100
    with torch.inference_mode():
        image = steps.encode(random_frames(1, SIDE).tensors[0])
        *finer, embedding = (
            maps.permute(1, 2, 0).view(1, -1, *size)
            for maps, size in zip(image.maps, image.sizes, strict=True)
        )
        answer = model._forward_sam_heads(
            backbone_features=embedding + model.no_mem_embed.detach().view(1, -1, 1, 1),
            point_inputs=given(*places),
            mask_inputs=torch.clamp(before, -32, 32),
            high_res_features=finer,
        )[3]
        asked = Asked(model, monkeypatch)
        found = steps.refine_from_logits(0, image, clicks_of(*places), before, advice=advice)
    assert asked.times == 1
    plain, kept = mask_of(answer), mask_of(found.logits)
    assert any(plain[int(y), int(x)] != kind for x, y, kind in places)
    if advice:
        assert torch.allclose(found.logits, answer, atol=1e-4)
    else:
        assert all(kept[int(y), int(x)] == kind for x, y, kind in places)


@pytest.mark.parametrize(
    ("labels", "known", "ends"),
    [
        ([1, 1, 0], False, [1, 2, 3]),
        ([0, 0, 1, 1], False, [3, 4]),  # nothing is looked for before the first include click
        ([0, 0, 1], True, [1, 2, 3]),
        ([0, 0, 0], False, [3]),  # nothing says where it is
        ([2, 3, 1], True, [2, 3]),
        ([2, 3, 1, 0], False, [2, 3, 4]),
        ([2, 3], True, [2]),
    ],
)
def test_prompts_are_given_in_the_turns_in_which_they_were_made(
    labels: list[int], known: bool, ends: list[int]
) -> None:
    points = {
        "point_coords": torch.rand(1, len(labels), 2),
        "point_labels": torch.tensor([labels]),
    }
    turns = in_turn(points, known=known)
    assert [turn["point_labels"].shape[1] for turn in turns] == ends
    for turn, end in zip(turns, ends, strict=True):
        assert torch.equal(turn["point_coords"], points["point_coords"][:, :end])


def test_sam_2_1_is_left_to_itself_unless_its_user_wants_clicks_obeyed() -> None:
    model = random_model("sam2.1_hiera_tiny", image_size=SIDE, always_seen=True)
    places = [(150.0, 100.0, True), (40.0, 30.0, True), (250.0, 160.0, False), (60.0, 150.0, False)]
    left, off = Sam2Adapter(model, 1), Sam2Adapter(model, 1, keeps_prompts=False)
    obeying = Sam2Adapter(model, 1, keeps_prompts=True)
    plain = answered(left, *places)
    assert torch.equal(plain, answered(off, *places))
    assert any(mask_of(plain)[int(y), int(x)] != kind for x, y, kind in places)
    mask = mask_of(answered(obeying, *places))
    assert all(mask[int(y), int(x)] == kind for x, y, kind in places)


def test_a_click_on_a_tracked_frame_is_obeyed() -> None:
    model = random_model("bundled", image_size=SIDE, always_seen=True)
    frames, click, near_left = random_frames(2, SIDE), PointPrompt(75.0, 50.0), 10.0
    start = FramePrompts(1, (click,))
    tracked = propagated(model, frames, [ObjectPrompts(1, "a", (start,))])[1].logits
    include = bool(tracked[16, 2] <= 0)  # the opposite of what is there
    place = PointPrompt(near_left * PHOTO_WIDTH / SIDE, PHOTO_HEIGHT / 2 + 1, include)
    thing = ObjectPrompts(1, "a", (start, FramePrompts(2, (place,))))
    corrected = propagated(model, frames, [thing])[1].logits
    assert (corrected[16, 2] > 0) == include != (tracked[16, 2] > 0)


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
