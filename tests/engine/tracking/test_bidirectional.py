# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames between prompted ones, tracked from both sides: what is chosen, kept and computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from sam2_splat_addon.core.errors import Cancelled
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.core.protocol import FootageFiles, FrameRange, Progress, PropagateRequest
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs import propagate, run_store
from sam2_splat_addon.engine.tracking.bidirectional import (
    ABSENT_ESTIMATE,
    Sides,
    better,
    overlap,
)
from sam2_splat_addon.engine.tracking.cache_keys import matte_keys
from sam2_splat_addon.engine.tracking.plan import Step, plan_object

from ..photo_footage import all_anew, clicked, request, store_bytes, with_click, write_photos
from ..random_models import IMAGE_SIZE

_FRAMES = 10
_THING = with_click(clicked(1, 2, 70.0, 40.0, "thing"), 8)
_ANEW = all_anew(_THING)
_BETWEEN = range(3, 8)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> FootageFiles:
    return write_photos(tmp_path_factory.mktemp("photos"), _FRAMES)


def _settings(*, both_sides: bool = True, **others: Any) -> RunSettings:
    return RunSettings(both_sides=both_sides, **others)


def _run(wish: PropagateRequest, cancel_after: int = -1) -> tuple[list[int], list[Progress]]:
    """Return the frames of the mattes written, in order, and the progress that was reported."""
    done: list[int] = []
    progress: list[Progress] = []
    propagate.run(
        wish,
        on_progress=lambda event: progress.append(event) if event.frame else None,
        on_frame_done=lambda event: done.append(event.frame),
        on_log=lambda _: None,
        cancelled=lambda: len(done) == cancel_after,
        image_size=IMAGE_SIZE,
    )
    return done, progress


def _record(iou: float, inside: tuple[int, int], score: float = 5.0) -> MatteRecord:
    """Make a matte of 2 x 8 cells. The cells from the first number to the second are inside."""
    logits = np.full((2, 8), -4, np.float16)
    logits[:, inside[0] : inside[1]] = 4
    area = (inside[1] - inside[0]) / 8
    return MatteRecord(1, 3, 40, 20, logits, MatteScores(score, iou, area), key="side")


def test_the_matte_with_the_higher_estimate_is_taken_whole_with_the_agreement_of_both() -> None:
    forward, backward = _record(0.7, (0, 4)), _record(0.9, (2, 6))
    for one, other in ((forward, backward), (backward, forward)):
        chosen = better(one, other, "both")
        np.testing.assert_array_equal(chosen.logits, backward.logits)
        assert chosen.scores == replace(backward.scores, agreement=pytest.approx(2 / 6))
        assert chosen.key == "both"
    even = better(_record(0.8, (0, 4)), _record(0.8, (4, 8)), "both")
    assert even.logits[0, 0] > 0
    assert even.scores.agreement == 0.0


def test_a_side_that_sees_nothing_is_believed_unless_the_other_is_sure() -> None:
    absent = _record(0.1, (0, 0), score=-3.0)
    doubtful, sure = (_record(ABSENT_ESTIMATE + by, (0, 4)) for by in (-0.05, 0.05))
    assert better(doubtful, absent, "").scores.object_score == -3.0
    assert better(absent, sure, "").scores.object_score == 5.0
    unseen = _record(0.9, (0, 4), score=-1.0)  # its score says: no object
    assert better(unseen, doubtful, "").scores.object_score == -1.0


def test_two_empty_mattes_agree() -> None:
    empty, full = np.zeros((2, 3), np.float16), np.ones((2, 3), np.float16)
    assert overlap(empty, empty) == 1.0
    assert overlap(empty, full) == 0.0
    assert overlap(full, full) == 1.0


def test_sides_with_grids_of_different_size_are_compared_on_the_finer() -> None:
    """Only larger subjects are looked at in parts."""
    half = np.full((2, 4), -5.0, np.float16)
    half[:, :2] = 5.0
    finer = half.repeat(2, axis=0).repeat(2, axis=1)
    assert overlap(half, finer) == overlap(finer, half) == 1.0
    full = np.full((2, 4), 5.0, np.float16)
    assert overlap(full, finer) == overlap(finer, full) == 0.5


