# SPDX-License-Identifier: GPL-3.0-or-later
"""The mask brush: paint on the mask of one photo, erase, and change the brush's size.

Each stroke is one undo step. What is painted is the user's mask of the photo (`clip/painting.py`).

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

import math
from typing import Annotated

import bpy
from bpy.props import BoolProperty
from bpy.types import Context, Event, Operator

from ....core.errors import SplatError
from ...clip import markers, painting
from ...context import changes, properties, task_runner
from ...context.active_clip import require_clip
from ...context.editors import clip_editor_of, clip_frame, redraw
from ...context.frame_view import FrameView
from ...context.present import present
from ...context.task_runner import Result, report_error
from ...overlay import brush_cursor
from ...tasks import local_edits
from ...translations.catalogue import translated, translated_report
from . import click_targets
from .polls import has_clip, in_clip_editor, own_clip

_MOVES = {"MOUSEMOVE", "INBETWEEN_MOUSEMOVE"}
# The size changes by this share at each press of its keys.
_SIZE_STEP = 1.25


class SAM2SPLAT_OT_brush(Operator):
    """Switch on the brush for the mask of this photo"""

    bl_idname = "sam2_splat.brush"
    bl_label = "Mask Brush"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return in_clip_editor(cls, context) and own_clip(cls, context)

    def execute(self, context: Context) -> Result:
        click_targets.switch_tool(context, "use_brush")
        if context.window is not None:
            context.window.cursor_set("DEFAULT")
        redraw()
        return {"FINISHED"}


class SAM2SPLAT_OT_brush_stroke(Operator):
    """Paint on the active subject's mask of this photo, or erase"""

    bl_idname = "sam2_splat.brush_stroke"
    bl_label = "Mask Brush Stroke"
    bl_options = {"UNDO"}

    switch: Annotated[
        bool,
        BoolProperty(
            name="Switch",
            description="Erase instead of painting, or paint instead of erasing",
            default=False,
            options={"SKIP_SAVE"},
        ),
    ]

    @classmethod
    def poll(cls, context: Context) -> bool:
        return click_targets.brush_on(context)

    def invoke(self, context: Context, event: Event) -> Result:
        if click_targets.on_frame_strip(event) or not own_clip(type(self), context):
            return {"PASS_THROUGH"}
        space = present(clip_editor_of(context))
        clip, frame = present(space.clip), clip_frame(space)
        frames = properties.of_clip(clip).frame_count or clip.frame_duration
        view = FrameView.of(present(context.region), clip)
        part = view.seen(present(context.region))
        if task_runner.current() is not None:
            self.report({"WARNING"}, "Wait for the running task or cancel it")
            return {"CANCELLED"}
        if not 1 <= frame <= frames:
            self.report(
                {"WARNING"},
                translated_report(f"Go to a photo first. Photos are on frames 1 to {frames}."),
            )
            return {"CANCELLED"}
        if part is None:
            return {"PASS_THROUGH"}
        owner = markers.subject_to_click(clip)
        self._name = markers.subject_name(owner)
        markers.sync_objects(clip)
        try:
            painting.require_open(clip, self._name)
        except SplatError as error:
            return report_error(self, error)
        properties.of_clip(clip).objects[self._name].show = True
        properties.of_scene(context.scene).show_overlay = True
        local_edits.pause(clip)
        state = properties.of_window(context.window_manager)
        erases = state.use_eraser != self.switch
        painting.begin(clip, self._name, frame, part, view.zoom, erases=erases)
        self._uid, self._frame = clip.session_uid, frame
        self._last = view.to_pixel(event.mouse_region_x, event.mouse_region_y)
        self._go_on(context, event)
        present(context.window_manager).modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Context, event: Event) -> Result:
        space = clip_editor_of(context)
        clip = space.clip if space is not None else None
        # An undo may have come between, or a script may show another photo.
        is_same = (
            clip is not None
            and clip.session_uid == self._uid
            and space is not None
            and clip_frame(space) == self._frame
            and self._name in properties.of_clip(clip).objects
        )
        if event.type in {"ESC", "RIGHTMOUSE"} or not is_same:
            return self._leave(context, {"CANCELLED"})
        if event.type in _MOVES:
            self._go_on(context, event)
        elif event.type == "LEFTMOUSE" and event.value == "RELEASE":
            return self._finish(context, present(clip))
        return {"RUNNING_MODAL"}

    def cancel(self, context: Context) -> None:
        """Drop the stroke. Blender calls this when the window closes during it."""
        painting.cancel()

    def _go_on(self, context: Context, event: Event) -> None:
        clip = present(present(clip_editor_of(context)).clip)
        view = FrameView.of(present(context.region), clip)
        at = view.to_pixel(event.mouse_region_x, event.mouse_region_y)
        radius = brush_cursor.radius(context) / view.zoom
        painting.paint(self._last, at, radius)
        self._last = at
        present(context.area).tag_redraw()

    def _finish(self, context: Context, clip: bpy.types.MovieClip) -> Result:
        try:
            has_changed = painting.finish(clip, self._name)
        except SplatError as error:
            return self._leave(context, report_error(self, error))
        if not has_changed:
            return self._leave(context, {"CANCELLED"})
        changes.edits_changed(clip.session_uid)
        return self._leave(context, {"FINISHED"})

    def _leave(self, context: Context, result: Result) -> Result:
        painting.cancel()
        redraw()
        return result


