# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of clicks: where it clicks, what it counts, and its command; imports torch, Pillow."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import ModelChoice
from sam2_splat_addon.core.settings import RunSettings
from tools.research.bench.evaluation import corrections, obedience_report, real, stills, tracking
from tools.research.bench.evaluation.clicking import deepest_clicks, next_click, obeys
from tools.research.bench.evaluation.corrections import CorrectedRound, Correction, Corrector
from tools.research.bench.evaluation.measures import region_iou
from tools.research.bench.evaluation.prompting import prompts_for
from tools.research.bench.evaluation.scoring import FrameScore, summed
from tools.research.bench.evaluation.stills import Clicker, ClickScore, StillScore

ROOT = Path(__file__).resolve().parents[3]
WIDTH, HEIGHT, FRAMES = 120, 90, 24
SIZE = 256  # px, side of the model's input: the least at which it sees the boxes
MODEL = ModelChoice("bundled", device="cpu", threads=1)
FORWARD = RunSettings(direction="forward")


def draw_frame(index: int) -> tuple[Image.Image, np.ndarray]:
    """A light box that moves to the right, on a dark ground with a second box."""
    picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    truth = np.zeros((HEIGHT, WIDTH), np.uint8)
    picture[20:70, 10 + index : 50 + index] = (220, 190, 60)
    truth[20:70, 10 + index : 50 + index] = 255
    picture[10:30, 90:115] = (60, 90, 220)
    return Image.fromarray(picture), truth


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `real` describes it: one single photo, one sequence, one orbit."""
    root = tmp_path_factory.mktemp("real")
    clicks, davis, orbit = root / "test/clicks", root / "test/davis", root / "test/orbits/thing"
    places = {
        davis / "JPEGImages/boxes": (davis / "Annotations/boxes", range(FRAMES)),
        orbit / "photos": (orbit / "masks", range(7)),
        clicks / "images": (clicks / "labels", range(1)),
    }
    for photos, (truths, frames) in places.items():
        photos.mkdir(parents=True)
        truths.mkdir(parents=True)
        for index in frames:
            picture, truth = draw_frame(index)
            picture.save(photos / f"{index:05d}.jpg", quality=95)
            if truths.name == "labels":
                truth[20:22] = 128
            mask = Image.fromarray(truth)
            # Masks of sequences are of one bit a pixel, as in the sets themselves.
            (mask if truths.name == "labels" else mask.convert("1")).save(
                truths / f"{index:05d}.png"
            )
    return root


def scored(group: str, *ious: float, obeyed: tuple[bool, ...] = ()) -> StillScore:
    """A photo whose first click includes, and whose others exclude."""
    clicks = tuple(
        ClickScore(1.5, 1.5, number == 0, obeyed[number] if obeyed else True, iou, 0.1)
        for number, iou in enumerate(ious)
    )
    return StillScore(group, "photo", clicks, 0.5, 0.25)


def test_next_click_is_in_the_deepest_point_of_the_error_that_reaches_deeper() -> None:
    truth = np.zeros((40, 60), bool)
    truth[10:21, 5:16] = True
    assert next_click(np.zeros_like(truth), truth) == PointPrompt(10.5, 15.5, include=True)
    guess = truth.copy()
    guess[10:20, 5:8] = False  # three px wide
    guess[30:35, 40:45] = True  # five
    assert next_click(guess, truth) == PointPrompt(42.5, 32.5, include=False)
    guess[30:35, 40:45] = False
    click = next_click(guess, truth)
    assert click is not None
    assert click.include
    assert truth[int(click.y), int(click.x)]
    assert not guess[int(click.y), int(click.x)]
    assert next_click(truth, truth) is None


def test_next_click_leaves_undecided_pixels_alone() -> None:
    truth, guess = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    guess[5:35, 5:35] = True
    counts = np.ones_like(truth)
    counts[5:35, 5:32] = False
    click = next_click(guess, truth, counts)
    assert click is not None
    assert click.x == 33.5
    counts[5:35, 5:35] = False
    assert next_click(guess, truth, counts) is None


def test_click_is_obeyed_where_its_own_pixel_is_as_it_says() -> None:
    mask = np.zeros((4, 6), bool)
    mask[2, 3] = True
    assert obeys(mask, PointPrompt(3.5, 2.5, include=True))
    assert not obeys(mask, PointPrompt(3.5, 2.5, include=False))
    assert not obeys(mask, PointPrompt(2.5, 2.5, include=True))
    assert obeys(mask, PointPrompt(2.5, 2.5, include=False))


def test_three_clicks_are_deep_apart_and_the_same_each_time() -> None:
    truth = np.zeros((60, 200), bool)
    truth[20:41, 10:190] = True
    truth[5:55, 80:130] = True
    clicks = deepest_clicks(truth, 3)
    assert np.allclose(clicks[0], (105, 30), atol=2)
    assert clicks == deepest_clicks(truth, 3)
    for (x, y), (u, v) in itertools.combinations(clicks, 2):
        assert truth[int(y), int(x)]
        assert np.hypot(x - u, y - v) > 10
    assert deepest_clicks(truth, 2, ((20.5, 30.5),))[0] == (20.5, 30.5)


def test_a_thing_of_one_pixel_gets_one_click() -> None:
    truth = np.zeros((9, 9), bool)
    truth[4, 5] = True
    assert deepest_clicks(truth, 3) == [(5.5, 4.5)]


def test_folder_gives_single_photos_with_what_does_not_count_left_out(root: Path) -> None:
    found = real.stills(root)
    assert [(one.group, one.name) for one in found] == [
        ("clicks", "00000"),
        ("davis", "boxes_00007"),
        ("davis", "boxes_00022"),
    ]
    inside, counts = found[0].truth()
    assert inside.sum() == 48 * 40
    assert (~counts).sum() == 2 * WIDTH
    inside, counts = found[1].truth()
    assert counts.all()
    assert np.array_equal(inside, draw_frame(7)[1] > 0)


def test_folder_gives_sequences_whose_frames_all_count_and_every_third_of_an_orbit(
    root: Path,
) -> None:
    boxes, thing = real.sequences(root, 3)
    assert (boxes.name, thing.name) == ("boxes", "thing")
    assert [photo.name for photo in thing.photos] == ["00000.jpg", "00003.jpg", "00006.jpg"]
    assert boxes.scored == range(FRAMES)
    assert real.is_orbit(root, "thing")
    assert not real.is_orbit(root, "boxes")
    truth = thing.truth(2, thing.subjects[0])
    assert truth is not None
    assert np.array_equal(truth, draw_frame(6)[1] > 0)


def test_folder_of_something_else_and_a_label_without_photo_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FootageError, match="holds no photos with true masks"):
        real.stills(tmp_path)
    with pytest.raises(FootageError, match="holds no photos with true masks"):
        real.sequences(tmp_path, 1)
    labels = tmp_path / "test/clicks/labels"
    labels.mkdir(parents=True)
    Image.new("L", (4, 4), 255).save(labels / "lonely.png")
    with pytest.raises(FootageError, match=r"lonely\.jpg is not there"):
        real.stills(tmp_path)


def test_photo_that_ended_early_keeps_its_last_iou_and_one_never_right_counts_twenty() -> None:
    early = scored("a", 0.7, 0.86, 0.96)
    late = scored("a", *([0.5] * 10), *([0.82] * 10))
    assert early.iou_after(2) == 0.86
    assert early.iou_after(20) == 0.96
    assert (early.clicks_to(0.85), late.clicks_to(0.8), late.clicks_to(0.85)) == (2, 11, None)
    assert stills.mean_iou([early, late], 5) == pytest.approx((0.96 + 0.5) / 2)
    assert stills.clicks_needed([early, late], 0.8) == ((2 + 11) / 2, 0.0)
    assert stills.clicks_needed([early, late], 0.9) == ((3 + 20) / 2, 0.5)


def test_obeyed_clicks_are_counted_by_kind_and_by_number_and_falls_among_added_ones() -> None:
    one = scored("a", 0.7, 0.69, 0.6, obeyed=(True, False, True))
    two = scored("b", 0.5, 0.6, obeyed=(False, False))
    assert stills.obeyed([one, two]) == (2 / 5, 5)
    assert stills.obeyed([one, two], include=True) == (1 / 2, 2)
    assert stills.obeyed([one, two], include=False) == (1 / 3, 3)
    assert stills.obeyed([one, two], include=False, first=3, last=3) == (1.0, 1)
    assert stills.obeyed([one, two], include=True, first=2) == (None, 0)
    assert one.falls() == [False, True]
    assert stills.share_of_falls([one, two]) == (1 / 3, 3)
    table = obedience_report.stills_table([one, two])
    assert "all (2)" in table
    assert "a (1)" in table


def test_clicker_asks_the_preview_and_stops_when_it_is_right(root: Path) -> None:
    still = real.stills(root)[1]
    asked: list[tuple[FramePrompts, np.ndarray, float]] = []
    clicker = Clicker(MODEL, SIZE, still, lambda *step: asked.append(step))
    found = clicker.score()
    assert 1 <= len(found.clicks) <= stills.MOST_CLICKS
    ended = [click.iou >= stills.GOOD_ENOUGH for click in found.clicks]
    assert not any(ended[:-1])
    assert ended[-1] or len(ended) == stills.MOST_CLICKS
    *clicked, boxed = asked
    assert [len(prompts.points) for prompts, _, _ in clicked] == list(range(1, len(ended) + 1))
    for click, (prompts, mask, _) in zip(found.clicks, clicked, strict=True):
        assert prompts.points[-1] == click.prompt()
        assert click.iou == region_iou(mask, clicker.truth)
        assert click.obeyed == obeys(mask, click.prompt())
    # What was measured is what a propagation writes.
    prompts, mask, _ = clicked[-1]
    thing = ObjectPrompts(1, "subject", (prompts,))
    tracked = tracking.track(MODEL, SIZE, [still.photo], PromptSet((thing,), WIDTH, HEIGHT))
    assert np.array_equal(tracked.mattes[1, 1].mask(WIDTH, HEIGHT), mask)
    prompts, mask, iou = boxed
    assert prompts.box is not None
    outside = mask.copy()
    outside[20:70, 17:57] = False
    assert found.box_iou == iou
    assert found.box_outside == pytest.approx(outside.sum() / max(1, mask.sum()))


def test_corrections_add_up_to_what_one_run_with_all_clicks_gives(
    root: Path, tmp_path: Path
) -> None:
    clip = real.sequences(root, 1)[0].shortened(5)
    at = Corrector(MODEL, SIZE, FORWARD, clip, "mask", tmp_path)
    assert at.masks(at.propagate()).keys() == set(range(1, 6))
    # Whatever the model makes of it: let the fourth frame be what is wrong.
    masks = {frame: draw_frame(frame - 1)[1] > 0 for frame in range(1, 6)}
    masks[4] = np.zeros_like(masks[4])
    js, j, _ = at.measure(masks)
    assert js == {1: 1.0, 2: 1.0, 3: 1.0, 4: 0.0, 5: 1.0}
    assert j == pytest.approx(0.8)
    clicked = at.click(masks, js)
    assert clicked is not None
    frame, click = clicked
    assert (frame, click.include) == (4, True)
    again = at.masks(at.propagate())
    prompts = corrections.with_click(prompts_for(clip, "mask", deepest_clicks), 4, click)
    assert [entry.frame for entry in prompts.objects[0].frames] == [1, 4]
    afresh = tracking.track(MODEL, SIZE, clip.photos, prompts, settings=FORWARD)
    assert any(mask.any() for mask in again.values())
    for number, mask in again.items():
        assert np.array_equal(mask, afresh.mattes[1, number].mask(WIDTH, HEIGHT))


def test_second_click_on_a_frame_stands_behind_the_first() -> None:
    thing = ObjectPrompts(1, "a", (FramePrompts(3, (PointPrompt(1.0, 1.0),)),))
    prompts = PromptSet((thing,), WIDTH, HEIGHT)
    more = PointPrompt(2.0, 2.0, include=False)
    once = corrections.with_click(prompts, 3, more)
    assert once.objects[0].frames[0].points == (PointPrompt(1.0, 1.0), more)
    twice = corrections.with_click(once, 2, more)
    assert [entry.frame for entry in twice.objects[0].frames] == [2, 3]


def test_rounds_are_told_one_by_one_with_the_worst_step() -> None:
    def after(jf: float, *, obeyed: bool) -> CorrectedRound:
        return CorrectedRound(3, 1.5, 1.5, False, obeyed, 0.2, 0.3, jf, jf, jf, 0.5)

    falls = Correction(
        "a", "1click", 0.5, 0.5, 0.5, (after(0.6, obeyed=True), after(0.4, obeyed=False))
    )
    right = Correction("b", "1click", 0.9, 0.9, 0.9, ())
    assert [falls.jf_after(number) for number in range(4)] == [0.5, 0.6, 0.4, 0.4]
    assert falls.worst_step() == pytest.approx(-0.2)
    assert (right.jf_after(2), right.worst_step()) == (0.9, 0.0)
    group = obedience_report.CorrectionGroup("davis", (falls, right))
    table = obedience_report.corrections_table(group)
    assert "exclude clicks: 1 of 2 obeyed" in table
    mean = next(line for line in table.splitlines() if line.startswith("mean of 2"))
    assert mean.split()[3:6] == ["0.700", "0.750", "0.650"]
    assert mean.endswith("-0.200")


def test_first_frames_and_quarters_are_means_over_the_sequences() -> None:
    def frame(number: int, j: float) -> FrameScore:
        return FrameScore(number, "", j, 1.0, 0, 0, 0.2, 0.2, False, 1.0, 0.9)

    tracked = tracking.Tracked({}, ((0.0, 0.0), (1.0, 1.0)))
    rising = [frame(number, number / 10) for number in range(1, 9)]
    one = summed("a", "x", "box", rising, tracked)
    two = summed("b", "x", "box", [frame(number, 0.5) for number in range(1, 5)], tracked)
    assert obedience_report.early([one, two]) == pytest.approx([0.3, 0.35, 0.4, 0.45, 0.5, 0.6])
    assert obedience_report.quarters([one]) == pytest.approx([0.575, 0.675, 0.775, 0.875])
    group = obedience_report.SequenceGroup("davis", (one, two))
    assert f"{(one.jf + two.jf) / 2:7.3f}" in obedience_report.sequences_table(group)


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/research/bench/obedience.py", "--threads", "1", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def test_command_judges_all_three_and_leaves_figures_and_sheets(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    done = run_tool(
        *("--real", str(root), "--stills", "--sequences", "--corrections", "--size", "64"),
        *("--kinds", "3clicks", "mask", "--rounds", "1", "--most", "1", "--every", "2"),
        *("--json", str(target), "--sheets", str(tmp_path / "sheets")),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_bytes())
    assert "--rounds 1" in found["command"]
    assert [one["name"] for one in found["stills"]] == ["00000", "boxes_00007"]
    mean = np.mean([one["clicks"][0]["iou"] for one in found["stills"]])
    line = next(line for line in done.stdout.splitlines() if line.startswith("all (2)"))
    assert line.split()[2] == f"{mean:.3f}"
    assert [group["name"] for group in found["sequences"]] == ["davis", "thing"]
    kinds = [(one["clip"], one["prompt"]) for one in found["sequences"][0]["scores"]]
    assert kinds == [("boxes", "3clicks"), ("boxes", "mask")]
    assert f"{found['sequences'][0]['scores'][1]['jf']:9.3f}" in done.stdout
    first = [one["frames"][0]["frame"] for one in found["sequences"][0]["scores"]]
    assert first == [1, 1]
    (correction,) = found["corrections"][1]["corrections"]
    assert (correction["clip"], correction["prompt"]) == ("thing", "3clicks")
    # Round 0 is the sequence as it was tracked from the same prompt.
    assert correction["jf"] == pytest.approx(found["sequences"][1]["scores"][0]["jf"])
    sheets = {path.name for path in (tmp_path / "sheets").rglob("*.jpg")}
    assert {"clicks_00000.jpg", "boxes_mask.jpg", "thing_round_0.jpg"} <= sheets


def test_command_says_in_one_sentence_what_is_missing(tmp_path: Path) -> None:
    done = run_tool("--real", str(tmp_path), "--stills")
    assert done.returncode == 1
    assert "holds no photos with true masks" in done.stderr
    assert "say what to measure" in run_tool("--real", str(tmp_path)).stderr


@pytest.mark.skipif(
    "SAM2_SPLAT_REAL" not in os.environ, reason="SAM2_SPLAT_REAL names no folder of real photos"
)
def test_real_folder_has_its_photos_and_the_first_click_on_each_lies_inside() -> None:
    root = Path(os.environ["SAM2_SPLAT_REAL"])
    found = real.stills(root)
    assert {"clicks", "davis"} == {still.group for still in found}
    for still in found:
        inside, counts = still.truth()
        click = next_click(np.zeros_like(inside), inside, counts)
        assert click is not None
        assert inside[int(click.y), int(click.x)]
    assert any(real.is_orbit(root, clip.name) for clip in real.sequences(root, 3))
