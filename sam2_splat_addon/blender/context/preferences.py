# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences, and where its files lie; imports bpy and client.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

import os
import sys
from pathlib import Path
from typing import Any, cast

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatVectorProperty, IntProperty, StringProperty
from bpy.types import AddonPreferences, Context

from .. import ADDON_PACKAGE

DEVICE_ITEMS = (
    ("auto", "Automatic", "The graphics card when there is one that can, else the processor"),
    ("cpu", "Processor", ""),
    ("cuda", "NVIDIA (CUDA)", ""),
    ("mps", "Apple (MPS)", ""),
)

TORCH_ITEMS = (
    ("auto", "Automatic", "For the NVIDIA card that is there, else for the processor"),
    ("cpu", "Processor", "The smallest download; leaves graphics cards alone"),
    ("cu126", "CUDA 12.6", "NVIDIA cards up to the RTX 40 series; older drivers"),
    ("cu130", "CUDA 13.0", "NVIDIA cards from the RTX 20 series on; driver 580 or newer"),
)

# Overrides for scripts, tests and machines without preferences.
CACHE_VARIABLE = "SAM2_SPLAT_CACHE"
MODELS_VARIABLE = "SAM2_SPLAT_MODELS"


# Colours that can be told apart, also by the colour-blind, and none of them red: Blender draws
# disabled markers in red.
OBJECT_COLORS = (
    (0.00, 0.62, 0.90),
    (0.95, 0.65, 0.00),
    (0.00, 0.70, 0.45),
    (0.80, 0.45, 0.75),
    (0.95, 0.90, 0.25),
    (0.35, 0.40, 0.95),
)
EXCLUDE_COLOR = (0.75, 0.25, 0.9)

Color = tuple[float, float, float]


def _object_color(index: int) -> Any:
    return FloatVectorProperty(
        name=f"Color {index + 1}",
        description="Colour of a new object; objects that are there keep theirs",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        default=OBJECT_COLORS[index],
    )


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
    torch_build: EnumProperty(
        name="PyTorch",
        description="Which build of PyTorch is installed",
        items=TORCH_ITEMS,
        default="auto",
    )
    device: EnumProperty(name="Device", items=DEVICE_ITEMS, default="auto")
    threads: IntProperty(
        name="Threads",
        description="Processor threads of the worker; 0: as many as there are cores",
        default=0,
        min=0,
        max=256,
    )
    propose_sam2: BoolProperty(
        name="Propose SAM 2.1",
        description="The review proposes SAM 2.1 where the bundled model is lost on many photos",
        default=True,
    )

    # Display values, as the overlay draws them.
    color_1: _object_color(0)
    color_2: _object_color(1)
    color_3: _object_color(2)
    color_4: _object_color(3)
    color_5: _object_color(4)
    color_6: _object_color(5)
    exclude_color: FloatVectorProperty(
        name="Exclude",
        description="Colour of clicks that exclude",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        default=EXCLUDE_COLOR,
    )

    def draw(self, context: Context) -> None:
        # What these import needs this module.
        from ..clip import cache_usage
        from ..ui import keymap, widgets

        layout = self.layout
        layout.use_property_split = True
        if sys.platform != "darwin":  # PyTorch for Macs comes in one build
            layout.prop(self, "torch_build")
            widgets.draw_torch(layout)
        widgets.draw_environment(layout)
        column = layout.column()
        column.prop(self, "device")
        column.prop(self, "threads")
        column.prop(self, "propose_sam2")
        column.prop(self, "model_folder", placeholder=str(model_folder()))
        column.prop(self, "packages_folder", placeholder=str(packages_folder()))
        column.prop(self, "cache_folder", placeholder=str(cache_folder()))
        row = column.row(align=True)
        row.label(text=f"The cache holds {cache_usage.size() / 1e6:.0f} MB")
        row.operator("sam2_splat.clear_cache", icon="TRASH")

        header, body = layout.panel("sam2_splat_colors", default_closed=True)
        header.label(text="Colors")
        if body is not None:
            row = body.row(align=True)
            row.use_property_split = False
            row.label(text="New objects")
            for number in range(1, len(OBJECT_COLORS) + 1):
                row.prop(self, f"color_{number}", text="")
            body.prop(self, "exclude_color")
        header, body = layout.panel("sam2_splat_keys", default_closed=True)
        header.label(text="Keys in the Clip Editor")
        if body is not None:
            keymap.draw(body.column(), context)


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


def torch_build() -> str:
    """The build of PyTorch the user chose: auto, or a name in `client.torch_build.BUILDS`."""
    preferences = _preferences()
    return preferences.torch_build if preferences else "auto"


def device() -> str:
    """The device the user chose: auto, cpu, cuda or mps."""
    preferences = _preferences()
    return preferences.device if preferences else "auto"


def threads() -> int:
    """Processor threads of the worker; 0 is as many as there are cores."""
    preferences = _preferences()
    return preferences.threads if preferences else 0


def proposes_sam2() -> bool:
    """Whether the user may be told of SAM 2.1; not where there are no preferences to keep a no in."""
    preferences = _preferences()
    return preferences is not None and bool(preferences.propose_sam2)


def stop_proposing_sam2() -> None:
    """The user has said no, once and for all."""
    preferences = _preferences()
    if preferences is not None:
        preferences.propose_sam2 = False
        bpy.context.preferences.is_dirty = True  # else Blender would not save it at its end


def object_color(object_id: int) -> Color:
    """The colour that an object of that id begins with."""
    index = (object_id - 1) % len(OBJECT_COLORS)
    preferences = _preferences()
    if preferences is None:
        return OBJECT_COLORS[index]
    red, green, blue = getattr(preferences, f"color_{index + 1}")
    return red, green, blue


def exclude_color() -> Color:
    """The colour of clicks that exclude."""
    preferences = _preferences()
    if preferences is None:
        return EXCLUDE_COLOR
    red, green, blue = preferences.exclude_color
    return red, green, blue
