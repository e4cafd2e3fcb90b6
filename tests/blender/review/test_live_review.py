# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of frames to look at in Blender: its rows, what a click does, and when it changes."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import msgspec
import numpy as np
import pytest

from sam2_splat_addon.blender.context.present import present
from tests.blender.masked_clip import masked_clip, store_of

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]
COUNT = 5


@pytest.fixture
def clip(make_photos: MakePhotos) -> bpy.types.MovieClip:
    """Five frames of two objects. On frame 3 the model was unsure of the square."""
    clip = masked_clip(make_photos(count=COUNT), ("square", "ground"))
    spoil(clip, 1, 3, predicted_iou=0.4)
    return clip


def spoil(clip: bpy.types.MovieClip, object_id: int, frame: int, **scores: float) -> None:
    """Give a matte other scores, and give it and its folder a new time."""
    store = store_of(clip)
    record = store.read(object_id, frame)
    store.write(
        msgspec.structs.replace(record, scores=msgspec.structs.replace(record.scores, **scores))
    )
    path = store.path(object_id, frame)
    for changed in (path, path.parent):
        later = changed.stat().st_mtime_ns + 10_000_000
        os.utime(changed, ns=(later, later))


def settle() -> None:
    """Work as the window's timer does, until nothing is left to do."""
    from sam2_splat_addon.blender.review import live_review

    quiet = 0
    while quiet < 5:
        time.sleep(0.002)
        quiet = quiet + 1 if live_review.tick() == live_review._IDLE else 0


def rows() -> list[tuple[str, int]]:
    return [(row.name, row.frame) for row in bpy.context.window_manager.sam2_splat_review.rows]


def test_the_list_names_the_frame_and_says_why(clip: bpy.types.MovieClip) -> None:
    assert bpy.ops.sam2_splat.review() == {"FINISHED"}
    assert ("square", 3) in rows()
    shown = bpy.context.window_manager.sam2_splat_review
    row = next(row for row in shown.rows if row.frame == 3 and row.name == "square")
    assert row.summary == "Not sure"
    assert rows() == [("square", 3)]


def test_a_click_on_a_row_goes_there_and_makes_its_object_active(
    clip: bpy.types.MovieClip,
) -> None:
    clip.frame_start = 101
    bpy.context.scene.frame_current = 101
    clip.tracking.objects.active = clip.tracking.objects["ground"]
    bpy.ops.sam2_splat.review()
    shown = bpy.context.window_manager.sam2_splat_review
    assert bpy.context.scene.frame_current == 101
    shown.active_index = rows().index(("square", 3))
    assert bpy.context.scene.frame_current == 103
    assert clip.tracking.objects.active.name == "square"


def step(direction: str) -> int | None:
    """Go on or back. Return the playhead's frame, None at the end of the list."""
    if not bpy.ops.sam2_splat.review_step.poll():
        return None
    if bpy.ops.sam2_splat.review_step(direction=direction) != {"FINISHED"}:
        return None
    shown = bpy.context.window_manager.sam2_splat_review
    assert shown.rows[shown.active_index].frame == bpy.context.scene.frame_current
    return int(bpy.context.scene.frame_current)


def test_next_and_previous_go_through_the_list_in_its_order(clip: bpy.types.MovieClip) -> None:
    spoil(clip, 2, 5, predicted_iou=0.3)
    spoil(clip, 1, 2, predicted_iou=0.86)
    bpy.ops.sam2_splat.review()
    frames = [frame for _, frame in rows()]
    assert sorted(frames) == [2, 3, 5] and frames != [2, 3, 5], "worst is not first"
    bpy.context.scene.frame_current = 4
    assert step("PREVIOUS") is None
    assert [step("NEXT") for _ in range(4)] == [*frames, None]
    bpy.context.scene.frame_current = 4  # the user looks at a photo beside it
    assert [step("PREVIOUS") for _ in range(3)] == [frames[1], frames[0], None]


