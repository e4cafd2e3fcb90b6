# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures in subfolders: one clip of all passes, and the output has the same subfolders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


@pytest.fixture
def capture(make_photos: MakePhotos, tmp_path: Path) -> Path:
    """Two passes with the same file names."""
    passes = tmp_path / "two passes ä"
    passes.mkdir()
    for name in ("pass 2", "pass 10"):
        make_photos(count=2, name=name).rename(passes / name)
    return passes


def names_of(clip: bpy.types.MovieClip) -> list[str]:
    from sam2_splat_addon.blender.clip import footage

    return [at.name for at in footage.footage_of(clip).frames]


TWO_PASSES = [f"pass {n}/IMG_{at}.JPG" for n in (2, 10) for at in (2041, 2042)]


def test_passes_become_one_clip_that_is_found_again(capture: Path, tmp_path: Path) -> None:
    from sam2_splat_addon.blender.clip import footage, loading

    clip = loading.load(capture)
    assert clip.frame_duration == 4
    assert names_of(clip) == TWO_PASSES
    first, last = (footage.photo_of(clip, frame) for frame in (1, 4))
    assert first is not None and first.samefile(capture / TWO_PASSES[0])
    assert last is not None and last.samefile(capture / TWO_PASSES[3])
    blend = tmp_path / "saved.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    (clip,) = bpy.data.movieclips
    assert names_of(clip) == TWO_PASSES


def test_a_capture_loaded_with_subfolders_stays_so(make_photos: MakePhotos, capture: Path) -> None:
    """Also when a photo comes to lie in the folder itself, and when it is loaded again."""
    from sam2_splat_addon.blender.clip import loading

    clip = loading.load(capture)
    Image.open(capture / TWO_PASSES[0]).save(capture / "top.jpg")
    again = loading.load(capture)
    assert again == clip
    assert names_of(again) == ["top.jpg", *TWO_PASSES]


def test_the_folders_own_photos_alone_unless_subfolders_are_asked_for(capture: Path) -> None:
    Image.open(capture / TWO_PASSES[0]).save(capture / "top.jpg")
    assert bpy.ops.sam2_splat.load(filepath=str(capture)) == {"FINISHED"}
    clip = bpy.context.scene.active_clip
    assert clip is not None and names_of(clip) == ["top.jpg"]
    bpy.ops.sam2_splat.load(filepath=str(capture), with_subfolders=True)
    assert bpy.context.scene.active_clip == clip
    assert names_of(clip) == ["top.jpg", *TWO_PASSES]
    bpy.ops.sam2_splat.load(filepath=str(capture))
    assert names_of(clip) == ["top.jpg", *TWO_PASSES]
    bpy.ops.sam2_splat.load(filepath=str(capture), with_subfolders=False)
    assert names_of(clip) == ["top.jpg"]


def test_previews_know_where_a_pass_begins_as_runs_do(capture: Path) -> None:
    """A preview takes the photos as links in one folder, and must equal what a run gives."""
    from sam2_splat_addon.blender.clip import footage, loading
    from sam2_splat_addon.core.protocol import FootageFiles

    clip = loading.load(capture)
    assert footage.cuts_of(clip) == FootageFiles.of(footage.footage_of(clip)).cuts == (3,)
    flat = loading.load(capture / "pass 2")
    assert footage.cuts_of(flat) == FootageFiles.of(footage.footage_of(flat)).cuts == ()


@pytest.mark.parametrize("option", [True, False])
def test_the_command_line_bakes_into_the_same_subfolders(
    option: bool, capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from sam2_splat_addon.blender.cli import batch

    photos = list(TWO_PASSES)
    if option:
        Image.open(capture / TWO_PASSES[0]).save(capture / "top.JPG")
        photos = ["top.JPG", *TWO_PASSES]
    clicks = [{"frame": 2, "points": [{"x": 50.5, "y": 90.5}]}]
    file = tmp_path / "prompts.json"
    file.write_text(
        json.dumps({"version": 1, "objects": [{"id": 1, "name": "square", "frames": clicks}]})
    )
    arguments = ["--footage", str(capture), "--prompts", str(file), "--bake"]
    for version in ("postshot_v001", "postshot_v002"):  # the second is not baked from the first
        assert batch.main([*arguments, *(["--subfolders"] if option else [])]) == 0
        baked = capture / version
        made = sorted(path.relative_to(baked).as_posix() for path in baked.rglob("*.png"))
        assert made == sorted(name.replace(".JPG", ".png") for name in photos)
    assert f"{len(photos)} photos" in capfd.readouterr().out
