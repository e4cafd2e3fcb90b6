# SPDX-License-Identifier: GPL-3.0-or-later
"""The evaluation: footage in, prompts, the engine, figures out; imports torch, OpenCV, Pillow."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from sam2_splat_addon.core.errors import CheckpointError, FootageError, PromptError
from sam2_splat_addon.core.mattes.store import MatteScores
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.protocol import ModelChoice
from sam2_splat_addon.engine.models.bundled_model import BUNDLED_WEIGHTS, build_bundled_model
from tools.research.bench.evaluation import footage, orbits, pace, sheets, sources, tracking
from tools.research.bench.evaluation.measures import region_iou
from tools.research.bench.evaluation.prompting import (
    PROMPT_KINDS,
    place_clicks,
    prompts_at,
    prompts_for,
    well_seen,
)
from tools.research.bench.evaluation.scoring import (
    FOUND_IOU,
    FrameScore,
    occlusion_of,
    score,
    summary,
    summed,
)
from tools.research.capture.geometry import Geometry
from tools.research.capture.identity import SUBJECT, channel
from tools.research.train.state import Progress, read_exported, save_state

ROOT = Path(__file__).resolve().parents[3]
WIDTH, HEIGHT, FRAMES = 120, 90, 5


def draw_davis(root: Path) -> Path:
    """A clip of two boxes on a dark ground; the second comes in on the second frame."""
    photos, truths = root / "JPEGImages" / "480p" / "boxes", root / "Annotations" / "480p" / "boxes"
    photos.mkdir(parents=True)
    truths.mkdir(parents=True)
    for i in range(FRAMES):
        picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        picture[20:70, 10 + i : 50 + i] = (220, 190, 60)
        labels[20:70, 10 + i : 50 + i] = 1
        if i > 0:
            picture[30:60, 75 : 105 - i] = (60, 90, 220)
            labels[30:60, 75 : 105 - i] = 2
        labels[:3] = 255
        Image.fromarray(picture).save(photos / f"{i:05d}.jpg", quality=95)
        truth = Image.fromarray(labels, "P")
        truth.putpalette(bytes(range(256)) * 3)
        truth.save(truths / f"{i:05d}.png")
    return root


def frame(
    number: int, shown: float, j: float = 0.9, *, absent: bool = False, thin: int = 0
) -> FrameScore:
    """A frame on which ``shown`` of the picture is the object."""
    return FrameScore(number, f"{number}.jpg", j, j, thin, 10, shown, shown, absent, 1.0, 0.9)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_davis(tmp_path_factory.mktemp("davis"))


def test_davis_folder_gives_objects_by_palette_without_the_undecided_pixels(boxes: Path) -> None:
    (clip,) = sources.davis(boxes)
    assert clip.name == "boxes"
    assert [subject.label for subject in clip.subjects] == [1, 2]
    assert clip.scored == range(1, FRAMES - 1)
    first, second = (clip.truth(1, subject) for subject in clip.subjects)
    assert first is not None
    assert second is not None
    assert first.sum() == 50 * 40
    assert second.sum() == 30 * 29


def test_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(FootageError, match="no PNG in its folder Annotations"):
        sources.davis(tmp_path)


@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_prompts_stand_on_each_objects_first_frame_and_inside_it(boxes: Path, kind: str) -> None:
    (clip,) = sources.davis(boxes)
    prompts = prompts_for(clip, kind)  # type: ignore[arg-type]
    assert [entry.frames[0].frame for entry in prompts.objects] == [1, 2]
    for entry, subject in zip(prompts.objects, clip.subjects, strict=True):
        (wish,) = entry.frames
        truth = clip.truth(wish.frame - 1, subject)
        assert truth is not None
        for point in wish.points:
            assert truth[int(point.y), int(point.x)]
        assert len(wish.points) == {"1click": 1, "3clicks": 3}.get(kind, 0)
        if wish.box is not None:
            box = truth[int(wish.box.y0) : int(wish.box.y1), int(wish.box.x0) : int(wish.box.x1)]
            assert box.all()
            assert box.sum() == truth.sum()
        if wish.mask is not None:
            assert np.array_equal(wish.mask.to_array(), truth)


def test_prompts_at_several_frames_are_those_that_each_would_have_first(boxes: Path) -> None:
    (clip,) = sources.davis(boxes)
    prompts = prompts_at(clip, "3clicks", (0, 2))
    (thing,) = prompts.objects
    assert [entry.frame for entry in thing.frames] == [1, 3]
    assert thing.frames[0] == prompts_for(clip, "3clicks").objects[0].frames[0]
    truth = clip.truth(2, clip.subjects[0])
    assert truth is not None
    assert all(truth[int(point.y), int(point.x)] for point in thing.frames[1].points)
    late = dataclasses.replace(clip, subjects=clip.subjects[1:])
    with pytest.raises(PromptError, match="on frame 1"):
        prompts_at(late, "3clicks", (0, 2))
    assert well_seen(clip) == list(range(len(clip.photos)))
    assert well_seen(late) == list(range(1, len(clip.photos)))


def test_clicks_take_the_given_places_first_and_then_keep_apart() -> None:
    truth = np.zeros((60, 200), bool)
    truth[20:40, 10:190] = True
    clicks = place_clicks(truth, 3, ((30.5, 30.5),))
    assert clicks[0] == (30.5, 30.5)
    assert clicks == place_clicks(truth, 3, ((30.5, 30.5),))
    for i, (x, y) in enumerate(clicks):
        assert truth[int(y), int(x)]
        assert all(abs(x - other) > 40 for other, _ in clicks[:i])


def test_engine_tracks_the_boxes_and_scores_are_those_of_its_mattes(boxes: Path) -> None:
    (clip,) = sources.davis(boxes)
    done: list[int] = []
    model = ModelChoice("bundled", device="cpu", threads=1)
    tracked = tracking.track(model, 256, clip.photos, prompts_for(clip, "mask"), done.append)
    assert done == list(range(1, 2 * FRAMES))  # the second object has no matte on the first frame
    assert min(tracked.pace()) > 0
    for subject in clip.subjects:
        entry = score(clip, subject, "mask", tracked)
        assert entry is not None
        assert [one.frame for one in entry.frames] == [2, 3, 4]
        assert entry.j == pytest.approx(np.mean([one.j for one in entry.frames]))
        assert entry.jf == pytest.approx((entry.j + entry.f) / 2)
        matte, truth = tracked.mattes[subject.id, 3].mask(WIDTH, HEIGHT), clip.truth(2, subject)
        assert truth is not None
        assert entry.frames[1].j == pytest.approx((matte & truth).sum() / (matte | truth).sum())
        # A mask prompt is its frame's matte, so that only the model's grid lies between them.
        first = prompts_for(clip, "mask").object(subject.id).frames[0]
        assert first.mask is not None
        matte = tracked.mattes[subject.id, first.frame].mask(WIDTH, HEIGHT)
        assert region_iou(matte, first.mask.to_array()) > 0.9


def test_the_running_mean_of_a_training_state_is_what_is_measured(
    boxes: Path, tmp_path: Path
) -> None:
    model = build_bundled_model(64)
    model.load_state_dict(read_exported(BUNDLED_WEIGHTS))
    with torch.no_grad():  # a model that says of every frame that the object is absent
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(-100.0)
    state = tmp_path / "state.pt"
    optimizer = torch.optim.AdamW(model.parameters())
    rng = np.random.default_rng(0)
    save_state(state, torch.nn.Linear(1, 1), model, optimizer, Progress("a"), rng)
    name, weights = tracking.find_model("bundled", state)
    (clip,) = sources.davis(boxes)
    choice = ModelChoice(name, str(weights), "cpu", 1)
    tracked = tracking.track(choice, 64, clip.photos[:3], prompts_for(clip, "box"))
    assert tracked.mattes[1, 2].is_absent
    assert not tracked.mattes[1, 2].mask(WIDTH, HEIGHT).any()


def test_models_are_found_by_name_by_last_word_and_by_file(tmp_path: Path) -> None:
    assert tracking.find_model("tiny", None) == ("sam2.1_hiera_tiny", None)
    assert tracking.find_model("sam2.1_hiera_large", None) == ("sam2.1_hiera_large", None)
    official, own = tmp_path / "sam2.1_hiera_small.pt", tmp_path / "mine.safetensors"
    official.touch()
    own.touch()
    assert tracking.find_model(str(official), None) == ("sam2.1_hiera_small", official)
    assert tracking.find_model(str(own), None) == ("bundled", own)
    with pytest.raises(CheckpointError, match="no model or checkpoint called 'teeny'"):
        tracking.find_model("teeny", None)


def test_occlusion_counts_reports_while_hidden_and_judges_the_first_clear_frames_after() -> None:
    before = [frame(1, 0.2), frame(2, 0.1)]
    hidden = [frame(3, 0.0, 1.0, absent=True), frame(4, 0.0, 0.0), frame(5, 0.0, 1.0, absent=True)]
    half_hidden = frame(6, 0.05, 0.0)
    after = [frame(7, 0.2, 0.3), frame(8, 0.2, 0.9), frame(9, 0.2, 0.6), frame(10, 0.2, 0.0)]
    found = occlusion_of([*before, *hidden, half_hidden, *after])
    assert found is not None
    assert (found.hidden, found.reported_absent) == (3, 2)
    assert found.j_after == pytest.approx(0.6)
    assert found.is_found_again
    lost = occlusion_of([*before, *hidden, half_hidden, frame(7, 0.2, FOUND_IOU - 0.01)])
    assert lost is not None
    assert not lost.is_found_again


def test_no_occlusion_before_the_object_shows_nor_when_it_never_comes_back() -> None:
    assert occlusion_of([frame(1, 0.0), frame(2, 0.2), frame(3, 0.2)]) is None
    assert occlusion_of([frame(1, 0.2), frame(2, 0.0)]) is None


def test_summary_weighs_thin_parts_by_size_and_hidden_frames_by_number() -> None:
    tracked = tracking.Tracked({}, ((9.0, 1.0), (9.5, 1.2), (10.0, 1.5)))
    shown = [frame(1, 0.2, 0.8, thin=4), frame(2, 0.0, 1.0, absent=True), frame(3, 0.2, 0.6)]
    one = summed("a", "x", "box", shown, tracked)
    two = summed("b", "x", "box", [frame(1, 0.2, 0.9, thin=10)], tracked)
    assert (one.worst_j, one.worst_frame, one.lost) == (0.6, 3, 0)
    both = summary([one, two])
    assert both.objects == 2
    assert both.j == pytest.approx((0.8 + 0.9) / 2)
    assert both.thin_recall == pytest.approx(14 / 40)
    assert (both.found_again, both.reported_absent) == (1.0, 1.0)
    assert (both.seconds, both.cpu_seconds) == (0.5, 0.25)
    seconds, cpu_seconds = tracked.pace(last=1)
    assert seconds == 0.5
    assert cpu_seconds == pytest.approx(0.3)


def test_orbits_come_from_seeds_that_training_never_sees_and_show_no_chair() -> None:
    plans = orbits.orbit_plans(12, 16, (48, 72))
    assert len({plan.kind for plan in plans}) == 12
    assert all(plan.seed < 1000 and plan.kind != "chair" for plan in plans)
    assert plans == orbits.orbit_plans(12, 16, (48, 72))
    assert len(orbits.orbit_plans(30, 16, (48, 72))) == 30


def test_screen_hides_the_whole_subject_for_five_frames_and_leaves_some_beside_them() -> None:
    for plan in orbits.orbit_plans(3, 16, (60, 90)):
        hidden = orbits.hidden_range(plan.frames)
        assert len(hidden) == 5
        geometry = Geometry(orbits.HiddenStage(plan))

        def shown(index: int, geometry: Geometry = geometry) -> float:
            return float(geometry.coverage(index, 2)[..., channel(SUBJECT)].sum())

        assert [shown(index) for index in hidden] == [0.0] * 5, plan.kind
        for beside in (hidden.start - 1, hidden.stop):
            assert 0 < shown(beside) < 0.9 * float(geometry.silhouette(beside, 2).sum()), plan.kind


@pytest.mark.slow
def test_orbit_is_rendered_once_and_the_hidden_one_shares_its_clear_frames(tmp_path: Path) -> None:
    (plan,) = orbits.orbit_plans(1, 8, (32, 48))
    lines: list[str] = []
    hidden = sources.capture(orbits.hidden_orbit(plan, tmp_path, lines.append))
    clear = sources.capture(orbits.rendered_orbit(plan, tmp_path, lines.append))
    assert len(lines) == 16
    orbits.hidden_orbit(plan, tmp_path, lines.append)
    assert len(lines) == 16
    covered = range(orbits.hidden_range(8).start - 1, 8)
    for index, (one, other) in enumerate(zip(clear.photos, hidden.photos, strict=True)):
        assert (one.read_bytes() == other.read_bytes()) == (index not in covered)
    for index in orbits.hidden_range(8):
        truth = hidden.truth(index, hidden.subjects[0])
        assert truth is not None
        assert not truth.any()


def test_sample_is_a_clip_whose_first_click_is_on_the_seat() -> None:
    clip = sources.sample(ROOT / "sample")
    assert len(clip.photos) == 48
    truth = clip.truth(0, clip.subjects[0])
    assert truth is not None
    (wish,) = prompts_for(clip, "1click").objects[0].frames
    assert (wish.points[0].x, wish.points[0].y) == (607.5, 887.5)
    assert truth[887, 607]


@pytest.fixture(scope="module")
def footage_root(tmp_path_factory: pytest.TempPathFactory, boxes: Path) -> Path:
    """A folder with a video of the boxes and with their photos."""
    root = tmp_path_factory.mktemp("footage")
    writer = cv2.VideoWriter(
        str(root / "moving.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT)
    )
    for photo in sources.davis(boxes)[0].photos:
        writer.write(cv2.imread(str(photo)))
    writer.release()
    (root / "stills").symlink_to(boxes / "JPEGImages" / "480p" / "boxes")
    return root


def test_video_gives_every_second_frame_once_and_a_folder_its_photos(
    footage_root: Path, tmp_path: Path
) -> None:
    prompts = PromptSet(())
    video = footage.prompted_clip(footage_root, "moving", footage.ClipWish(prompts, 2), tmp_path)
    assert [photo.name for photo in video.photos] == ["00000.jpg", "00002.jpg", "00004.jpg"]
    written = video.photos[0].stat().st_mtime_ns
    again = footage.prompted_clip(footage_root, "moving", footage.ClipWish(prompts, 2), tmp_path)
    assert again.photos[0].stat().st_mtime_ns == written
    wish = footage.ClipWish(prompts, every=2, frames=2)
    stills = footage.prompted_clip(footage_root, "stills", wish, tmp_path)
    assert [photo.name for photo in stills.photos] == ["00000.jpg", "00002.jpg"]
    with pytest.raises(FootageError, match="no folder or video called nothing"):
        footage.prompted_clip(footage_root, "nothing", wish, tmp_path)


def test_typing_error_in_the_prompts_of_clips_is_named(tmp_path: Path) -> None:
    file = tmp_path / "clips.json"
    file.write_text('{"dog": {"prompts": {"objects": []}, "evrey": 2}}')
    with pytest.raises(PromptError, match="evrey"):
        footage.read_wishes(file)


def test_contact_sheet_shows_every_frame_with_a_matte(boxes: Path, tmp_path: Path) -> None:
    (clip,) = sources.davis(boxes)
    logits = np.full((8, 8), -1, np.float16)
    logits[2:6, 2:6] = 1
    matte = tracking.Matte(logits, MatteScores(1.0, 0.9, 0.25))
    tracked = tracking.Tracked({(1, n): matte for n in range(2, FRAMES + 1)}, ())
    sheets.write_sheet(clip.photos, 1, tracked, tmp_path / "sheets" / "boxes.jpg")
    with Image.open(tmp_path / "sheets" / "boxes.jpg") as sheet:
        assert sheet.width // 220 == FRAMES - 1


def test_speed_is_measured_with_a_full_memory_and_as_a_ratio() -> None:
    photos = sources.sample(ROOT / "sample").photos[:1]
    lines: list[str] = []
    found = pace.measure("bundled", "cpu", 1, photos, 1, 1, lines.append)
    assert found.image_size == 512
    assert found.frames == 1
    assert len(lines) == 6  # the memory of five, and one frame after
    other = pace.Pace("other", 1024, found.seconds * 8, found.cpu_seconds * 9, 1)
    text = pace.table([found, other], "cpu", 1, 1)
    assert "8.0 (9.0 cpu)" in text


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/research/bench/quality.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def test_command_prints_a_table_and_writes_the_same_figures(
    boxes: Path, footage_root: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.json"
    objects = prompts_for(sources.davis(boxes)[0], "box")
    wish = json.loads(footage_json(objects))
    prompts.write_text(json.dumps({"stills": wish}))
    done = run_tool(
        *("--davis", str(boxes), "--kinds", "box", "3clicks", "--size", "128"),
        *("--clips", str(footage_root), "--prompts", str(prompts)),
        *("--threads", "1", "--out", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "quality.json").read_text())
    assert written["model"]["image_size"] == 128
    (group,) = written["groups"]
    kinds = [(entry["prompt"], entry["subject"]) for entry in group["scores"]]
    assert kinds == [("box", "1"), ("box", "2"), ("3clicks", "1"), ("3clicks", "2")]
    mean = np.mean([entry["jf"] for entry in group["scores"] if entry["prompt"] == "box"])
    assert f"J&F {mean:.4f}" in done.stdout
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == [
        "stills_1.jpg",
        "stills_2.jpg",
    ]


def test_command_corrects_orbits_round_by_round(tmp_path: Path) -> None:
    done = run_tool(
        *("--orbits", "1", "--orbit-frames", "2", "--corrections", "1", "--size", "128"),
        *("--rendered", str(tmp_path), "--threads", "1", "--out", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    (line,) = [row.split() for row in done.stdout.splitlines() if row.startswith("office_chair")]
    assert "== corrections, orbits" in done.stdout
    assert 0 < float(line[1]) <= 1 and 0 < float(line[2]) <= 1
    assert "1 of 1 obeyed" in done.stdout


def footage_json(prompts: PromptSet) -> bytes:
    return msgspec.json.encode(footage.ClipWish(prompts))


def test_command_says_what_is_wrong_in_a_sentence(tmp_path: Path) -> None:
    done = run_tool("--davis", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ") or "\nError: " in done.stderr
    assert "Traceback" not in done.stderr
    assert run_tool().returncode == 2