def test_next_goes_on_from_a_line_that_was_clicked_on(clip: bpy.types.MovieClip) -> None:
    spoil(clip, 2, 5, predicted_iou=0.3)
    spoil(clip, 1, 2, predicted_iou=0.86)
    bpy.ops.sam2_splat.review()
    frames = [frame for _, frame in rows()]
    bpy.context.window_manager.sam2_splat_review.active_index = 1
    assert bpy.context.scene.frame_current == frames[1]
    assert step("NEXT") == frames[2]


def test_next_leaves_no_line_out_when_one_is_ticked(clip: bpy.types.MovieClip) -> None:
    spoil(clip, 2, 5, predicted_iou=0.3)
    spoil(clip, 1, 2, predicted_iou=0.86)
    bpy.ops.sam2_splat.review()
    places = rows()
    seen = []
    while (frame := step("NEXT")) is not None:
        seen.append(frame)
        bpy.ops.sam2_splat.looks_fine()
    assert seen == [frame for _, frame in places]
    assert not rows()
    assert not bpy.ops.sam2_splat.review_step.poll()


def test_the_list_can_be_narrowed_to_the_active_object(clip: bpy.types.MovieClip) -> None:
    spoil(clip, 2, 5, predicted_iou=0.3)
    shown = bpy.context.window_manager.sam2_splat_review
    clip.tracking.objects.active = clip.tracking.objects["ground"]
    shown.only_active = True
    bpy.ops.sam2_splat.review()
    assert {name for name, _ in rows()} == {"ground"}
    shown.only_active = False


def test_the_timer_finds_new_mattes_by_itself(clip: bpy.types.MovieClip) -> None:
    settle()
    assert ("square", 3) in rows()
    spoil(clip, 1, 3, predicted_iou=0.93)
    spoil(clip, 1, 4, predicted_iou=0.2)
    settle()
    assert ("square", 4) in rows()
    assert ("square", 3) not in rows()


def test_a_damaged_matte_is_said_and_does_not_stop_the_timer(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.review import live_review

    path = store_of(clip).path(1, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    spoil(clip, 2, 2)
    settle()
    found = live_review.of_clip(clip)
    assert found is not None
    assert "000002.matte" in found.error
    with pytest.raises(RuntimeError, match=r"000002\.matte"):
        bpy.ops.sam2_splat.review()
    path.write_bytes(whole)
    assert bpy.ops.sam2_splat.review() == {"FINISHED"}


def test_an_edited_frame_is_corrected_and_leaves_the_list(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.masks import single_frame
    from sam2_splat_addon.blender.review import live_review

    single_frame.empty_frame(clip.sam2_splat.mask, clip, "square", 3)
    bpy.ops.sam2_splat.review()
    found = live_review.of_clip(clip)
    assert found is not None
    assert ("square", 3) not in rows()
    assert [one.state for one in found.reviews[1] if one.frame == 3] == ["corrected"]
    assert found.states()[3] == "corrected"


def test_nothing_is_offered_before_there_are_masks(make_photos: MakePhotos) -> None:
    assert not bpy.ops.sam2_splat.review.poll()
    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=2)))
    for name in ("review", "review_step", "report", "restore_mask", "clear_masks"):
        assert not getattr(bpy.ops.sam2_splat, name).poll(), name


