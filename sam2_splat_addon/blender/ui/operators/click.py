# SPDX-License-Identifier: GPL-3.0-or-later
"""The mask click tool: click, Alt+click, drag and X in the Clip Editor.

The Clip Editor has no tool system, so the tool is a switch and some keymap items. While the switch
is off, Blender's own tools get every event. The tool makes ordinary tracks (see ``clip/markers.py``).
Each click is one undo step.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

import math
from typing import Annotated, Any

from bpy.props import BoolProperty, FloatProperty, IntProperty, StringProperty
from bpy.types import Context, Event, Operator

from ....core.prompts import BoxPrompt, PointPrompt
from ...clip import markers, shown
from ...context import properties, session_state
from ...context.active_clip import require_clip
from ...context.editors import clip_editor_of, clip_frame, redraw
from ...context.frame_view import FrameView
from ...context.present import present
from ...context.task_runner import Result
from ...overlay.draw import Drag, Rubber
from ...tasks import live_preview
from ...translations.catalogue import translated_report, translated_tip
from .. import click_sign
from . import click_targets
from .polls import in_clip_editor, own_clip

# How far the mouse moves before a click becomes a drag, in px of the screen at normal size.
_DRAG = 6.0
# How far the clicks of a stroke are from each other, in px of the screen at normal size.
_SPACING = 60.0


class SAM2SPLAT_OT_click(Operator):
    """Click to include, Alt+click to exclude, drag a box around the subject, or Shift+drag a line"""

    bl_idname = "sam2_splat.click"
    bl_label = "Mask Click"
    bl_options = {"REGISTER", "UNDO"}

    # SKIP_SAVE: not remembered from one click to the next.
    frame: Annotated[
        int,
        IntProperty(
            name="Frame", description="Frame of the clip", min=1, default=1, options={"SKIP_SAVE"}
        ),
    ]
    x: Annotated[
        float,
        FloatProperty(
            name="X",
            description="Distance from the left, in px of the photo",
            min=0.0,
            options={"SKIP_SAVE"},
        ),
    ]
    y: Annotated[
        float,
        FloatProperty(
            name="Y",
            description="Distance from the top, in px of the photo",
            min=0.0,
            options={"SKIP_SAVE"},
        ),
    ]
    include: Annotated[
        bool,
        BoolProperty(
            name="Include",
            description="This place belongs to the subject",
            default=True,
            options={"SKIP_SAVE"},
        ),
    ]
    use_box: Annotated[
        bool,
        BoolProperty(
            name="Box",
            description="Make a box around the subject, not a click",
            default=False,
            options={"SKIP_SAVE"},
        ),
    ]
    x1: Annotated[
        float,
        FloatProperty(
            name="Right",
            description="The box's other corner, in px from the left",
            min=0.0,
            options={"SKIP_SAVE"},
        ),
    ]
    y1: Annotated[
        float,
        FloatProperty(
            name="Bottom",
            description="The box's other corner, in px from the top",
            min=0.0,
            options={"SKIP_SAVE"},
        ),
    ]

    use_stroke: Annotated[
        bool,
        BoolProperty(
            name="Stroke",
            description="Dragging makes some clicks along a line, not a box",
            default=False,
            options={"SKIP_SAVE", "HIDDEN"},
        ),
    ]
    path: Annotated[
        str,
        StringProperty(
            name="Path",
            description="Places of a stroke, in px of the photo: x,y x,y",
            options={"SKIP_SAVE", "HIDDEN"},
        ),
    ]

    @classmethod
    def poll(cls, context: Context) -> bool:
        return own_clip(cls, context)

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        layout.use_property_split = True
        if self.path:
            layout.prop(self, "include")
            return
        if not self.use_box:
            layout.prop(self, "include")
        layout.prop(self, "x")
        layout.prop(self, "y")
        if self.use_box:
            layout.prop(self, "x1")
            layout.prop(self, "y1")

    def invoke(self, context: Context, event: Event) -> Result:
        if not click_targets.tool_on(context) or click_targets.on_frame_strip(event):
            return {"PASS_THROUGH"}
        space = present(clip_editor_of(context))
        self.frame = clip_frame(space)
        self.use_box, self.path = False, ""
        state = properties.of_window(context.window_manager)
        self.include = self.include != state.use_exclude  # Alt switches to the other kind
        self._begin = (event.mouse_region_x, event.mouse_region_y)
        taken = click_targets.under_mouse(context, event)
        self._taken: tuple[str, str, tuple[float, float]] | None = None
        self._moved = False
        if taken is not None:
            owner, track = taken
            click_targets.select(present(space.clip), owner, track)
            marker = track.markers.find_frame(self.frame)
            self._taken = (owner.name, track.name, (marker.co[0], marker.co[1]))
        self._point_at(context, event)
        present(context.window_manager).modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Context, event: Event) -> Result:
        if event.type in {"ESC", "RIGHTMOUSE"} or not click_targets.ready(context):
            if self._taken is not None and self._moved and click_targets.ready(context):
                self._move(context, 0.0, 0.0)
            return self._leave(context, {"CANCELLED"})
        if event.type == "MOUSEMOVE":
            return self._drag(context, event)
        if event.type == "LEFTMOUSE" and event.value == "RELEASE":
            if self._taken is not None:
                return self._leave(context, {"FINISHED"})
            return self._leave(context, self.execute(context))
        return {"RUNNING_MODAL"}

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        width, height = clip.size
        frames = properties.of_clip(clip).frame_count or clip.frame_duration
        if not 1 <= self.frame <= frames:
            said = f"Go to a photo first. Photos are on frames 1 to {frames}."
            self.report({"WARNING"}, translated_report(said))
            return {"CANCELLED"}
        if self.use_box:
            x0, x1 = sorted((min(self.x, width), min(self.x1, width)))
            y0, y1 = sorted((min(self.y, height), min(self.y1, height)))
            if x1 - x0 < 1.0 or y1 - y0 < 1.0:
                return {"CANCELLED"}
            owner = markers.subject_to_click(clip)
            click_targets.remove_boxes(context, clip, owner, self.frame)
            box = BoxPrompt(x0, y0, x1, y1)
            markers.add_box(owner, self.frame, box, width, height)
        else:
            places = _places(self.path) if self.path else [(self.x, self.y)]
            left, top, right, bottom = shown.of(clip, self.frame).part
            inside = [(x, y) for x, y in places if left <= x <= right and top <= y <= bottom]
            if not inside:
                return {"CANCELLED"}
            owner = markers.subject_to_click(clip)
            for x, y in inside:
                point = PointPrompt(x, y, self.include)
                markers.add_point(owner, self.frame, point, width, height)
        # The track is neither selected nor active, because Blender draws such a track on every frame.
        markers.sync_objects(clip)
        space = clip_editor_of(context)
        if space is not None and click_targets.in_mask_mode(space):
            space.mode = "TRACKING"  # the mode that shows clicks
        live_preview.look_now()
        click_sign.offer_help(context, clip)
        return {"FINISHED"}

    def cancel(self, context: Context) -> None:
        """Forget the drag. Blender calls this when the window closes during it."""
        session_state.drop(Drag)

    def _point_at(self, context: Context, event: Event) -> None:
        clip = present(present(clip_editor_of(context)).clip)
        view = FrameView.of(present(context.region), clip)
        x, y = view.to_pixel(event.mouse_region_x, event.mouse_region_y)
        # Not clamped yet, so that a box may begin beside the photo. `_drag` clamps it.
        self._corner = (x, y)
        # Beside the photo there is nothing to click on. A place beyond its edge tells `execute` so.
        outside = not (0.0 <= x <= view.width and 0.0 <= y <= view.height)
        self.x, self.y = (view.width + 1.0, 0.0) if outside else (x, y)

    def _drag(self, context: Context, event: Event) -> Result:
        begin_x, begin_y = self._begin
        moved = math.hypot(event.mouse_region_x - begin_x, event.mouse_region_y - begin_y)
        if not self.use_box and not self._moved and moved < click_targets.scaled(_DRAG):
            return {"RUNNING_MODAL"}
        if self._taken is not None:
            self._moved = True
            self._move(context, event.mouse_region_x - begin_x, event.mouse_region_y - begin_y)
            return {"RUNNING_MODAL"}
        # A box says where the subject is, so there is none that excludes.
        if self.use_stroke or not self.include:
            return self._draw_stroke(context, event)
        self.use_box = True
        clip = present(present(clip_editor_of(context)).clip)
        view = FrameView.of(present(context.region), clip)
        x1, y1 = view.to_pixel(event.mouse_region_x, event.mouse_region_y)
        x0, y0 = self._corner
        self.x, self.x1 = (min(max(x, 0.0), float(view.width)) for x in (x0, x1))
        self.y, self.y1 = (min(max(y, 0.0), float(view.height)) for y in (y0, y1))
        box = Rubber(clip.session_uid, self.x, self.y, self.x1, self.y1)
        session_state.part(Drag).rubber = box
        present(context.area).tag_redraw()
        return {"RUNNING_MODAL"}

    def _draw_stroke(self, context: Context, event: Event) -> Result:
        clip = present(present(clip_editor_of(context)).clip)
        view = FrameView.of(present(context.region), clip)
        drag = session_state.part(Drag)
        if not drag.line:
            drag.line_uid, drag.includes = clip.session_uid, self.include
            drag.line.append(self._corner)
        drag.line.append(view.to_pixel(event.mouse_region_x, event.mouse_region_y))
        spacing = click_targets.scaled(_SPACING) / view.zoom
        places = click_targets.along(drag.line, spacing)
        self.path = " ".join(f"{x:.2f},{y:.2f}" for x, y in places)
        present(context.area).tag_redraw()
        return {"RUNNING_MODAL"}

    def _move(self, context: Context, right: float, up: float) -> None:
        """Move the taken click from its old place, by px of the screen."""
        assert self._taken is not None
        clip = present(present(clip_editor_of(context)).clip)
        owner_name, track_name, (x, y) = self._taken
        view = FrameView.of(present(context.region), clip)
        track = present(clip.tracking).objects[owner_name].tracks[track_name]
        # Look it up each time, because insertions and undo make old references invalid.
        marker = track.markers.find_frame(self.frame)
        marker.co = (
            min(max(x + right * view.scale[0], 0.0), 1.0),
            min(max(y + up * view.scale[1], 0.0), 1.0),
        )
        present(context.area).tag_redraw()

    def _leave(self, context: Context, result: Result) -> Result:
        session_state.drop(Drag)
        if context.area is not None:
            context.area.tag_redraw()
        return result


def _places(path: str) -> list[tuple[float, float]]:
    """Read the places of a stroke. What is no place is left out."""
    found = []
    for place in path.split():
        x, _, y = place.partition(",")
        try:
            found.append((float(x), float(y)))
        except ValueError:
            continue
    return found


class SAM2SPLAT_OT_click_delete(Operator):
    """Delete the click or box under the mouse"""

    bl_idname = "sam2_splat.click_delete"
    bl_label = "Delete Mask Click"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return click_targets.ready(context)

    def invoke(self, context: Context, event: Event) -> Result:
        taken = (
            click_targets.under_mouse(context, event) if click_targets.tool_on(context) else None
        )
        if taken is None:
            return {"PASS_THROUGH"}
        space = present(clip_editor_of(context))
        click_targets.delete(context, present(space.clip), *taken, clip_frame(space))
        present(context.area).tag_redraw()
        return {"FINISHED"}


class SAM2SPLAT_OT_click_hover(Operator):
    """Show with the mouse cursor what a click would do"""

    bl_idname = "sam2_splat.click_hover"
    bl_label = "Mask Click Cursor"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return click_targets.tool_on(context)

    def invoke(self, context: Context, event: Event) -> Result:
        window = present(context.window)
        if click_targets.on_frame_strip(event):
            window.cursor_set("DEFAULT")
        elif event.alt != properties.of_window(context.window_manager).use_exclude:
            window.cursor_set("PAINT_CROSS")
        elif click_targets.under_mouse(context, event) is not None:
            window.cursor_set("SCROLL_XY")
        else:
            window.cursor_set("CROSSHAIR")
        return {"PASS_THROUGH"}


class SAM2SPLAT_OT_tool(Operator):
    """Switch on clicks on the subject (click to include, Alt+click to exclude, drag a box)"""

    bl_idname = "sam2_splat.tool"
    bl_label = "Mask Clicks"
    bl_options = {"REGISTER"}

    @classmethod
    def description(cls, context: Context, properties: Any) -> str:
        if click_targets.in_mask_mode(context.space_data):
            return translated_tip(
                "Go back to clicks on the subject, because in Mask mode a click edits the points of"
                " the mask"
            )
        return translated_tip(cls.__doc__ or "")

    @classmethod
    def poll(cls, context: Context) -> bool:
        return in_clip_editor(cls, context)

    def execute(self, context: Context) -> Result:
        is_on = click_targets.switch_tool(context, "use_tool")
        if not is_on and context.window is not None:
            context.window.cursor_set("DEFAULT")
        redraw()
        return {"FINISHED"}


class SAM2SPLAT_OT_switch(Operator):
    """Switch between include and exclude, or with the brush on, between painting and erasing"""

    bl_idname = "sam2_splat.switch"
    bl_label = "Include or Exclude"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return click_targets.tool_on(context) or click_targets.brush_on(context)

    def execute(self, context: Context) -> Result:
        state = properties.of_window(context.window_manager)
        if state.use_brush:
            state.use_eraser = not state.use_eraser
        else:
            state.use_exclude = not state.use_exclude
        redraw()
        return {"FINISHED"}


class SAM2SPLAT_OT_choose_subject(Operator):
    """Choose a subject by its place in the list"""

    bl_idname = "sam2_splat.choose_subject"
    bl_label = "Choose Subject"
    bl_options = {"INTERNAL"}

    number: Annotated[int, IntProperty(name="Number", min=1, default=1, options={"SKIP_SAVE"})]

    @classmethod
    def poll(cls, context: Context) -> bool:
        return click_targets.tool_on(context) or click_targets.brush_on(context)

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        found = markers.subjects(clip)
        if self.number > len(found):
            return {"CANCELLED"}
        chosen = found[self.number - 1]
        present(clip.tracking).objects.active = chosen
        name = markers.subject_name(chosen)
        self.report({"INFO"}, translated_report(f"Subject {self.number}: {name}"))
        redraw()
        return {"FINISHED"}


CLASSES = (
    SAM2SPLAT_OT_click,
    SAM2SPLAT_OT_switch,
    SAM2SPLAT_OT_choose_subject,
    SAM2SPLAT_OT_click_delete,
    SAM2SPLAT_OT_click_hover,
    SAM2SPLAT_OT_tool,
)