class SAM2SPLAT_OT_brush_size(Operator):
    """Change the size of the mask brush with the mouse"""

    bl_idname = "sam2_splat.brush_size"
    bl_label = "Mask Brush Size"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return click_targets.brush_on(context)

    def invoke(self, context: Context, event: Event) -> Result:
        state = properties.of_window(context.window_manager)
        self._before = state.brush_px
        # The mouse stands on the brush's edge, as with Blender's own brushes.
        middle = (event.mouse_x - brush_cursor.radius(context), event.mouse_y)
        brush_cursor.hold(middle)
        present(context.window_manager).modal_handler_add(self)
        self._show(context)
        return {"RUNNING_MODAL"}

    def modal(self, context: Context, event: Event) -> Result:
        state = properties.of_window(context.window_manager)
        middle = brush_cursor.held()
        if middle is None or event.type in {"ESC", "RIGHTMOUSE"}:
            state.brush_px = self._before
            return self._leave(context, {"CANCELLED"})
        if event.type == "MOUSEMOVE":
            away = math.hypot(event.mouse_x - middle[0], event.mouse_y - middle[1])
            state.brush_px = max(1, round(away / click_targets.scaled(1.0)))
            self._show(context)
        elif event.type in {"LEFTMOUSE", "RET", "NUMPAD_ENTER"} and event.value == "PRESS":
            return self._leave(context, {"FINISHED"})
        return {"RUNNING_MODAL"}

    def cancel(self, context: Context) -> None:
        """Let the circle follow the mouse again. Blender calls this when the window closes."""
        brush_cursor.hold(None)

    def _show(self, context: Context) -> None:
        state = properties.of_window(context.window_manager)
        area = present(context.area)
        area.header_text_set(translated(f"Brush size {state.brush_px} px"))
        area.tag_redraw()

    def _leave(self, context: Context, result: Result) -> Result:
        brush_cursor.hold(None)
        if context.area is not None:
            context.area.header_text_set(None)
            context.area.tag_redraw()
        return result


class SAM2SPLAT_OT_brush_size_step(Operator):
    """Make the mask brush a little larger or smaller"""

    bl_idname = "sam2_splat.brush_size_step"
    bl_label = "Mask Brush Larger or Smaller"
    bl_options = {"INTERNAL"}

    larger: Annotated[bool, BoolProperty(name="Larger", default=True, options={"SKIP_SAVE"})]

    @classmethod
    def poll(cls, context: Context) -> bool:
        return click_targets.brush_on(context)

    def execute(self, context: Context) -> Result:
        state = properties.of_window(context.window_manager)
        now = state.brush_px
        state.brush_px = (
            max(now + 1, round(now * _SIZE_STEP)) if self.larger else round(now / _SIZE_STEP)
        )
        redraw()
        return {"FINISHED"}


class SAM2SPLAT_OT_edit_points(Operator):
    """Edit the points of this photo's mask, with only the points that matter"""

    bl_idname = "sam2_splat.edit_points"
    bl_label = "Edit Points Here"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return in_clip_editor(cls, context) and has_clip(cls, context)

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        space = present(clip_editor_of(context))
        frame = clip_frame(space)
        name = markers.subject_name(markers.subject_to_click(clip))
        ids = markers.sync_objects(clip)
        try:
            if name not in ids or not painting.outlines_now(clip, name, frame):
                self.report({"WARNING"}, "The active subject has no mask on this photo")
                return {"CANCELLED"}
            painting.require_open(clip, name)
            local_edits.pause(clip)
            count = painting.thin(clip, name, frame)
        except SplatError as error:
            return report_error(self, error)
        mask = present(properties.of_clip(clip).mask)
        mask.active_layer_index = mask.layers.find(name)
        space.view, space.mode, space.mask = "CLIP", "MASK", mask
        self.report(
            {"INFO"},
            translated_report(f"{count} points. Move them, then press I to keep the change"),
        )
        return {"FINISHED"}


CLASSES = (
    SAM2SPLAT_OT_brush,
    SAM2SPLAT_OT_brush_stroke,
    SAM2SPLAT_OT_brush_size,
    SAM2SPLAT_OT_brush_size_step,
    SAM2SPLAT_OT_edit_points,
)
