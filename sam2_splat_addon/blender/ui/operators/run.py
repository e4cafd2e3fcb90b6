# SPDX-License-Identifier: GPL-3.0-or-later
"""Propagate, bake and cancel.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from typing import Annotated, Any, cast, get_args

from bpy.props import EnumProperty, StringProperty
from bpy.types import Context, Operator

from ....core.errors import SplatError
from ...clip import markers, matte_run
from ...context import editors, last_error, preferences, properties, task_runner, worker_session
from ...context.active_clip import active_clip, require_clip
from ...context.last_error import PanelName
from ...context.present import present
from ...context.task_runner import Result, Task, TaskOperator
from ...tasks import live_preview
from ...tasks.bake_task import BakeTask
from ...tasks.job_task import JobTask
from ...tasks.propagate_task import PropagateTask
from ...translations.catalogue import translated_tip
from .polls import nothing_runs, own_clip

SPAN_ITEMS = (
    ("all", "All Frames", "Carry the clicks through all frames with SAM 2"),
    ("forward", "From Here On", "Carry the clicks to this frame and all frames after it"),
    ("backward", "Back From Here", "Carry the clicks to this frame and all frames before it"),
    (
        "frame",
        "This Frame",
        "Carry the clicks to this frame only, in the time of one frame if you clicked on it",
    ),
)


class _ClipTask(TaskOperator, Operator):
    """The common part of operators that run a task on a clip."""

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not own_clip(cls, context):
            return False
        task = task_runner.current()
        if task is not None:
            cls.poll_message_set(translated_tip(f"{task.title} is still running"))
            return False
        return True


class SAM2SPLAT_OT_propagate(_ClipTask):
    """Carry the clicks through all frames with SAM 2, and show the masks"""

    bl_idname = "sam2_splat.propagate"
    bl_label = "Propagate"
    bl_options = {"REGISTER"}

    span: Annotated[
        str, EnumProperty(name="Frames", items=SPAN_ITEMS, default="all", options={"SKIP_SAVE"})
    ]

    @classmethod
    def description(cls, context: Context, properties: Any) -> str:
        return translated_tip({name: text for name, _, text in SPAN_ITEMS}[properties.span])

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not super().poll(context):
            return False
        if not markers.has_clicks(require_clip(context)):
            cls.poll_message_set("Click (or Ctrl+click) on the subject first")
            return False
        return True

    def start(self, context: Context) -> Task:
        clip = require_clip(context)
        space = editors.clip_editor_of(context)
        if space is not None and space.clip == clip:
            here = editors.clip_frame(space)
        else:
            here = editors.to_clip(clip, present(context.scene).frame_current)
        return PropagateTask(
            clip,
            device=preferences.device(),
            threads=preferences.threads(),
            span=self.span,
            here=here,
        )

    def finished(self, context: Context, task: Task) -> None:
        space = editors.clip_editor_of(context)
        if space is not None and space.clip is not None:
            space.mask = properties.of_clip(space.clip).mask


class SAM2SPLAT_OT_bake(_ClipTask):
    """Write images and masks for the chosen trainers into a new folder"""

    bl_idname = "sam2_splat.bake"
    bl_label = "Bake PNGs"
    panel = "bake"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not super().poll(context):
            return False
        clip = require_clip(context)
        if not matte_run.has_masks(clip):
            cls.poll_message_set("Propagate first, so that there are masks to bake")
            return False
        subjects = properties.of_clip(clip).objects
        if len(subjects) and not any(entry.use_in_bake for entry in subjects):
            cls.poll_message_set("No subject is baked. Switch one on in the list of subjects")
            return False
        if not properties.of_clip(clip).targets:
            cls.poll_message_set("No trainer is chosen. Choose one in the Bake panel")
            return False
        return True

    def start(self, context: Context) -> Task:
        return BakeTask(
            require_clip(context), device=preferences.device(), threads=preferences.threads()
        )


class SAM2SPLAT_OT_cancel(Operator):
    """Stop the running task, and keep the frames that are finished"""

    bl_idname = "sam2_splat.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return task_runner.current() is not None

    def execute(self, context: Context) -> Result:
        task_runner.cancel_current()
        return {"FINISHED"}


class SAM2SPLAT_OT_restart_worker(Operator):
    """Start a new SAM 2 process, in which the running task goes on"""

    bl_idname = "sam2_splat.restart_worker"
    bl_label = "Restart SAM 2"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        task = task_runner.current()
        return (isinstance(task, JobTask) and bool(task.silence)) or nothing_runs(cls)

    def execute(self, context: Context) -> Result:
        task = task_runner.current()
        if isinstance(task, JobTask):
            try:
                task.restart()
            except SplatError as error:
                task_runner.cancel_current()
                return task_runner.report_error(self, error)
            return {"FINISHED"}
        worker_session.shut_down()
        live_preview.invalidate()
        for panel in get_args(PanelName):
            last_error.forget(panel, _uid(context))
        editors.redraw()
        return {"FINISHED"}


class SAM2SPLAT_OT_dismiss(Operator):
    """Close this message"""

    bl_idname = "sam2_splat.dismiss"
    bl_label = "Close"
    bl_options = {"INTERNAL"}

    panel: Annotated[str, StringProperty(default="propagate")]

    def execute(self, context: Context) -> Result:
        last_error.forget(cast(PanelName, self.panel), _uid(context))
        return {"FINISHED"}


def _uid(context: Context) -> int | None:
    clip = active_clip(context)
    return clip.session_uid if clip is not None else None


CLASSES = (
    SAM2SPLAT_OT_propagate,
    SAM2SPLAT_OT_bake,
    SAM2SPLAT_OT_cancel,
    SAM2SPLAT_OT_restart_worker,
    SAM2SPLAT_OT_dismiss,
)
