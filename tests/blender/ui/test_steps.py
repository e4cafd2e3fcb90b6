# SPDX-License-Identifier: GPL-3.0-or-later
"""The four steps: when their buttons are grey, what they say then, and what comes next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import OpenEXR
import pytest
import tifffile

from sam2_splat_addon.blender.clip import markers
from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.blender.ui import panel_footage, panel_run

pytestmark = pytest.mark.usefixtures("addon")


@pytest.fixture
def clip(make_photos: Callable[..., Path]) -> bpy.types.MovieClip:
    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=2)))
    return present(bpy.context.scene.active_clip)


def click(clip: bpy.types.MovieClip, name: str) -> None:
    """Make what a Ctrl+click on the square makes."""
    owner = clip.tracking.objects.get(name) or clip.tracking.objects.new(name)
    track = owner.tracks.new(name="Track", frame=1)
    track.markers.insert_frame(1, co=(0.42, 0.5))


def reason(name: str) -> str:
    """Return why a button is grey, as Blender tells it. Empty if it can be pressed."""
    operator = getattr(bpy.ops.sam2_splat, name)
    if operator.poll():
        return ""
    with pytest.raises(RuntimeError) as refused:
        operator()
    return str(refused.value).partition("poll()")[2].strip()


def test_buttons_are_grey_with_a_reason_until_they_can_work(clip: bpy.types.MovieClip) -> None:
    assert "on the subject first" in reason("propagate")
    assert "Propagate first" in reason("bake")
    assert "no masks" in reason("clear_results")
    assert panel_footage.next_step(clip) == "Next: click on the subject"
    click(clip, "square")
    assert reason("propagate") == ""
    assert "Propagate first" in reason("bake")
    assert panel_footage.next_step(clip) == "Next: propagate"
    bpy.ops.sam2_splat.propagate()
    assert (reason("bake"), reason("clear_results")) == ("", "")
    clip.sam2_splat.objects["square"].use_in_bake = False
    assert "Switch one on" in reason("bake")
    clip.sam2_splat.objects["square"].use_in_bake = True
    bpy.ops.sam2_splat.bake()
    bpy.ops.sam2_splat.clear_results()
    assert "Propagate first" in reason("bake")
    assert "no masks" in reason("clear_results")


def test_a_click_that_is_muted_or_gone_does_not_count(clip: bpy.types.MovieClip) -> None:
    click(clip, "square")
    assert markers.has_clicks(clip)
    for marker in clip.tracking.objects["square"].tracks[0].markers:
        marker.mute = True
    assert not markers.has_clicks(clip)
    with pytest.raises(Exception, match="no click"):
        markers.collect(clip)


def test_an_empty_mask_can_be_no_prompt(clip: bpy.types.MovieClip) -> None:
    click(clip, "square")
    bpy.ops.sam2_splat.propagate()
    clip.tracking.objects.active = clip.tracking.objects["square"]
    assert reason("mask_to_prompt") == ""
    bpy.ops.sam2_splat.clear_masks(what="FRAME")
    assert "no mask on this photo" in reason("mask_to_prompt")


def test_a_new_subject_is_called_subject_and_every_name_is_free(clip: bpy.types.MovieClip) -> None:
    bpy.ops.sam2_splat.object_add()
    bpy.ops.sam2_splat.object_add()
    assert [one.name for one in clip.tracking.objects][1:] == ["Subject", "Subject.001"]


def test_the_cameras_subject_keeps_its_name_for_itself(clip: bpy.types.MovieClip) -> None:
    click(clip, "Camera")
    assert markers.sync_objects(clip) == {"Subject": 1}
    bpy.ops.sam2_splat.object_add()
    click(clip, "Subject.001")
    assert markers.sync_objects(clip) == {"Subject.001": 2, "Subject": 1}
    assert {entry.name for entry in markers.collect(clip).objects} == {"Subject", "Subject.001"}


def test_tracks_of_the_camera_do_not_join_a_subject_with_its_name(
    clip: bpy.types.MovieClip,
) -> None:
    bpy.ops.sam2_splat.object_add()
    click(clip, "Subject")
    click(clip, "Camera")
    click(clip, "Camera")
    assert [entry.name for entry in markers.subjects(clip)] == ["Subject"]
    (subject,) = markers.collect(clip).objects
    assert len(subject.frames[0].points) == 1


def test_exposure_is_offered_for_exr_only(clip: bpy.types.MovieClip) -> None:
    assert "exposure" in panel_run._without_use(clip)
    clip.sam2_splat.exposure = 1.0
    assert "exposure" not in panel_run._without_use(clip), "a value that counts is in sight"


@pytest.mark.parametrize("kind", ["exr", "tif"])
def test_exposure_is_offered_for_photos_that_are_shown_as_copies(tmp_path: Path, kind: str) -> None:
    for name, size in (("a", (40, 60, 3)), ("b", (60, 40, 3))):  # of two sizes, so copies are made
        values = np.full(size, 0.2, np.float32)
        if kind == "exr":
            planes = {letter: values[..., 0].copy() for letter in "RGB"}
            OpenEXR.File({}, planes).write(str(tmp_path / f"{name}.exr"))
        else:
            tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="rgb")
    bpy.ops.sam2_splat.load(filepath=str(tmp_path))
    clip = bpy.context.scene.active_clip
    assert clip is not None and clip.filepath.endswith(".jpg")
    assert "exposure" not in panel_run._without_use(clip)


def test_sizes_have_their_unit(clip: bpy.types.MovieClip) -> None:
    properties = clip.sam2_splat.bl_rna.properties
    for name in ("grow_px", "feather_px", "fill_holes_px", "drop_specks_px"):
        assert properties[name].subtype == "PIXEL"
