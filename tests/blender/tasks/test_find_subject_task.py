# SPDX-License-Identifier: GPL-3.0-or-later
"""Find Subject proposes ordinary clicks, once, on the photo's own pixels, and says what is missing."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest
from PIL import Image

from tests.engine.jobs.test_agree import Scene
from tests.engine.jobs.test_find_subject import share_on_it

pytestmark = pytest.mark.usefixtures("addon")


def loaded(folder: Path) -> bpy.types.MovieClip:
    bpy.ops.sam2_splat.load(filepath=str(folder))
    clip = bpy.context.scene.active_clip
    assert clip is not None
    return clip


def test_the_button_proposes_clicks_of_a_first_subject(tmp_path: Path) -> None:
    from sam2_splat_addon.blender.clip import markers

    scene = Scene(tmp_path, 3, grain=8.0)
    clip = loaded(scene.photos)
    assert bpy.ops.sam2_splat.find_subject() == {"FINISHED"}
    (entry,) = markers.collect(clip).objects
    assert entry.name == "Subject"
    assert len(entry.frames) >= 2
    assert share_on_it(scene, entry) >= 0.5
    before = markers.collect(clip)
    with pytest.raises(RuntimeError, match="has clicks already"):
        bpy.ops.sam2_splat.find_subject()
    bpy.ops.sam2_splat.object_add(name="other")
    assert bpy.ops.sam2_splat.find_subject.poll()
    assert markers.collect(clip) == before


def test_without_cameras_nothing_is_added(tmp_path: Path) -> None:
    from sam2_splat_addon.blender.clip import markers

    folder = tmp_path / "lonely"
    folder.mkdir()
    for at in range(3):
        Image.new("RGB", (64, 48), (9, 40 * at, 9)).save(folder / f"{at}.jpg")
    clip = loaded(folder)
    with pytest.raises(RuntimeError, match="No cameras were found"):
        bpy.ops.sam2_splat.find_subject()
    assert not markers.has_clicks(clip)
    assert [one.is_camera for one in clip.tracking.objects] == [True]


def test_added_prompts_lie_where_a_turned_photo_shows_them(tmp_path: Path) -> None:
    from sam2_splat_addon.blender.clip import markers
    from sam2_splat_addon.core.prompts import (
        BoxPrompt,
        FramePrompts,
        ObjectPrompts,
        PointPrompt,
        PromptSet,
    )

    folder = tmp_path / "turned"
    folder.mkdir()
    exif = Image.Exif()
    exif[274] = 6
    for at in range(3):
        Image.new("RGB", (64, 48), (9, 40 * at, 9)).save(folder / f"{at}.jpg", exif=exif)
    clip = loaded(folder)
    bpy.ops.sam2_splat.object_add(name="thing")
    ids = markers.sync_objects(clip)
    given = FramePrompts(2, (PointPrompt(10.0, 40.0),), BoxPrompt(5.0, 30.0, 20.0, 45.0))
    markers.add(clip, PromptSet((ObjectPrompts(ids["thing"], "thing", (given,)),)))
    (entry,) = markers.collect(clip).objects
    (found,) = entry.frames
    assert found.points[0].x == pytest.approx(10.0, abs=0.01)
    assert found.points[0].y == pytest.approx(40.0, abs=0.01)
    assert found.box is not None
    assert found.box.x1 == pytest.approx(20.0, abs=0.01)


def test_the_command_line_needs_no_click(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from sam2_splat_addon.blender.cli import batch

    scene = Scene(tmp_path, 3, grain=8.0)
    photos, away = str(scene.photos), tmp_path / "other place"
    (tmp_path / "sparse").rename(away)
    code = batch.main(
        ["--footage", photos, "--find-subject", "--cameras", str(away / "0"), "--threads", "1"]
    )
    said = capfd.readouterr()
    assert code == 0, said.err
    assert "are proposed" in said.out
    assert "Propagated Subject over 3 frames" in said.out
    assert batch.main(["--footage", photos, "--find-subject", "--found-masks", "white"]) == 2


def test_the_command_line_says_that_cameras_are_missing(tmp_path: Path) -> None:
    from sam2_splat_addon.blender.cli import batch

    scene = Scene(tmp_path, 3, grain=8.0)
    (tmp_path / "sparse").rename(tmp_path / "other place")
    assert batch.main(["--footage", str(scene.photos), "--find-subject"]) == 3
