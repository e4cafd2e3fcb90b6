# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets for the settings of Propagate and Bake, kept and drawn by Blender's own preset system.

Ours are files in the add-on's folder ``presets``. The user's own ones are in Blender's folder of the
user, and survive an update.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel
from bpy.types import Operator, Panel

from ...core.settings import BakeSettings, ModelSettings, RunSettings, Settings, declared

# The add-on's folder, which has a folder "presets", as Blender wants it.
_ROOT = str(Path(__file__).resolve().parents[2])
_SETTINGS = "bpy.context.edit_movieclip.sam2_splat"
# Settings that belong to the photos, not to a way of working. A preset leaves them alone.
_OF_PHOTOS = ("direction", "panorama", "raw_photos", "exposure")


def names(*kinds: type[Settings]) -> list[str]:
    """Return the settings of some structs that a preset has, in order."""
    return [one.name for kind in kinds for one in declared(kind) if one.name not in _OF_PHOTOS]


def _paths(*kinds: type[Settings]) -> list[str]:
    """Return what Blender evaluates when it saves a preset, and writes into its file."""
    # Whole paths, without Blender's `preset_defines`: these don't work in Blender 4.3 with Python 3.13.
    return [f"{_SETTINGS}.{name}" for name in names(*kinds)]


class SAM2SPLAT_OT_propagate_preset(AddPresetBase, Operator):  # type: ignore[misc]  # as in Blender
    """Save these settings as a preset, or remove the preset"""

    bl_idname = "sam2_splat.propagate_preset"
    bl_label = "Add Propagate Preset"
    preset_menu = "SAM2SPLAT_PT_propagate_presets"
    preset_subdir = "sam2_splat/propagate"
    preset_values: ClassVar[list[str]] = [
        *_paths(ModelSettings, RunSettings),
        f"{_SETTINGS}.edits_prompt",
    ]


class SAM2SPLAT_OT_bake_preset(AddPresetBase, Operator):  # type: ignore[misc]  # as in Blender
    """Save these settings as a preset, or remove the preset"""

    bl_idname = "sam2_splat.bake_preset"
    bl_label = "Add Bake Preset"
    preset_menu = "SAM2SPLAT_PT_bake_presets"
    preset_subdir = "sam2_splat/bake"
    preset_values: ClassVar[list[str]] = [*_paths(BakeSettings), f"{_SETTINGS}.targets"]


class SAM2SPLAT_PT_propagate_presets(PresetPanel, Panel):
    """Settings for the questions that come up most, and your own"""

    bl_label = "Propagate Presets"
    preset_subdir = SAM2SPLAT_OT_propagate_preset.preset_subdir
    preset_operator = "script.execute_preset"
    preset_add_operator = SAM2SPLAT_OT_propagate_preset.bl_idname


class SAM2SPLAT_PT_bake_presets(PresetPanel, Panel):
    """Settings for the trainers that are used most, and your own"""

    bl_label = "Bake Presets"
    preset_subdir = SAM2SPLAT_OT_bake_preset.preset_subdir
    preset_operator = "script.execute_preset"
    preset_add_operator = SAM2SPLAT_OT_bake_preset.bl_idname


def register() -> None:
    """Let Blender find our presets."""
    bpy.utils.register_preset_path(_ROOT)


def unregister() -> None:
    """Let Blender forget our presets."""
    bpy.utils.unregister_preset_path(_ROOT)


CLASSES = (
    SAM2SPLAT_OT_propagate_preset,
    SAM2SPLAT_OT_bake_preset,
    SAM2SPLAT_PT_propagate_presets,
    SAM2SPLAT_PT_bake_presets,
)
