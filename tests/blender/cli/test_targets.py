# SPDX-License-Identifier: GPL-3.0-or-later
"""Trainers and the roles of subjects, from the command line and from a clip's settings to the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import bpy
import msgspec
import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.targets import TARGETS
from sam2_splat_addon.engine.jobs.bake_manifest import MANIFEST_NAME, BakeManifest

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A prompts file with a bright square and the ground around it."""
    path = tmp_path / "prompts.json"
    places = {"square": (50.5, 90.5), "ground": (10.5, 10.5)}
    objects = [
        {"id": i, "name": name, "frames": [{"frame": 1, "points": [{"x": x, "y": y}]}]}
        for i, (name, (x, y)) in enumerate(places.items(), start=1)
    ]
    path.write_text(json.dumps({"version": 1, "objects": objects}))
    return path


def run(*arguments: object) -> int:
    from sam2_splat_addon.blender.cli import batch

    return batch.main([str(argument) for argument in arguments])


def manifest(folder: Path) -> BakeManifest:
    return msgspec.json.decode((folder / MANIFEST_NAME).read_bytes(), type=BakeManifest)


def test_the_trainers_are_listed_with_what_they_get(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--list-targets") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [target.name for target in TARGETS]
    assert all(target.text in line for target, line in zip(TARGETS, lines, strict=True))


def test_an_unknown_trainer_or_subject_is_named(
    make_photos: MakePhotos, prompts: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--target", "postshots") == 2
    assert "postshots" in capfd.readouterr().err
    given = ["--footage", make_photos(count=2), "--prompts", prompts, "--bake"]
    assert run(*given, "--ignore", "nobody") == 4
    assert "no subject called 'nobody'. The subjects are square, ground" in capfd.readouterr().err


def test_a_bake_for_two_trainers_with_roles(make_photos: MakePhotos, prompts: Path) -> None:
    folder = make_photos(count=2)
    given = ["--footage", folder, "--prompts", prompts, "--bake"]
    assert run(*given, "--target", "lichtfeld", "--target", "postshot", "--ignore", "square") == 0
    clip = present(bpy.context.scene.active_clip)
    baked = folder / "bake_v001"
    assert clip.sam2_splat.output_folder == str(baked)
    assert sorted(path.name for path in baked.iterdir()) == ["lichtfeld", "postshot"]
    options = manifest(baked / "lichtfeld").options
    assert options.targets == ("postshot", "lichtfeld")
    ids = {entry.name: entry.object_id for entry in clip.sam2_splat.objects}
    assert (options.ignored, options.removed) == ((ids["square"],), ())
    photo = min(folder.glob("*.JPG"))
    mask = np.asarray(Image.open(baked / "lichtfeld" / "masks" / f"{photo.stem}.png"))
    assert mask[90, 50] == 0
    rgba = np.asarray(Image.open(baked / "postshot" / f"{photo.stem}.png"))
    assert np.array_equal(rgba[..., 3] == 255, mask == 255)
    linked = baked / "lichtfeld" / "images" / photo.name
    assert linked.read_bytes() == photo.read_bytes()


def test_each_bake_gets_a_new_folder_named_for_its_trainers(
    make_photos: MakePhotos, prompts: Path
) -> None:
    folder = make_photos(count=2)
    run("--footage", folder, "--prompts", prompts, "--bake", "--target", "colmap")
    clip = present(bpy.context.scene.active_clip)
    for targets in ({"colmap"}, {"colmap", "fvdb"}, {"postshot"}):
        clip.sam2_splat.targets = targets
        assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    found = sorted(path.name for path in folder.iterdir() if "_v0" in path.name)
    assert found == ["bake_v001", "colmap_v001", "colmap_v002", "postshot_v001"]
    clip.sam2_splat.targets = set()
    with pytest.raises(RuntimeError, match="No trainer is chosen"):
        bpy.ops.sam2_splat.bake()


def test_what_blend_files_keep_stands_where_it_stood() -> None:
    """A .blend file stores the place of a role and a bit for each trainer: new ones go to the end."""
    from sam2_splat_addon.blender.context import properties

    roles = properties.SAM2SPLAT_PG_object.bl_rna.properties["role"].enum_items
    assert [(item.identifier, item.value) for item in roles] == [
        ("keep", 0),
        ("remove", 1),
        ("ignore", 2),
    ]
    items = properties.SAM2SPLAT_PG_clip.bl_rna.properties["targets"].enum_items
    names = [
        "postshot",
        "postshot_background",
        "postshot_occluders",
        "lichtfeld",
        "brush",
        "brush_masks",
        "colmap",
        "nerfstudio",
        "3dgrut",
        "fvdb",
        "realityscan",
        "metashape",
        "openmvs",
        "instant_ngp",
        "gsplat",
        "opensplat",
        "inria",
    ]
    assert [(item.identifier, item.value) for item in items][: len(names)] == [
        (name, 1 << place) for place, name in enumerate(names)
    ]


def test_a_file_from_before_roles_bakes_as_before(make_photos: MakePhotos, prompts: Path) -> None:
    folder = make_photos(count=2)
    run("--footage", folder, "--prompts", prompts)
    clip = present(bpy.context.scene.active_clip)
    settings = clip.sam2_splat
    assert settings.targets == {"postshot"}
    assert {entry.role for entry in settings.objects} == {"keep"}
    settings.objects["ground"].use_in_bake = False
    settings.invert = True
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    options = manifest(folder / "postshot_v001").options
    assert options.invert and options.objects == (settings.objects["square"].object_id,)
    assert (options.removed, options.ignored, options.targets) == ((), (), ("postshot",))
