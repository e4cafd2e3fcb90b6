# SPDX-License-Identifier: GPL-3.0-or-later
"""Our entries in Blender's menus. Blender's search (F3) finds what stands in a menu, and only that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.types import Context, Menu, UILayout

from ..context import preferences, worker_session
from ..context.present import present

# The page of docs/guide.md that the extension's zip brings along.
_GUIDE = Path(__file__).parents[2] / "guide" / "guide.html"


class SAM2SPLAT_MT_main(Menu):
    bl_idname = "SAM2SPLAT_MT_main"
    bl_label = "SAM2 Splat"

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        # From a menu, Blender would otherwise run an operator without its file browser or its timer.
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator("sam2_splat.load", icon="FILE_FOLDER")
        layout.operator("sam2_splat.open_workspace", icon="WORKSPACE")
        if not worker_session.packages_ready():
            layout.operator("sam2_splat.install_packages", icon="IMPORT")
        layout.separator()
        layout.operator("sam2_splat.tool", icon="RESTRICT_SELECT_OFF")
        layout.operator("sam2_splat.object_add", icon="ADD")
        layout.separator()
        layout.operator("sam2_splat.propagate", icon="TRACKING_FORWARDS").span = "all"
        for span, text in _SPANS:
            layout.operator("sam2_splat.propagate", text=text).span = span
        layout.separator()
        for direction, text in _DIRECTIONS:
            layout.operator("sam2_splat.review_step", text=text).direction = direction
        layout.operator("sam2_splat.report")
        layout.separator()
        layout.operator("sam2_splat.bake", icon="RENDER_RESULT")
        layout.operator("sam2_splat.export_job", icon="EXPORT")
        layout.operator("sam2_splat.queue_add", icon="ADD")
        layout.operator("sam2_splat.queue_start", icon="PLAY")
        _draw_guide(layout)


_SPANS = (
    ("forward", "Propagate Forward"),
    ("backward", "Propagate Back"),
    ("frame", "Propagate This Frame"),
)
_DIRECTIONS = (("NEXT", "Next Photo to Look At"), ("PREVIOUS", "Previous Photo to Look At"))


def _draw_bar(menu: Menu, context: Context) -> None:
    present(menu.layout).menu(SAM2SPLAT_MT_main.bl_idname)


def _draw_below(menu: Menu, context: Context) -> None:
    layout = present(menu.layout)
    layout.separator()
    layout.menu(SAM2SPLAT_MT_main.bl_idname)


def _draw_import(menu: Menu, context: Context) -> None:
    layout = present(menu.layout)
    layout.operator_context = "INVOKE_DEFAULT"
    layout.operator("sam2_splat.load", text="Photos to Mask (SAM2 Splat)")


def _draw_offer(header: bpy.types.Header, context: Context) -> None:
    """Offer the Masking workspace in the top bar, until the user has opened or refused it."""
    # Blender draws this header twice: menus and workspaces on the left, scenes on the right.
    if present(context.region).alignment != "RIGHT" or not preferences.offers_workspace():
        return
    row = present(header.layout).row(align=True)
    row.operator("sam2_splat.open_workspace", text="Mask Photos", icon="MOD_MASK")
    row.operator("sam2_splat.refuse_workspace", text="", icon="X")


def draw_next_step(layout: UILayout) -> None:
    """Say in the preferences what to do after the add-on was installed."""
    box = layout.box().column()
    box.label(text="Next: load a folder of photos, click on the subject, propagate, bake")
    row = box.row()
    row.operator("sam2_splat.open_workspace", text="Open the Masking Workspace", icon="WORKSPACE")
    _draw_guide(row)


def _draw_guide(layout: UILayout) -> None:
    """Draw the button that opens the guide in the web browser. The source tree has no page of it."""
    if _GUIDE.is_file():
        layout.operator("wm.url_open", text="Guide", icon="HELP").url = _GUIDE.as_uri()


def _places() -> Iterator[tuple[Any, Callable[[Any, Context], None]]]:
    """Yield Blender's menus, each with what we draw there."""
    yield bpy.types.CLIP_MT_tracking_editor_menus, _draw_bar
    yield bpy.types.CLIP_MT_masking_editor_menus, _draw_bar
    yield bpy.types.CLIP_MT_tracking_context_menu, _draw_below
    yield bpy.types.TOPBAR_MT_window, _draw_below
    yield bpy.types.TOPBAR_MT_file_import, _draw_import
    yield bpy.types.TOPBAR_HT_upper_bar, _draw_offer


def register() -> None:
    """Add our entries."""
    for menu, draw in _places():
        add = menu.prepend if draw is _draw_offer else menu.append
        add(draw)


def unregister() -> None:
    """Take our entries out."""
    for menu, draw in _places():
        menu.remove(draw)


CLASSES = (SAM2SPLAT_MT_main,)
