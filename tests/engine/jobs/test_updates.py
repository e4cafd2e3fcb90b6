# SPDX-License-Identifier: GPL-3.0-or-later
"""After a change only what it can affect is computed, to the same bytes as a run from nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from sam2_splat_addon.core.edited_prompts import mask_prompt
from sam2_splat_addon.core.errors import Cancelled, PromptError
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.core.protocol import (
    EditedMatte,
    FootageFiles,
    FrameRange,
    Log,
    Progress,
    PropagateRequest,
)
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs import propagate, run_store
from sam2_splat_addon.engine.models.architectures import BUNDLED, build
from sam2_splat_addon.engine.tracking import cache_keys
from sam2_splat_addon.engine.tracking.memory_bank import MemoryReach
from sam2_splat_addon.engine.tracking.plan import plan_object

from ..photo_footage import all_anew, clicked, request, with_click, write_photos
from ..random_models import HEIGHT, IMAGE_SIZE, WIDTH

_FRAMES = 14
_A = clicked(1, 4, 70.0, 40.0, "a")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> FootageFiles:
    return write_photos(tmp_path_factory.mktemp("photos"), _FRAMES)


@pytest.fixture(autouse=True)
def _short_footage_has_memories_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_store, "SHELF_FRAMES", 3)
    monkeypatch.setattr(run_store, "SHELF_PLACES", 3)


def _run(wish: PropagateRequest, cancel_after: int = -1) -> list[tuple[int, int]]:
    """Return (object, frame) of every matte written, in order."""
    done: list[tuple[int, int]] = []
    propagate.run(
        wish,
        on_progress=lambda _: None,
        on_frame_done=lambda event: done.append((event.object_id, event.frame)),
        on_log=lambda _: None,
        cancelled=lambda: len(done) == cancel_after,
        image_size=IMAGE_SIZE,
    )
    return done


def _computed(wish: PropagateRequest) -> tuple[list[int], list[str]]:
    """Return the frames that were computed, written or not, and the log."""
    frames: list[Progress] = []
    log: list[Log] = []
    propagate.run(
        wish,
        on_progress=lambda event: frames.append(event) if event.frame else None,
        on_frame_done=lambda _: None,
        on_log=log.append,
        cancelled=lambda: False,
        image_size=IMAGE_SIZE,
    )
    return [event.frame for event in frames], [line.text for line in log]


def _mattes(store: Path, frames: Iterable[int] = range(1, _FRAMES + 1)) -> dict[str, bytes]:
    paths = (
        MatteStore(store).path(object_id, frame)
        for object_id in MatteStore(store).objects()
        for frame in frames
    )
    return {str(path.relative_to(store)): path.read_bytes() for path in paths if path.is_file()}


def _checkpoints(store: Path) -> set[str]:
    return {str(path.relative_to(store)) for path in store.rglob("state/*/*")}


def _random_prompts(rng: np.random.Generator, frame: int) -> FramePrompts:
    points = tuple(
        PointPrompt(rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), bool(rng.random() < 0.6))
        for _ in range(rng.integers(1, 3))
    )
    return FramePrompts(frame, points, anew=bool(rng.random() < 0.2))


def _edited_at_random(rng: np.random.Generator, thing: ObjectPrompts) -> ObjectPrompts:
    """Prompts added, changed or removed on one frame. At least one still includes."""
    while True:
        frame = int(rng.integers(1, _FRAMES + 1))
        frames = [entry for entry in thing.frames if entry.frame != frame]
        if rng.random() < 0.75 or len(frames) == len(thing.frames):
            frames.append(_random_prompts(rng, frame))
        if any(entry.includes_something for entry in frames):
            return replace(thing, frames=tuple(frames))


@pytest.mark.parametrize(
    ("seed", "nearby", "both_sides"),
    [(1, 0, False), (3, 1, False), (4, 2, False), (5, 0, True), (6, 1, True)],
)
def test_after_any_change_the_mattes_equal_those_of_a_run_that_begins_anew(
    seed: int,
    nearby: int,
    both_sides: bool,
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sam2_splat_addon.engine.tracking.session.MAX_CONDITIONING", 3)
    monkeypatch.setattr(cache_keys, "MAX_CONDITIONING", 3)
    monkeypatch.setattr(cache_keys, "NEAR", 15)
    rng = np.random.default_rng(seed)
    things = [_A, clicked(2, 9, 120.0, 70.0, "b")]
    if both_sides:
        things = [with_click(things[0], 12), with_click(things[1], 2)]
    settings = RunSettings(nearby_prompts=nearby, both_sides=both_sides)
    written = 0
    steps = 5
    for step in range(steps):
        fresh = request(footage, checkpoint, tmp_path / f"{step}", *things, settings=settings)
        _run(fresh)
        ongoing = replace(fresh, store=str(tmp_path / "ongoing"))
        if rng.random() < 0.4:
            try:
                written += len(_run(ongoing, int(rng.integers(0, 6))))
            except Cancelled:
                written += 1
        if rng.random() < 0.6:
            first, last = sorted(int(frame) for frame in rng.integers(1, _FRAMES + 1, 2))
            before = _mattes(tmp_path / "ongoing")
            done = _run(replace(ongoing, update=FrameRange(first, last)))
            written += len(done)
            assert {frame for _, frame in done} <= set(range(first, last + 1))
            inside = range(first, last + 1)
            assert _mattes(tmp_path / "ongoing", inside) == _mattes(tmp_path / f"{step}", inside)
            outside = [frame for frame in range(1, _FRAMES + 1) if frame not in inside]
            assert _mattes(tmp_path / "ongoing", outside).items() <= before.items()
        written += len(_run(ongoing))
        assert _mattes(tmp_path / "ongoing") == _mattes(tmp_path / f"{step}")
        assert _checkpoints(tmp_path / "ongoing") <= _checkpoints(tmp_path / f"{step}")
        changed = int(rng.integers(2))
        things[changed] = _edited_at_random(rng, things[changed])
    assert written < steps * 2 * _FRAMES * (2 if both_sides else 1)


def test_a_correction_changes_what_follows_it_and_begins_at_the_nearest_memories(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _run(request(footage, checkpoint, tmp_path, _A))
    excluding = FramePrompts(12, (PointPrompt(20.0, 20.0, include=False),))
    corrected = replace(_A, frames=(*_A.frames, excluding))
    wish = request(footage, checkpoint, tmp_path, corrected)
    frames, log = _computed(wish)
    # Memories lie on disk after every fourth tracked frame: 8 and 12.
    assert frames == [9, 10, 11, 12, 13, 14]
    assert any("Continuing where an earlier run stopped, from frame 9" in line for line in log)
    assert _run(wish) == []


def test_a_correction_before_the_first_prompt_changes_the_backward_pass_alone(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _run(request(footage, checkpoint, tmp_path, _A))
    excluding = FramePrompts(2, (PointPrompt(20.0, 20.0, include=False),))
    corrected = replace(_A, frames=(excluding, *_A.frames))
    done = _run(request(footage, checkpoint, tmp_path, corrected))
    assert done == [(1, 2), (1, 1)]


def test_a_new_prompted_frame_leaves_the_mattes_of_the_other_prompted_ones(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _run(request(footage, checkpoint, tmp_path, _A))
    more = with_click(_A, 9, 20.0, 20.0, anew=True)
    done = _run(request(footage, checkpoint, tmp_path, more))
    assert sorted(frame for _, frame in done) == [at for at in range(1, _FRAMES + 1) if at != 4]


def test_a_frame_refined_anew_changes_what_follows_it_and_the_pass_that_comes_after(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _run(request(footage, checkpoint, tmp_path, _A))
    refined = with_click(_A, 12, 20.0, 20.0)
    # Memories lie on disk after frames 8 and 12. Those of 12 belong to the state before the change.
    frames, _ = _computed(request(footage, checkpoint, tmp_path, refined))
    assert frames == [9, 10, 11, 12, 13, 14, 3, 2, 1]
    # A change in the later pass: the refined frame's memory lies on disk too.
    excluding = FramePrompts(2, (PointPrompt(20.0, 20.0, include=False),))
    corrected = replace(refined, frames=(excluding, *refined.frames))
    frames, _ = _computed(request(footage, checkpoint, tmp_path, corrected))
    assert frames == [3, 2, 1]
    # Without that file, the frame is refined again on the way.
    (remembered,) = tmp_path.glob("state/*/conditioning/000012.*")
    remembered.unlink()
    before = _mattes(tmp_path)
    MatteStore(tmp_path).remove(1, {2})
    frames, _ = _computed(request(footage, checkpoint, tmp_path, corrected))
    assert frames == [9, 10, 11, 12, 3, 2]
    assert _mattes(tmp_path) == before


def test_with_nearby_prompts_a_change_reaches_no_further_than_they_do(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    click = (PointPrompt(70.0, 40.0),)
    frames = tuple(FramePrompts(at, click) for at in (2, 6, 10, 13))
    settings = RunSettings(nearby_prompts=1)
    thing = ObjectPrompts(1, "a", frames)
    reached = {True: [7, 8, 9], False: list(range(8, _FRAMES + 1))}  # refined by earlier frames
    for anew, expected in reached.items():
        store = tmp_path / f"{anew}"
        begun = all_anew(thing) if anew else thing
        _run(request(footage, checkpoint, store, begun, settings=settings))
        more = with_click(begun, 8, 20.0, 20.0, anew=anew)
        done = _run(request(footage, checkpoint, store, more, settings=settings))
        assert sorted(frame for _, frame in done) == expected


def test_a_wider_range_goes_on_from_the_narrower_one(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    def over(first: int, last: int) -> PropagateRequest:
        settings = RunSettings(first, last)
        return request(footage, checkpoint, tmp_path, _A, settings=settings)

    _run(over(1, 10))
    assert _computed(over(1, 13))[0] == [11, 12, 13]  # from the memories after 10
    assert _run(over(2, 12)) == []


@pytest.mark.parametrize("nearby", [0, 1])
def test_ranges_before_between_and_behind_refined_frames_give_what_fresh_runs_give(
    nearby: int, footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    thing = with_click(with_click(_A, 9, 20.0, 20.0), 13, 100.0, 20.0)
    for number, (first, last) in enumerate([(1, 3), (6, 8), (11, 12), (2, 14), (10, 11)]):
        settings = RunSettings(first, last, nearby_prompts=nearby)
        for store in ("ongoing", f"{number}"):
            _run(request(footage, checkpoint, tmp_path / store, thing, settings=settings))
        span = range(first, last + 1)
        assert len(_mattes(tmp_path / f"{number}")) == len(span)
        assert _mattes(tmp_path / "ongoing", span) == _mattes(tmp_path / f"{number}")


def test_only_one_frame_is_what_the_whole_run_gives_there(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    wish = request(footage, checkpoint, tmp_path / "one", _A)
    assert _run(replace(wish, update=FrameRange(8, 8))) == [(1, 8)]
    assert MatteStore(tmp_path / "one").frames(1) == [8]
    _run(replace(wish, store=str(tmp_path / "all")))
    assert _mattes(tmp_path / "one") == _mattes(tmp_path / "all", [8])
    assert _run(replace(wish, update=FrameRange(99, 120))) == []
    with pytest.raises(PromptError, match="no frame from 5 to 4"):
        _run(replace(wish, update=FrameRange(5, 4)))


def test_mattes_that_are_left_alone_are_brought_up_to_date_by_a_whole_run(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    _run(request(footage, checkpoint, tmp_path / "one", _A))
    moved = clicked(1, 4, 20.0, 20.0, "a")
    wish = request(footage, checkpoint, tmp_path / "one", moved)
    forwards = _run(replace(wish, update=FrameRange(6, _FRAMES)))
    assert sorted(frame for _, frame in forwards) == list(range(6, _FRAMES + 1))
    rest = _run(wish)
    assert sorted(frame for _, frame in rest) == [1, 2, 3, 4, 5]
    _run(replace(wish, store=str(tmp_path / "all")))
    assert _mattes(tmp_path / "one") == _mattes(tmp_path / "all")


def test_a_drawn_matte_is_a_mask_prompt_in_place_of_the_clicks_on_its_frame(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    square = EditedMatte(1, 9, ((30.0, 20.0, 110.0, 20.0, 110.0, 80.0, 30.0, 80.0),))
    mask = mask_prompt(square, WIDTH, HEIGHT)
    as_prompt = replace(_A, frames=(*_A.frames, FramePrompts(9, mask=mask)))
    clicks = replace(_A, frames=(*_A.frames, FramePrompts(9, (PointPrompt(5.0, 5.0),))))
    _run(request(footage, checkpoint, tmp_path / "mask", as_prompt))
    for name, thing in (("plain", _A), ("clicks", clicks)):
        wish = request(footage, checkpoint, tmp_path / name, thing)
        _run(replace(wish, edited=(square,)))
        assert _mattes(tmp_path / name) == _mattes(tmp_path / "mask")
    assert _mattes(tmp_path / "mask", [9])
    record = MatteStore(tmp_path / "mask").read(1, 9)
    assert record.prompted
    assert record.scores.area == pytest.approx(80 * 60 / (WIDTH * HEIGHT), abs=0.03)
    # Drawn mattes of a missing object, and empty ones, have no effect.
    nothing = (EditedMatte(7, 9, square.outlines), EditedMatte(1, 9, ()))
    _run(replace(request(footage, checkpoint, tmp_path / "none", _A), edited=nothing))
    _run(request(footage, checkpoint, tmp_path / "no", _A))
    assert _mattes(tmp_path / "none") == _mattes(tmp_path / "no")


@pytest.mark.parametrize("name", [BUNDLED, "sam2.1_hiera_tiny"])
def test_no_model_remembers_tracked_frames_further_than_keys_look(name: str) -> None:
    reach = MemoryReach.of(build(name, image_size=64 if name != BUNDLED else None), 16)
    assert max(reach.features, reach.pointers) <= cache_keys.NEAR


def test_of_many_prompted_frames_those_out_of_reach_change_no_key() -> None:
    click = (PointPrompt(70.0, 40.0),)
    frames = tuple(FramePrompts(at, click, anew=True) for at in range(1, 400, 10))
    plan = plan_object(ObjectPrompts(1, "a", frames), range(1, 500), "both")
    moved = (*frames[:-1], FramePrompts(391, (PointPrompt(1.0, 1.0),), anew=True))
    changed = plan_object(ObjectPrompts(1, "a", moved), range(1, 500), "both")
    one, other = (cache_keys.matte_keys(each, "run").mattes for each in (plan, changed))
    differing = [frame for frame in sorted(one) if one[frame] != other[frame]]
    assert one.keys() == other.keys()
    # A frame attends to the sixteen nearest. So 391 counts where it is the seventh or eighth ahead.
    assert differing[0] == 392 - 10 * 8
    assert differing[1:] == [frame for frame in range(313, 500) if frame % 10 != 1 or frame >= 391]
