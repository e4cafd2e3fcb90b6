# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos that Blender can't show, or would show in another size, are shown as copies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from sam2_splat_addon.core.footage.staging import COPIES

from ...engine.images.photo_kinds import HEIGHT, WIDTH, Directory, colors, tiff

pytestmark = pytest.mark.usefixtures("addon")


def box(left: int, top: int, right: int, bottom: int) -> Any:
    return np.array([left, top], "i4"), np.array([right, bottom], "i4")


def write_exr(path: Path, left: int, value: float = 0.5) -> None:
    """A bright area of 20 x 20 px inside a display window of WIDTH x HEIGHT px."""
    fields = {
        "dataWindow": box(left, 5, left + 19, 24),
        "displayWindow": box(0, 0, WIDTH - 1, HEIGHT - 1),
    }
    plane = np.random.default_rng(1).uniform(value, value + 0.2, (20, 20)).astype(np.float32)
    with OpenEXR.File(fields, {letter: plane.copy() for letter in "RGB"}) as file:
        file.write(str(path))


def write_preview_first(path: Path) -> None:
    preview = Directory(colors(seed=9)[::4, ::4], more={254: (4, [1])})
    path.write_bytes(tiff(preview, Directory(colors())))


def load(folder: Path) -> bpy.types.MovieClip:
    from sam2_splat_addon.blender.clip import loading

    return loading.load(folder)


def shown(clip: bpy.types.MovieClip, frame: int) -> np.ndarray:
    """The picture that Blender opens for a frame, (H, W, 3)."""
    first = Path(bpy.path.abspath(clip.filepath))
    return np.asarray(Image.open(first.with_name(f"frame_{frame:06d}.jpg")).convert("RGB"))


def test_pictures_that_move_in_their_window_become_one_clip(tmp_path: Path) -> None:
    folder = tmp_path / "renders"
    folder.mkdir()
    for frame, left in enumerate((3, 20, 40), start=1):
        write_exr(folder / f"r{frame}.exr", left)
    clip = load(folder)
    assert tuple(clip.size) == (WIDTH, HEIGHT)
    assert clip.frame_duration == 3
    for frame, left in enumerate((3, 20, 40), start=1):
        picture = shown(clip, frame)
        assert picture[10:20, left + 5 : left + 15].min() > 150
        assert picture[35:].max() < 30


def test_the_picture_is_shown_and_not_its_preview(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    write_preview_first(folder / "a.tif")
    # A plain photo beside it gets a copy too: Blender opens one sequence.
    Image.fromarray(colors(seed=2)).save(folder / "b.png")
    clip = load(folder)
    assert tuple(clip.size) == (WIDTH, HEIGHT)
    for frame, right in ((1, colors()), (2, colors(seed=2))):
        difference = cv2.blur(shown(clip, frame).astype(float) - right, (7, 7))
        assert np.abs(difference).mean() < 6


def test_the_worker_gets_the_photos_and_not_the_copies(tmp_path: Path) -> None:
    from sam2_splat_addon.blender.clip import footage

    folder = tmp_path / "scans"
    folder.mkdir()
    write_preview_first(folder / "a.tif")
    clip = load(folder)
    assert COPIES in clip.filepath
    photo = footage.photo_of(clip, 1)
    assert photo is not None
    assert photo.resolve() == folder / "a.tif"


def test_copies_are_made_again_only_of_photos_that_changed(tmp_path: Path) -> None:
    folder = tmp_path / "renders"
    folder.mkdir()
    for frame in (1, 2, 3):
        write_exr(folder / f"r{frame}.exr", 10)
    clip = load(folder)
    copies = Path(bpy.path.abspath(clip.filepath)).parent
    before = {path.name: path.stat().st_mtime_ns for path in copies.glob("frame_*.jpg")}
    assert len(before) == 3
    write_exr(folder / "r2.exr", 40, 0.9)
    assert load(folder) == clip
    after = {path.name: path.stat().st_mtime_ns for path in copies.glob("frame_*.jpg")}
    assert {name for name in before if before[name] != after[name]} == {"frame_000002.jpg"}
    assert shown(clip, 2)[10:20, 45:55].min() > 200


def test_a_damaged_photo_among_them_keeps_the_frames_of_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "renders"
    folder.mkdir()
    for frame in (1, 2, 3):
        write_exr(folder / f"r{frame}.exr", 10)
    data = bytearray((folder / "r2.exr").read_bytes())
    data[-300:-100] = b"\x93" * 200
    (folder / "r2.exr").write_bytes(data)
    clip = load(folder)
    assert clip.frame_duration == 3
    assert not shown(clip, 2).any()
    assert shown(clip, 3).any()


def test_clearing_the_cache_removes_the_copies(
    tmp_path: Path, make_photos: Callable[..., Path]
) -> None:
    from sam2_splat_addon.core.footage.staging import unstage

    folder = tmp_path / "renders"
    folder.mkdir()
    write_exr(folder / "r1.exr", 10)
    copies = Path(bpy.path.abspath(load(folder).filepath)).parent
    unstage(copies.parent)
    assert not copies.exists()
    clip = load(folder)  # and loading makes them again
    assert tuple(clip.size) == (WIDTH, HEIGHT)
    shutil.rmtree(copies.parent)


def test_a_kind_that_blender_does_not_know_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "phone"
    folder.mkdir()
    for frame in (1, 2):
        Image.fromarray(colors(seed=frame)).save(folder / f"IMG_{frame}.avif")
    clip = load(folder)
    assert tuple(clip.size) == (WIDTH, HEIGHT)
    assert clip.frame_duration == 2
    difference = cv2.blur(shown(clip, 2).astype(float) - colors(seed=2), (7, 7))
    assert np.abs(difference).mean() < 6
