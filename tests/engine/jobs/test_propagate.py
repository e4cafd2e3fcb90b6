# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole propagate requests: what is written, what is kept, and what a cancel or a kill costs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save

from sam2_splat_addon.core.errors import (
    Cancelled,
    CheckpointError,
    FootageError,
    PromptError,
    StoreError,
)
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.mattes.run_lock import only_run
from sam2_splat_addon.core.mattes.run_manifest import read_manifest
from sam2_splat_addon.core.mattes.store import MatteScores, MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import (
    FootageFiles,
    FrameDone,
    FrameRange,
    Log,
    ModelChoice,
    Progress,
    PropagateRequest,
)
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.core.system.owned_folder import MARKER_NAME
from sam2_splat_addon.engine.jobs import propagate
from sam2_splat_addon.engine.jobs.run_store import ResultWriter, StoredObject
from sam2_splat_addon.engine.models.device import choose_device
from sam2_splat_addon.engine.tracking.cache_keys import matte_keys
from sam2_splat_addon.engine.tracking.plan import plan_object
from sam2_splat_addon.engine.tracking.results import FrameResult
from sam2_splat_addon.engine.tracking.schedule import schedule_for

from ..photo_footage import clicked, request, store_bytes, with_click, write_photos
from ..random_models import HEIGHT, IMAGE_SIZE, WIDTH

_FRAMES = 7
_A = clicked(1, 3, 70.0, 40.0, "a")
_B = clicked(2, 5, 120.0, 70.0, "b")


@dataclass
class Run:
    """A finished or cancelled run and its events."""

    progress: list[Progress] = field(default_factory=list)
    done: list[FrameDone] = field(default_factory=list)
    log: list[Log] = field(default_factory=list)
    report: propagate.PropagateReport | None = None


def _run(wish: PropagateRequest, cancelled: Callable[[Run], bool] = lambda _: False) -> Run:
    run = Run()
    run.report = propagate.run(
        wish,
        on_progress=run.progress.append,
        on_frame_done=run.done.append,
        on_log=run.log.append,
        cancelled=lambda: cancelled(run),
        image_size=IMAGE_SIZE,
    )
    return run


def _cancelled_after(wish: PropagateRequest, mattes: int) -> Run:
    kept: list[Run] = []

    def cancelled(run: Run) -> bool:
        kept[:] = [run]
        return len(run.done) >= mattes

    with pytest.raises(Cancelled):
        _run(wish, cancelled)
    return kept[0]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> FootageFiles:
    return write_photos(tmp_path_factory.mktemp("photos"), _FRAMES)


