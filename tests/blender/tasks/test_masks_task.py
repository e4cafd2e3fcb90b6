# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks beside the photos are offered, taken as a subject's masks, and never loaded as photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


def square() -> np.ndarray:
    inside = np.zeros((180, 120), np.uint8)
    inside[60:120, 30:70] = 255
    return inside


@pytest.fixture
def capture(make_photos: MakePhotos) -> Path:
    """Three photos; two of them have a mask, each with another naming."""
    folder = make_photos(count=3)
    (folder / "masks").mkdir()
    first, second, _ = sorted(folder.glob("*.JPG"))
    Image.fromarray(square()).save(folder / f"{first.stem}_mask.png")
    Image.fromarray(square()).save(folder / "masks" / f"{second.name}.png")
    return folder


def loaded(folder: Path) -> bpy.types.MovieClip:
    bpy.ops.sam2_splat.load(filepath=str(folder))
    clip = bpy.context.scene.active_clip
    assert clip is not None
    return clip


def test_masks_are_taken_as_the_first_subjects_masks(capture: Path, tmp_path: Path) -> None:
    from sam2_splat_addon.blender.clip import markers

    clip = loaded(capture)
    assert clip.frame_duration == 3
    assert clip.sam2_splat.found_masks == 2
    assert bpy.ops.sam2_splat.use_found_masks() == {"FINISHED"}
    (entry,) = markers.collect(clip).objects
    assert [at.frame for at in entry.frames] == [1, 2]
    for at in entry.frames:
        assert at.mask is not None and np.array_equal(at.mask.to_array(), square() > 0)
    blend = tmp_path / "saved.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    (clip,) = bpy.data.movieclips
    assert [at.frame for at in markers.collect(clip).objects[0].frames] == [1, 2]


def test_they_go_to_the_active_subject_and_its_clicks_stay(capture: Path) -> None:
    from sam2_splat_addon.blender.clip import markers
    from sam2_splat_addon.core.prompts import PointPrompt

    clip = loaded(capture)
    bpy.ops.sam2_splat.object_add(name="other")
    bpy.ops.sam2_splat.object_add(name="chair")
    owner = clip.tracking.objects["chair"]
    markers.add_point(owner, 3, PointPrompt(50.0, 90.0), 120, 180)
    bpy.ops.sam2_splat.use_found_masks()
    (entry,) = markers.collect(clip).objects
    assert entry.name == "chair"
    assert [(at.frame, at.mask is not None) for at in entry.frames] == [
        (1, True),
        (2, True),
        (3, False),
    ]


def test_a_mask_that_does_not_fit_changes_nothing(capture: Path) -> None:
    clip = loaded(capture)
    Image.new("L", (64, 64), 255).save(next((capture / "masks").iterdir()))
    with pytest.raises(RuntimeError, match=r"64x64 px, but its photo IMG_2042\.JPG has 120x180 px"):
        bpy.ops.sam2_splat.use_found_masks()
    assert not clip.sam2_splat.mask_prompts


def test_without_masks_the_button_says_why(make_photos: MakePhotos) -> None:
    clip = loaded(make_photos(count=2))
    assert clip.sam2_splat.found_masks == 0
    with pytest.raises(RuntimeError, match="no masks beside the photos"):
        bpy.ops.sam2_splat.use_found_masks()


@pytest.mark.parametrize("subject", ["white", "black"])
def test_the_command_line_bakes_from_masks_alone(
    subject: str, capture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from sam2_splat_addon.blender.cli import batch

    if subject == "black":
        for path in [*capture.glob("*_mask.png"), *(capture / "masks").iterdir()]:
            Image.fromarray(255 - square()).save(path)
        assert batch.main(["--footage", str(capture), "--found-masks", "white"]) == 3
        assert "inverted" in capfd.readouterr().err
    code = batch.main(["--footage", str(capture), "--found-masks", subject, "--bake"])
    assert code == 0, capfd.readouterr().err
    baked = sorted((capture / "postshot_v001").glob("*.png"))
    assert [path.stem for path in baked] == [path.stem for path in sorted(capture.glob("*.JPG"))]
    for path in baked[:2]:
        alpha = np.asarray(Image.open(path))[..., 3] > 0
        both, either = alpha & (square() > 0), alpha | (square() > 0)
        assert both.sum() > 0.9 * either.sum()
