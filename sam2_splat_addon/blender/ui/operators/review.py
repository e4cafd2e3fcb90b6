# SPDX-License-Identifier: GPL-3.0-or-later
"""Go through the frames to look at, and write the review into files.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from typing import Annotated, Any, cast

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty
from bpy.types import Context, Operator

from ....core.errors import SplatError
from ....core.printable import counted
from ...context import editors, preferences, properties, worker_session
from ...context.active_clip import active_clip, require_clip
from ...context.task_runner import Result, Task, TaskOperator, report_error
from ...review import live_review, model_proposal
from ...tasks.report_task import ReportTask
from ...translations.catalogue import translated_report, translated_tip
from .correct import place_of
from .polls import has_clip, has_masks


class SAM2SPLAT_OT_review(Operator):
    """Search again for the frames to look at"""

    bl_idname = "sam2_splat.review"
    bl_label = "Review"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return has_masks(cls, context, "Propagate first")

    def execute(self, context: Context) -> Result:
        try:
            found = live_review.ensure(require_clip(context))
        except SplatError as error:
            return report_error(self, error)
        count = len(found.listed())
        self.report({"INFO"}, translated_report(f"{counted(count, 'mask')} to look at"))
        return {"FINISHED"}


class SAM2SPLAT_OT_review_step(Operator):
    """Go to the next or the previous line of the list, which is worst first"""

    bl_idname = "sam2_splat.review_step"
    bl_label = "Next Photo to Look At"
    bl_options = {"REGISTER"}

    direction: Annotated[
        str,
        EnumProperty(
            name="Direction",
            items=(
                ("NEXT", "Next", "Go to the next line of the list"),
                ("PREVIOUS", "Previous", "Go to the previous line of the list"),
            ),
        ),
    ]

    @classmethod
    def description(cls, context: Context, properties: bpy.types.OperatorProperties) -> str:
        """Return the button's tooltip."""
        if properties.direction == "PREVIOUS":
            return translated_tip("Go to the previous line of the list, which is worst first")
        return translated_tip("Go to the next line of the list, which is worst first")

    @classmethod
    def poll(cls, context: Context) -> bool:
        clip = active_clip(context)
        found = live_review.of_clip(clip) if clip is not None else None
        if clip is None or found is None:
            cls.poll_message_set("Propagate first")
            return False
        if not found.listed(live_review.chosen_object(clip)):
            cls.poll_message_set("There is no photo to look at")
            return False
        return True

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        shown = live_review.shown_list(clip)
        index = shown.following(1 if self.direction == "NEXT" else -1)
        if index is None:
            if self.direction == "NEXT":
                self.report({"INFO"}, "This is the end of the list")
            else:
                self.report({"INFO"}, "This is the beginning of the list")
            return {"CANCELLED"}
        shown.go_to_line(context, clip, index)
        return {"FINISHED"}


class SAM2SPLAT_OT_looks_fine(Operator):
    """Take this frame off the list until its mask changes, or put it back on the list"""

    bl_idname = "sam2_splat.looks_fine"
    bl_label = "Looks Fine"
    bl_options = {"REGISTER", "UNDO"}

    frame: Annotated[
        int,
        IntProperty(
            name="Frame",
            description="Frame of the clip. 0 is the frame at the playhead",
            min=0,
            default=0,
        ),
    ]
    object_id: Annotated[
        int,
        IntProperty(
            name="Subject",
            description="The subject's number. 0 is the active subject",
            min=0,
            default=0,
        ),
    ]
    is_fine: Annotated[
        bool,
        BoolProperty(
            name="Fine",
            description="Take the frame off the list, or switch its state if no frame number is given",
            default=True,
            options={"SKIP_SAVE"},
        ),
    ]

    @classmethod
    def description(cls, context: Context, properties: Any) -> str:
        if not properties.frame:
            return translated_tip(cls.__doc__ or "")
        if properties.is_fine:
            return translated_tip("Take this frame off the list until its mask changes")
        return translated_tip("Put this frame back on the list")

    @classmethod
    def poll(cls, context: Context) -> bool:
        return has_masks(cls, context, "Propagate first")

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        frame, object_id, is_fine = self.frame, self.object_id, self.is_fine
        if not frame or not object_id:
            place = place_of(context)
            if place is None:
                self.report({"WARNING"}, "Choose a subject with a mask")
                return {"CANCELLED"}
            frame, object_id = place.frame, place.object_id
            is_fine = not _is_fine(clip, object_id, frame)
        try:
            ticked = live_review.tick_frame(clip, object_id, frame, is_fine=is_fine)
        except SplatError as error:
            return report_error(self, error)
        if not ticked:
            self.report({"WARNING"}, translated_report(f"Frame {frame} has no mask"))
            return {"CANCELLED"}
        return {"FINISHED"}


def _is_fine(clip: bpy.types.MovieClip, object_id: int, frame: int) -> bool:
    """Whether the user has ticked a frame, and its mask is still the same."""
    found = live_review.of_clip(clip)
    own = found.reviews.get(object_id, ()) if found is not None else ()
    return any(one.frame == frame and one.state == "fine" for one in own)


class SAM2SPLAT_OT_report(TaskOperator, Operator):
    """Write the review beside the photos as a table and as a page with pictures"""

    bl_idname = "sam2_splat.report"
    bl_label = "Write Report"
    panel = "review"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return has_masks(cls, context, "Propagate first")

    def start(self, context: Context) -> Task:
        return ReportTask(require_clip(context))


class SAM2SPLAT_OT_use_sam2(Operator):
    """Choose SAM 2.1 Tiny for these photos, and download it if it is missing"""

    bl_idname = "sam2_splat.use_sam2"
    bl_label = "Use SAM 2.1"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return has_clip(cls, context)

    def execute(self, context: Context) -> Result:
        settings = properties.of_clip(require_clip(context))
        settings.model, settings.checkpoint = model_proposal.PROPOSED, ""
        if model_proposal.missing() is None:
            self.report({"INFO"}, "SAM 2.1 Tiny is chosen. Propagate again")
        elif worker_session.online():
            cast(Any, bpy.ops).sam2_splat.download_model("INVOKE_DEFAULT")
        else:
            self.report({"INFO"}, "SAM 2.1 Tiny is chosen. Allow Online Access to download it")
        return {"FINISHED"}


class SAM2SPLAT_OT_dismiss_proposal(Operator):
    """Never propose SAM 2.1 again, unless it is switched on in the preferences"""

    bl_idname = "sam2_splat.dismiss_proposal"
    bl_label = "Never Propose SAM 2.1"
    bl_options = {"INTERNAL"}

    def execute(self, context: Context) -> Result:
        preferences.stop_proposing_sam2()
        editors.redraw()
        return {"FINISHED"}


CLASSES = (
    SAM2SPLAT_OT_review,
    SAM2SPLAT_OT_review_step,
    SAM2SPLAT_OT_looks_fine,
    SAM2SPLAT_OT_report,
    SAM2SPLAT_OT_use_sam2,
    SAM2SPLAT_OT_dismiss_proposal,
)
