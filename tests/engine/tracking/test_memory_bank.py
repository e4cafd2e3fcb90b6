# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bank keeps, forgets and shows."""

from __future__ import annotations

import random

import pytest
import torch

from sam2_splat_addon.engine.models.architectures import BUNDLED, build
from sam2_splat_addon.engine.tracking.memory_bank import (
    FrameMemory,
    FrameQuality,
    LastView,
    MemoryBank,
    MemoryReach,
)

_REACH = MemoryReach(features=3, pointers=5, conditioning=2)
_POSITION = torch.zeros(1, 4, 2, 2)


def _memory(value: float = 0.0) -> FrameMemory:
    features = torch.full((1, 4, 2, 2), value).to(torch.bfloat16)
    return FrameMemory(features, torch.full((1, 8), value))


def test_the_reach_follows_from_the_models_own_settings() -> None:
    model = build(BUNDLED, image_size=64)
    reach = MemoryReach.of(model, 16)
    assert reach == MemoryReach(model.num_maskmem - 1, model.max_obj_ptrs_in_encoder - 1, 16)
    model.memory_temporal_stride_for_eval = 3
    assert MemoryReach.of(model, 0).features == 3 * (model.num_maskmem - 2) + 1
    assert MemoryReach.of(model, 1).conditioning == 2  # the nearest one on each side
    assert MemoryReach.of(model, 0).conditioning == MemoryReach.of(model, -1).conditioning == 0
    model.num_maskmem = 1  # no memory of tracked frames
    model.use_obj_ptrs_in_encoder = False
    assert MemoryReach.of(model, 16) == MemoryReach(0, 0, 16)


@pytest.mark.parametrize("step", [1, -1])
def test_only_what_the_next_frame_can_reach_is_kept(step: int) -> None:
    bank = MemoryBank(_REACH, _POSITION, {0: _memory()})
    for count in range(1, 40):
        bank.add(count * step, _memory())
    # The next frame is 40. It reaches features of 3 frames and pointers of 5.
    assert sorted(abs(at) for at in bank.recent) == [35, 36, 37, 38, 39]
    with_features = [abs(at) for at, m in bank.recent.items() if m.features is not None]
    assert sorted(with_features) == [37, 38, 39]


def test_the_conditioning_frames_shown_are_the_nearest_and_near_others_count_as_tracked() -> None:
    conditioning = {at: _memory() for at in (0, 10, 12, 40)}
    bank = MemoryBank(_REACH, _POSITION, conditioning)
    bank.add(13, _memory())
    shown = bank.output_dict(14)
    assert set(shown["cond_frame_outputs"]) == {12, 40}
    assert set(shown["non_cond_frame_outputs"]) == {10, 13}
    unlimited = MemoryBank(MemoryReach(3, 5, 0), _POSITION, conditioning)
    assert list(unlimited.output_dict(14)["cond_frame_outputs"]) == [0, 10, 12, 40]


def test_without_a_limit_corrected_frames_condition_and_are_never_forgotten() -> None:
    bank = MemoryBank(MemoryReach(3, 5, 0), _POSITION, {0: _memory()})
    bank.add_corrected(2, _memory())
    for at in range(3, 30):
        bank.add(at, _memory())
    assert list(bank.output_dict(30)["cond_frame_outputs"]) == [0, 2]


class _KeepsAll(MemoryBank):
    def add_corrected(self, index: int, memory: FrameMemory) -> None:
        self._corrected[index] = memory


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize(
    "reach", [MemoryReach(3, 5, 2), MemoryReach(2, 0, 4), MemoryReach(6, 15, 16)]
)
def test_with_a_limit_corrected_frames_out_of_reach_are_forgotten_and_none_misses_them(
    step: int, reach: MemoryReach
) -> None:
    bound = max(reach.conditioning, reach.features, reach.pointers)
    for seed in range(8):
        generator = random.Random(seed)
        start = 100
        prompted = sorted({start, *generator.sample(range(200), generator.randint(0, 9))})
        conditioning = {at: _memory(float(at)) for at in prompted}
        bank, full = (kind(reach, _POSITION, conditioning) for kind in (MemoryBank, _KeepsAll))
        often = generator.choice([0.1, 0.5, 1.0])
        for at in range(start + step, start + 95 * step, step):
            if at in conditioning:
                continue
            shown, expected = bank.output_dict(at), full.output_dict(at)
            assert [list(group) for group in shown.values()] == [
                list(group) for group in expected.values()
            ]
            corrects = generator.random() < often
            for one in (bank, full):
                (one.add_corrected if corrects else one.add)(at, _memory(float(at)))
            assert len(bank.corrected) <= bound
        assert len(full.corrected) > bound or often < 1.0


def test_features_are_kept_in_bfloat16_and_shown_in_the_pointers_format() -> None:
    bank = MemoryBank(_REACH, _POSITION, {0: _memory(0.1)})
    kept = _memory(0.1).features
    shown = bank.output_dict(1)["cond_frame_outputs"][0]
    assert kept is not None
    assert kept.dtype == torch.bfloat16
    assert shown["maskmem_features"].dtype == torch.float32
    assert torch.equal(shown["maskmem_features"], kept.float())
    assert shown["maskmem_pos_enc"][-1] is _POSITION


def test_a_restored_bank_shows_the_same() -> None:
    bank = MemoryBank(_REACH, _POSITION, {0: _memory()})
    bank.add_corrected(1, _memory(1.0))
    for at in range(2, 9):
        bank.add(at, _memory(float(at)))
    other = MemoryBank(_REACH, _POSITION, {0: _memory()})
    other.restore(bank.state())
    for group, entries in bank.output_dict(9).items():
        again = other.output_dict(9)[group]
        assert list(again) == list(entries)
        for at, entry in entries.items():
            assert torch.equal(again[at]["obj_ptr"], entry["obj_ptr"])


def test_what_is_left_out_counts_as_tracked_as_far_as_attention_reaches() -> None:
    conditioning = {at: _memory() for at in (0, 4, 5, 9, 11)}
    bank = MemoryBank(_REACH, _POSITION, conditioning)
    shown = bank.output_dict(10)  # pointers reach 5 frames
    assert set(shown["cond_frame_outputs"]) == {9, 11}
    assert set(shown["non_cond_frame_outputs"]) == {5}


def test_a_frame_that_was_corrected_on_the_way_replaces_its_memory_from_before() -> None:
    bank = MemoryBank(_REACH, _POSITION, {0: _memory(), 4: _memory(1.0)})
    bank.add_corrected(4, _memory(2.0))
    shown = bank.output_dict(5)["cond_frame_outputs"]
    assert sorted(shown) == [0, 4]
    assert float(shown[4]["obj_ptr"][0, 0]) == 2.0


def test_a_state_stays_as_it_was_when_its_bank_and_those_made_from_it_go_on() -> None:
    bank = MemoryBank(_REACH, _POSITION, {0: _memory()})
    bank.add_corrected(1, _memory())
    bank.add(2, _memory())
    bank.last_view, bank.qualities = LastView(2, 8), (FrameQuality(7.0, 0.9, 0.2),)
    state = bank.state()
    other = MemoryBank(_REACH, _POSITION, {0: _memory()})
    other.restore(state)
    assert (other.last_view, other.qualities) == (LastView(2, 8), (FrameQuality(7.0, 0.9, 0.2),))
    for one in (bank, other):
        one.add_corrected(3, _memory())
        one.add(4, _memory())
        one.last_view, one.qualities = None, ()
    assert (list(state.corrected), list(state.recent)) == ([1], [2])
    assert (state.last_view, len(state.qualities)) == (LastView(2, 8), 1)
