# SPDX-License-Identifier: GPL-3.0-or-later
"""Our session where sam2's own predictor is wrong, and the limits of our session."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from sam2.modeling.sam2_base import SAM2Base

from sam2_splat_addon.core.errors import Cancelled
from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
)
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.models.architectures import BUNDLED
from sam2_splat_addon.engine.models.device import choose_device
from sam2_splat_addon.engine.tracking.memory_bank import BankState, MemoryBank
from sam2_splat_addon.engine.tracking.plan import ObjectPlan, Step, plan_object
from sam2_splat_addon.engine.tracking.prompt_tensors import prompt_tensors
from sam2_splat_addon.engine.tracking.results import FrameResult
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter
from sam2_splat_addon.engine.tracking.schedule import schedule_for
from sam2_splat_addon.engine.tracking.session import Session

from ..random_models import HEIGHT, WIDTH, TensorFrames, propagated, random_frames, random_model

_IN = PointPrompt(70.0, 40.0)
_OTHER = PointPrompt(120.0, 70.0)
_OUT = PointPrompt(40.0, 20.0, include=False)


@cache
def _model() -> SAM2Base:
    return random_model(BUNDLED, always_seen=True)


def _object(object_id: int, *frames: FramePrompts) -> ObjectPrompts:
    return ObjectPrompts(object_id, f"object {object_id}", frames)


def _click(frame: int, *points: PointPrompt) -> FramePrompts:
    return FramePrompts(frame, points or (_IN,))


def _run(*objects: ObjectPrompts, frames: int = 8, **settings: Any) -> dict[int, FrameResult]:
    """Return the last object's results by frame."""
    results = propagated(_model(), random_frames(frames), objects, RunSettings(**settings))
    return {r.frame: r for r in results if r.object_id == objects[-1].id}


def _same(one: FrameResult, other: FrameResult) -> bool:
    return bool((one.logits == other.logits).all()) and one.scores == other.scores


def test_an_object_that_is_prompted_late_gets_every_frame_and_other_objects_change_nothing() -> (
    None
):
    early, late = _object(1, _click(1)), _object(2, _click(5, _OTHER))
    together, alone = _run(early, late), _run(late)
    assert sorted(together) == list(range(1, 9))
    assert all(_same(together[frame], alone[frame]) for frame in together)


def test_forwards_and_backwards_change_nothing_in_one_another() -> None:
    both = _run(_object(1, _click(4)))
    forward = _run(_object(1, _click(4)), direction="forward")
    backward = _run(_object(1, _click(4)), direction="backward")
    assert sorted(forward) == [4, 5, 6, 7, 8]
    assert sorted(backward) == [1, 2, 3, 4]
    assert all(_same(both[frame], result) for frame, result in {**forward, **backward}.items())


def test_backwards_from_the_first_frame_gives_that_frame() -> None:
    assert sorted(_run(_object(1, _click(1)), direction="backward")) == [1]


def test_a_correction_on_a_later_frame_is_kept_and_reaches_what_is_tracked_after_it() -> None:
    before = _run(_object(1, _click(1)))
    after = _run(_object(1, _click(1), _click(5, _IN, _OTHER)))
    alone = _run(_object(1, _click(5, _IN, _OTHER)))
    assert not _same(after[5], alone[5])
    assert not _same(after[5], before[5])
    assert after[5].prompted
    assert not after[4].prompted
    assert all(_same(after[frame], before[frame]) for frame in (1, 2, 3, 4))
    for frame in (6, 7, 8):
        assert not _same(after[frame], before[frame])


def test_a_pass_backwards_from_the_first_prompted_frame_knows_what_was_refined_after_it() -> None:
    before = _run(_object(1, _click(3)))
    after = _run(_object(1, _click(3), _click(6, _OTHER)))
    changed = [at for at in before if not _same(before[at], after[at])]
    assert sorted(changed) == [1, 2, 6, 7, 8]


def test_a_frame_that_starts_anew_is_kept_and_reaches_the_frames_around_it() -> None:
    before = _run(_object(1, _click(1)))
    anew = replace(_click(5, _IN, _OTHER), anew=True)
    after = _run(_object(1, _click(1), anew))
    alone = _run(_object(1, _click(5, _IN, _OTHER)))
    assert _same(after[5], alone[5])
    assert after[5].prompted
    assert not after[4].prompted
    assert _same(after[1], before[1])
    for frame in (4, 6, 8):  # frames attend to all conditioning frames, even later ones
        assert not _same(after[frame], before[frame])


