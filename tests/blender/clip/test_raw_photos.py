# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera RAW, HEIC and JPEG XL photos load as one clip. The SAM 2 process looks at RAW photos first."""

from __future__ import annotations

import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import bpy
import cv2
import numpy as np
import pillow_heif
import pyjpegxl
import pytest
from PIL import Image

from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.footage.raw_photos import FILE_NAME, RawPhotosUnknown
from sam2_splat_addon.core.footage.scan import IMAGE_EXTENSIONS
from sam2_splat_addon.core.footage.video_scores import VIDEO_EXTENSIONS
from sam2_splat_addon.engine.images.colors import to_8_bit
from sam2_splat_addon.engine.images.decode import decode

from ...engine.images.photo_kinds import dng, turned_jxl
from ...engine.images.test_raw import HEIGHT, WIDTH, camera_jpeg, scene

pytestmark = pytest.mark.usefixtures("addon")


def loaded(folder: Path) -> bpy.types.MovieClip:
    from sam2_splat_addon.blender.tasks.load_task import LoadTask

    task = LoadTask(folder)
    while not task.step(time.monotonic() + 0.1):
        pass
    return bpy.data.movieclips[task.clip_name]


@pytest.fixture
def raws(tmp_path: Path) -> Path:
    folder = tmp_path / "Été 2026 raw"
    folder.mkdir()
    for number in (1, 2, 10):
        (folder / f"IMG {number}.DNG").write_bytes(dng(scene(number)))
    return folder


def shown(clip: bpy.types.MovieClip, frame: int) -> np.ndarray:
    first = Path(bpy.path.abspath(clip.filepath))
    return np.asarray(Image.open(first.with_name(f"frame_{frame:06d}.jpg")).convert("RGB"))


def test_they_are_shown_as_sam_2_sees_them(raws: Path) -> None:
    clip = loaded(raws)
    assert tuple(clip.size) == (WIDTH, HEIGHT)
    assert clip.frame_duration == 3
    for frame, number in enumerate((1, 2, 10), start=1):
        right = to_8_bit(decode(raws / f"IMG {number}.DNG").array)
        assert np.abs(cv2.blur(shown(clip, frame).astype(float) - right, (7, 7))).mean() < 6


def test_the_process_looks_once_at_each_photo(raws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sam2_splat_addon.blender.clip import footage, raw_photos

    asked: list[tuple[str, ...]] = []
    job_for = raw_photos.job_for

    def counted(photos: tuple[Path, ...], cache: Path) -> object:
        asked.append(tuple(photo.name for photo in photos))
        return job_for(photos, cache)

    monkeypatch.setattr(raw_photos, "job_for", counted)
    clip = loaded(raws)
    assert asked == [("IMG 1.DNG", "IMG 2.DNG", "IMG 10.DNG")]
    assert len(footage.footage_of(clip)) == 3
    (raws / "IMG 3.DNG").write_bytes(dng(scene(3)))
    assert loaded(raws).frame_duration == 4
    assert asked[1:] == [("IMG 3.DNG",)]


def test_a_broken_one_is_left_out_and_named_when_photos_are_loaded(raws: Path) -> None:
    from sam2_splat_addon.blender.clip import footage

    (raws / "IMG 4.NEF").write_bytes(b"II*\0" + bytes(600))
    (raws / "IMG 5.CR3").write_bytes(b"")
    (raws / "IMG 6.dng").write_bytes(dng(scene(), more={259: (3, [52546])}))
    clip = loaded(raws)
    assert clip.frame_duration == 3
    found = footage.footage_of(clip)
    assert {file.name for file in found.unreadable} == {"IMG 4.NEF", "IMG 5.CR3", "IMG 6.dng"}
    assert all(file.name in file.reason for file in found.unreadable)


def test_without_what_is_known_the_photos_are_to_be_loaded_again(raws: Path) -> None:
    from sam2_splat_addon.blender.clip import footage
    from sam2_splat_addon.blender.context import preferences

    clip = loaded(raws)
    (preferences.cache_folder() / FILE_NAME).unlink()
    with pytest.raises(RawPhotosUnknown, match=r"IMG 1\.DNG") as caught:
        footage.footage_of(clip)
    assert "Load Photos" in caught.value.fix
    assert loaded(raws) == clip
    assert len(footage.footage_of(clip)) == 3


def test_a_raw_beside_its_jpeg_is_passed_over(raws: Path) -> None:
    Image.fromarray(to_8_bit(decode(raws / "IMG 2.DNG").array)).save(raws / "img 2.jpg")
    from sam2_splat_addon.blender.clip import footage

    found = footage.footage_of(loaded(raws))
    assert [frame.name for frame in found.frames] == ["IMG 1.DNG", "img 2.jpg", "IMG 10.DNG"]
    assert not found.unreadable


def test_a_cancelled_look_leaves_no_clip(raws: Path) -> None:
    from sam2_splat_addon.blender.tasks.load_task import LoadTask

    task = LoadTask(raws)
    task.step(time.monotonic() + 1.0)
    task.cancel()
    assert task.step(time.monotonic() + 10.0)
    assert task.cancelled
    assert not bpy.data.movieclips


def test_heic_jpeg_xl_and_raw_are_one_clip(raws: Path) -> None:
    photo = to_8_bit(decode(raws / "IMG 1.DNG").array)
    pillow_heif.from_pillow(Image.fromarray(photo)).save(raws / "IMG 3.HEIC", quality=95)
    (raws / "IMG 4.jxl").write_bytes(pyjpegxl.encode_from_numpy(photo))
    clip = loaded(raws)
    assert clip.frame_duration == 5
    for frame in (3, 4):
        assert np.abs(cv2.blur(shown(clip, frame).astype(float) - photo, (7, 7))).mean() < 8


def test_turned_raw_and_jpeg_xl_are_shown_upright(raws: Path) -> None:
    (raws / "IMG 1.DNG").write_bytes(dng(scene(1), more={274: (3, [6])}))
    photo = to_8_bit(decode(raws / "IMG 1.DNG").array)
    data = pyjpegxl.encode_from_numpy(photo, lossless=True)
    (raws / "IMG 3.jxl").write_bytes(turned_jxl(data, 8))
    clip = loaded(raws)
    across, down = clip.size
    for frame, quarters in ((1, -1), (3, 1)):
        picture = shown(clip, frame).astype(float)
        expected = np.rot90(photo, quarters)
        height, width = expected.shape[:2]
        scale = min(across / width, down / height)
        size = (round(width * scale), round(height * scale))
        left, top = (across - size[0]) // 2, (down - size[1]) // 2
        within = picture[top : top + size[1], left : left + size[0]]
        assert np.abs(cv2.blur(within - cv2.resize(expected, size), (7, 7))).mean() < 8


def test_a_strange_file_of_known_photos_goes_aside(raws: Path) -> None:
    from sam2_splat_addon.blender.context import preferences

    file = preferences.cache_folder() / FILE_NAME
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b'{"mine": true}')
    assert loaded(raws).frame_duration == 3
    assert file.with_name(f"{FILE_NAME}.old").read_bytes() == b'{"mine": true}'


