# SPDX-License-Identifier: GPL-3.0-or-later
"""Guarded memory: which frames enter, which count as absent, and where they stand in memory."""

from __future__ import annotations

import torch

from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.models.architectures import BUNDLED
from sam2_splat_addon.engine.models.device import choose_device
from sam2_splat_addon.engine.tracking.distractor_memory import GuardedBank
from sam2_splat_addon.engine.tracking.memory_bank import (
    BankState,
    FrameMemory,
    MemoryBank,
    MemoryReach,
)
from sam2_splat_addon.engine.tracking.plan import Step, plan_object
from sam2_splat_addon.engine.tracking.results import FrameResult
from sam2_splat_addon.engine.tracking.sam2_adapter import Prediction, Sam2Adapter
from sam2_splat_addon.engine.tracking.schedule import schedule_for
from sam2_splat_addon.engine.tracking.session import Session

from ..random_models import HEIGHT, WIDTH, random_frames, random_model

_REACH = MemoryReach(features=2, pointers=4, conditioning=16)


def _memory(value: float) -> FrameMemory:
    return FrameMemory(torch.full((1, 2, 2, 2), value), torch.full((1, 3), value))


def _bank(*, reverse: bool = False) -> GuardedBank:
    return GuardedBank(_REACH, torch.zeros(1, 2, 2, 2), {0: _memory(0.0)}, reverse=reverse)


def _prediction(score: float, iou: float, area: float = 0.25) -> Prediction:
    logits = torch.full((1, 1, 20, 20), -3.0)
    logits[..., : round(20 * area), :] = 3.0
    at_input = torch.nn.functional.interpolate(logits, scale_factor=4)
    return Prediction(logits, at_input, torch.zeros(1, 3), torch.tensor([[score]]), iou)


def _seen_well(bank: GuardedBank, times: int = 3) -> None:
    for _ in range(times):
        assert bank.judge(_prediction(8.0, 0.9))[1]


def test_a_frame_like_those_before_is_remembered_as_it_is() -> None:
    bank, prediction = _bank(), _prediction(7.5, 0.88)
    _seen_well(bank)
    assert bank.judge(prediction) == (prediction, True)


def test_a_doubtful_frame_keeps_its_matte_and_is_not_remembered() -> None:
    for doubtful in (
        _prediction(5.0, 0.88),
        _prediction(8.0, 0.6),
        _prediction(8.0, 0.9, area=0.6),
        _prediction(8.0, 0.9, area=0.1),
    ):
        bank = _bank()
        _seen_well(bank)
        assert bank.judge(doubtful) == (doubtful, False)


def test_a_frame_that_hardly_anything_speaks_for_is_without_the_object() -> None:
    bank, poor = _bank(), _prediction(2.0, 0.9)
    _seen_well(bank)
    before = bank.qualities
    judged, fit = bank.judge(poor)
    assert not fit
    assert not bool((judged.logits > 0).any())
    assert float(judged.object_score) < 0
    assert judged.predicted_iou == poor.predicted_iou
    assert bank.qualities == before  # the next frames are not compared with it


def test_half_hidden_objects_are_still_seen() -> None:
    bank, hidden_by_half = _bank(), _prediction(4.0, 0.5, area=0.1)
    _seen_well(bank)
    assert bank.judge(hidden_by_half) == (hidden_by_half, False)


def test_what_the_model_itself_takes_for_absent_is_not_remembered() -> None:
    absent = _prediction(-2.0, 0.9)
    assert _bank().judge(absent) == (absent, False)


def test_a_frame_without_a_mask_or_a_score_is_not_compared_with_later_ones() -> None:
    bank = _bank()
    for nothing in (_prediction(8.0, 0.9, area=0.0), _prediction(0.0, 0.9)):
        assert bank.judge(nothing) == (nothing, False)
        assert bank.qualities == ()
    _seen_well(bank)
    assert len(bank.qualities) == 3


def test_a_thing_that_changes_for_good_is_remembered_again() -> None:
    bank = _bank()
    _seen_well(bank, 7)
    fits = [bank.judge(_prediction(8.0, 0.9, area=0.5))[1] for _ in range(6)]
    assert not fits[0] and fits[-1]


def test_remembered_frames_stand_right_before_the_one_that_sees_them() -> None:
    for reverse, places in ((False, [19, 18, 17]), (True, [21, 22, 23])):
        bank = _bank(reverse=reverse)
        for index in (2, 5, 9):
            bank.add(index, _memory(float(index)))
        shown = bank.output_dict(20)["non_cond_frame_outputs"]
        assert list(shown) == places
        assert [float(entry["obj_ptr"][0, 0]) for entry in shown.values()] == [9.0, 5.0, 2.0]
        assert [entry["maskmem_features"] is None for entry in shown.values()] == [
            False,
            False,
            True,
        ]


def test_a_bank_holds_no_more_than_attention_can_reach() -> None:
    bank = _bank()
    for index in range(1, 30, 3):
        bank.add(index, _memory(float(index)))
    assert list(bank.recent) == [19, 22, 25, 28]


def _run(*, guarded: bool) -> tuple[dict[int, FrameResult], dict[int, BankState]]:
    model = random_model(BUNDLED, image_size=64, seed=8)  # sees its object only on some frames
    prompts = ObjectPrompts(1, "thing", (FramePrompts(1, (PointPrompt(70.0, 40.0),)),))
    plan = plan_object(prompts, range(1, 9), "both")
    results: dict[int, FrameResult] = {}
    banks: dict[int, BankState] = {}

    def remembered(object_id: int, step: Step, bank: MemoryBank) -> None:
        banks[step.frame] = bank.state()

    def session(frames: set[int], state: dict[int, BankState]) -> Session:
        works = [schedule_for(plan, frames, lambda step: state.get(step.frame))]
        size = (WIDTH, HEIGHT)
        device = choose_device("cpu")
        steps = Sam2Adapter(model, 8)
        return Session(steps, random_frames(8), PhotoSizes(*size), works, device, guarded=guarded)

    session(set(range(1, 9)), {}).run(
        lambda result: results.update({result.frame: result}), on_remembered=remembered
    )
    again: dict[int, FrameResult] = {}
    session({6, 7, 8}, banks).run(lambda result: again.update({result.frame: result}))
    assert all((again[at].logits == results[at].logits).all() for at in (6, 7, 8))
    return results, banks


def test_a_guarded_run_leaves_doubtful_frames_out_and_goes_on_from_its_banks() -> None:
    results, banks = _run(guarded=True)
    remembered = {at + 1 for at in banks[8].recent}
    seen = {frame for frame, result in results.items() if result.scores.object_score > 0}
    assert remembered <= seen and remembered != set(range(2, 9))


def test_an_exact_run_remembers_every_frame() -> None:
    _, banks = _run(guarded=False)
    assert {at + 1 for at in banks[8].recent} == set(range(2, 9))
