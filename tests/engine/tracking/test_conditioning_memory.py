# SPDX-License-Identifier: GPL-3.0-or-later
"""Memories of prompted frames lie on disk. Runs that continue encode none again, and hold few."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from sam2_splat_addon.core.errors import StoreError
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.core.protocol import FootageFiles, PropagateRequest
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs import propagate
from sam2_splat_addon.engine.tracking import conditioning_memory
from sam2_splat_addon.engine.tracking.conditioning_memory import (
    Conditioned,
    ConditioningMemories,
    ConditioningStore,
)
from sam2_splat_addon.engine.tracking.memory_bank import FrameMemory, memory_position
from sam2_splat_addon.engine.tracking.prompt_tensors import PromptTensors
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter

from ..photo_footage import clicked, request, store_bytes, with_click, write_photos
from ..random_models import IMAGE_SIZE, random_frames, random_model

_FRAMES = 9
_THING = with_click(clicked(1, 2, 70.0, 40.0), 7, anew=True)
_CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> FootageFiles:
    return write_photos(tmp_path_factory.mktemp("photos"), _FRAMES)


def _computed(wish: PropagateRequest) -> list[int]:
    """Return the frames that were computed, written or not."""
    frames: list[int] = []
    propagate.run(
        wish,
        on_progress=lambda event: frames.append(event.frame) if event.frame else None,
        on_frame_done=lambda _: None,
        on_log=lambda _: None,
        cancelled=lambda: False,
        image_size=IMAGE_SIZE,
    )
    return frames


def _conditioned(value: float) -> Conditioned:
    features = torch.full((1, 4, 2, 2), value).to(torch.bfloat16)
    return Conditioned(FrameMemory(features, torch.full((1, 8), value)), roll=int(value))


def _value(memory: FrameMemory) -> float:
    return float(memory.pointer[0, 0])


def _files(store: Path) -> list[Path]:
    return sorted(store.glob("state/*/conditioning/*"))


def test_a_change_on_a_tracked_frame_encodes_no_prompted_frame_again(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _computed(request(footage, checkpoint, tmp_path / "a", _THING))
    excluding = FramePrompts(5, (PointPrompt(20.0, 20.0, include=False),))
    corrected = replace(_THING, frames=(*_THING.frames, excluding))
    wish = request(footage, checkpoint, tmp_path / "a", corrected)
    assert not {2, 7}.intersection(_computed(wish))
    _computed(replace(wish, store=str(tmp_path / "b")))
    assert store_bytes(tmp_path / "a") == store_bytes(tmp_path / "b")


def test_a_changed_prompted_frame_is_the_only_one_that_is_encoded_again(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _computed(request(footage, checkpoint, tmp_path / "a", _THING))
    moved = with_click(clicked(1, 2, 70.0, 40.0), 7, 100.0, 20.0, anew=True)
    wish = request(footage, checkpoint, tmp_path / "a", moved)
    computed = _computed(wish)
    assert 7 in computed
    assert 2 not in computed
    _computed(replace(wish, store=str(tmp_path / "b")))
    assert store_bytes(tmp_path / "a") == store_bytes(tmp_path / "b")


def test_what_is_no_longer_prompted_is_swept_and_clearing_the_store_forgets_all(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _computed(request(footage, checkpoint, tmp_path, _THING))
    assert [path.stem for path in _files(tmp_path)] == ["000002", "000007"]
    _computed(request(footage, checkpoint, tmp_path, clicked(1, 2, 70.0, 40.0)))
    assert [path.stem for path in _files(tmp_path)] == ["000002"]
    MatteStore.open(tmp_path).remove(1)
    assert _files(tmp_path) == []


def test_a_damaged_file_is_made_again(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    wish = request(footage, checkpoint, tmp_path, _THING)
    _computed(wish)
    before = store_bytes(tmp_path)
    first, second = _files(tmp_path)
    first.write_bytes(first.read_bytes()[:-40])
    second.write_bytes(b"nothing")
    MatteStore.open(tmp_path).remove(1, {4, 5})
    assert {2, 7} <= set(_computed(wish))
    assert store_bytes(tmp_path) == before


@pytest.mark.parametrize("panorama", [False, True])
def test_a_run_that_holds_one_memory_gives_the_bytes_of_one_that_holds_all(
    panorama: bool,
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    click = (PointPrompt(70.0, 40.0),)
    frames = tuple(FramePrompts(at, click) for at in (1, 3, 5, 6, 8))
    settings = RunSettings(panorama=panorama)
    for held in (1, 48):
        monkeypatch.setattr(conditioning_memory, "HELD", held)
        thing = ObjectPrompts(1, "thing", frames)
        _computed(request(footage, checkpoint, tmp_path / f"{held}", thing, settings=settings))
    assert store_bytes(tmp_path / "1") == store_bytes(tmp_path / "48")


def test_no_more_than_the_bound_stay_in_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditioning_memory, "HELD", 3)
    store = ConditioningStore(tmp_path, {frame: f"{frame}" for frame in range(1, 21)})
    memories = ConditioningMemories(store, _CPU)
    for index in range(20):
        memories.add(index, _conditioned(float(index)))
    assert len(memories._held) == 3
    assert not memories._own
    assert [_value(entry) for entry in memories.of(range(20)).values()] == list(range(20))
    assert len(memories._held) == 3
    assert [memories.roll(index) for index in range(20)] == list(range(20))
    assert list(memories.of([4, 9])) == [4, 9]
    with pytest.raises(KeyError):
        memories.of([4, 9])[5]


def test_without_a_folder_or_where_none_is_written_all_stay_in_the_process(tmp_path: Path) -> None:
    store = ConditioningStore(tmp_path, dict.fromkeys(range(1, 21), "key"))
    for memories in (
        ConditioningMemories(None, _CPU),
        ConditioningMemories(store, _CPU, writes=False),
    ):
        for index in range(20):
            memories.add(index, _conditioned(float(index)))
        assert [_value(entry) for entry in memories.of(range(20)).values()] == list(range(20))
    assert list(tmp_path.iterdir()) == []


def test_what_stands_under_another_key_is_not_there(tmp_path: Path) -> None:
    ConditioningStore(tmp_path, {3: "old"}).save(3, _conditioned(1.0))
    store = ConditioningStore(tmp_path, {3: "new", 4: "new"})
    assert not store.has(3)
    assert not store.has(4)
    for frame in (3, 4):
        with pytest.raises(StoreError, match=f"frame {frame} can't be read"):
            store.load(frame)
    store.save(3, _conditioned(2.0))
    assert _value(store.load(3).memory) == 2.0
    store.sweep({4})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["bundled", "sam2.1_hiera_tiny"])
def test_the_position_of_memories_is_that_which_the_model_gives_with_one(name: str) -> None:
    model = random_model(name)
    steps = Sam2Adapter(model, 1)
    with torch.inference_mode():
        image = steps.encode(random_frames(1).tensors[0])
        point = torch.tensor([[[20.0, 20.0]]])
        prompts = PromptTensors(point, torch.ones(1, 1, dtype=torch.int32), None)
        _, position = steps.remember(image, steps.condition(0, image, prompts), from_user=True)
        made = memory_position(model)
    assert made.dtype == position.dtype
    assert torch.equal(made, position)


@pytest.mark.parametrize("kind", ["conditioning", "forward"])
def test_a_changed_byte_is_noticed_and_its_frame_computed_anew(
    checkpoint: Path, tmp_path: Path, kind: str
) -> None:
    footage = write_photos(tmp_path / "photos", 12)
    wish = request(footage, checkpoint, tmp_path / "store", clicked(1, 2, 70.0, 40.0))
    _computed(wish)
    whole = store_bytes(tmp_path / "store")
    store = MatteStore(tmp_path / "store")
    saved = sorted(store.folder.glob(f"state/*/{kind}/*"))
    assert saved
    for place in (0.3, 0.6, 0.9):
        for path in saved:
            data = bytearray(path.read_bytes())
            data[int(len(data) * place)] ^= 0x40
            path.write_bytes(data)
        for frame in range(9, 13):
            store.path(1, frame).unlink()
        _computed(wish)
        assert store_bytes(tmp_path / "store") == whole
