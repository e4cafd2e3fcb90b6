# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cameras of the photos are used for: find the subject."""

from __future__ import annotations

from typing import cast

from bpy.types import Context, Operator

from ...clip import markers
from ...context import preferences
from ...context.active_clip import require_clip
from ...context.editors import clip_editor_of, to_scene
from ...context.present import present
from ...context.task_runner import Task, TaskOperator
from ...tasks.find_subject_task import FindSubjectTask
from . import click_targets
from .polls import has_clip


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


CLASSES = (SAM2SPLAT_OT_find_subject,)