def test_a_damaged_result_of_a_side_counts_as_missing(tmp_path: Path) -> None:
    store = MatteStore.open(tmp_path, create=True)
    plan = plan_object(_ANEW, range(1, _FRAMES + 1), "both", both_sides=True)
    keys = matte_keys(plan, "run")
    sides, steps = Sides(plan, keys, store), [Step("forward", 5), Step("backward", 5)]
    given = [replace(_record(0.8, (0, 4)), frame=5, key=keys.steps[step]) for step in steps]
    assert sides.settled(steps[0], given[0]) == given[0]  # the other side is not known yet
    store.write(given[0])
    settled = sides.settled(steps[1], given[1])
    assert settled.key == keys.mattes[5]
    store.write(settled)  # the store has the better one now, and the sides their own
    for step, record in zip(steps, given, strict=True):
        found = sides.find(step)
        assert found is not None and found.key == record.key
    path = next(store.state_folder(1).glob("sides/forward/objects/*/000005*"))
    path.write_bytes(path.read_bytes()[:-4])
    assert sides.find(steps[0]) is None
    assert sides.find(steps[1]) is not None
    store.write(given[0])
    found = sides.find(steps[0])  # the store itself has it
    assert found is not None and found.key == given[0].key
    sides.sweep()
    assert sides.find(steps[1]) is not None


