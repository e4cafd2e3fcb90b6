# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue: add captures, choose one to click on it, start all.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import bpy
from bpy.props import BoolProperty, CollectionProperty, StringProperty
from bpy.types import Context, Event, Operator, OperatorFileListElement

from ...context import properties
from ...context.active_clip import active_clip
from ...context.present import present
from ...context.task_runner import Result, Task, TaskOperator
from ...tasks.queue_task import QueueAddTask, QueueTask, queued_clips
from .. import first_look
from .load import show_loaded
from .polls import has_clip, nothing_runs

if TYPE_CHECKING:
    from ...context.properties import Rows


class SAM2SPLAT_OT_queue_add(TaskOperator, Operator):
    """Load folders of photos as captures of the queue. Select several folders to add all of them"""

    bl_idname = "sam2_splat.queue_add"
    bl_label = "Add Captures"
    panel = "queue"
    bl_options = {"REGISTER"}

    directory: Annotated[str, StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})]
    files: Annotated[
        "Rows[OperatorFileListElement]",
        CollectionProperty(type=OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"}),
    ]
    names: Annotated[str, StringProperty(options={"SKIP_SAVE", "HIDDEN"})]
    filter_folder: Annotated[bool, BoolProperty(default=True, options={"HIDDEN"})]

    @classmethod
    def poll(cls, context: Context) -> bool:
        return nothing_runs(cls)

    def invoke(self, context: Context, event: Event) -> Result:
        if self.directory:  # from a script, or chosen just now
            return super().invoke(context, event)
        self._chosen = True
        present(context.window_manager).fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Context) -> Result:
        if getattr(self, "_chosen", False) and not bpy.app.background:
            # The file browser's operator ends with this call, so the task needs a new one.
            chosen = "\n".join(file.name for file in self.files if file.name)
            result: Result = cast(Any, bpy.ops).sam2_splat.queue_add(
                "INVOKE_DEFAULT", directory=self.directory, names=chosen
            )
            return {"FINISHED"} if "RUNNING_MODAL" in result else result
        return super().execute(context)

    def start(self, context: Context) -> Task:
        parent = Path(bpy.path.abspath(self.directory)).absolute()
        names = [file.name for file in self.files if file.name] or self.names.split("\n")
        folders = [parent / name for name in names if name]
        folders = [path if path.is_dir() else path.parent for path in folders]
        return QueueAddTask(list(dict.fromkeys(folders)) or [parent])

    def finished(self, context: Context, task: Task) -> None:
        show_loaded(context, cast(QueueAddTask, task).clip_name)


class SAM2SPLAT_OT_queue_this(Operator):
    """Put the shown capture into the queue"""

    bl_idname = "sam2_splat.queue_this"
    bl_label = "Add This One"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not has_clip(cls, context):
            return False
        clip = active_clip(context)
        if clip is not None and properties.of_clip(clip).queued:
            cls.poll_message_set("This capture is in the queue")
            return False
        return True

    def execute(self, context: Context) -> Result:
        properties.of_clip(present(active_clip(context))).queued = True
        return {"FINISHED"}


class SAM2SPLAT_OT_queue_remove(Operator):
    """Take this capture out of the queue. Its clicks and masks stay"""

    bl_idname = "sam2_splat.queue_remove"
    bl_label = "Remove From the Queue"
    bl_options = {"REGISTER", "UNDO"}

    clip: Annotated[str, StringProperty(options={"SKIP_SAVE"})]

    @classmethod
    def poll(cls, context: Context) -> bool:
        return nothing_runs(cls)

    def execute(self, context: Context) -> Result:
        clip: bpy.types.MovieClip | None = bpy.data.movieclips.get(self.clip)
        if clip is None:
            return {"CANCELLED"}
        properties.of_clip(clip).queued = False
        return {"FINISHED"}


class SAM2SPLAT_OT_queue_show(Operator):
    """Show this capture, to click on its subject or to look at its masks"""

    bl_idname = "sam2_splat.queue_show"
    bl_label = "Show Capture"
    bl_options = {"REGISTER"}

    clip: Annotated[str, StringProperty(options={"SKIP_SAVE"})]

    def execute(self, context: Context) -> Result:
        clip: bpy.types.MovieClip | None = bpy.data.movieclips.get(self.clip)
        if clip is None:
            return {"CANCELLED"}
        present(context.scene).active_clip = clip
        first_look.show_clip(context, clip)
        return {"FINISHED"}


class SAM2SPLAT_OT_queue_start(TaskOperator, Operator):
    """Propagate all captures of the queue, several at once if this computer has room for them"""

    bl_idname = "sam2_splat.queue_start"
    bl_label = "Start All"
    panel = "queue"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not nothing_runs(cls):
            return False
        if not queued_clips():
            cls.poll_message_set("The queue is empty")
            return False
        return True

    def start(self, context: Context) -> Task:
        return QueueTask(queued_clips(), bakes=properties.of_scene(context.scene).queue_bakes)


CLASSES = (
    SAM2SPLAT_OT_queue_add,
    SAM2SPLAT_OT_queue_this,
    SAM2SPLAT_OT_queue_remove,
    SAM2SPLAT_OT_queue_show,
    SAM2SPLAT_OT_queue_start,
)