def test_a_frame_with_excluding_clicks_alone_is_tracked_and_then_refined() -> None:
    before = _run(_object(1, _click(1)))
    after = _run(_object(1, _click(1), _click(4, _OUT)))
    assert all(_same(after[frame], before[frame]) for frame in (1, 2, 3))
    assert after[4].prompted
    assert not np.array_equal(after[4].logits, before[4].logits)
    assert not np.array_equal(after[5].logits, before[5].logits)


def test_excluding_clicks_before_the_first_including_one_refine_the_backward_pass() -> None:
    before = _run(_object(1, _click(6)))
    after = _run(_object(1, _click(3, _OUT), _click(6)))
    assert [frame for frame in before if not _same(before[frame], after[frame])] == [3, 2, 1]


def test_nearby_prompts_alone_reach_a_frame_when_that_is_asked_for() -> None:
    clicks = (_click(2), _click(5, _OTHER), _click(8), _click(11, _OTHER))
    frames = [replace(at, anew=True) for at in clicks]
    before = _run(_object(1, *frames), frames=13, nearby_prompts=1)
    moved = _object(1, *frames[:2], replace(_click(8, _OTHER), anew=True), frames[3])
    after = _run(moved, frames=13, nearby_prompts=1)
    changed = [at for at in sorted(before) if not _same(before[at], after[at])]
    assert changed == [6, 7, 8, 9, 10]
    corrected = _run(_object(1, *frames, _click(6, _OUT)), frames=13, nearby_prompts=1)
    assert [at for at in before if not _same(before[at], corrected[at])] == [6, 7]
    # A refined frame is tracked first, and then its prompts correct the result.
    before = _run(_object(1, *clicks), frames=13, nearby_prompts=1)
    moved = _object(1, *clicks[:2], _click(8, _OTHER), clicks[3])
    after = _run(moved, frames=13, nearby_prompts=1)
    changed = [at for at in sorted(before) if not _same(before[at], after[at])]
    assert changed == [8, 9, 10, 11, 12, 13]
    # With only one prompted frame, no frame can be left out.
    alone = _run(_object(1, _click(5)))
    near = _run(_object(1, _click(5)), nearby_prompts=1)
    assert all(_same(alone[at], near[at]) for at in alone)


def test_points_refine_a_mask_on_the_same_frame() -> None:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    mask = MaskPrompt.from_array((rows - 50) ** 2 + (columns - 80) ** 2 < 30**2)
    alone = _run(_object(1, FramePrompts(1, mask=mask)), frames=1)
    points = _run(_object(1, _click(1)), frames=1)
    both = _run(_object(1, FramePrompts(1, (_IN,), mask=mask)), frames=1)
    assert abs(alone[1].scores.area - mask.to_array().mean()) < 0.01
    assert not np.array_equal(both[1].logits, alone[1].logits)
    assert not np.array_equal(both[1].logits, points[1].logits)


def test_a_box_is_two_corners_before_the_points_at_the_models_pixel_edges() -> None:
    prompts = FramePrompts(1, (PointPrompt(0.0, 96.0), _OUT), BoxPrompt(0.0, 0.0, 160.0, 48.0))
    tensors = prompt_tensors(prompts, 160, 96, 64, torch.device("cpu"))
    assert tensors.labels is not None
    assert tensors.coordinates is not None
    assert tensors.labels.tolist() == [[2, 3, 1, 0]]
    # sam2's prompt encoder adds the half pixel that we subtract.
    edges = tensors.coordinates + 0.5
    torch.testing.assert_close(
        edges, torch.tensor([[[0.0, 0.0], [64.0, 32.0], [0.0, 64.0], [16.0, 64 * 20 / 96]]])
    )


class _Counted:
    """Frames that count how often each one is read."""

    def __init__(self, frames: TensorFrames) -> None:
        self._frames = frames
        self.asked: list[int] = []
        self.closed = 0

    def __len__(self) -> int:
        return len(self._frames)

    def stream(self, order: Sequence[int]) -> Iterator[tuple[int, torch.Tensor]]:
        try:
            for index, tensor in self._frames.stream(order):
                self.asked.append(index + 1)
                yield index, tensor
        finally:
            self.closed += 1


