# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cameras of the photos are used for: find the subject, compare all masks, see it in 3D."""

from __future__ import annotations

from typing import cast

from bpy.types import Context, Operator

from ....core.errors import SplatError
from ....core.printable import counted
from ....core.protocol import AGREE_ROUNDS
from ...clip import markers, space_view
from ...context import last_error, preferences
from ...context.active_clip import require_clip
from ...context.editors import clip_editor_of, to_scene
from ...context.present import present
from ...context.task_runner import Result, Task, TaskOperator, report_error
from ...tasks.agree_task import AgreeTask
from ...tasks.find_subject_task import FindSubjectTask
from ...translations.catalogue import translated_report
from . import click_targets
from .polls import has_clip, has_masks


class SAM2SPLAT_OT_find_subject(TaskOperator, Operator):
    """Propose clicks on the thing that all cameras look at. It needs the cameras of the photos"""

    bl_idname = "sam2_splat.find_subject"
    bl_label = "Find Subject"
    panel = "load"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not has_clip(cls, context):
            return False
        if not markers.waits_for_clicks(require_clip(context)):
            cls.poll_message_set("The active subject has clicks already. Add a subject first")
            return False
        return True

    def start(self, context: Context) -> Task:
        return FindSubjectTask(
            require_clip(context), device=preferences.device(), threads=preferences.threads()
        )

    def finished(self, context: Context, task: Task) -> None:
        """Show the first photo with proposed clicks."""
        frames = cast(FindSubjectTask, task).frames
        space = clip_editor_of(context)
        if frames and space is not None and space.clip is not None:
            present(context.scene).frame_current = to_scene(space.clip, frames[0])
            click_targets.show_clicks(space)


class _Comparing(TaskOperator):
    """What compares masks in 3D, and lets photos be prompted for so many rounds."""

    panel = "cameras"
    rounds = 0

    @classmethod
    def poll(cls, context: Context) -> bool:
        return has_masks(cls, context, "Propagate first, so that there are masks to compare")

    def start(self, context: Context) -> Task:
        return AgreeTask(
            require_clip(context),
            device=preferences.device(),
            threads=preferences.threads(),
            rounds=self.rounds,
        )


class SAM2SPLAT_OT_compare(_Comparing, Operator):
    """Compare the masks of all photos in 3D. Then the review lists photos that the others contradict"""

    bl_idname = "sam2_splat.compare"
    bl_label = "Compare in 3D"
    bl_options = {"REGISTER"}


class SAM2SPLAT_OT_agree(_Comparing, Operator):
    """Click on photos that the others contradict, and track again, as long as masks agree better"""

    bl_idname = "sam2_splat.agree"
    bl_label = "Agree in 3D"
    bl_options = {"REGISTER"}
    rounds = AGREE_ROUNDS


class SAM2SPLAT_OT_show_in_3d(Operator):
    """Add the cameras, the subject's points and its hull to the scene, or bring them up to date"""

    bl_idname = "sam2_splat.show_in_3d"
    bl_label = "Show in 3D View"
    panel = "cameras"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return has_clip(cls, context)

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        try:
            cameras = space_view.cameras_in(clip)
            made = space_view.build(clip, cameras)
        except SplatError as error:
            return report_error(self, error)
        last_error.forget("cameras", clip.session_uid)
        count = len(cameras.by_frame)
        self.report(
            {"INFO"}, translated_report(f"{made.name}: cameras of {counted(count, 'photo')}")
        )
        return {"FINISHED"}


CLASSES = (
    SAM2SPLAT_OT_find_subject,
    SAM2SPLAT_OT_compare,
    SAM2SPLAT_OT_agree,
    SAM2SPLAT_OT_show_in_3d,
)