@pytest.mark.parametrize("content", [b'{"images": []}', b"[1]", b"no JSON"])
def test_a_folder_with_another_things_manifest_is_left_alone(
    content: bytes, footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(StoreError, match="for something else"):
        _run(request(footage, checkpoint, tmp_path, _A))
    assert store_bytes(tmp_path) == {"manifest.json": content}


def test_a_store_that_another_run_writes_is_left_alone(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _run(request(footage, checkpoint, tmp_path, _A))
    before = store_bytes(tmp_path)
    with only_run(tmp_path), pytest.raises(StoreError, match="Another Blender"):
        _run(request(footage, checkpoint, tmp_path, _B))
    assert store_bytes(tmp_path) == before


@pytest.fixture(scope="module")
def uninterrupted(
    footage: FootageFiles, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The store after an undisturbed run of both objects."""
    store = tmp_path_factory.mktemp("store")
    _run(request(footage, checkpoint, store, _A, _B))
    return store_bytes(store)


def test_every_frame_of_every_object_gets_a_matte_and_the_manifest_says_how(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    run = _run(request(footage, checkpoint, tmp_path, _A, _B))
    store = MatteStore.open(tmp_path)
    assert store.objects() == [1, 2]
    for object_id, prompted in ((1, 3), (2, 5)):
        assert store.frames(object_id) == list(range(1, _FRAMES + 1))
        for frame in store.frames(object_id):
            record = store.read(object_id, frame)
            # Tracked photos had a second look, and one at parts where they have enough pixels.
            of_a_cell = {4} if frame == prompted else {2, 1}
            rows, columns = record.logits.shape
            assert rows == columns and IMAGE_SIZE // rows in of_a_cell
            assert (record.width, record.height) == (WIDTH, HEIGHT)
            assert record.prompted == (frame == prompted)
            assert record.scores.area == pytest.approx(float((record.logits > 0).mean()))
    manifest = read_manifest(store.manifest_path)
    assert manifest is not None
    assert manifest.machine.threads == 1
    assert manifest.machine.device == "cpu"
    assert manifest.machine.versions.keys() >= {"torch", "sam2", "numpy", "pillow"}
    assert len({store.key(at, frame) for at in (1, 2) for frame in store.frames(at)}) == 2 * _FRAMES
    kept = {path.name for path in tmp_path.glob("state/*/*")}
    assert kept == {"conditioning"}  # in such short footage no other memories are kept

    assert run.report is not None
    assert run.report.frames == len(run.done) == 2 * _FRAMES
    assert run.report.summary.startswith("14 masks of 2 subjects in ")
    last = run.progress[-1]
    assert (last.stage, last.done, last.total) == ("propagating", 14, 14)
    assert last.seconds_left == 0.0
    assert last.seconds_per_frame > 0.0
    assert last.peak_memory_mb > 0.0
    assert [p.done for p in run.progress if p.stage == "propagating"] == list(range(1, 15))
    number = choose_device("cpu", "automatic").dtype_name  # as quick as this processor has it
    assert f"Device: CPU in {number} " in run.log[0].text


def test_a_second_run_has_nothing_to_do(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    wish = request(footage, checkpoint, tmp_path, _A)
    _run(wish)
    before = store_bytes(tmp_path)
    again = _run(wish)
    assert again.done == []
    assert again.report is not None
    assert again.report.summary == "Nothing to do: all 7 masks are up to date."
    assert store_bytes(tmp_path) == before


def test_only_objects_whose_prompts_changed_are_computed_again(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _run(request(footage, checkpoint, tmp_path, _A, _B))
    moved = clicked(2, 5, 30.0, 20.0, "b")
    renamed = msgspec.structs.replace(_A, name="another name")
    run = _run(request(footage, checkpoint, tmp_path, renamed, moved))
    assert {event.object_id for event in run.done} == {2}
    assert len(run.done) == _FRAMES


def test_a_matte_that_went_missing_is_made_again(
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
    uninterrupted: dict[str, bytes],
) -> None:
    wish = request(footage, checkpoint, tmp_path, _A, _B)
    _run(wish)
    MatteStore.open(tmp_path).path(1, 6).unlink()
    assert [(event.object_id, event.frame) for event in _run(wish).done] == [(1, 6)]
    assert store_bytes(tmp_path) == uninterrupted


@pytest.mark.parametrize(
    ("anew", "reached"),
    [(True, [4, 5, 6]), (False, [5, 6])],  # the refined frame is known from there on
)
def test_frames_outside_the_span_and_direction_keep_what_they_had(
    anew: bool, reached: list[int], footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _run(request(footage, checkpoint, tmp_path, _A))
    before = store_bytes(tmp_path)
    settings = RunSettings(1, 6, "forward")
    corrected = with_click(_A, 5, 20.0, 20.0, anew=anew)
    run = _run(request(footage, checkpoint, tmp_path, corrected, settings=settings))
    assert sorted(event.frame for event in run.done) == reached  # 3 depends only on itself
    after = store_bytes(tmp_path)
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["manifest.json", *(f"objects/001/00000{n}.matte" for n in reached)]


@pytest.mark.parametrize("mattes", [0, 1, 2, 5, 8, 11, 13])
def test_a_cancelled_run_goes_on_to_the_same_bytes(
    mattes: int,
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
    uninterrupted: dict[str, bytes],
) -> None:
    wish = request(footage, checkpoint, tmp_path, _A, _B)
    first = _cancelled_after(wish, mattes)
    assert len(first.done) == mattes
    assert len(list(tmp_path.rglob("*.matte"))) == mattes
    second = _run(wish)
    assert len(second.done) == 2 * _FRAMES - mattes
    if mattes in (5, 11, 13):  # an object is in the middle of a pass
        assert any("Continuing where an earlier run stopped" in line.text for line in second.log)
    assert store_bytes(tmp_path) == uninterrupted


def test_a_run_cancelled_twice_goes_on_twice(
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
    uninterrupted: dict[str, bytes],
) -> None:
    wish = request(footage, checkpoint, tmp_path, _A, _B)
    _cancelled_after(wish, 4)
    _cancelled_after(wish, 4)
    _run(wish)
    assert store_bytes(tmp_path) == uninterrupted


def test_the_state_of_another_run_is_not_taken_up(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _cancelled_after(request(footage, checkpoint, tmp_path / "one", _A), 5)
    moved = clicked(1, 3, 30.0, 20.0, "a")
    run = _run(request(footage, checkpoint, tmp_path / "one", moved))
    assert len(run.done) == _FRAMES
    assert not any("Going on" in line.text for line in run.log)
    _run(request(footage, checkpoint, tmp_path / "two", moved))
    assert store_bytes(tmp_path / "one") == store_bytes(tmp_path / "two")


@pytest.mark.parametrize("damage", ["truncated", "garbage", "another program's"])
def test_a_state_that_cannot_be_used_costs_time_and_nothing_else(
    damage: str,
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
    uninterrupted: dict[str, bytes],
) -> None:
    wish = request(footage, checkpoint, tmp_path, _A, _B)
    _cancelled_after(wish, 9)
    states = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert len(states) == 4  # each object's bank, and its prompted frame
    for state in states:
        if damage == "truncated":
            state.write_bytes(state.read_bytes()[:500])
        elif damage == "garbage":
            state.write_bytes(b"garbage")
        else:
            state.write_bytes(save({"recent/1/pointer": torch.zeros(1)}))
    assert len(_run(wish).done) == 2 * _FRAMES - 9
    assert store_bytes(tmp_path) == uninterrupted


_KILLED = """
import os, sys
import msgspec
from pathlib import Path
from sam2_splat_addon.core.protocol import PropagateRequest
from sam2_splat_addon.engine.jobs import propagate, run_store

run_store.SAVE_SECONDS = 0.0  # after every frame
done = []

def on_frame_done(event):
    done.append(event)
    if len(done) == int(sys.argv[2]):
        os._exit(9)  # as a kill does: nothing is tidied up

propagate.run(
    msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=PropagateRequest),
    on_progress=lambda _: None,
    on_frame_done=on_frame_done,
    on_log=lambda _: None,
    cancelled=lambda: False,
    image_size=64,
)
"""


def test_a_killed_run_goes_on_from_its_last_save_to_the_same_bytes(
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
    uninterrupted: dict[str, bytes],
) -> None:
    store = tmp_path / "store"
    wish = request(footage, checkpoint, store, _A, _B)
    (tmp_path / "request.json").write_bytes(msgspec.json.encode(wish))
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path / "request.json"), "10"],
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert killed.returncode == 9
    assert len(list(store.rglob("*.matte"))) == 10
    rest = _run(wish)
    assert len(rest.done) == 2 * _FRAMES - 10
    assert any("Continuing where an earlier run stopped" in line.text for line in rest.log)
    assert store_bytes(store) == uninterrupted


def test_wrong_requests_are_clear_errors_and_leave_no_mattes(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    excluding = ObjectPrompts(1, "a", (FramePrompts(1, (PointPrompt(5.0, 5.0, include=False),)),))
    with pytest.raises(PromptError, match="no click that says where it is"):
        _run(request(footage, checkpoint, tmp_path, excluding))
    with pytest.raises(CheckpointError, match="does not exist"):
        _run(request(footage, tmp_path / "no.safetensors", tmp_path, _A))
    with pytest.raises(CheckpointError, match="needs a checkpoint file"):
        wish = request(footage, checkpoint, tmp_path, _A)
        _run(msgspec.structs.replace(wish, model=ModelChoice("sam2.1_hiera_tiny")))
    assert not list(tmp_path.rglob("*.matte"))


def test_a_photo_gone_missing_is_named_and_what_was_done_stays(
    checkpoint: Path, tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "photos", 5)
    Path(photos.paths[3]).unlink()
    with pytest.raises(FootageError, match=r"IMG_0003\.jpg"):
        _run(request(photos, checkpoint, tmp_path / "store", clicked(1, 1, 70.0, 40.0)))
    assert MatteStore.open(tmp_path / "store").frames(1) == [1, 2, 3]


def test_an_object_without_frames_in_the_range_is_a_warning(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    settings = RunSettings(1, 2, "forward")
    run = _run(request(footage, checkpoint, tmp_path, _A, settings=settings))
    assert run.report is not None
    assert run.report.warnings == ("'a' has no frame to propagate to in this direction and range.",)
    assert any(line.level == "warning" for line in run.log)


def test_logits_beyond_float16_are_clipped_and_keep_their_sign(tmp_path: Path) -> None:
    # Only broken weights give such logits. The store must still be readable.
    store = MatteStore.open(tmp_path, create=True)
    plan = plan_object(_A, range(1, 2), "both")
    objects = [StoredObject(plan, matte_keys(plan, "run"), store)]
    writer = ResultWriter(objects, [schedule_for(plan, {1})], {1: {1}}, 1, PhotoSizes(4, 4))
    logits = np.array([[1e9, -1e9]], dtype=np.float32)
    scores = MatteScores(1.0, 1.0, 0.5)
    writer.take(FrameResult(1, 1, logits, scores, prompted=False, direction="backward"))
    assert np.isfinite(store.read(1, 1).logits).all()
    assert (store.read(1, 1).logits > 0).tolist() == [[True, False]]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat_over_three_hundred_frames(checkpoint: Path, tmp_path: Path) -> None:
    one = write_photos(tmp_path / "photos", 1)
    count = 300
    footage = msgspec.structs.replace(one, paths=one.paths * count)

    def resident_mb() -> float:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * 4096 / 1e6

    seen: dict[int, float] = {}

    def look(run: Run) -> bool:
        if run.done and run.done[-1].frame in (60, count - 1):
            seen[run.done[-1].frame] = resident_mb()
        return False

    wish = request(footage, checkpoint, tmp_path / "store", clicked(1, 1, 70.0, 40.0))
    _run(wish, look)
    # If frames were held in float32, they alone would take 12 MB.
    assert seen[count - 1] - seen[60] < 6.0


def test_prompts_of_another_size_are_scaled_to_the_footage(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    large = PromptSet((clicked(1, 3, 140.0, 80.0, "a"),), WIDTH * 2, HEIGHT * 2)
    wish = request(footage, checkpoint, tmp_path / "large")
    _run(msgspec.structs.replace(wish, prompts=large))
    _run(request(footage, checkpoint, tmp_path / "small", _A))
    assert store_bytes(tmp_path / "large") == store_bytes(tmp_path / "small")


def test_mattes_of_photos_that_have_changed_do_not_stay_beside_new_ones(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    _run(request(footage, checkpoint, store, _A, _B))
    other = write_photos(tmp_path / "photos", _FRAMES)
    Path(other.paths[0]).rename(Path(other.paths[0]).with_name("0000.jpg"))
    other = FootageFiles.of(scan(Path(other.folder)))
    wish = msgspec.structs.replace(request(other, checkpoint, store, _A), update=FrameRange(3, 4))
    run = _run(wish)
    assert any("photos have changed" in line.text for line in run.log)
    assert MatteStore.open(store).objects() == [1]
    assert MatteStore.open(store).frames(1) == [3, 4]


@pytest.mark.parametrize("what", ["all of it", "its mattes", "one matte", "the marker"])
def test_a_store_deleted_while_a_run_goes_on_is_no_success(
    what: str, footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    gone: list[FrameDone] = []

    def delete(done: FrameDone) -> None:
        gone.append(done)
        if len(gone) == 3:
            if what == "all of it":
                shutil.rmtree(store)
            elif what == "its mattes":
                shutil.rmtree(store / "objects")
            elif what == "one matte":
                MatteStore(store).path(gone[0].object_id, gone[0].frame).unlink()
            else:
                (store / MARKER_NAME).unlink()

    with pytest.raises(StoreError, match="deleted"):
        propagate.run(
            request(footage, checkpoint, store, _A),
            on_progress=lambda _: None,
            on_frame_done=delete,
            on_log=lambda _: None,
            cancelled=lambda: False,
            image_size=IMAGE_SIZE,
        )
    _run(request(footage, checkpoint, store, _A))
    assert len(MatteStore(store).frames(1)) == _FRAMES