def _plans(frames: int, *objects: ObjectPrompts) -> list[ObjectPlan]:
    return [plan_object(entry, range(1, frames + 1), "both") for entry in objects]


def _session(frames: Any, *objects: ObjectPrompts) -> Session:
    plans = _plans(len(frames), *objects)
    works = [schedule_for(plan, plan.results) for plan in plans]
    steps = Sam2Adapter(_model(), len(frames))
    return Session(steps, frames, PhotoSizes(WIDTH, HEIGHT), works, choose_device("cpu"))


def test_a_frame_is_decoded_and_encoded_once_in_a_pass_for_all_objects() -> None:
    frames = _Counted(random_frames(5))
    session = _session(frames, _object(1, _click(2)), _object(2, _click(2)), _object(3, _click(4)))
    session.run(lambda _: None)
    conditioning, forward, backward = [2, 4], [3, 4, 5], [3, 2, 1]
    assert frames.asked == conditioning + forward + backward
    assert frames.closed == 3


def test_every_matte_leaves_before_the_next_one_is_computed() -> None:
    frames = _Counted(random_frames(4))
    asked_when_done: list[tuple[int, int]] = []
    _session(frames, _object(1, _click(1))).run(
        lambda result: asked_when_done.append((result.frame, len(frames.asked)))
    )
    assert asked_when_done == [(1, 1), (2, 2), (3, 3), (4, 4)]


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9, 14])
def test_a_cancelled_session_stops_where_it_is_and_another_goes_on_from_its_banks(
    after: int,
) -> None:
    objects = _object(1, _click(3)), _object(2, _click(3, _OTHER))
    session = _session(random_frames(8), *objects)
    results: list[FrameResult] = []
    banks: dict[tuple[int, Step], BankState] = {}

    def remembered(object_id: int, step: Step, bank: MemoryBank) -> None:
        banks[object_id, step] = bank.state()

    with pytest.raises(Cancelled):
        session.run(
            results.append,
            cancelled=lambda: len(results) >= after,
            on_remembered=remembered,
        )
    assert len(results) == after
    works = []
    for plan in _plans(8, *objects):
        done = {result.frame for result in results if result.object_id == plan.object_id}
        left = set(plan.results) - done
        works.append(
            schedule_for(plan, left, lambda step, at=plan.object_id: banks.get((at, step)))  # type: ignore[misc]
        )
    rest: list[FrameResult] = []
    steps = Sam2Adapter(_model(), 8)
    Session(steps, random_frames(8), PhotoSizes(WIDTH, HEIGHT), works, choose_device("cpu")).run(
        rest.append
    )
    whole = propagated(_model(), random_frames(8), objects)
    assert len([r for r in rest if r.frame != 3]) == len(whole) - max(after, 2)
    expected = {(r.object_id, r.frame): r for r in whole}
    assert all(_same(r, expected[r.object_id, r.frame]) for r in [*results, *rest])
    assert {(r.object_id, r.frame) for r in [*results, *rest]} == set(expected)


def _tensor_bytes() -> int:
    gc.collect()
    held: dict[int, int] = {}
    for entry in gc.get_objects():
        # isinstance would load lazy objects. oneDNN's tensors are weights that show no storage.
        if not issubclass(type(entry), torch.Tensor) or entry.is_mkldnn:
            continue
        if entry.device.type == "cpu":  # the stand-in GPU shows no storage either
            storage = entry.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
    return sum(held.values())


def test_what_a_session_holds_does_not_grow_with_the_footage() -> None:
    count = 60

    class _Repeated:
        """The same frame again and again."""

        def __len__(self) -> int:
            return count

        def stream(self, order: Sequence[int]) -> Iterator[tuple[int, torch.Tensor]]:
            return ((index, frame) for index in order)

    frame = random_frames(1).tensors[0]
    held: dict[int, int] = {}

    def look(result: FrameResult) -> None:
        if result.frame in (20, 40, 60):
            held[result.frame] = _tensor_bytes()

    _session(_Repeated(), _object(1, _click(1))).run(look)
    assert held[20] == held[40] == held[60]
