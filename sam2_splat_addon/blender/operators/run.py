# SPDX-License-Identifier: GPL-3.0-or-later
"""Propagate, bake and cancel; imports bpy."""

from bpy.types import Context, Operator

from .. import preferences, running
from ..active_clip import active_clip, require_clip
from ..bake_task import BakeTask
from ..propagate_task import PropagateTask
from ..running import Result, Task, TaskOperator


class _ClipTask(TaskOperator, Operator):
    """What the operators that run a task on a clip have in common."""

    @classmethod
    def poll(cls, context: Context) -> bool:
        if active_clip(context) is None:
            cls.poll_message_set("Load photos first")
            return False
        task = running.current()
        if task is not None:
            cls.poll_message_set(f"{task.title} is still running")
            return False
        return True


class SAM2SPLAT_OT_propagate(_ClipTask):
    """Carry the clicks through all frames with SAM 2 and show the result as mask layers"""

    bl_idname = "sam2_splat.propagate"
    bl_label = "Propagate"
    bl_options = {"REGISTER"}

    def start(self, context: Context) -> Task:
        return PropagateTask(
            require_clip(context), device=preferences.device(), threads=preferences.threads()
        )

    def finished(self, context: Context, task: Task) -> None:
        space = context.space_data
        if space is not None and space.type == "CLIP_EDITOR" and space.clip is not None:
            space.mask = space.clip.sam2_splat.mask


class SAM2SPLAT_OT_bake(_ClipTask):
    """Write an RGBA PNG of every photo into a new folder beside the photos, for the trainer"""

    bl_idname = "sam2_splat.bake"
    bl_label = "Bake PNGs"
    bl_options = {"REGISTER"}

    def start(self, context: Context) -> Task:
        return BakeTask(require_clip(context))


class SAM2SPLAT_OT_cancel(Operator):
    """Stop the running task; the frames that are finished stay"""

    bl_idname = "sam2_splat.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return running.current() is not None

    def execute(self, context: Context) -> Result:
        running.cancel_current()
        return {"FINISHED"}


CLASSES = (SAM2SPLAT_OT_propagate, SAM2SPLAT_OT_bake, SAM2SPLAT_OT_cancel)