def test_the_command_line_writes_the_report(
    make_photos: MakePhotos, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from sam2_splat_addon.blender.cli import batch

    frames = [{"frame": 1, "points": [{"x": 50.5, "y": 90.5}]}]
    prompts = tmp_path / "prompts.json"
    prompts.write_text(
        json.dumps({"version": 1, "objects": [{"id": 1, "name": "square", "frames": frames}]})
    )
    out = tmp_path / "deep" / "report"
    folder = str(make_photos(count=2))
    arguments = ["--footage", folder, "--prompts", str(prompts), "--report", str(out)]
    assert batch.main(arguments) == 0, capfd.readouterr().err
    written = list(csv.DictReader((out / "review.csv").open()))
    assert [(row["object"], row["frame"]) for row in written] == [("square", "1"), ("square", "2")]
    listed = sum(float(row["badness"]) >= 0.5 for row in written)
    assert (out / "review.html").read_text().count("data:image/jpeg") == listed
    assert "worth a look" in capfd.readouterr().out


def test_the_report_button_writes_beside_the_photos(clip: bpy.types.MovieClip) -> None:
    bpy.ops.sam2_splat.looks_fine(frame=3, object_id=1)
    assert bpy.ops.sam2_splat.report() == {"FINISHED"}
    folder = Path(clip.sam2_splat.footage_folder) / "sam2_splat_review"
    rows = list(csv.DictReader((folder / "review.csv").open()))
    assert len(rows) == 2 * COUNT
    assert {(row["object"], row["frame"], row["state"]) for row in rows} >= {
        ("square", "2", "good"),
        ("square", "3", "fine"),
    }
    # The folder of the report holds no photos of the capture.
    bpy.ops.sam2_splat.load(filepath=clip.sam2_splat.footage_folder)
    assert clip.sam2_splat.frame_count == COUNT


def test_the_strip_has_a_cell_a_frame_and_marks_the_playhead() -> None:
    from sam2_splat_addon.blender.review.frame_strip import cells, playhead

    drawn = cells({11: "good", 12: "doubtful", 13: "absent", 14: "corrected"}, (11, 14), 400.0)
    back, *own = drawn
    assert back[:1] + back[2:3] == (0.0, 400.0)
    assert [cell[0] for cell in own] == [0.0, 100.0, 200.0, 300.0]
    assert len({cell[4] for cell in own}) == 4
    good, doubtful, absent, corrected = (cell[3] for cell in own)
    assert max(cell[3] for cell in drawn) <= 9.0, "it hides Blender's number of the frame"
    assert doubtful == absent > good == corrected
    (left, _, right, _, _) = playhead(12, (11, 14), 400.0)[-1]
    assert (left + right) / 2 == 150.0
    assert playhead(15, (11, 14), 400.0) == []
    assert cells({99: "good"}, (11, 14), 400.0) == [back]


def test_an_edit_is_seen_while_the_playhead_stays_and_only_then(
    clip: bpy.types.MovieClip,
) -> None:
    from sam2_splat_addon.blender.review import live_review

    def corrected() -> list[int]:
        found = live_review.of_clip(clip)
        assert found is not None
        return [one.frame for one in found.reviews[1] if one.state == "corrected"]

    scene = bpy.context.scene
    scene.frame_set(2)
    settle()
    spline = clip.sam2_splat.mask.layers["square"].splines[0]
    for point in spline.points:
        point.co = (point.co[0] + 0.1, point.co[1])
    settle()
    assert corrected() == [2]
    # There was no key, so the user sees SAM 2's mask again after coming back.
    scene.frame_set(4)
    settle()
    assert corrected() == []
    # The playhead moves before Blender has moved the points.
    scene.frame_current = 1
    live_review.tick()
    assert corrected() == []


def test_a_frame_that_looks_fine_leaves_the_list_until_its_matte_is_another(
    clip: bpy.types.MovieClip, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.review import live_review

    store = store_of(clip)
    store.write(msgspec.structs.replace(store.read(1, 3), key="one"))
    settle()
    assert rows() == [("square", 3)]
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.sam2_splat.looks_fine(frame=3, object_id=1) == {"FINISHED"}
    bpy.ops.ed.undo_push(message="Looks Fine")
    assert rows() == []
    found = live_review.of_clip(clip)
    assert found is not None
    assert found.states(1)[3] == "fine"
    assert live_review.fine_frames_of(clip) == {1: (3,)}
    bpy.ops.ed.undo()
    settle()
    assert rows() == [("square", 3)]
    bpy.ops.ed.redo()
    settle()
    assert rows() == []
    # It is saved with the file.
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    clip = present(bpy.context.scene.active_clip)
    settle()
    assert rows() == []
    # The user has not seen a new matte.
    store.write(msgspec.structs.replace(store.read(1, 3), key="two"))
    spoil(clip, 1, 3)
    settle()
    assert rows() == [("square", 3)]
    bpy.ops.sam2_splat.looks_fine(frame=3, object_id=1)
    assert rows() == []
    bpy.ops.sam2_splat.looks_fine(frame=3, object_id=1, is_fine=False)
    assert rows() == [("square", 3)]


def test_the_key_ticks_the_active_object_on_the_playheads_frame_and_takes_it_back(
    clip: bpy.types.MovieClip,
) -> None:
    settle()
    assert rows() == [("square", 3)]
    bpy.context.scene.frame_current = 3
    assert bpy.ops.sam2_splat.looks_fine() == {"FINISHED"}
    assert rows() == []
    assert bpy.ops.sam2_splat.looks_fine() == {"FINISHED"}
    assert rows() == [("square", 3)]
    bpy.context.scene.frame_current = 99
    assert bpy.ops.sam2_splat.looks_fine() == {"CANCELLED"}


def test_the_review_says_how_far_it_is_and_edits_of_new_layers_are_known(
    clip: bpy.types.MovieClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.masks import edit_search
    from sam2_splat_addon.blender.review import live_review

    assert live_review.progress(clip) == (0, 0)
    live_review.layers_written(clip, {"square": {2: []}, "ground": {}})
    searched = []
    search = edit_search.search

    def noted(*given: Any) -> Any:
        searched.append(given)
        return search(*given)

    monkeypatch.setattr(edit_search, "search", noted)
    settle()
    assert searched == []
    assert live_review.edited_frames(clip) == {"square": {2}, "ground": set()}
    assert live_review.progress(clip) is None
    spoil(clip, 1, 4)
    assert live_review.progress(clip) == (0, 0)


def test_a_clip_that_is_gone_before_its_review_begins_raises_nothing(
    clip: bpy.types.MovieClip,
) -> None:
    from sam2_splat_addon.blender.review import review_builder

    steps = review_builder.steps(clip.session_uid, review_builder.Watched())
    bpy.data.movieclips.remove(clip)  # as an undo does, which makes a new clip in its place
    assert list(steps) == []


def test_a_picture_shows_where_the_mask_lies() -> None:
    from sam2_splat_addon.blender.review.thumbnails import BORDER, SIDE, picture

    logits = np.full((40, 60), -1.0, dtype=np.float16)
    logits[:10, 45:] = 1.0  # upper right
    color = (0.2, 0.4, 0.6)
    upright = picture(logits, (3000, 2000), color)[::-1]
    assert upright.shape == (SIDE, SIDE, 4)
    seen = upright[..., 3] > 0
    assert np.flatnonzero(seen.any(1)).tolist() == list(range(8, 40)), "not the photo's shape"
    painted = np.isclose(upright[..., :3], color).all(2)
    edge = BORDER
    assert painted[8, :].all() and painted[39, :].all() and painted[8:40, 0].all(), "no border"
    painted[: 8 + edge] = painted[40 - edge :] = painted[:, :edge] = painted[:, -edge:] = False
    rows, columns = np.nonzero(painted)
    assert (rows.min(), rows.max()) == (8 + edge, 15)
    assert (columns.min(), columns.max()) == (36, 47 - edge)


def test_frames_that_arrive_are_shown_until_a_review_knows_more(
    clip: bpy.types.MovieClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.context import changes, task_runner
    from sam2_splat_addon.blender.review import arrivals

    assert arrivals.shown(clip) is None
    with monkeypatch.context() as running:
        running.setattr(task_runner, "current", lambda: object())
        changes.mattes_changed(clip.session_uid, 1, 3)
        first = arrivals.shown(clip)
        changes.mattes_changed(clip.session_uid, 1, 4)
        assert arrivals.shown(clip) != first
        assert arrivals.states(clip, None) == {3: "done", 4: "done"}
    assert set(arrivals.states(clip, None)) == {3, 4}
    bpy.ops.sam2_splat.review()
    arrivals.shown(clip)
    assert "done" not in arrivals.states(clip, None).values()
    assert len(arrivals.states(clip, None)) == COUNT
