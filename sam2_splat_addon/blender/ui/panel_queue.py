# SPDX-License-Identifier: GPL-3.0-or-later
"""The Queue panel in the Clip Editor's sidebar."""

from __future__ import annotations

from typing import Literal

import bpy
from bpy.types import Context, Panel, UILayout

from ..clip import markers
from ..context import properties
from ..context.active_clip import active_clip
from ..context.present import present
from ..tasks.queue_task import queued_clips, said_of
from . import widgets

_LETTERS = 30  # of a sentence in the sidebar


class SAM2SPLAT_PT_queue(widgets.Sidebar, Panel):
    bl_label = "Queue"
    bl_order = 3  # below Cameras
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        active = active_clip(context)
        column = layout.column(align=True)
        clips = queued_clips()
        for clip in clips:
            _draw_capture(column, clip, is_shown=clip == active)
        row = layout.row(align=True)
        row.operator("sam2_splat.queue_add", icon="ADD")
        row.operator("sam2_splat.queue_this")
        widgets.draw_problem(layout, None, "queue")
        if widgets.draw_progress(layout, "queue") or not clips:
            return
        layout.prop(properties.of_scene(present(context.scene)), "queue_bakes")
        row = layout.row()
        row.scale_y = 1.5
        row.operator("sam2_splat.queue_start", icon="PLAY")


def _draw_capture(column: UILayout, clip: bpy.types.MovieClip, *, is_shown: bool) -> None:
    """Draw a capture's name as a button that shows it, and what the queue says of it."""
    said = said_of(clip)
    row = column.row(align=True)
    row.operator(
        "sam2_splat.queue_show", text=clip.name, translate=False, icon=_icon(clip), depress=is_shown
    ).clip = clip.name
    row.operator("sam2_splat.queue_remove", text="", icon="X").clip = clip.name
    if said.text:
        for line in widgets.wrapped(said.text, _LETTERS):
            column.label(text=line, icon="BLANK1")
    elif not markers.has_clicks(clip):
        column.label(text="Click on the subject", icon="BLANK1")


_Icon = Literal["ERROR", "SORTTIME", "VIEWZOOM", "CHECKMARK", "TRACKER", "RESTRICT_SELECT_OFF"]


def _icon(clip: bpy.types.MovieClip) -> _Icon:
    said = said_of(clip)
    if said.state == "failed":
        return "ERROR"
    if said.state == "running":
        return "SORTTIME"
    if said.state == "done":
        return "VIEWZOOM" if said.look else "CHECKMARK"
    return "TRACKER" if markers.has_clicks(clip) else "RESTRICT_SELECT_OFF"


CLASSES = (SAM2SPLAT_PT_queue,)