def test_each_frame_between_gets_the_better_of_what_either_direction_alone_gives(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    stores = {}
    for name, settings in {
        "both": _settings(),
        "forward": _settings(both_sides=False, direction="forward"),
        "backward": _settings(both_sides=False, direction="backward"),
    }.items():
        _run(request(footage, checkpoint, tmp_path / name, _ANEW, settings=settings))
        stores[name] = MatteStore.open(tmp_path / name)
    taken = set()
    for frame in range(1, _FRAMES + 1):
        record = stores["both"].read(1, frame)
        sides = [at for at in ("forward", "backward") if stores[at].has(1, frame)]
        given = {at: stores[at].read(1, frame) for at in sides}
        if frame not in _BETWEEN:
            assert record.scores.agreement is None
            assert {record.logits.tobytes()} == {at.logits.tobytes() for at in given.values()}
            continue
        expected = better(given["forward"], given["backward"], record.key)
        assert record.scores == expected.scores
        assert record.logits.tobytes() == expected.logits.tobytes()
        taken |= {at for at in sides if given[at].logits.tobytes() == record.logits.tobytes()}
    assert taken == {"forward", "backward"}


def test_frames_that_are_tracked_once_keep_the_bytes_that_they_have_without_the_choice(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    alone = clicked(1, 4, 70.0, 40.0, "thing")
    for both_sides in (False, True):
        settings = _settings(both_sides=both_sides)
        _run(request(footage, checkpoint, tmp_path / f"{both_sides}", alone, settings=settings))
    one, other = (store_bytes(tmp_path / name) for name in ("False", "True"))
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == ["manifest.json"]


def test_while_one_side_is_known_alone_its_matte_is_shown_and_the_progress_counts_both(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    wish = request(footage, checkpoint, tmp_path, _THING, settings=_settings())
    done, progress = _run(wish)
    assert sorted(done) == sorted([*range(1, _FRAMES + 1), *_BETWEEN])
    assert [event.done for event in progress] == list(range(1, _FRAMES + len(_BETWEEN) + 1))
    assert {event.total for event in progress} == {_FRAMES + len(_BETWEEN)}
    assert _run(wish) == ([], [])


def test_turned_on_after_a_run_only_the_other_side_is_computed(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    off = request(footage, checkpoint, tmp_path / "a", _THING, settings=_settings(both_sides=False))
    on = request(footage, checkpoint, tmp_path / "a", _THING, settings=_settings())
    _run(off)
    done, progress = _run(on)
    assert [event.frame for event in progress] == [*reversed(_BETWEEN), 1]
    assert done == [*reversed(_BETWEEN), 1]  # the frames after them are tracked from there
    _run(replace(on, store=str(tmp_path / "b")))
    assert store_bytes(tmp_path / "a") == store_bytes(tmp_path / "b")
    _run(off)
    _run(replace(off, store=str(tmp_path / "c")))
    assert store_bytes(tmp_path / "a") == store_bytes(tmp_path / "c")


@pytest.mark.parametrize("after", [3, 6, 9, 12, 14])
def test_a_cancelled_run_goes_on_with_what_either_side_has_given(
    after: int,
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_store, "SHELF_FRAMES", 2)
    wish = request(footage, checkpoint, tmp_path / "a", _THING, settings=_settings())
    with pytest.raises(Cancelled):
        _run(wish, after)
    _, progress = _run(wish)
    assert len(progress) == _FRAMES + len(_BETWEEN) - after
    _run(replace(wish, store=str(tmp_path / "b")))
    assert store_bytes(tmp_path / "a") == store_bytes(tmp_path / "b")


def test_mattes_that_were_cleared_come_back_without_the_model(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    wish = request(footage, checkpoint, tmp_path, _THING, settings=_settings())
    _run(wish)
    before = store_bytes(tmp_path)
    MatteStore.open(tmp_path).remove(1, {4, 5})
    assert _run(wish) == ([4, 5], [])
    assert store_bytes(tmp_path) == before


@pytest.mark.parametrize(
    ("thing", "computed"),
    [
        (_ANEW, [5, 6, 7, 9, 10, 5, 4, 3, 1]),
        # Frame 8 is tracked and then refined, and the backward pass begins there.
        (_THING, [5, 6, 7, 8, 9, 10, 7, 6, 5, 4, 3, 1]),
    ],
)
def test_a_correction_between_leaves_what_the_sides_gave_before_they_came_to_it(
    thing: ObjectPrompts,
    computed: list[int],
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_store, "SHELF_FRAMES", 1)
    settings = _settings()
    _run(request(footage, checkpoint, tmp_path / "a", thing, settings=settings))
    excluding = FramePrompts(5, (PointPrompt(20.0, 20.0, include=False),))
    corrected = replace(thing, frames=(*thing.frames, excluding))
    wish = request(footage, checkpoint, tmp_path / "a", corrected, settings=settings)
    _, progress = _run(wish)
    assert [event.frame for event in progress] == computed
    _run(replace(wish, store=str(tmp_path / "b")))
    assert store_bytes(tmp_path / "a") == store_bytes(tmp_path / "b")
    record = MatteStore(tmp_path / "a").read(1, 5)
    assert record.prompted
    assert record.scores.agreement is not None


def test_one_frame_alone_is_tracked_from_both_sides(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    wish = request(footage, checkpoint, tmp_path / "one", _THING, settings=_settings())
    done, _ = _run(replace(wish, update=FrameRange(5, 5)))
    assert done == [5, 5]
    _run(replace(wish, store=str(tmp_path / "all")))
    one, every = (MatteStore(tmp_path / name).path(1, 5).read_bytes() for name in ("one", "all"))
    assert one == every


@pytest.mark.parametrize(
    "others", [{"memory": "guarded"}, {"panorama": True}, {"second_look": "whole"}]
)
def test_other_choices_go_together_with_both_sides_and_resume_alike(
    others: dict[str, Any], footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    things = [_THING, with_click(clicked(2, 9, 120.0, 70.0, "other"), 4)]
    settings = _settings(**others)
    wish = request(footage, checkpoint, tmp_path / "a", *things, settings=settings)
    with pytest.raises(Cancelled):
        _run(wish, 17)
    _run(wish)
    _run(replace(wish, store=str(tmp_path / "b")))
    assert store_bytes(tmp_path / "a") == store_bytes(tmp_path / "b")
    agreements = [MatteStore(tmp_path / "a").read(2, at).scores.agreement for at in range(5, 9)]
    assert all(value is not None for value in agreements)
