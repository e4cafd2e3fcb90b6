# SPDX-License-Identifier: GPL-3.0-or-later
"""A video that is loaded becomes photos first, which the user sees and changes before they are made."""

from __future__ import annotations

import time
from pathlib import Path

import bpy
import numpy as np
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.settings import VideoSettings
from tests.engine.video_files import HEIGHT, WIDTH, pictures, write_video

pytestmark = pytest.mark.usefixtures("addon")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "my walk ü.mp4", pictures(40))


def test_loading_a_video_makes_photos_beside_it_and_opens_them(video: Path) -> None:
    present(bpy.context.window_manager).sam2_splat.video_photos = 6
    bpy.ops.sam2_splat.load(filepath=str(video))
    (clip,) = bpy.data.movieclips
    folder = video.parent / "my walk ü_photos"
    assert clip.sam2_splat.footage_folder == str(folder)
    assert clip.sam2_splat.frame_count == len(list(folder.glob("*.jpg"))) == 6
    assert tuple(clip.size) == (WIDTH, HEIGHT)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    bpy.ops.sam2_splat.load(filepath=str(video))
    assert list(bpy.data.movieclips) == [clip]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_choice_is_shown_before_photos_are_made_and_follows_the_number(video: Path) -> None:
    from sam2_splat_addon.blender.overlay import video_preview
    from sam2_splat_addon.blender.tasks.video_task import VideoTask

    task = VideoTask(video, VideoSettings(), until="scores")
    while not task.step(time.monotonic() + 0.2):
        pass
    assert task.scores is not None and task.folder is None
    assert [path.name for path in video.parent.iterdir() if path.is_dir()] == ["cache"]
    video_preview.show(video, task.scores)
    shown = present(video_preview.waiting())
    settings = present(bpy.context.window_manager).sam2_splat
    counts = []
    for wanted in (5, 12):
        settings.video_photos = wanted
        choice = present(shown.choice())
        counts.append(len(choice.chosen))
        marks = [
            one
            for one in video_preview.shapes(task.scores, choice, 400.0)
            if one[4] == video_preview._PHOTO
        ]
        assert len(marks) == len(choice.chosen)
    assert counts == [5, 12]
    bpy.ops.sam2_splat.make_photos()
    assert video_preview.waiting() is None
    (clip,) = bpy.data.movieclips
    assert clip.sam2_splat.frame_count == 12


def test_photos_go_where_the_user_wants_them(video: Path, tmp_path: Path) -> None:
    from sam2_splat_addon.blender.tasks.video_task import VideoTask

    place = tmp_path / "elsewhere"
    place.mkdir()
    task = VideoTask(video, VideoSettings(4, "png"), place, until="photos")
    while not task.step(time.monotonic() + 0.2):
        pass
    assert task.folder == place / "my walk ü_photos"
    assert len(list(task.folder.glob("*.png"))) == 4
    assert task.summary == "Made 4 photos in my walk ü_photos"


def test_a_cancelled_task_makes_nothing(video: Path) -> None:
    from sam2_splat_addon.blender.tasks.video_task import VideoTask

    task = VideoTask(video, VideoSettings())
    task.cancel()
    while not task.step(time.monotonic() + 0.2):
        pass
    assert task.cancelled and task.summary == "Cancelled. No photo was made"
    assert not bpy.data.movieclips
    assert not list(video.parent.glob("*_photos"))


def test_what_is_no_video_is_told_by_the_button(tmp_path: Path) -> None:
    path = tmp_path / "broken.mov"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(RuntimeError, match=r"broken\.mov is not a video, or is damaged"):
        bpy.ops.sam2_splat.load(filepath=str(path))
    with pytest.raises(RuntimeError, match=r"missing\.mp4 can't be read"):
        bpy.ops.sam2_splat.load(filepath=str(tmp_path / "missing.mp4"))
    assert not bpy.data.movieclips


def test_a_folder_with_the_name_of_a_video_is_a_folder(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "frames.mp4"
    folder.mkdir()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "a_1.png")
    bpy.ops.sam2_splat.load(filepath=str(folder))
    assert len(bpy.data.movieclips) == 1


def test_a_movie_clip_of_blenders_own_is_told_what_to_do(video: Path) -> None:
    from sam2_splat_addon.blender.clip import footage

    clip = bpy.data.movieclips.load(str(video))
    with pytest.raises(FootageError, match="Make Photos of It"):
        footage.place_of(clip)


def test_clearing_the_cache_takes_the_scores_and_leaves_the_photos(video: Path) -> None:
    from sam2_splat_addon.blender.clip import cache_usage
    from sam2_splat_addon.blender.context import preferences

    bpy.ops.sam2_splat.load(filepath=str(video))
    (scores,) = preferences.cache_folder().rglob("*.scores")
    kept = scores.stat().st_size
    assert cache_usage.clear() >= kept
    assert not list(preferences.cache_folder().rglob("*.scores"))
    assert list(video.parent.glob("*_photos/*.jpg"))


def test_another_file_forgets_the_video_that_waits(video: Path) -> None:
    from sam2_splat_addon.blender.overlay import video_preview
    from sam2_splat_addon.blender.tasks.video_task import VideoTask

    task = VideoTask(video, VideoSettings(), until="scores")
    while not task.step(time.monotonic() + 0.2):
        pass
    video_preview.show(video, present(task.scores))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert video_preview.waiting() is None
