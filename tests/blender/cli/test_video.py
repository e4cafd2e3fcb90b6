# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line takes a video: it makes photos of it once, and goes on as with a folder."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import pytest

from tests.engine.video_files import pictures, write_video

pytestmark = pytest.mark.usefixtures("addon")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "walk.mov", pictures(30))


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.json"
    frames = [{"frame": 1, "points": [{"x": 50.5, "y": 60.5}]}]
    path.write_text(
        json.dumps({"version": 1, "objects": [{"id": 1, "name": "part", "frames": frames}]})
    )
    return path


def run(*arguments: object) -> int:
    from sam2_splat_addon.blender.cli import batch

    return batch.main([str(argument) for argument in arguments])


def test_a_video_becomes_photos_masks_and_pngs(
    video: Path, prompts: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = ("--footage", video, "--photos", 2, "--prompts", prompts, "--bake")
    assert run(*given) == 0, capfd.readouterr().err
    folder = video.parent / "walk_photos"
    photos = sorted(folder.glob("*.jpg"))
    assert len(photos) == 2
    assert "2 of 30 frames become photos" in capfd.readouterr().out
    (baked,) = folder.glob("postshot_v*")
    assert sorted(path.stem for path in baked.glob("*.png")) == [path.stem for path in photos]
    times = [path.stat().st_mtime_ns for path in photos]
    assert run(*given[:-1]) == 0
    assert "The photos in walk_photos were made before" in capfd.readouterr().out
    assert [path.stat().st_mtime_ns for path in photos] == times
    assert len(bpy.data.movieclips) == 1


def test_another_folder_and_png_can_be_chosen(video: Path, prompts: Path, tmp_path: Path) -> None:
    place = tmp_path / "out of the way"
    place.mkdir()
    more = ("--photo-format", "png", "--photos-folder", place, "--frames", "1-1")
    assert run("--footage", video, "--photos", 2, "--prompts", prompts, *more) == 0
    assert len(list((place / "walk_photos").glob("*.png"))) == 2
    assert not (video.parent / "walk_photos").exists()


@pytest.mark.parametrize("option", ["--photos=5", "--photo-format=png", "--photos-folder=here"])
def test_options_of_a_video_need_one(
    tmp_path: Path, option: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--footage", tmp_path, option) == 2
    assert "need a video" in capfd.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "many", "1000001"])
def test_an_impossible_number_of_photos_is_refused(video: Path, count: str) -> None:
    assert run("--footage", video, f"--photos={count}") == 2


def test_a_broken_video_ends_with_the_code_of_photos(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video" * 100)
    assert run("--footage", path) == 3
    assert "broken.mp4 is not a video, or is damaged" in capfd.readouterr().err


def test_a_cut_off_video_is_used_and_told_and_refused_if_strict(
    tmp_path: Path, prompts: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_video(
        tmp_path / "cut.mp4",
        pictures(60),
        options={"g": "5", "bf": "0"},
        file_options={"movflags": "faststart"},
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    given = ("--footage", path, "--photos", 2, "--prompts", prompts, "--frames", "1-1")
    assert run(*given, "--strict") == 3
    assert not list(tmp_path.glob("*_photos"))
    assert run(*given) == 0
    assert "The end of the video is missing or damaged" in capfd.readouterr().err
