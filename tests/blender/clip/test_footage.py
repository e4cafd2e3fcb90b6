# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos with any names become one clip without gaps, and the clip knows its photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.errors import FootageError

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


def test_names_with_gaps_become_one_clip_of_all_photos(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import footage, loading

    folder = make_photos(count=6)
    clip = loading.load(folder)
    assert clip.frame_duration == 6
    assert tuple(clip.size) == (120, 180)
    names = [path.name for path in footage.footage_of(clip).paths]
    assert names == sorted(path.name for path in folder.iterdir())


def test_names_without_digits_become_one_clip(tmp_path: Path, make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import footage, loading

    folder = make_photos(count=3)
    for path, name in zip(sorted(folder.iterdir()), ("b.jpg", "a.JPG", "c (1).jpg"), strict=True):
        path.rename(folder / name)
    clip = loading.load(folder)
    assert clip.frame_duration == 3
    names = [path.name for path in footage.footage_of(clip).paths]
    assert names == ["a.JPG", "b.jpg", "c (1).jpg"]


@pytest.mark.parametrize("side", [120, 256])  # Blender says 256 px for a file that it can't read
def test_a_kind_of_photo_that_blender_does_not_know_is_named(tmp_path: Path, side: int) -> None:
    from sam2_splat_addon.blender.clip import loading

    # Our header check looks at no check sums, but Blender's PNG reader does.
    noise = np.random.default_rng(1).integers(0, 255, (side, side, 3), dtype=np.uint8)
    photo = tmp_path / "a.png"
    Image.fromarray(noise).save(photo)
    data = photo.read_bytes()
    photo.write_bytes(data[:29] + bytes(4) + data[33:])
    with pytest.raises(FootageError, match=r"Blender can't read a\.png\. .*kind of \.png"):
        loading.load(tmp_path)
    assert not bpy.data.images


def test_photos_of_the_size_that_blender_gives_unreadable_ones_load(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import loading

    assert tuple(loading.load(make_photos(count=1, size=(256, 256))).size) == (256, 256)


def test_loading_again_keeps_the_clip_and_its_clicks(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import loading

    folder = make_photos(count=3)
    clip = loading.load(folder)
    clip.tracking.objects.new("chair")
    (folder / "IMG_9999.JPG").write_bytes((folder / "IMG_2041.JPG").read_bytes())
    again = loading.load(folder)
    assert again == clip
    assert "chair" in again.tracking.objects
    assert again.sam2_splat.frame_count == 4
    assert again.frame_duration == 4


def test_photos_that_changed_under_the_clip_are_noticed(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import footage, loading

    folder = make_photos(count=3)
    clip = loading.load(folder)
    next(folder.iterdir()).unlink()
    with pytest.raises(FootageError, match="3 photos when it was loaded and has 2 now"):
        footage.footage_of(clip)


def test_photos_swapped_for_others_are_noticed_and_loading_says_from_where_on(
    make_photos: MakePhotos, capfd: pytest.CaptureFixture[str]
) -> None:
    from sam2_splat_addon.blender.clip.footage import footage_of

    folder = make_photos(count=4)
    bpy.ops.sam2_splat.load(filepath=str(folder))
    clip = present(bpy.context.scene.active_clip)
    assert "not the same as before" not in capfd.readouterr().out
    _, second, _, last = sorted(folder.glob("*.JPG"))
    second.unlink()
    last.with_name("Z_later.JPG").write_bytes(last.read_bytes())
    with pytest.raises(FootageError, match=r"Frame 2 showed another photo.*Load the photos again"):
        footage_of(clip)
    bpy.ops.sam2_splat.load(filepath=str(folder))
    assert "The photos from frame 2 on are not the same as before. Clicks and drawn masks" in (
        capfd.readouterr().out
    )
    assert len(footage_of(clip)) == 4
    last.unlink()
    last.with_name("Z_later.JPG").unlink()
    bpy.ops.sam2_splat.load(filepath=str(folder))
    assert "not the same as before" not in capfd.readouterr().out


def test_a_clip_opened_by_hand_is_taken_from_the_frame_it_was_opened_at(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import footage

    folder = make_photos(count=4, pattern="f{:04d}.jpg")
    for index, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"g{index:04d}.jpg")
    clip = bpy.data.movieclips.load(str(folder / "g0001.jpg"))
    assert [path.name for path in footage.footage_of(clip).paths] == [
        "g0001.jpg",
        "g0002.jpg",
        "g0003.jpg",
    ]


def test_the_whole_folder_is_another_clip_than_one_opened_from_a_middle_photo(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import footage, loading

    folder = make_photos(count=4)
    for index, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"g{index:04d}.jpg")
    photos = sorted(folder.iterdir())
    opened = bpy.data.movieclips.load(str(photos[1]))
    assert footage.footage_of(opened).paths[0] == photos[1]
    loaded = loading.load(folder)
    assert loaded != opened, "its clicks would move to other photos"
    assert footage.footage_of(opened).paths[0] == photos[1]
    assert footage.footage_of(loaded).paths[0] == photos[0]
    assert loading.load(folder) == loaded


def test_a_clip_opened_by_hand_over_a_gap_is_refused_with_the_remedy(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import footage

    folder = make_photos(count=4)
    clip = bpy.data.movieclips.load(str(folder / "IMG_2041.JPG"))
    with pytest.raises(FootageError, match="Load Its Folder"):
        footage.footage_of(clip)


def test_the_clip_comes_back_after_saving_and_clearing_the_cache(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    import shutil

    from sam2_splat_addon.blender.clip import loading

    clip = loading.load(make_photos(count=5))
    clip.sam2_splat.grow_px = 3.0
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    shutil.rmtree(tmp_path / "cache")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    (clip,) = bpy.data.movieclips
    assert clip.frame_duration == 5
    assert Path(clip.filepath).exists()
    assert clip.sam2_splat.grow_px == 3.0


def test_a_movie_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    from sam2_splat_addon.blender.clip import footage

    path = tmp_path / "movie.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 24, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    clip = bpy.data.movieclips.load(str(path))
    with pytest.raises(FootageError, match="movie file"):
        footage.footage_of(clip)


def test_the_load_operator_reports_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeError, match="has no photos"):
        bpy.ops.sam2_splat.load(filepath=str(tmp_path / "empty"))


def test_photos_twice_as_wide_as_high_are_taken_for_panoramas_once(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    from PIL import Image

    from sam2_splat_addon.blender.clip import loading
    from sam2_splat_addon.blender.context.requests import run_settings

    folder = tmp_path / "round"
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (128, 64)).save(folder / f"{number}.jpg")
    clip = loading.load(folder)
    assert run_settings(clip.sam2_splat, 2).panorama
    clip.sam2_splat.panorama = False
    assert not run_settings(loading.load(folder).sam2_splat, 2).panorama
    assert not run_settings(loading.load(make_photos(count=2)).sam2_splat, 2).panorama
