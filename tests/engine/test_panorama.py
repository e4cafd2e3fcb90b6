# SPDX-License-Identifier: GPL-3.0-or-later
"""Panoramas: the seam is nothing, wherever it lies; rolls are exact and follow the object."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base

from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
)
from sam2_splat_addon.engine.architectures import BUNDLED
from sam2_splat_addon.engine.device import choose_device
from sam2_splat_addon.engine.memory_bank import BankState, MemoryBank
from sam2_splat_addon.engine.panorama import (
    CELL,
    STEP,
    roll_frame,
    roll_prompts,
    roll_to_matte,
    roll_to_prompts,
    unroll,
)
from sam2_splat_addon.engine.plan import plan_object
from sam2_splat_addon.engine.prompt_tensors import prompt_tensors
from sam2_splat_addon.engine.results import FrameResult
from sam2_splat_addon.engine.session import Session
from sam2_splat_addon.engine.work import ObjectWork, work_for

from .random_models import TensorFrames, random_frames, random_model

_SIDE = 128
_CELLS = _SIDE // CELL
_WIDTH, _HEIGHT = 256, 128
_POINTS = (PointPrompt(120.0, 60.0), PointPrompt(150.0, 70.0))


@cache
def _model() -> SAM2Base:
    return random_model(BUNDLED, image_size=_SIDE, always_seen=True)


def _works(prompts: Sequence[FramePrompts], frames: int) -> list[ObjectWork]:
    plan = plan_object(ObjectPrompts(1, "thing", tuple(prompts)), range(1, frames + 1), "both")
    return [work_for(plan, plan.results)]


def _session(frames: TensorFrames, works: Sequence[ObjectWork]) -> Session:
    size = (_WIDTH, _HEIGHT)
    return Session(_model(), frames, size, works, choose_device("cpu"), panorama=True)


def _run(frames: TensorFrames, prompts: Sequence[FramePrompts]) -> dict[int, FrameResult]:
    results: list[FrameResult] = []
    _session(frames, _works(prompts, len(frames))).run(results.append)
    return {result.frame: result for result in results}


def _turned(points: Sequence[PointPrompt], roll: int) -> tuple[PointPrompt, ...]:
    moved = roll * _WIDTH / _CELLS
    return tuple(PointPrompt((p.x + moved) % _WIDTH, p.y, p.include) for p in points)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_footage_turned_by_whole_steps_gives_the_same_mattes_turned_to_the_bit(steps: int) -> None:
    roll = steps * STEP
    frames = random_frames(4, _SIDE)
    turned = TensorFrames(torch.roll(frames.tensors, roll * CELL, dims=-1))
    prompts = FramePrompts(2, _POINTS)
    plain = _run(frames, [prompts])
    over_seam = _run(turned, [FramePrompts(2, _turned(_POINTS, roll))])
    assert sorted(plain) == sorted(over_seam) == [1, 2, 3, 4]
    for frame, result in plain.items():
        assert (np.roll(result.logits, roll, axis=1) == over_seam[frame].logits).all()
        assert result.scores == over_seam[frame].scores
    assert any((result.logits > 0).any() for result in plain.values())


def test_a_run_that_goes_on_from_a_bank_looks_where_the_whole_run_looked() -> None:
    frames = random_frames(5, _SIDE)
    prompts = [FramePrompts(1, _turned(_POINTS, 2 * STEP))]
    banks: dict[int, BankState] = {}

    def remembered(object_id: int, frame: int, bank: MemoryBank) -> None:
        banks[frame] = bank.state()

    whole: dict[int, FrameResult] = {}
    works = _works(prompts, 5)
    _session(frames, works).run(lambda r: whole.update({r.frame: r}), on_remembered=remembered)
    rest: list[FrameResult] = []
    works = [work_for(works[0].plan, {4, 5}, banks.get)]
    _session(frames, works).run(rest.append)
    tracked = [result for result in rest if result.frame > 1]
    assert [result.frame for result in tracked] == [4, 5]
    assert all((result.logits == whole[result.frame].logits).all() for result in tracked)


def test_rolling_there_and_back_changes_no_bit() -> None:
    frame = torch.randn(3, _SIDE, _SIDE)
    assert torch.equal(roll_frame(roll_frame(frame, 3 * STEP), _CELLS - 3 * STEP), frame)
    logits = np.random.default_rng(1).standard_normal((_CELLS, _CELLS)).astype(np.float32)
    assert (unroll(np.roll(logits, STEP, axis=1), STEP) == logits).all()


@pytest.mark.parametrize("middle", [3.0, 60.0, 128.0, 200.0, 255.0])
def test_the_roll_brings_points_a_box_and_a_mask_nearest_to_the_middle(middle: float) -> None:
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
        roll = roll_to_prompts(prompts, _WIDTH, _CELLS)
        assert roll % STEP == 0 and 0 <= roll < _CELLS
        place = (middle / _WIDTH * _CELLS + roll) % _CELLS
        assert abs(place - _CELLS / 2) <= STEP / 2


def test_an_empty_matte_leaves_the_view_where_it_was() -> None:
    assert roll_to_matte(np.full((_CELLS, _CELLS), -3.0, np.float32), 2 * STEP) == 2 * STEP


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
    tensors = prompt_tensors(box, _WIDTH, _HEIGHT, _SIDE, torch.device("cpu"))
    roll = roll_to_prompts(box, _WIDTH, _CELLS)
    rolled = roll_prompts(tensors, roll, _SIDE)
    assert rolled.coordinates is not None and tensors.coordinates is not None
    left, right = rolled.coordinates[0, :, 0].tolist()
    assert 0 <= left + 0.5 < right + 0.5 <= _SIDE
    assert right - left == 28.0  # 56 px of the photo
    mask = np.zeros((_HEIGHT, _WIDTH), bool)
    mask[:, -8:] = True
    prompts = FramePrompts(1, mask=MaskPrompt.from_array(mask))
    tensors = prompt_tensors(prompts, _WIDTH, _HEIGHT, _SIDE, torch.device("cpu"))
    wrapped = roll_prompts(tensors, STEP, _SIDE).mask
    assert wrapped is not None and tensors.mask is not None
    assert torch.equal(wrapped, torch.roll(tensors.mask, STEP * CELL, dims=-1))
    assert bool(wrapped[0, 0, 0, : STEP * CELL].any())
