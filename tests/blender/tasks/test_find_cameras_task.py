# SPDX-License-Identifier: GPL-3.0-or-later
"""Find Cameras from a button and from the command line, in a real Blender with the real worker."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import bpy
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.errors import CameraError, PackageError
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import PointPrompt
from sam2_splat_addon.core.review.agreement import read_agreement
from tests.blender.tasks.test_silent_worker import Drawn
from tests.engine.cameras import textured
from tests.engine.cameras.textured import Textured

pytestmark = pytest.mark.usefixtures("addon")


@pytest.fixture
def capture(tmp_path: Path) -> Textured:
    return textured.make(tmp_path / "photos")


def loaded(folder: Path) -> bpy.types.MovieClip:
    bpy.ops.sam2_splat.load(filepath=str(folder))
    return present(bpy.context.scene.active_clip)


def panel(clip: bpy.types.MovieClip) -> list[str]:
    """Return what the Cameras panel shows."""
    from sam2_splat_addon.blender.ui import panel_cameras

    layout: Any = Drawn()
    drawing: Any = type("Panel", (), {"layout": layout})()
    panel_cameras.SAM2SPLAT_PT_cameras.draw(drawing, bpy.context)
    return list(layout.words)


def test_the_button_finds_cameras_and_the_panel_says_how_many(capture: Textured) -> None:
    pytest.importorskip("pycolmap")
    clip = loaded(capture.folder)
    words = panel(clip)
    assert "sam2_splat.find_cameras" in words
    assert "It takes about a minute" in words
    assert bpy.ops.sam2_splat.find_cameras() == {"FINISHED"}
    assert (capture.folder / "sam2_splat_cameras" / "sparse" / "0" / "images.bin").is_file()
    assert "8 of 8 photos have a camera" in panel(clip)


def test_the_command_line_finds_cameras_and_what_compares_masks_uses_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pycolmap")
    from sam2_splat_addon.blender.cli import batch

    capture = textured.make(tmp_path / "photos", 5, math.radians(70))
    y, x = (round(float(at.mean())) + 0.5 for at in capture.masks[0].nonzero())
    frames = [{"frame": 1, "points": [{"x": x, "y": y}]}]
    prompts = tmp_path / "prompts.json"
    objects = [{"id": 1, "name": "box", "frames": frames}]
    prompts.write_text(json.dumps({"version": 1, "objects": objects}))
    store = tmp_path / "elsewhere" / "mine"
    arguments = ["--footage", capture.folder, "--prompts", prompts, "--store", store]
    code = batch.main([str(one) for one in (*arguments, "--find-cameras", "--compare")])
    said = capfd.readouterr()
    assert "Finding the cameras takes about a minute." in said.out
    assert "Found cameras. 5 of 5 photos have a camera." in said.out
    assert (tmp_path / "elsewhere" / "mine_cameras" / "found.json").is_file()
    # The masks of such a box may be too wrong to agree; the cameras were used all the same.
    agreement = read_agreement(MatteStore(store), 1)
    assert (code == 0 and agreement is not None) or "agree too little" in said.err
    if agreement is not None:
        assert "mine_cameras" in agreement.cameras


def test_the_button_lets_masks_agree(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycolmap")
    from sam2_splat_addon.blender.clip import markers

    capture = textured.make(tmp_path / "photos", 5, math.radians(70))
    clip = loaded(capture.folder)
    words = panel(clip)
    assert "sam2_splat.agree" in words
    assert not bpy.ops.sam2_splat.agree.poll()  # there are no masks yet
    assert bpy.ops.sam2_splat.find_cameras() == {"FINISHED"}
    y, x = (round(float(at.mean())) + 0.5 for at in capture.masks[0].nonzero())
    assert bpy.ops.sam2_splat.object_add(name="box") == {"FINISHED"}
    (owner,) = markers.subjects(clip)
    markers.add_point(owner, 1, PointPrompt(x, y), *clip.size)
    assert bpy.ops.sam2_splat.propagate() == {"FINISHED"}
    assert bpy.ops.sam2_splat.agree() == {"FINISHED"}
    store = MatteStore(Path(clip.sam2_splat.store_folder))
    assert read_agreement(store, 1) is not None
    # Compare alone says nothing of prompts.
    assert "No prompt would make the masks agree better." in capfd.readouterr().out


def test_find_cameras_and_cameras_of_the_user_exclude_each_other(capture: Textured) -> None:
    from sam2_splat_addon.blender.cli import batch

    given = ["--footage", str(capture.folder), "--find-cameras", "--compare", "--cameras", "x"]
    assert batch.main(given) == 2


def test_without_the_package_the_panel_has_the_button_that_installs_it(
    capture: Textured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.cli import batch
    from sam2_splat_addon.blender.context import worker_session
    from sam2_splat_addon.blender.tasks.find_cameras_task import FindCamerasTask

    monkeypatch.setattr(worker_session, "finds_cameras", lambda: False)
    clip = loaded(capture.folder)
    monkeypatch.setattr(worker_session, "online", lambda: True)
    assert "sam2_splat.install_cameras" in panel(clip)
    assert not bpy.ops.sam2_splat.find_cameras.poll()
    with pytest.raises(PackageError, match="Press Install pycolmap in the Cameras panel"):
        FindCamerasTask(clip, threads=1)
    monkeypatch.setattr(worker_session, "online", lambda: False)
    assert "extensions.userpref_allow_online" in panel(clip)
    code = batch.main(["--footage", str(capture.folder), "--find-cameras"])
    assert code == 5


def test_panoramas_are_refused_with_what_to_do(
    capture: Textured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.context import worker_session
    from sam2_splat_addon.blender.tasks.find_cameras_task import FindCamerasTask

    monkeypatch.setattr(worker_session, "finds_cameras", lambda: True)
    clip = loaded(capture.folder)
    clip.sam2_splat.panorama = True
    with pytest.raises(CameraError, match="Switch Panorama off"):
        FindCamerasTask(clip, threads=1)
