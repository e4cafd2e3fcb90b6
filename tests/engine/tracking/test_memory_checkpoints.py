# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of a pass comes back from disk as it was, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sam2_splat_addon.core.errors import StoreError
from sam2_splat_addon.engine.tracking.memory_bank import (
    BankState,
    FrameMemory,
    FrameQuality,
    LastView,
)
from sam2_splat_addon.engine.tracking.memory_checkpoints import MemoryCheckpoints
from sam2_splat_addon.engine.tracking.plan import Step

_AT = Step("forward", 7)


def _memory(value: float, *, features: bool = True) -> FrameMemory:
    held = torch.full((1, 4, 2, 2), value).to(torch.bfloat16) if features else None
    return FrameMemory(held, torch.full((1, 8), value))


_STATE = BankState(
    {9: _memory(0.5), 2: _memory(-3.0)},  # not in rising order: a pass may go backwards
    {5: _memory(1.5, features=False), 6: _memory(2.5)},
    LastView(6, 16),
    (FrameQuality(7.0, 0.9, 0.25), FrameQuality(6.0, 0.8, 0.5)),
)


def test_a_saved_bank_comes_back_with_everything_in_its_order(tmp_path: Path) -> None:
    saved = MemoryCheckpoints(tmp_path)
    saved.save(_AT, "key", _STATE)
    found = saved.load(_AT, "key")
    assert found is not None
    assert (found.last_view, found.qualities) == (_STATE.last_view, _STATE.qualities)
    pairs = ((found.corrected, _STATE.corrected), (found.recent, _STATE.recent))
    for again, before in pairs:
        assert list(again) == list(before)
        for at, memory in before.items():
            assert torch.equal(again[at].pointer, memory.pointer)
            features = again[at].features
            if memory.features is None:
                assert features is None
            else:
                assert features is not None and features.dtype == torch.bfloat16
                assert torch.equal(features, memory.features)
    plain = BankState({}, {3: _memory(1.0)})
    saved.save(_AT, "key", plain)
    found = saved.load(_AT, "key")
    assert found is not None
    assert (found.last_view, found.qualities, list(found.corrected)) == (None, (), [])


def test_equal_banks_have_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        MemoryCheckpoints(tmp_path / name).save(_AT, "key", _STATE)
    one, other = (
        (tmp_path / name / "forward" / "000007.safetensors").read_bytes() for name in "ab"
    )
    assert one == other


def test_a_bank_of_another_frame_pass_or_key_is_not_taken(tmp_path: Path) -> None:
    saved = MemoryCheckpoints(tmp_path)
    assert saved.load(_AT, "key") is None
    saved.save(_AT, "key", _STATE)
    assert saved.load(_AT, "other key") is None
    assert saved.load(Step("backward", 7), "key") is None
    assert saved.load(Step("forward", 8), "key") is None
    saved.remove(_AT)
    assert saved.load(_AT, "key") is None
    saved.remove(_AT)  # it is gone already


@pytest.mark.parametrize("place", [0, 3, 8, 60, -300, -1])
def test_a_bank_with_a_changed_byte_counts_as_missing(tmp_path: Path, place: int) -> None:
    saved = MemoryCheckpoints(tmp_path)
    saved.save(_AT, "key", _STATE)
    (path,) = tmp_path.glob("*/*")
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.write_bytes(data)
    assert saved.load(_AT, "key") is None
    path.write_bytes(bytes(data)[:-20])
    assert saved.load(_AT, "key") is None


def test_a_sweep_leaves_what_is_wanted_under_its_key_and_what_is_not_ours(tmp_path: Path) -> None:
    saved = MemoryCheckpoints(tmp_path)
    steps = [Step(way, at) for way in ("forward", "backward") for at in (3, 5, 9)]
    for step in steps:
        saved.save(step, f"key {step.frame}", _STATE)
    others = [tmp_path / "forward" / "notes.txt", tmp_path / "forward" / "12 old.safetensors"]
    for other in others:
        other.write_text("mine")
    damaged = tmp_path / "forward" / "000011.safetensors"
    damaged.write_bytes(b"nothing")
    keys = {step: f"key {step.frame}" for step in steps} | {Step("backward", 9): "a new key"}
    saved.sweep(lambda step: step.frame != 3, keys)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*")) == [
        "backward/000005.safetensors",
        "forward/000005.safetensors",
        "forward/000009.safetensors",
        "forward/12 old.safetensors",
        "forward/notes.txt",
    ]


def test_a_folder_that_can_not_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "forward").write_text("a file stands where the folder should")
    with pytest.raises(StoreError, match=r"can't be written to .*state") as caught:
        MemoryCheckpoints(folder).save(_AT, "key", _STATE)
    assert "disk space" in caught.value.fix


def test_a_memory_that_can_not_be_removed_is_named(tmp_path: Path) -> None:
    saved = MemoryCheckpoints(tmp_path)
    (tmp_path / "forward" / "000004.safetensors").mkdir(
        parents=True
    )  # no file: it can't be unlinked
    with pytest.raises(StoreError, match="can't be removed from"):
        saved.sweep(lambda step: False, {})
