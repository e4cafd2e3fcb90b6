# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores are kept whole or not at all, and a folder of photos is found by its report alone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from sam2_splat_addon.core.footage import video_photos
from sam2_splat_addon.core.footage.video_choice import choose
from sam2_splat_addon.core.footage.video_scores import (
    Thumbnail,
    VideoScores,
    is_video_name,
    read_scores,
    spread,
    write_scores,
)

DIGEST = bytes(range(32))
KEY = video_photos.photos_key(DIGEST, 5, "jpeg")


@pytest.fixture
def scores() -> VideoScores:
    numbers = np.arange(1, 41)
    sharpness = np.full(40, 0.6, np.float32)
    sharpness[10:13] = 0.1
    return VideoScores(
        64,
        48,
        numbers,
        numbers / 30.0,
        numbers * 20,
        sharpness,
        np.linspace(0, 1, 40).astype(np.float32),
        np.arange(40, dtype=np.uint32),
        ("It is odd.",),
        2,
        (Thumbnail(0, 2, 1, bytes(6)),),
    )


def test_scores_come_back_as_they_were(tmp_path: Path, scores: VideoScores) -> None:
    path = tmp_path / "a.scores"
    write_scores(path, scores)
    back = read_scores(path)
    assert back is not None
    for name in ("numbers", "seconds", "stamps", "sharpness", "places", "checks"):
        assert np.array_equal(getattr(back, name), getattr(scores, name))
    assert (back.facts, back.damaged, back.width) == (scores.facts, 2, 64)
    assert back.thumbnails[0].array().shape == (1, 2, 3)


@pytest.mark.parametrize("part", [0, 10, 300, -1])
def test_damaged_scores_count_as_none(tmp_path: Path, scores: VideoScores, part: int) -> None:
    path = tmp_path / "a.scores"
    write_scores(path, scores)
    path.write_bytes(path.read_bytes()[:part])
    assert read_scores(path) is None
    assert read_scores(tmp_path / "missing.scores") is None


def test_the_key_depends_on_video_number_and_kind() -> None:
    keys = {
        KEY,
        video_photos.photos_key(DIGEST[::-1], 5, "jpeg"),
        video_photos.photos_key(DIGEST, 6, "jpeg"),
        video_photos.photos_key(DIGEST, 5, "png"),
    }
    assert len(keys) == 4


def made(folder: Path, scores: VideoScores, key: str = KEY, video: str = "walk.mp4") -> Path:
    folder.mkdir()
    choice = choose(scores, 5)
    report = video_photos.report_of(scores, choice, Path(video), key, "jpeg")
    for photo in report.photos:
        (folder / photo.file).touch()
    (folder / video_photos.REPORT_NAME).write_bytes(msgspec.json.encode(report))
    return folder


def test_photos_are_found_again_also_if_some_were_deleted(
    tmp_path: Path, scores: VideoScores
) -> None:
    video = tmp_path / "walk.mp4"
    assert video_photos.found_photos(tmp_path, video, KEY) is None
    (tmp_path / "walk_photos").mkdir()  # somebody else's
    assert video_photos.free_folder(tmp_path, video) == tmp_path / "walk_photos_2"
    folder = made(tmp_path / "walk_photos_2", scores)
    min(folder.glob("*.jpg")).unlink()
    assert video_photos.found_photos(tmp_path, video, KEY) == folder
    assert video_photos.found_photos(tmp_path, video, "other") is None
    assert video_photos.free_folder(tmp_path, video) == tmp_path / "walk_photos_3"
    for photo in folder.glob("*.jpg"):
        photo.unlink()
    assert video_photos.found_photos(tmp_path, video, KEY) is None


def test_the_report_names_what_was_left_out(scores: VideoScores) -> None:
    report = video_photos.report_of(scores, choose(scores, 5), Path("walk.mp4"), KEY, "jpeg")
    assert report.photos[0].file.startswith("walk_0000")
    assert (11, 13, "blurred") in [(one.first, one.last, one.why) for one in report.left_out]
    assert (report.frames, report.damaged, report.facts[0]) == (40, 2, "It is odd.")
    assert sum(photo.moved for photo in report.photos) == pytest.approx(
        float(
            scores.places[report.photos[-1].frame - 1] - scores.places[report.photos[0].frame - 1]
        ),
        abs=0.001,
    )


def test_blurred_photos_and_a_large_step_are_told(scores: VideoScores) -> None:
    sharpness = scores.sharpness.copy()
    sharpness[10:25] = 0.1
    places = scores.places.copy()
    places[30:] += 0.6  # between two frames
    wide = VideoScores(
        64,
        48,
        scores.numbers,
        scores.seconds,
        scores.stamps,
        sharpness,
        places,
        scores.checks,
    )
    choice = choose(wide, 20)
    report = video_photos.report_of(wide, choice, Path("walk.mp4"), KEY, "jpeg")
    assert any("0.6 of the picture" in fact for fact in report.facts)
    (at,) = choice.blurred_photos
    assert report.facts[-2].endswith(f"too quickly for sharp ones: at {wide.seconds[at]:.1f} s.")
    number = int(wide.numbers[at])
    assert number in [photo.frame for photo in report.photos]
    assert not any(one.first <= number <= one.last for one in report.left_out)


def test_every_frame_is_a_line_of_the_table(scores: VideoScores) -> None:
    lines = video_photos.frames_table(scores, choose(scores, 5)).decode().splitlines()
    assert len(lines) == 41
    assert lines[0] == "frame,seconds,sharpness,view,use"
    assert [line.rpartition(",")[2] for line in lines].count("photo") == 5
    assert lines[12].endswith(",blurred")


@pytest.mark.parametrize(
    ("video", "folder"),
    [
        ("walk.MP4", "walk_photos"),
        ("rundgang äö 日本 .mov", "rundgang äö 日本_photos"),
        (f"{'日' * 80}.mp4", f"{'日' * 40}_photos"),
        ("...mp4", "video_photos"),
        ("a.b.mkv", "a.b_photos"),
    ],
)
def test_the_folder_has_a_name_that_every_system_allows(
    tmp_path: Path, video: str, folder: str
) -> None:
    assert video_photos.free_folder(tmp_path, tmp_path / video).name == folder
    unfinished = video_photos.unfinished_folder(tmp_path, tmp_path / video, KEY)
    assert len(unfinished.name.encode()) < 200


def test_videos_are_known_by_their_extension() -> None:
    assert all(map(is_video_name, ("a.mp4", "A.MOV", "b.m4v", "c.mkv", "d.webm", "e.avi")))
    assert not any(map(is_video_name, ("a.jpg", "mp4", "a.mp4.png", "")))


def test_thumbnails_are_spread_over_all() -> None:
    many = [Thumbnail(at, 1, 1, bytes(3)) for at in range(100)]
    assert [one.index for one in spread(many, 4)] == [12, 37, 62, 87]
    assert spread(many[:3], 4) == many[:3]
