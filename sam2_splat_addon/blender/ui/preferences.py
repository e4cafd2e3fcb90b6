# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences, as the user sets them. `context/preferences.py` reads them.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

from bpy.props import BoolProperty, EnumProperty, FloatVectorProperty, IntProperty, StringProperty
from bpy.types import AddonPreferences, Context

from .. import ADDON_PACKAGE
from ..clip import cache_usage
from ..context import console
from ..context.preferences import (
    CONSOLE_ITEMS,
    DEVICE_ITEMS,
    EXCLUDE_COLOR,
    OBJECT_COLORS,
    TORCH_ITEMS,
    cache_folder,
    model_folder,
    packages_folder,
)
from ..context.present import present
from ..translations.catalogue import translated
from . import keymap, menus, widgets


def _object_color(index: int) -> Any:
    return FloatVectorProperty(
        name=f"Color {index + 1}",
        description="Colour of a new subject. Subjects that exist keep their colour",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        default=OBJECT_COLORS[index],
    )


def _set_console_level(preferences: Any, context: Context) -> None:
    console.set_level(preferences.console_level)


class SAM2SPLAT_AP_preferences(AddonPreferences):
    bl_idname = ADDON_PACKAGE

    model_folder: Annotated[
        str,
        StringProperty(
            name="Models",
            description="Folder of SAM 2.1 checkpoints. Leave it empty for the add-on's own folder",
            subtype="DIR_PATH",
        ),
    ]
    cache_folder: Annotated[
        str,
        StringProperty(
            name="Cache",
            description="Folder for links and small copies. Leave it empty for the add-on's own folder",
            subtype="DIR_PATH",
        ),
    ]
    packages_folder: Annotated[
        str,
        StringProperty(
            name="Packages",
            description="Folder of PyTorch and SAM 2. Leave it empty for the add-on's own folder",
            subtype="DIR_PATH",
        ),
    ]
    torch_build: Annotated[
        str,
        EnumProperty(
            name="PyTorch",
            description="The build of PyTorch that Install SAM 2 installs",
            items=TORCH_ITEMS,
            default="auto",
        ),
    ]
    device: Annotated[str, EnumProperty(name="Device", items=DEVICE_ITEMS, default="auto")]
    threads: Annotated[
        int,
        IntProperty(
            name="Threads",
            description="Processor threads of the SAM 2 process. 0 uses all cores",
            default=0,
            min=0,
            max=256,
        ),
    ]
    console_level: Annotated[
        str,
        EnumProperty(
            name="Console",
            description="What the add-on prints to Blender's console",
            items=CONSOLE_ITEMS,
            default="INFO",
            update=_set_console_level,
        ),
    ]
    propose_sam2: Annotated[
        bool,
        BoolProperty(
            name="Propose SAM 2.1",
            description="Propose SAM 2.1 when the bundled model loses the subject on many photos",
            default=True,
        ),
    ]
    offer_workspace: Annotated[
        bool,
        BoolProperty(
            name="Offer the Masking Workspace",
            description="Show a button for the Masking workspace in Blender's top bar",
            default=True,
        ),
    ]

    # Display values, not linear ones: the overlay draws them as they are.
    color_1: Annotated[Sequence[float], _object_color(0)]
    color_2: Annotated[Sequence[float], _object_color(1)]
    color_3: Annotated[Sequence[float], _object_color(2)]
    color_4: Annotated[Sequence[float], _object_color(3)]
    color_5: Annotated[Sequence[float], _object_color(4)]
    color_6: Annotated[Sequence[float], _object_color(5)]
    exclude_color: Annotated[
        Sequence[float],
        FloatVectorProperty(
            name="Exclude",
            description="Colour of exclude clicks",
            subtype="COLOR_GAMMA",
            size=3,
            min=0.0,
            max=1.0,
            default=EXCLUDE_COLOR,
        ),
    ]

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        menus.draw_next_step(layout)
        layout.operator("sam2_splat.copy_report", icon="COPYDOWN")
        layout.use_property_split = True
        if sys.platform != "darwin":  # there is one build of PyTorch for Macs
            layout.prop(self, "torch_build")
            widgets.draw_torch(layout)
        widgets.draw_environment(layout)
        column = layout.column()
        column.prop(self, "device")
        column.prop(self, "threads")
        column.prop(self, "console_level")
        column.prop(self, "propose_sam2")
        column.prop(self, "offer_workspace")
        column.prop(self, "model_folder", placeholder=str(model_folder()))
        column.prop(self, "packages_folder", placeholder=str(packages_folder()))
        column.prop(self, "cache_folder", placeholder=str(cache_folder()))
        row = column.row(align=True)
        row.label(text=translated(f"The cache holds {cache_usage.size() / 1e6:.0f} MB"))
        row.operator("sam2_splat.clear_cache", icon="TRASH")

        header, body = layout.panel("sam2_splat_colors", default_closed=True)
        header.label(text="Colors")
        if body is not None:
            row = body.row(align=True)
            row.use_property_split = False
            row.label(text="New subjects")
            for number in range(1, len(OBJECT_COLORS) + 1):
                row.prop(self, f"color_{number}", text="")
            body.prop(self, "exclude_color")
        header, body = layout.panel("sam2_splat_keys", default_closed=True)
        header.label(text="Keys in the Clip Editor")
        if body is not None:
            keymap.draw(body.column(), context)


CLASSES = (SAM2SPLAT_AP_preferences,)
