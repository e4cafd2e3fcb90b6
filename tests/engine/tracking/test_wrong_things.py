# SPDX-License-Identifier: GPL-3.0-or-later
"""One exclude click in the middle of a wrong thing takes all of it out of a tracked mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.nn import functional as F

from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.models.device import choose_device
from sam2_splat_addon.engine.tracking.distractor_memory import GuardedBank
from sam2_splat_addon.engine.tracking.memory_bank import (
    FrameMemory,
    MemoryBank,
    MemoryReach,
    memory_position,
)
from sam2_splat_addon.engine.tracking.plan import plan_object
from sam2_splat_addon.engine.tracking.prompt_tensors import PromptTensors, prompt_tensors
from sam2_splat_addon.engine.tracking.sam2_adapter import ImageFeatures, Prediction, Sam2Adapter
from sam2_splat_addon.engine.tracking.schedule import schedule_for
from sam2_splat_addon.engine.tracking.session import Session
from sam2_splat_addon.engine.tracking.wrong_things import rejected_piece, without_wrong_things

from ..random_models import FIRST_CLICK, HEIGHT, WIDTH, random_frames, random_model

SIDE = 64  # of the input; the grid's side is a quarter of it
NONE = np.zeros((20, 20), np.bool_)


def mask(*squares: tuple[int, int, int], sure: float = 3.0) -> Tensor:
    """Logits (1, 1, 20, 20) with squares inside: top, left and side."""
    logits = torch.full((1, 1, 20, 20), -sure)
    for top, left, side in squares:
        logits[..., top : top + side, left : left + side] = sure
    return logits


def never() -> tuple[Tensor, float]:
    raise AssertionError("the model is asked for a click that decides nothing")


def test_a_click_in_the_middle_of_a_thing_takes_its_piece_and_no_other() -> None:
    found = mask((2, 2, 9), (14, 14, 4))
    piece = rejected_piece(found, (6, 6), NONE, lambda: (mask((2, 2, 9), sure=4.0), 0.75))
    assert piece is not None
    assert np.array_equal(piece, mask((2, 2, 9))[0, 0].numpy() > 0)


@pytest.mark.parametrize(
    ("place", "includes"),
    [((0, 0), None), ((2, 2), None), ((10, 6), None), ((6, 6), (3, 9))],
    ids=["outside", "corner", "edge", "included"],
)
def test_a_piece_stays_if_the_click_is_outside_or_at_its_edge_or_it_has_an_include_click(
    place: tuple[int, int], includes: tuple[int, int] | None
) -> None:
    here = NONE.copy()
    if includes is not None:
        here[includes] = True
    assert rejected_piece(mask((2, 2, 9)), place, here, never) is None


def test_an_include_click_on_another_piece_keeps_that_one_alone() -> None:
    here = NONE.copy()
    here[15, 15] = True
    found = mask((2, 2, 9), (14, 14, 4))
    assert rejected_piece(found, (6, 6), here, lambda: (2 * found, 0.75)) is not None


@pytest.mark.parametrize(("side", "goes"), [(5, False), (6, True)])
def test_a_piece_goes_if_enough_of_it_is_the_thing_at_the_click(side: int, goes: bool) -> None:
    # The click is at the deepest place, so 0.35 of the piece's 81 cells are enough: 36, not 25.
    piece = rejected_piece(
        mask((2, 2, 9)), (6, 6), NONE, lambda: (mask((4, 4, side), sure=4.0), 0.75)
    )
    assert (piece is not None) == goes


@pytest.mark.parametrize(("sure", "goes"), [(2.9, False), (3.1, True)])
def test_a_piece_stays_if_tracking_was_surer_of_it(sure: float, goes: bool) -> None:
    tracked_surely = mask((2, 2, 9))  # 3.0 everywhere
    seen = torch.where(tracked_surely > 0, sure, -9.0)
    assert (rejected_piece(tracked_surely, (6, 6), NONE, lambda: (seen, 0.75)) is not None) == goes


def test_a_piece_stays_if_the_model_sees_no_whole_thing_at_the_click() -> None:
    found = mask((2, 2, 9))
    assert rejected_piece(found, (6, 6), NONE, lambda: (2 * found, 0.74)) is None
    assert rejected_piece(found, (6, 6), NONE, lambda: (2 * found, 0.75)) is not None


@pytest.mark.parametrize("x", [0.0, 300.0])
@pytest.mark.parametrize("y", [0.0, 200.0])
def test_a_click_on_the_photos_very_rim_takes_nothing(x: float, y: float) -> None:
    prompts = FramePrompts(1, (PointPrompt(x, y, include=False),))
    points = prompt_tensors(prompts, 300, 200, SIDE, torch.device("cpu")).points
    assert points is not None
    full = torch.ones(1, 1, SIDE // 4, SIDE // 4)
    assert without_wrong_things(full, points, SIDE, lambda place: never()) is full


def sure_model(name: str = "bundled", seed: int = 3) -> SAM2Base:
    """A random model that always sees one whole thing."""
    model = random_model(name, image_size=SIDE, seed=seed, always_seen=True)
    with torch.no_grad():
        model.sam_mask_decoder.iou_prediction_head.layers[-1].bias.fill_(10.0)
    return model


def encoded(steps: Sam2Adapter) -> ImageFeatures:
    with torch.inference_mode():
        return steps.encode(random_frames(1, SIDE).tensors[0])


def clicks(*places: tuple[float, float, bool]) -> PromptTensors:
    """Clicks in px of the model's input, in sam2's form."""
    points = torch.tensor([[(x, y) for x, y, _ in places]])
    labels = torch.tensor([[int(include) for *_, include in places]], dtype=torch.int32)
    return PromptTensors(points, labels, None)


def corrected(name: str, before: Prediction, prompts: PromptTensors) -> Prediction:
    model = sure_model(name)
    steps = Sam2Adapter(model, 2)
    bank = MemoryBank(MemoryReach.of(model, 0), memory_position(model), {})
    with torch.inference_mode():
        image = encoded(steps)
        seen = steps.condition(0, image, clicks((20.0, 20.0, True)))
        memory, _ = steps.remember(image, seen, from_user=True)
        bank.add_corrected(0, memory)
        return steps.correct(1, image, bank, prompts, before, reverse=False)


def tracked(inside: Tensor) -> Prediction:
    """A tracked answer with this mask, (h, w)."""
    # Hardly sure, as of a wrong thing.
    logits = torch.where(inside, 0.01, -0.01)[None, None]
    at_input = F.interpolate(logits, (SIDE, SIDE))
    return Prediction(logits, at_input, torch.zeros(1, 128), torch.ones(1, 1), 0.9)


def everything() -> Prediction:
    return tracked(torch.ones(SIDE // 4, SIDE // 4, dtype=torch.bool))


def seen_at(row: int, column: int) -> Tensor:
    """The mask, (h, w), of what the model sees at a cell."""
    steps = Sam2Adapter(sure_model(), 2)
    x, y = 4 * column + 1.5, 4 * row + 1.5
    with torch.inference_mode():
        return steps.condition(1, encoded(steps), clicks((x, y, True))).logits[0, 0] > 0


def test_nothing_is_left_of_a_mask_that_was_all_the_wrong_thing() -> None:
    row = column = SIDE // 8
    square = torch.zeros(SIDE // 4, SIDE // 4, dtype=torch.bool)
    square[row - 2 : row + 3, column - 2 : column + 3] = True
    assert (seen_at(row, column) & square).sum() >= 9  # 0.35 of the 25 cells
    middle = clicks((4 * column + 1.5, 4 * row + 1.5, False))
    found = corrected("bundled", tracked(square), middle)
    model = sure_model()
    assert found.rejects
    assert bool((found.logits < 0).all()) and bool((found.logits_at_input < 0).all())
    assert float(found.object_score) < 0
    assert torch.equal(found.pointer, model.no_obj_ptr.expand_as(found.pointer))
    again = corrected("bundled", tracked(square), middle)
    # Tensors that share memory can't be saved together.
    assert found.pointer.data_ptr() != again.pointer.data_ptr()


def test_what_a_rejected_thing_leaves_is_corrected_by_all_clicks() -> None:
    row = column = SIDE // 8
    both = torch.zeros(SIDE // 4, SIDE // 4, dtype=torch.bool)
    both[row - 2 : row + 3, column - 2 : column + 3] = True
    both[:3] = True
    found = corrected("bundled", tracked(both), clicks((4 * column + 1.5, 4 * row + 1.5, False)))
    assert not found.rejects
    assert float(found.object_score) > 0
    assert not bool(found.logits[0, 0, row, column] > 0)


def test_an_include_click_on_the_photo_keeps_its_piece() -> None:
    middle, beside = (SIDE / 2, SIDE / 2, False), (SIDE / 4, SIDE / 4, True)
    assert corrected("bundled", everything(), clicks(middle)).rejects
    assert not corrected("bundled", everything(), clicks(beside, middle)).rejects


@pytest.mark.parametrize(
    ("places", "labels"),
    [([(6.0, 6.0)], [1]), ([(6.0, 6.0), (14.0, 14.0)], [2, 3])],
    ids=["include", "box"],
)
def test_a_prompt_that_says_where_the_subject_is_counts_where_all_else_was_rejected(
    places: list[tuple[float, float]], labels: list[int]
) -> None:
    square = torch.zeros(SIDE // 4, SIDE // 4, dtype=torch.bool)
    square[6:11, 6:11] = True
    prompts = PromptTensors(
        torch.tensor([[(33.5, 33.5), *places]]),
        torch.tensor([[0, *labels]], dtype=torch.int32),
        None,
    )
    alone = clicks((33.5, 33.5, False))
    assert float(corrected("bundled", tracked(square), alone).object_score) < 0
    assert float(corrected("bundled", tracked(square), prompts).object_score) > 0


def test_an_include_click_is_obeyed_where_all_else_was_rejected() -> None:
    square = torch.zeros(SIDE // 4, SIDE // 4, dtype=torch.bool)
    square[6:11, 6:11] = True
    found = corrected("bundled", tracked(square), clicks((33.5, 33.5, False), (5.5, 5.5, True)))
    assert not found.rejects
    assert bool(found.logits[0, 0, 1, 1] > 0)


def test_sam_2_1_is_left_to_itself() -> None:
    found = corrected("sam2.1_hiera_tiny", everything(), clicks((SIDE / 2, SIDE / 2, False)))
    assert not found.rejects


def remembered(*later: FramePrompts) -> dict[int, list[int]]:
    """Frame -> the indices of the tracked frames that are remembered after it.

    The model takes the whole photo for the subject.
    """
    model = sure_model(seed=2)
    plan = plan_object(
        ObjectPrompts(1, "thing", (*FIRST_CLICK.frames, *later)), range(1, 6), "forward"
    )
    session = Session(
        Sam2Adapter(model, 5),
        random_frames(5, SIDE),
        PhotoSizes(WIDTH, HEIGHT),
        [schedule_for(plan, plan.results)],
        choose_device("cpu"),
    )
    found: dict[int, list[int]] = {}
    areas: dict[int, float] = {}
    session.run(
        lambda result: areas.update({result.frame: result.scores.area}),
        on_remembered=lambda _, step, bank: found.update({step.frame: list(bank.recent)}),
    )
    assert areas[3] == 1
    return found


@pytest.mark.parametrize(("x", "forgets"), [(WIDTH / 2, True), (WIDTH - 1.0, False)])
def test_after_a_rejected_thing_tracking_forgets_the_photos_that_showed_it(
    x: float, forgets: bool
) -> None:
    found = remembered(FramePrompts(4, (PointPrompt(x, HEIGHT / 2, include=False),)))
    assert found[3] == [1, 2]
    assert found[5] == ([4] if forgets else [1, 2, 4])


def test_guarded_memory_forgets_what_it_compared_with_too() -> None:
    model = random_model("bundled", image_size=SIDE)
    bank = GuardedBank(MemoryReach.of(model, 0), memory_position(model), {}, reverse=False)
    bank.judge(everything())
    bank.add(1, FrameMemory(None, torch.zeros(1, 4)))
    assert len(bank.qualities) == len(bank.recent) == 1
    bank.forget_tracked()
    assert len(bank.qualities) == len(bank.recent) == 0
