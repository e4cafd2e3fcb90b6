# SPDX-License-Identifier: GPL-3.0-or-later
"""The switches of the tools and the settings of the overlay, in toolbar, header and status bar."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.types import Context, Panel, UILayout

from ..context import properties
from ..context.active_clip import active_clip
from ..context.editors import clip_editor_of
from ..context.present import present
from ..translations.catalogue import translated
from .operators import click_targets

# What the mouse and the keys do in Blender's own Mask mode.
_MASK_MODE: tuple[tuple[str, Any], ...] = (
    ("Click for a mask point", "RESTRICT_SELECT_OFF"),
    ("Ctrl+click for a new point", "ADD"),
    ("X to delete on this photo", "X"),
    ("K to go back to clicks", "EVENT_K"),
)


# What the mouse and the keys do with the click tool on.
_BOTH: tuple[tuple[str, Any], ...] = (
    ("V to switch", "EVENT_V"),
    ("Hold U to preview", "EVENT_U"),
    ("Hold O for before", "EVENT_O"),
    ("X to delete", "EVENT_X"),
)
_INCLUDING: tuple[tuple[str, Any], ...] = (
    ("Click to include", "ADD"),
    ("Alt+click to exclude", "REMOVE"),
    ("Drag for a box", "SELECT_SET"),
    ("Shift+drag for a line", "GREASEPENCIL"),
    *_BOTH,
)
_EXCLUDING: tuple[tuple[str, Any], ...] = (
    ("Click to exclude", "REMOVE"),
    ("Alt+click to include", "ADD"),
    ("Drag for a line", "GREASEPENCIL"),
    *_BOTH,
)


def is_clicking(context: Context) -> bool:
    """Whether a click in the current editor is a mask click."""
    is_masking = click_targets.in_mask_mode(context.space_data)
    return properties.of_window(context.window_manager).use_tool and not is_masking


def draw_tool(layout: UILayout, context: Context, *, text: str = "Mask Clicks") -> None:
    """Draw the switch of the click tool. In Mask mode the tool is off."""
    is_masking = click_targets.in_mask_mode(context.space_data)
    layout.operator(
        "sam2_splat.tool",
        text="Back to Mask Clicks" if text and is_masking else text,
        icon="RESTRICT_SELECT_OFF",
        depress=is_clicking(context),
    )


def draw_brush(layout: UILayout, context: Context, *, text: str = "Mask Brush") -> None:
    """Draw the switch of the mask brush. In Mask mode the brush is off."""
    is_masking = click_targets.in_mask_mode(context.space_data)
    layout.operator(
        "sam2_splat.brush",
        text=text,
        icon="BRUSH_DATA",
        depress=properties.of_window(context.window_manager).use_brush and not is_masking,
    )


def _draw_click_settings(layout: UILayout, context: Context) -> None:
    """Draw what a click means."""
    state = properties.of_window(context.window_manager)
    row = layout.row(align=True)
    # Blender would look these words up among its own, where its Japanese *Include* is the content.
    row.prop(
        state,
        "use_exclude",
        text=translated("Include"),
        icon="ADD",
        toggle=True,
        invert_checkbox=True,
    )
    row.prop(state, "use_exclude", text=translated("Exclude"), icon="REMOVE", toggle=True)


def _draw_brush_settings(layout: UILayout, context: Context) -> None:
    """Draw what the left mouse button does with the brush on, and its size."""
    state = properties.of_window(context.window_manager)
    row = layout.row(align=True)
    row.prop(
        state, "use_eraser", text=translated("Paint"), icon="ADD", toggle=True, invert_checkbox=True
    )
    row.prop(state, "use_eraser", text=translated("Erase"), icon="REMOVE", toggle=True)
    row = layout.row()
    row.ui_units_x = 6
    row.prop(state, "brush_px")


class SAM2SPLAT_PT_tool(Panel):
    bl_label = "Mask Clicks"
    bl_space_type = "CLIP_EDITOR"
    bl_region_type = "TOOLS"
    bl_category = "SAM2 Splat"

    @classmethod
    def poll(cls, context: Context) -> bool:
        return active_clip(context) is not None

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        row = layout.row()
        row.scale_y = 1.5
        draw_tool(row, context)
        row = layout.row()
        row.scale_y = 1.5
        draw_brush(row, context)
        state = properties.of_window(context.window_manager)
        if click_targets.in_mask_mode(context.space_data):
            column = layout.column(align=True)
            for text, icon in _MASK_MODE:
                column.label(text=text, icon=icon)
        elif state.use_brush:
            _draw_brush_settings(layout, context)
            column = layout.column(align=True)
            column.label(text="Ctrl to switch", icon="EVENT_CTRL")
            column.label(text="F for the size", icon="EVENT_F")
        elif state.use_tool:
            _draw_click_settings(layout, context)
            column = layout.column(align=True)
            for text, icon in _EXCLUDING if state.use_exclude else _INCLUDING:
                column.label(text=text, icon=icon)


class SAM2SPLAT_PT_overlay(Panel):
    """How masks and clicks look in the Clip Editor"""

    bl_label = "Masks"
    bl_space_type = "CLIP_EDITOR"
    bl_region_type = "HEADER"
    bl_ui_units_x = 11

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        layout.label(text="Masks")
        look = properties.of_scene(context.scene)
        column = layout.column()
        column.active = look.show_overlay
        column.row().prop(look, "overlay_mode", expand=True)
        row = column.row()
        row.active = look.overlay_mode == "color"
        row.prop(look, "overlay_opacity", slider=True)
        column.prop(look, "show_clicks")
        column.prop(look, "show_hull")
        column.prop(look, "live_preview")


def _draw_header(header: bpy.types.Header, context: Context) -> None:
    space = present(clip_editor_of(context))
    if space.clip is None or space.view != "CLIP":
        return
    look = properties.of_scene(context.scene)
    row = present(header.layout).row(align=True)
    draw_tool(row, context, text="")
    draw_brush(row, context, text="")
    row.prop(look, "show_overlay", text="", icon="MOD_MASK")
    popover = row.row(align=True)
    popover.popover("SAM2SPLAT_PT_overlay", text="")
    if click_targets.brush_on(context):
        _draw_brush_settings(present(header.layout).row(), context)
    elif click_targets.tool_on(context):
        _draw_click_settings(present(header.layout).row(), context)


def _draw_status(header: bpy.types.Header, context: Context) -> None:
    """Draw what the mouse does while the tool is on, as Blender does for its own tools."""
    editors = [
        area.spaces.active for area in present(context.screen).areas if area.type == "CLIP_EDITOR"
    ]
    state = properties.of_window(context.window_manager)
    if not (state.use_tool or state.use_brush) or not editors:
        return
    row = present(header.layout).row(align=True)
    if all(click_targets.in_mask_mode(space) for space in editors):
        row.label(text="Mask Point   ", icon="MOUSE_LMB")
        row.label(text="", icon="EVENT_CTRL")
        row.label(text="New Mask Point   ", icon="MOUSE_LMB")
        row.label(text="Delete on This Photo   ", icon="EVENT_X")
        row.label(text="Back to Mask Clicks   ", icon="EVENT_K")
        return
    if state.use_brush:
        row.label(text="Erase   " if state.use_eraser else "Paint   ", icon="MOUSE_LMB_DRAG")
        row.label(text="", icon="EVENT_CTRL")
        row.label(text="Paint   " if state.use_eraser else "Erase   ", icon="MOUSE_LMB_DRAG")
        row.label(text="Size   ", icon="EVENT_F")
        return
    row.label(text="Exclude   " if state.use_exclude else "Include   ", icon="MOUSE_LMB")
    row.label(text="", icon="EVENT_ALT")
    row.label(text="Include   " if state.use_exclude else "Exclude   ", icon="MOUSE_LMB")
    row.label(text="Line   " if state.use_exclude else "Box   ", icon="MOUSE_LMB_DRAG")
    if not state.use_exclude:
        row.label(text="", icon="EVENT_SHIFT")
        row.label(text="Line   ", icon="MOUSE_LMB_DRAG")
    row.label(text="Switch   ", icon="EVENT_V")
    row.label(text="Preview   ", icon="EVENT_U")
    row.label(text="Before   ", icon="EVENT_O")
    row.label(text="Delete Click   ", icon="EVENT_X")


def register() -> None:
    """Add our parts to Blender's own bars."""
    bpy.types.CLIP_HT_header.append(_draw_header)
    bpy.types.STATUSBAR_HT_header.prepend(_draw_status)


def unregister() -> None:
    """Take our parts out of Blender's own bars."""
    bpy.types.STATUSBAR_HT_header.remove(_draw_status)
    bpy.types.CLIP_HT_header.remove(_draw_header)


CLASSES = (SAM2SPLAT_PT_tool, SAM2SPLAT_PT_overlay)
