# SPDX-License-Identifier: GPL-3.0-or-later
"""A bake never takes mattes of another .blend file with the same photos."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.protocol import FrameDone

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


def _clip_with_click(folder: Path, name: str, x: float, y: float) -> bpy.types.MovieClip:
    bpy.ops.sam2_splat.load(filepath=str(folder))
    clip = present(bpy.context.scene.active_clip)
    track = clip.tracking.objects.new(name).tracks.new(name="Track", frame=1)
    track.markers.insert_frame(1, co=(x / clip.size[0], 1.0 - y / clip.size[1]))
    return clip


def _open(file: Path) -> bpy.types.MovieClip:
    bpy.ops.wm.open_mainfile(filepath=str(file))
    return bpy.data.movieclips[0]


def test_another_files_mattes_are_not_baked_and_propagating_makes_the_own_again(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    folder, mine, other = make_photos(count=2), tmp_path / "mine.blend", tmp_path / "other.blend"
    _clip_with_click(folder, "square", 50.5, 90.5)
    bpy.ops.sam2_splat.propagate()
    bpy.ops.wm.save_as_mainfile(filepath=str(mine))

    bpy.ops.wm.read_homefile(use_empty=True)
    _clip_with_click(folder, "ground", 10.5, 10.5)
    with pytest.raises(RuntimeError, match="Propagate first"):
        bpy.ops.sam2_splat.bake()
    bpy.ops.sam2_splat.propagate()
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(other))

    _open(mine)
    for button in (bpy.ops.sam2_splat.bake, bpy.ops.sam2_splat.report):
        with pytest.raises(RuntimeError, match=r"not from this file.s last run.*Press Propagate"):
            button()
    assert len(list(folder.glob("postshot_v*"))) == 1
    bpy.ops.sam2_splat.propagate()
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}


def test_a_file_saved_under_another_name_and_an_undo_bake_what_they_have(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    clip = _clip_with_click(make_photos(count=2), "square", 50.5, 90.5)
    bpy.ops.sam2_splat.propagate()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "one.blend"))
    clip.sam2_splat.run_stamp = "of the run before"  # as after an undo
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "two.blend"))
    clip = _open(tmp_path / "one.blend")
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}


def test_a_file_that_names_mattes_and_knows_no_run_bakes_them_after_propagating(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    clip = _clip_with_click(make_photos(count=2), "square", 50.5, 90.5)
    bpy.ops.sam2_splat.propagate()
    clip.sam2_splat.run_stamp = ""
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "strange.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    _open(tmp_path / "strange.blend")
    with pytest.raises(RuntimeError, match=r"not from this file.s last run.*Press Propagate"):
        bpy.ops.sam2_splat.bake()
    bpy.ops.sam2_splat.propagate()
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}


def test_a_run_that_fails_leaves_what_was_baked_before_to_be_baked(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    clip = _clip_with_click(make_photos(count=2), "square", 50.5, 90.5)
    bpy.ops.sam2_splat.propagate()
    store = Path(clip.sam2_splat.store_folder)
    before = {path: path.read_bytes() for path in store.rglob("*.matte")}
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    clip.sam2_splat.model = "sam2.1_hiera_tiny"
    clip.sam2_splat.checkpoint = str(tmp_path / "bad.pt")
    with pytest.raises(RuntimeError, match=r"bad\.pt"):
        bpy.ops.sam2_splat.propagate()
    assert {path: path.read_bytes() for path in store.rglob("*.matte")} == before
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}


@pytest.mark.parametrize("left", [None, b"", bytes(200)])
def test_a_file_bakes_its_mattes_when_a_power_cut_has_taken_their_manifest(
    left: bytes | None, make_photos: MakePhotos, tmp_path: Path
) -> None:
    clip = _clip_with_click(make_photos(count=2), "square", 50.5, 90.5)
    bpy.ops.sam2_splat.propagate()
    manifest = Path(clip.sam2_splat.store_folder, "manifest.json")
    manifest.unlink() if left is None else manifest.write_bytes(left)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "mine.blend"))
    _open(tmp_path / "mine.blend")
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    assert bpy.ops.sam2_splat.propagate() == {"FINISHED"}
    assert manifest.stat().st_size > 300
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}


def test_a_cancelled_run_says_what_is_of_before_and_bakes_the_rest(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.tasks.propagate_task import PropagateTask

    folder = make_photos(count=4)
    clip = _clip_with_click(folder, "square", 50.5, 90.5)
    bpy.ops.sam2_splat.propagate()
    marker = clip.tracking.objects["square"].tracks[0].markers[0]
    marker.co = (0.2, 0.2)
    task = PropagateTask(clip, device="cpu", threads=1)
    heard = task.frame_done

    def frame_done(done: FrameDone) -> None:
        heard(done)
        task.cancel()

    task.frame_done = frame_done  # type: ignore[method-assign]
    while not task.step(time.monotonic() + 0.2):
        pass
    assert task.cancelled
    assert "still show old masks, and a bake leaves them out" in task.summary
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    assert 1 <= len(list(folder.glob("postshot_v001/*.png"))) < 4
    bpy.ops.sam2_splat.propagate()
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    assert len(list(folder.glob("postshot_v002/*.png"))) == 4
