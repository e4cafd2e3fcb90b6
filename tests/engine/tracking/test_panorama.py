# SPDX-License-Identifier: GPL-3.0-or-later
"""Panoramas: the photo's edge has no effect, wherever it lies. Rolls are exact and follow the object."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base

from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
)
from sam2_splat_addon.engine.models.architectures import BUNDLED
from sam2_splat_addon.engine.models.device import choose_device
from sam2_splat_addon.engine.tracking.memory_bank import BankState, MemoryBank
from sam2_splat_addon.engine.tracking.panorama import (
    CELL,
    STEP,
    WIDE,
    View,
    Views,
    as_photo,
    frame_width,
    is_near,
    roll_to_matte,
    seen,
    tensors_seen,
    view_of,
)
from sam2_splat_addon.engine.tracking.plan import Step, plan_object
from sam2_splat_addon.engine.tracking.prompt_tensors import PromptTensors
from sam2_splat_addon.engine.tracking.results import FrameResult
from sam2_splat_addon.engine.tracking.sam2_adapter import ImageFeatures, Sam2Adapter
from sam2_splat_addon.engine.tracking.schedule import ObjectSchedule, schedule_for
from sam2_splat_addon.engine.tracking.session import Session

from ..random_models import TensorFrames, random_frames, random_model

_SIDE = 128
_CELLS = _SIDE // CELL
_WIDTH, _HEIGHT = 256, 128
_POINTS = (PointPrompt(120.0, 60.0), PointPrompt(150.0, 70.0))
_FAR_POINTS = (PointPrompt(100.0, 60.0), PointPrompt(200.0, 70.0))
_CPU = torch.device("cpu")


@cache
def _model() -> SAM2Base:
    return random_model(BUNDLED, image_size=_SIDE, always_seen=True)


def _works(prompts: Sequence[FramePrompts], frames: int) -> list[ObjectSchedule]:
    near = is_near(prompts, PhotoSizes(_WIDTH, _HEIGHT), panorama=True)
    thing = ObjectPrompts(1, "thing", tuple(prompts))
    plan = plan_object(thing, range(1, frames + 1), "both", near=near)
    return [schedule_for(plan, plan.results)]


def _frames(count: int) -> TensorFrames:
    """Make panoramas of smooth noise that continues across the photo's edge."""
    noise = random_frames(count, WIDE * _SIDE).tensors[:, :, :_SIDE]
    return TensorFrames(noise + torch.roll(noise, noise.shape[-1] // 2, dims=-1))


def _tensors(prompts: FramePrompts, view: View) -> PromptTensors:
    return tensors_seen(prompts, (_WIDTH, _HEIGHT), view, _SIDE, _CPU)


def _session(frames: TensorFrames, works: Sequence[ObjectSchedule]) -> Session:
    size = (_WIDTH, _HEIGHT)
    steps = Sam2Adapter(_model(), len(frames))
    return Session(steps, frames, PhotoSizes(*size), works, choose_device("cpu"), panorama=True)


def _run(frames: TensorFrames, prompts: Sequence[FramePrompts]) -> dict[int, FrameResult]:
    results: list[FrameResult] = []
    _session(frames, _works(prompts, len(frames))).run(results.append)
    return {result.frame: result for result in results}


def _turned(points: Sequence[PointPrompt], share: float) -> tuple[PointPrompt, ...]:
    return tuple(PointPrompt((p.x + share * _WIDTH) % _WIDTH, p.y, p.include) for p in points)


@pytest.mark.parametrize("points", [_POINTS, _FAR_POINTS], ids=["near", "whole"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_footage_turned_by_whole_steps_gives_the_same_mattes_turned_to_the_bit(
    share: float, points: tuple[PointPrompt, ...]
) -> None:
    frames = _frames(4)
    around = frames.tensors.shape[-1]
    turned = TensorFrames(torch.roll(frames.tensors, round(share * around), dims=-1))
    plain = _run(frames, [FramePrompts(2, points)])
    over_seam = _run(turned, [FramePrompts(2, _turned(points, share))])
    assert sorted(plain) == sorted(over_seam) == [1, 2, 3, 4]
    cells = WIDE * _CELLS if points is _POINTS else _CELLS
    for frame, result in plain.items():
        assert result.logits.shape == (_CELLS, cells)
        roll = round(share * cells)
        assert (np.roll(result.logits, roll, axis=1) == over_seam[frame].logits).all()
        assert result.scores == over_seam[frame].scores
    assert any((result.logits > 0).any() for result in plain.values())


def test_an_object_is_seen_near_while_its_prompts_are_close_together() -> None:
    def near(*frames: FramePrompts, width: int = _WIDTH, panorama: bool = True) -> bool:
        return is_near(frames, PhotoSizes(width, _HEIGHT), panorama=panorama)

    across_seam = tuple(PointPrompt(x, 60.0) for x in (250.0, 6.0))
    mask = np.zeros((_HEIGHT, _WIDTH), bool)
    mask[:, 40:100] = True
    wide_mask = mask.copy()
    wide_mask[:, 100:180] = True
    away = PointPrompt(10.0, 60.0, include=False)
    assert near(FramePrompts(1, _POINTS))
    assert near(FramePrompts(1, across_seam))
    assert near(FramePrompts(1, (*_POINTS, away)), FramePrompts(3, (away,)))
    assert near(FramePrompts(1, mask=MaskPrompt.from_array(mask)))
    assert not near(FramePrompts(1, mask=MaskPrompt.from_array(wide_mask)))
    assert not near(FramePrompts(1, _FAR_POINTS))
    assert not near(FramePrompts(1, _POINTS), FramePrompts(2, _FAR_POINTS))
    assert not near(FramePrompts(1, box=BoxPrompt(0.0, 0.0, 150.0, 60.0)))
    assert not near(FramePrompts(1, _POINTS), panorama=False)
    assert not near(FramePrompts(1, _POINTS), width=_HEIGHT)


def test_photos_of_a_panorama_are_all_at_least_half_as_wide_again_as_high() -> None:
    def width(*sizes: tuple[int, int], panorama: bool = True) -> int:
        (first, *others) = sizes
        odd = dict(enumerate(others, start=2))
        return frame_width(PhotoSizes(*first, odd), panorama=panorama)

    assert width((200, 100)) == width((150, 100)) == WIDE
    assert width((149, 100)) == width((100, 200)) == 1
    assert width((200, 100), (300, 200)) == WIDE
    assert width((200, 100), (299, 200)) == 1
    assert width((200, 100), panorama=False) == 1


def test_the_whole_photo_is_squashed_and_no_column_is_left_out() -> None:
    frame = torch.arange(WIDE * _SIDE, dtype=torch.float32).expand(3, _SIDE, -1)
    pairs = torch.arange(_SIDE) * 2 + 0.5
    assert torch.equal(seen(frame, View()), pairs.expand(3, _SIDE, -1))
    rolled = torch.roll(pairs, STEP * CELL)
    assert torch.equal(seen(frame, View(STEP)), rolled.expand(3, _SIDE, -1))


def test_a_near_view_has_the_points_inside_it_and_the_whole_box() -> None:
    """It shows the photo from x = 64 on, and up to x = 192."""
    places = (63.9, 64.0, 128.0, 191.9, 192.0, 255.0)
    prompts = FramePrompts(1, tuple(PointPrompt(x, 64.0) for x in places))
    found = _tensors(prompts, View(0, near=True)).coordinates
    assert found is not None
    np.testing.assert_allclose(found[0, :, 0].numpy() + 0.5, [0.0, 64.0, 127.9], atol=1e-4)
    box = FramePrompts(1, (PointPrompt(20.0, 64.0),), BoxPrompt(40.0, 10.0, 200.0, 50.0))
    found = _tensors(box, View(0, near=True)).coordinates
    assert found is not None
    np.testing.assert_allclose(found[0, :, 0].numpy() + 0.5, [-24.0, 136.0], atol=1e-4)


def test_each_view_of_a_photo_is_encoded_once() -> None:
    asked: list[View] = []

    def encode(view: View) -> ImageFeatures:
        asked.append(view)
        return ImageFeatures([], [], [])

    views = Views(encode)
    first = views.at(View(STEP))
    assert views.at(View()) is not first
    assert views.at(View(STEP)) is first
    assert views.at(View(STEP, near=True)) is not first
    assert asked == [View(STEP), View(), View(STEP, near=True)]


def test_a_near_view_shows_half_of_the_way_round_and_the_rest_is_outside() -> None:
    frame = torch.arange(WIDE * _SIDE, dtype=torch.float32).expand(3, _SIDE, -1)
    prompts = FramePrompts(1, (PointPrompt(8.0, 60.0), PointPrompt(120.0, 60.0, include=False)))
    view = view_of(prompts, _WIDTH, _SIDE, near=True)
    shown = seen(frame, view)
    assert shown.shape == (3, _SIDE, _SIDE)
    tensors = _tensors(prompts, view)
    assert tensors.coordinates is not None and tensors.labels is not None
    assert tensors.labels.tolist() == [[1]]  # the other point lies outside the view
    column = round(float(tensors.coordinates[0, 0, 0] + 0.5))
    assert abs(column - _SIDE / 2) <= STEP * CELL / 2
    assert float(shown[0, 0, column]) == 8.0  # the photo is as wide as the frame
    logits = as_photo(np.ones((_CELLS, _CELLS), np.float32), view)
    assert logits.shape == (_CELLS, WIDE * _CELLS)
    assert ((logits > 0).sum(axis=1) == _CELLS).all()
    assert logits[0, 2] > 0 > logits[0, 30]


def test_a_correction_beyond_a_near_view_changes_nothing() -> None:
    frames, prompts = _frames(4), FramePrompts(1, _POINTS)
    behind = FramePrompts(3, (PointPrompt(8.0, 60.0, include=False),))
    plain, corrected = _run(frames, [prompts]), _run(frames, [prompts, behind])
    assert all((plain[at].logits == corrected[at].logits).all() for at in plain)


def test_a_run_that_goes_on_from_a_bank_looks_where_the_whole_run_looked() -> None:
    frames = _frames(5)
    prompts = [FramePrompts(1, _turned(_POINTS, 0.5))]
    banks: dict[Step, BankState] = {}

    def remembered(object_id: int, step: Step, bank: MemoryBank) -> None:
        banks[step] = bank.state()

    whole: dict[int, FrameResult] = {}
    works = _works(prompts, 5)
    _session(frames, works).run(lambda r: whole.update({r.frame: r}), on_remembered=remembered)
    rest: list[FrameResult] = []
    works = [schedule_for(works[0].plan, {4, 5}, lambda step: banks.get(step))]
    _session(frames, works).run(rest.append)
    tracked = [result for result in rest if result.frame > 1]
    assert [result.frame for result in tracked] == [4, 5]
    assert all((result.logits == whole[result.frame].logits).all() for result in tracked)


def test_rolling_there_and_back_changes_no_bit() -> None:
    frame = torch.randn(3, _SIDE, _SIDE)
    there, back = View(3 * STEP), View(_CELLS - 3 * STEP)
    assert torch.equal(seen(seen(frame, there), back), frame)
    logits = np.random.default_rng(1).standard_normal((_CELLS, _CELLS)).astype(np.float32)
    assert (as_photo(np.roll(logits, STEP, axis=1), View(STEP)) == logits).all()


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("middle", [3.0, 60.0, 128.0, 200.0, 255.0])
def test_the_roll_brings_points_a_box_and_a_mask_nearest_to_the_middle(
    middle: float, near: bool
) -> None:
    box = BoxPrompt(middle - 20, 10, middle + 20, 50)
    columns = (np.arange(_WIDTH)[None] + 0.5 - middle + _WIDTH / 2) % _WIDTH - _WIDTH / 2
    mask = MaskPrompt.from_array(np.repeat(np.abs(columns) < 20, _HEIGHT, axis=0))
    points = tuple(PointPrompt((middle + dx) % _WIDTH, 20.0) for dx in (-12.0, 12.0))
    away = PointPrompt((middle + 90) % _WIDTH, 20.0, include=False)
    for prompts in (
        FramePrompts(1, box=box),
        FramePrompts(1, mask=mask),
        FramePrompts(1, points=(*points, away)),
    ):
        view, cells = view_of(prompts, _WIDTH, _SIDE, near=near), (WIDE if near else 1) * _CELLS
        assert view.roll % STEP == 0 and 0 <= view.roll < cells
        place = (middle / _WIDTH * cells + view.roll) % cells
        assert abs(place - cells / 2) <= STEP / 2


def test_an_empty_matte_leaves_the_view_where_it_was() -> None:
    for roll in range(0, _CELLS, STEP):
        assert roll_to_matte(np.full((_CELLS, _CELLS), -3.0, np.float32), roll) == roll


def test_a_matte_all_around_leaves_the_view_where_it_was() -> None:
    logits = np.full((_CELLS, _CELLS), -1.0, np.float32)
    logits[20:] = 1.0
    for roll in range(0, _CELLS, STEP):
        assert roll_to_matte(logits, roll) == roll


def test_a_matte_on_both_sides_of_the_seam_is_brought_to_the_middle() -> None:
    logits = np.full((_CELLS, _CELLS), -1.0, np.float32)
    logits[:, :3] = logits[:, -3:] = 1.0
    assert roll_to_matte(logits, 0) == _CELLS // 2


def test_a_rolled_box_stays_in_one_piece_and_a_rolled_mask_wraps_around() -> None:
    box = FramePrompts(1, box=BoxPrompt(200, 10, 256, 50))
    plain, view = _tensors(box, View()), view_of(box, _WIDTH, _SIDE, near=False)
    rolled = _tensors(box, view)
    assert rolled.coordinates is not None and plain.coordinates is not None
    left, right = rolled.coordinates[0, :, 0].tolist()
    assert 0 <= left + 0.5 < right + 0.5 <= _SIDE
    assert right - left == 28.0  # 56 px of the photo
    mask = np.zeros((_HEIGHT, _WIDTH), bool)
    mask[:, -8:] = True
    prompts = FramePrompts(1, mask=MaskPrompt.from_array(mask))
    whole, wrapped = _tensors(prompts, View()).mask, _tensors(prompts, View(STEP)).mask
    assert wrapped is not None and whole is not None
    assert torch.equal(wrapped, torch.roll(whole, STEP * CELL, dims=-1))
    assert bool(wrapped[0, 0, 0, : STEP * CELL].any())
