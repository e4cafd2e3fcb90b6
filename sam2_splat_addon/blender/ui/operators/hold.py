# SPDX-License-Identifier: GPL-3.0-or-later
"""What shows while a key is held: the mask of a click before it is made, and the mask before corrections.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from typing import cast

import bpy
from bpy.types import Context, Event, Operator

from ....core.prompts import PointPrompt
from ...clip import hover, markers, matte_cache
from ...context import properties, session_state
from ...context.editors import clip_editor_of, clip_frame, redraw
from ...context.frame_view import FrameView
from ...context.present import present
from ...context.task_runner import Result
from ...overlay.draw import Before
from ...tasks import live_preview
from ...translations.catalogue import translated
from . import click_targets
from .polls import has_clip


class _WhileHeld:
    """The common part of operators that end when their key is let go."""

    _key = ""

    def _begin(self, context: Context, event: Event, text: str) -> Result:
        self._key = event.type
        # Blender knows the class as an operator, which the stubs can't see.
        operator = cast(Operator, self)
        present(context.window_manager).modal_handler_add(operator)
        present(context.area).header_text_set(translated(text))
        redraw()
        return {"RUNNING_MODAL"}

    def _is_let_go(self, event: Event) -> bool:
        return event.type in {"ESC", "RIGHTMOUSE", "WINDOW_DEACTIVATE"} or (
            event.type == self._key and event.value == "RELEASE"
        )

    def _end(self, context: Context) -> Result:
        if context.area is not None:
            context.area.header_text_set(None)
        redraw()
        return {"FINISHED"}


class SAM2SPLAT_OT_hover_preview(_WhileHeld, Operator):
    """Show the mask that a click under the mouse would give, as long as the key is held"""

    bl_idname = "sam2_splat.hover_preview"
    bl_label = "Preview Under the Mouse"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return click_targets.tool_on(context) and has_clip(cls, context)

    def invoke(self, context: Context, event: Event) -> Result:
        space = present(clip_editor_of(context))
        clip, frame = present(space.clip), clip_frame(space)
        owner = markers.subject_to_click(clip)
        markers.sync_objects(clip)
        self._name = markers.subject_name(owner)
        if matte_cache.is_drawn(clip, self._name, frame):
            self.report({"WARNING"}, "You drew this mask yourself, so clicks do not change it")
            return {"CANCELLED"}
        self._point(context, event)
        return self._begin(context, event, "This is what a click gives. Click to make it")

    def modal(self, context: Context, event: Event) -> Result:
        if self._is_let_go(event) or not click_targets.ready(context):
            hover.end()
            return self._end(context)
        if event.type == "LEFTMOUSE" and event.value == "PRESS":
            self._click(context, event)
        elif event.type in {"MOUSEMOVE", "LEFT_ALT", "RIGHT_ALT"}:
            self._point(context, event)
        return {"RUNNING_MODAL"}

    def cancel(self, context: Context) -> None:
        """Forget the click under the mouse. Blender calls this when the window closes."""
        hover.end()

    def _place(
        self, context: Context, event: Event
    ) -> tuple[bpy.types.MovieClip, int, PointPrompt | None]:
        space = present(clip_editor_of(context))
        clip = present(space.clip)
        view = FrameView.of(present(context.region), clip)
        x, y = view.to_pixel(event.mouse_region_x, event.mouse_region_y)
        excludes = event.alt != properties.of_window(context.window_manager).use_exclude
        inside = 0.0 <= x <= view.width and 0.0 <= y <= view.height
        return clip, clip_frame(space), PointPrompt(x, y, not excludes) if inside else None

    def _point(self, context: Context, event: Event) -> None:
        clip, frame, point = self._place(context, event)
        hover.point_at(clip, self._name, frame, point)
        live_preview.look_now()
        present(context.area).tag_redraw()

    def _click(self, context: Context, event: Event) -> None:
        _, frame, point = self._place(context, event)
        if point is not None:
            hover.end()
            bpy.ops.sam2_splat.click(  # type: ignore[attr-defined]
                "EXEC_DEFAULT", True, frame=frame, x=point.x, y=point.y, include=point.include
            )


class SAM2SPLAT_OT_show_before(_WhileHeld, Operator):
    """Show the masks before your corrections on this photo, as long as the key is held"""

    bl_idname = "sam2_splat.show_before"
    bl_label = "Show Before"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return click_targets.ready(context)

    def invoke(self, context: Context, event: Event) -> Result:
        session_state.part(Before).is_shown = True
        return self._begin(context, event, "Before your corrections")

    def modal(self, context: Context, event: Event) -> Result:
        if self._is_let_go(event):
            session_state.drop(Before)
            return self._end(context)
        return {"RUNNING_MODAL"}

    def cancel(self, context: Context) -> None:
        """Show the present masks again. Blender calls this when the window closes."""
        session_state.drop(Before)


CLASSES = (SAM2SPLAT_OT_hover_preview, SAM2SPLAT_OT_show_before)
