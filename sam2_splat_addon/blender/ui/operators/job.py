# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a clip as a job for the command line or a farm.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from pathlib import Path
from typing import Annotated, Any, cast

import bpy
from bpy.props import BoolProperty, StringProperty
from bpy.types import Context, Event, Operator

from ....core.capture_job import JOB_ENDING
from ...clip import markers
from ...context import properties
from ...context.active_clip import require_clip
from ...context.present import present
from ...context.task_runner import Result, Task, TaskOperator
from ...tasks.export_task import ExportTask
from .polls import has_clip


class SAM2SPLAT_OT_export_job(TaskOperator, Operator):
    """Write clicks, drawn masks and settings as a job, which sam2-splat runs without Blender"""

    bl_idname = "sam2_splat.export_job"
    bl_label = "Export Job"
    panel = "bake"
    bl_options = {"REGISTER"}

    filepath: Annotated[str, StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})]
    check_existing: Annotated[bool, BoolProperty(default=True, options={"HIDDEN"})]
    filter_folder: Annotated[bool, BoolProperty(default=True, options={"HIDDEN"})]
    filter_glob: Annotated[str, StringProperty(default="*.json", options={"HIDDEN"})]

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not has_clip(cls, context):
            return False
        if not markers.has_clicks(require_clip(context)):
            cls.poll_message_set("Click (or Ctrl+click) on the subject first")
            return False
        return True

    def invoke(self, context: Context, event: Event) -> Result:
        if self.filepath:  # from a script, or chosen just now
            return super().invoke(context, event)
        self._chosen = True
        self.filepath = str(proposed_file(require_clip(context)))
        present(context.window_manager).fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Context) -> Result:
        if getattr(self, "_chosen", False) and not bpy.app.background:
            # The file browser's operator ends with this call, so the task needs a new one.
            result: Result = cast(Any, bpy.ops).sam2_splat.export_job(
                "INVOKE_DEFAULT", filepath=self.filepath
            )
            return {"FINISHED"} if "RUNNING_MODAL" in result else result
        return super().execute(context)

    def start(self, context: Context) -> Task:
        path = Path(bpy.path.abspath(self.filepath)).absolute()
        if not path.name.casefold().endswith(".json"):
            path = path.with_name(f"{path.name}{JOB_ENDING}")
        return ExportTask(require_clip(context), path)


def proposed_file(clip: bpy.types.MovieClip) -> Path:
    """Return a file name for a clip's job: beside the folder of its photos, and called like it."""
    folder = Path(bpy.path.abspath(properties.of_clip(clip).footage_folder))
    return folder.with_name(f"{folder.name}{JOB_ENDING}")


CLASSES = (SAM2SPLAT_OT_export_job,)
