# SPDX-License-Identifier: GPL-3.0-or-later
"""One job, the same bytes, whatever door it comes through: Blender's panel, its command, `sam2-splat`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest
from PIL import Image

from sam2_splat_addon.core.capture_job import read_job
from sam2_splat_addon.core.prompts import BoxPrompt, PointPrompt

pytestmark = [pytest.mark.usefixtures("addon"), pytest.mark.slow]
MakePhotos = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[3]


def results(folder: Path) -> dict[str, bytes]:
    """The mattes and the images in a folder of photos, by their paths in it."""
    found = [*folder.glob("sam2_splat_mattes/objects/**/*.matte"), *folder.glob("*_v001/**/*.png")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def exported(make_photos: MakePhotos, tmp_path: Path) -> Path:
    """The job of a clip with clicks, a box, a role, a drawn mask and settings, baked in Blender."""
    from sam2_splat_addon.blender.clip import loading, markers, painting
    from sam2_splat_addon.blender.tasks import local_edits

    folder = make_photos(count=3, name="fotos é 1")
    clip = loading.load(folder)
    bpy.context.scene.active_clip = clip
    square, ground = (clip.tracking.objects.new(name) for name in ("square", "ground"))
    markers.add_point(square, 1, PointPrompt(50.3, 90.7), 120, 180)
    markers.add_box(ground, 2, BoxPrompt(3.1, 120.9, 118.2, 177.3), 120, 180)
    settings = clip.sam2_splat
    settings.grow_px, settings.speed = 1.5, "balanced"
    assert bpy.ops.sam2_splat.propagate() == {"FINISHED"}
    settings.objects["ground"].role = "remove"
    local_edits.pause(clip)
    painting.begin(clip, "square", 2, (0, 0, 120, 180), 1.0, erases=False)
    painting.paint((20.0, 20.0), (100.0, 40.0), 8.0)
    assert painting.finish(clip, "square")
    assert bpy.ops.sam2_splat.propagate() == {"FINISHED"}
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    file = tmp_path / "job.s2s.json"
    assert bpy.ops.sam2_splat.export_job(filepath=str(file)) == {"FINISHED"}
    return file


def copied(job: Path, name: str) -> Path:
    """Copy a job and its photos, without what was made of them, and return the copy of the job."""
    photos = Path(read_job(job).photos)
    place = job.parent / name
    shutil.copytree(photos, place / photos.name, ignore=shutil.ignore_patterns("sam2*", "*_v0*"))
    return Path(shutil.copy2(job, place / job.name))


def test_a_job_gives_the_same_bytes_through_every_door(exported: Path) -> None:
    from sam2_splat_addon.blender.cli import batch

    job = read_job(exported)
    assert [entry.name for entry in job.prompts.objects] == ["square", "ground"]
    assert [(mask.object_id, mask.frame) for mask in job.drawn] == [(1, 2)]
    assert (job.roles, job.bake.grow_px, job.run.speed) == ({"ground": "remove"}, 1.5, "balanced")
    wanted = results(Path(job.photos))
    assert len(wanted) == 6 + 3
    second = sorted(Path(job.photos).glob("*.JPG"))[1]
    with Image.open(Path(job.photos) / "postshot_v001" / f"{second.stem}.png") as image:
        assert image.getchannel("A").getpixel((60, 30)) == 255  # what was drawn

    plain = copied(exported, "plain")
    code = "import sys; sys.modules['bpy'] = None\nimport runpy\n"
    code += "sys.argv[0] = 'sam2-splat'\nrunpy.run_module('sam2_splat_addon', run_name='__main__')"
    command = [sys.executable, "-c", code, "run", str(plain)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert results(plain.parent / "fotos é 1") == wanted

    inside = copied(exported, "inside")
    assert batch.main(["run", str(inside)]) == 0
    assert results(inside.parent / "fotos é 1") == wanted
    clip = bpy.data.movieclips["fotos é 1.001"]
    assert clip.sam2_splat.grow_px == 1.5
    assert clip.sam2_splat.objects["ground"].role == "remove"

    script = copied(exported, "script")
    command = [sys.executable, str(ROOT / "tools" / "batch.py"), "--", "run", str(script)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert results(script.parent / "fotos é 1") == wanted


def test_the_same_photos_in_another_order_refuse_the_job(exported: Path) -> None:
    from sam2_splat_addon.client.command.main import main

    job = copied(exported, "other")
    photo = min((job.parent / "fotos é 1").glob("*.JPG"))
    photo.rename(photo.with_name("ZZZ.JPG"))
    assert main(["run", str(job)]) == 3


def test_options_make_the_same_job_in_blender_and_outside(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.cli import batch
    from sam2_splat_addon.client.command.main import main

    frames = [{"frame": 1, "points": [{"x": 50.123456, "y": 90.7}]}]
    prompts = tmp_path / "prompts.json"
    prompts.write_text(
        json.dumps({"version": 1, "objects": [{"id": 1, "name": "square", "frames": frames}]})
    )
    found = []
    for name, door in (("one", batch.main), ("two", lambda words: main(["run", *words]))):
        folder = make_photos(count=2, name=name)
        given = ["--footage", str(folder), "--prompts", str(prompts), "--bake", "--feather", "2"]
        assert door(given) == 0
        found.append(results(folder))
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_a_saved_file_goes_on_where_the_command_ended(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    """Its clicks are those of the job to the last digit, so nothing is computed anew."""
    from sam2_splat_addon.blender.cli import batch

    folder, blend = make_photos(count=2), tmp_path / "saved.blend"
    box = {"x0": 30.7, "y0": 50.3, "x1": 80.1, "y1": 130.9}
    frames = [{"frame": 1, "points": [{"x": 50.3, "y": 90.7}], "box": box}]
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"objects": [{"id": 1, "name": "square", "frames": frames}]}))
    given = ["--footage", str(folder), "--prompts", str(prompts), "--save", str(blend)]
    assert batch.main([*given, "--threads", "0"]) == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.matte")}
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    bpy.context.scene.active_clip = bpy.data.movieclips[0]
    assert bpy.ops.sam2_splat.propagate() == {"FINISHED"}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.matte")} == before


def test_a_run_outside_is_the_clips_own_run(exported: Path) -> None:
    """Blender bakes masks that `sam2-splat` has made of its own job, without a propagation."""
    from sam2_splat_addon.client.command.main import main

    job = read_job(exported)
    shutil.rmtree(Path(job.photos) / "sam2_splat_mattes")
    assert main(["propagate", str(exported)]) == 0
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
