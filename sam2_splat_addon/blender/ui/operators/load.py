# SPDX-License-Identifier: GPL-3.0-or-later
"""Load photos as a clip.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from pathlib import Path
from typing import Annotated, Any, cast

import bpy
from bpy.props import BoolProperty, StringProperty
from bpy.types import Context, Event, Operator

from ...clip import proxies
from ...context import properties
from ...context.active_clip import require_clip
from ...context.editors import clip_editor_of
from ...context.present import present
from ...context.task_runner import Result, Task, TaskOperator
from ...tasks.load_task import LoadTask
from .polls import nothing_runs


class SAM2SPLAT_OT_load(TaskOperator, Operator):
    """Open a folder of photos as one clip, whatever the photos' names are"""

    bl_idname = "sam2_splat.load"
    bl_label = "Load Photos"
    # In a window the task makes its own undo step when the clip is there.
    bl_options = {"REGISTER"}

    filepath: Annotated[str, StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})]
    relink: Annotated[
        bool,
        BoolProperty(
            name="Moved Photos",
            description="Load the moved photos of the current clip, and keep its clicks and masks",
            default=False,
            options={"SKIP_SAVE"},
        ),
    ]
    filter_folder: Annotated[bool, BoolProperty(default=True, options={"HIDDEN"})]
    filter_image: Annotated[bool, BoolProperty(default=True, options={"HIDDEN"})]

    @classmethod
    def poll(cls, context: Context) -> bool:
        return nothing_runs(cls)

    def invoke(self, context: Context, event: Event) -> Result:
        if self.filepath:  # from a script or the panel, or chosen just now
            return super().invoke(context, event)
        self._chosen = True
        present(context.window_manager).fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Context) -> Result:
        if getattr(self, "_chosen", False) and not bpy.app.background:
            # The file browser's operator ends with this call, so the task needs a new one.
            result: Result = cast(Any, bpy.ops).sam2_splat.load(
                "INVOKE_DEFAULT", filepath=self.filepath, relink=self.relink
            )
            return {"FINISHED"} if "RUNNING_MODAL" in result else result
        return super().execute(context)

    def start(self, context: Context) -> Task:
        into = require_clip(context).session_uid if self.relink else None
        return LoadTask(Path(bpy.path.abspath(self.filepath)), into)

    def finished(self, context: Context, task: Task) -> None:
        clip: bpy.types.MovieClip | None = bpy.data.movieclips.get(cast(LoadTask, task).clip_name)
        if clip is not None:
            show(context, clip)


def show(context: Context, clip: bpy.types.MovieClip) -> None:
    """Show the clip in the current Clip Editor, and set the scene's range to the clip's."""
    scene = present(context.scene)
    scene.frame_start = clip.frame_start
    scene.frame_end = clip.frame_start + properties.of_clip(clip).frame_count - 1
    space = clip_editor_of(context)
    if space is not None:
        space.clip = clip
        # A click is muted on all other frames. Hide muted tracks, so that it shows on its own frame only.
        space.show_disabled = False
        if not bpy.app.background and proxies.is_wanted(clip):
            proxies.begin(context, clip)
    # Scripts have no editor. The operators then use the scene's clip.
    scene.active_clip = clip


CLASSES = (SAM2SPLAT_OT_load,)