def test_packages_that_are_missing_are_an_error_of_the_load(
    raws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import raw_photos

    def missing() -> None:
        raise FootageError("PyTorch and SAM 2 are not installed yet.")

    monkeypatch.setattr(raw_photos.worker_session, "pool", missing)
    with pytest.raises(FootageError, match="not installed"):
        loaded(raws)


def test_the_file_browser_shows_all_kinds_that_blender_does_not_know() -> None:
    from sam2_splat_addon.blender.ui.operators.load import FURTHER_PHOTOS

    patterns = FURTHER_PHOTOS.split(";")
    assert len(FURTHER_PHOTOS) < 256  # Blender's own limit
    for ending in IMAGE_EXTENSIONS - set(bpy.path.extensions_image):
        assert any(fnmatch(f"a{ending}", pattern) for pattern in patterns), ending


def test_the_cameras_jpegs_are_shown_and_baked_if_they_are_wanted(raws: Path) -> None:
    linear = scene(1)
    (raws / "IMG 1.DNG").write_bytes(dng(linear, jpeg=camera_jpeg(linear)))
    clip = loaded(raws)
    developed = shown(clip, 1).mean()
    assert clip.sam2_splat.has_raw
    clip.sam2_splat.raw_photos = "camera"
    assert loaded(raws) == clip
    assert shown(clip, 1).mean() > developed + 10
    # The bake takes the same: 8 bit colours of the camera's JPEG, and 16 bit where there is none.
    bpy.context.scene.active_clip = clip
    bpy.ops.sam2_splat.click(frame=1, x=40.5, y=30.5)
    bpy.ops.sam2_splat.propagate()
    bpy.ops.sam2_splat.bake()
    folder = Path(clip.sam2_splat.output_folder)
    for number, depth in ((1, 8), (2, 16)):
        image = folder / f"IMG {number}.png"
        assert image.read_bytes()[24] == depth
        right = decode(raws / f"IMG {number}.DNG", raw="camera").array
        assert np.array_equal(decode(image).array, right)


def test_only_a_clip_of_raw_photos_has_the_choice(make_photos: Callable[..., Path]) -> None:
    assert not loaded(make_photos(count=2)).sam2_splat.has_raw


def test_every_kind_that_blender_itself_does_not_take_can_be_dropped(raws: Path) -> None:
    from sam2_splat_addon.blender.ui.operators.load import SAM2SPLAT_FH_photos as handler

    taken = set(handler.bl_file_extensions.split(";"))
    assert taken | set(bpy.path.extensions_image) >= IMAGE_EXTENSIONS | VIDEO_EXTENSIONS
    assert len(handler.bl_file_extensions) < 512  # Blender keeps no more
    # Blender calls the operator with the first of the dropped files.
    operator = getattr(bpy.ops, handler.bl_import_operator.partition(".")[0])
    getattr(operator, handler.bl_import_operator.partition(".")[2])(
        filepath=str(raws / "IMG 2.DNG")
    )
    assert bpy.context.scene.active_clip.sam2_splat.frame_count == 3
