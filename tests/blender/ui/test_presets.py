# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's own presets hold the settings of Propagate and Bake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.blender.ui import presets
from sam2_splat_addon.core.settings import (
    BakeSettings,
    ModelSettings,
    RunSettings,
    Settings,
    declared,
)

pytestmark = pytest.mark.usefixtures("addon")

FOLDERS = ("propagate", "bake")


def bundled(folder: str) -> list[Path]:
    """Return the presets of ours that Blender finds."""
    found = [Path(path) for path in bpy.utils.preset_paths(f"sam2_splat/{folder}")]
    own = [path for path in found if path.is_relative_to(Path(presets.__file__).parents[2])]
    return sorted(file for path in own for file in path.glob("*.py"))


@pytest.fixture
def clip(make_photos: Callable[..., Path]) -> bpy.types.MovieClip:
    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=2)))
    return present(bpy.context.scene.active_clip)


def chosen(clip: bpy.types.MovieClip) -> dict[str, object]:
    """Return the values of all declared settings of a clip."""
    kinds = (ModelSettings, RunSettings, BakeSettings)
    return {
        one.name: getattr(clip.sam2_splat, one.name) for kind in kinds for one in declared(kind)
    }


def use(clip: bpy.types.MovieClip, preset: Path) -> None:
    with bpy.context.temp_override(edit_movieclip=clip):
        menu = {"propagate": "SAM2SPLAT_PT_propagate_presets", "bake": "SAM2SPLAT_PT_bake_presets"}
        bpy.ops.script.execute_preset(filepath=str(preset), menu_idname=menu[preset.parent.name])


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_bundled_preset_gives_the_same_result_from_any_settings(
    clip: bpy.types.MovieClip, folder: str
) -> None:
    results = []
    assert len(bundled(folder)) >= 4
    for preset in bundled(folder):
        for start in bundled(folder):
            use(clip, start)
            use(clip, preset)
            results.append((preset.stem, chosen(clip)))
    by_name = dict(results)
    assert all(by_name[name] == found for name, found in results)
    values = list(by_name.values())
    assert all(values.count(found) == 1 for found in values), "two presets are the same"


@pytest.mark.parametrize(("folder", "kind"), [("propagate", RunSettings), ("bake", BakeSettings)])
def test_each_bundled_preset_sets_every_setting(folder: str, kind: type[Settings]) -> None:
    for preset in bundled(folder):
        lines = preset.read_text().splitlines()
        left_out = [
            name
            for name in presets.names(kind)
            if not any(line.startswith(f"settings.{name} = ") for line in lines)
        ]
        assert not left_out, preset.name


def test_a_preset_leaves_what_belongs_to_the_photos_alone(clip: bpy.types.MovieClip) -> None:
    settings = clip.sam2_splat
    settings.model, settings.panorama, settings.exposure = "sam2.1_hiera_tiny", True, 2.0
    settings.direction, settings.use_range, settings.speed = "forward", True, "fast"
    for folder in FOLDERS:
        for preset in bundled(folder):
            use(clip, preset)
    assert settings.model == "sam2.1_hiera_tiny"
    assert (settings.panorama, settings.exposure) == (True, 2.0)
    assert (settings.direction, settings.use_range) == ("forward", True)


def test_a_user_saves_uses_and_removes_a_preset(
    clip: bpy.types.MovieClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLENDER_USER_SCRIPTS", str(tmp_path / "scripts"))
    settings = clip.sam2_splat
    settings.speed, settings.both_sides, settings.edits_prompt = "fast", True, False
    with bpy.context.temp_override(edit_movieclip=clip):
        bpy.ops.sam2_splat.propagate_preset(name="My cats")
    saved = tmp_path / "scripts" / "presets" / "sam2_splat" / "propagate" / "My_cats.py"
    assert saved.is_file()
    settings.speed, settings.both_sides, settings.edits_prompt = "quality", False, True
    use(clip, saved)
    assert (settings.speed, settings.both_sides, settings.edits_prompt) == ("fast", True, False)
    with bpy.context.temp_override(edit_movieclip=clip):
        bpy.ops.sam2_splat.propagate_preset(name="My_cats", remove_name=True)
    assert not saved.exists()
