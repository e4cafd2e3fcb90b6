# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences, and where its files lie; imports bpy and client.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

import os
from pathlib import Path
from typing import cast

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty
from bpy.types import AddonPreferences, Context

from . import ADDON_PACKAGE

DEVICE_ITEMS = (
    ("auto", "Automatic", "The graphics card when there is one that can, else the processor"),
    ("cpu", "Processor", ""),
    ("cuda", "NVIDIA (CUDA)", ""),
    ("mps", "Apple (MPS)", ""),
)

# Overrides for scripts, tests and machines without preferences.
CACHE_VARIABLE = "SAM2_SPLAT_CACHE"
MODELS_VARIABLE = "SAM2_SPLAT_MODELS"


class SAM2SPLAT_AP_preferences(AddonPreferences):
    bl_idname = ADDON_PACKAGE

    model_folder: StringProperty(
        name="Models",
        description="Where SAM 2.1 checkpoints lie; empty: the add-on's own folder",
        subtype="DIR_PATH",
    )
    cache_folder: StringProperty(
        name="Cache",
        description="Where links to the photos are kept; empty: the add-on's own folder",
        subtype="DIR_PATH",
    )
    packages_folder: StringProperty(
        name="Packages",
        description="Where torch and sam2 are installed; empty: the add-on's own folder",
        subtype="DIR_PATH",
    )
    device: EnumProperty(name="Device", items=DEVICE_ITEMS, default="auto")
    threads: IntProperty(
        name="Threads",
        description="Processor threads of the worker; 0: as many as there are cores",
        default=0,
        min=0,
        max=256,
    )

    def draw(self, context: Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        from . import panels

        panels.draw_environment(layout)
        column = layout.column()
        column.prop(self, "device")
        column.prop(self, "threads")
        column.prop(self, "model_folder", placeholder=str(model_folder()))
        column.prop(self, "cache_folder", placeholder=str(cache_folder()))
        column.prop(self, "packages_folder", placeholder=str(packages_folder()))


CLASSES = (SAM2SPLAT_AP_preferences,)


def _preferences() -> SAM2SPLAT_AP_preferences | None:
    """The preferences, or None where the package runs without being enabled as an add-on."""
    addon: bpy.types.Addon | None = bpy.context.preferences.addons.get(ADDON_PACKAGE)
    return cast(SAM2SPLAT_AP_preferences, addon.preferences) if addon else None


def _folder(attribute: str, name: str, variable: str = "") -> Path:
    chosen = getattr(_preferences(), attribute, "") or os.environ.get(variable, "")
    if chosen:
        return Path(bpy.path.abspath(chosen))
    return user_folder() / name


def user_folder() -> Path:
    """The one folder the add-on may write to without being asked."""
    if ADDON_PACKAGE.startswith("bl_ext."):
        return Path(bpy.utils.extension_path_user(ADDON_PACKAGE, create=True))
    # Run from the source tree: there is no extension folder.
    return Path(bpy.utils.user_resource("DATAFILES", path="sam2_splat", create=True))


def cache_folder() -> Path:
    """Where staged links to photos are kept."""
    return _folder("cache_folder", "cache", CACHE_VARIABLE)


def model_folder() -> Path:
    """Where downloaded checkpoints are looked for."""
    return _folder("model_folder", "models", MODELS_VARIABLE)


def packages_folder() -> Path:
    """Where the worker's packages are installed."""
    return _folder("packages_folder", "packages")


def device() -> str:
    """The device the user chose: auto, cpu, cuda or mps."""
    preferences = _preferences()
    return preferences.device if preferences else "auto"


def threads() -> int:
    """Processor threads of the worker; 0 is as many as there are cores."""
    preferences = _preferences()
    return preferences.threads if preferences else 0
