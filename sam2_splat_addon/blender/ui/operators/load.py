# SPDX-License-Identifier: GPL-3.0-or-later
"""Load photos as a clip, also those of a video.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from pathlib import Path
from typing import Annotated, Any, Final, cast

import bpy
from bpy.props import BoolProperty, StringProperty
from bpy.types import Context, Event, FileHandler, Operator

from ....core.footage.scan import IMAGE_EXTENSIONS
from ....core.footage.video_scores import VIDEO_EXTENSIONS, is_video_name
from ....core.settings import VideoSettings
from ....core.system.safe_read import is_folder
from ...context import editors, preferences, properties, task_runner
from ...context.active_clip import require_clip
from ...context.present import present
from ...context.task_runner import Result, Task, TaskOperator
from ...overlay import video_preview
from ...tasks import live_preview
from ...tasks.load_task import LoadTask
from ...tasks.video_task import VideoTask
from .. import first_look
from .polls import nothing_runs

FURTHER_PHOTOS: Final = (
    "*.jpe;*.avif;*.hei[cf];*.hif;*.jxl;*.3fr;*.ar[iw];*.bay;*.cap;*.cr[23w];*.dc[rs];*.dng;*.drf;*.erf;*.fff;"
    "*.gpr;*.iiq;*.k25;*.kdc;*.m[de][cf];*.mos;*.mrw;*.n[er][fw];*.or[fi];*.pef;*.p[tx][xn];*.ra[fw];"
    "*.rw[2lz];*.sr[2fw];*.x3f"
)
"""Photos that Blender's file browser does not take for images, as patterns of at most 255 letters."""

_WITH_OWN_DROPS: Final = frozenset({"FILE_BROWSER", "SEQUENCE_EDITOR"})
"""Editors that take dropped files for something else."""


class SAM2SPLAT_OT_load(TaskOperator, Operator):
    """Open a folder of photos, or the photos of a video, as one clip, whatever their names are"""

    bl_idname = "sam2_splat.load"
    bl_label = "Load Photos"
    panel = "load"
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
    with_subfolders: Annotated[
        bool,
        BoolProperty(
            name="Subfolders",
            description="Also load the photos in subfolders, such as passes and cameras. A folder without"
            " photos of its own is always loaded with its subfolders",
            default=False,
            options={"SKIP_SAVE"},
        ),
    ]
    filter_folder: Annotated[bool, BoolProperty(default=True, options={"HIDDEN"})]
    filter_image: Annotated[bool, BoolProperty(default=True, options={"HIDDEN"})]
    filter_movie: Annotated[bool, BoolProperty(default=True, options={"HIDDEN"})]
    filter_glob: Annotated[str, StringProperty(default=FURTHER_PHOTOS, options={"HIDDEN"})]

    @classmethod
    def poll(cls, context: Context) -> bool:
        return nothing_runs(cls)

    def invoke(self, context: Context, event: Event) -> Result:
        if self.filepath:  # from a script or the panel, or chosen just now
            return super().invoke(context, event)
        self._chosen = True
        live_preview.warm_up()
        present(context.window_manager).fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Context) -> Result:
        if getattr(self, "_chosen", False) and not bpy.app.background:
            # The file browser's operator ends with this call, so the task needs a new one.
            result: Result = cast(Any, bpy.ops).sam2_splat.load(
                "INVOKE_DEFAULT",
                filepath=self.filepath,
                relink=self.relink,
                with_subfolders=self.with_subfolders,
            )
            return {"FINISHED"} if "RUNNING_MODAL" in result else result
        return super().execute(context)

    def start(self, context: Context) -> Task:
        live_preview.warm_up()
        into = require_clip(context).session_uid if self.relink else None
        path = Path(bpy.path.abspath(self.filepath)).absolute()
        if is_video_name(path.name) and not is_folder(path):
            # In a window the user sees first which frames are taken.
            settings = video_settings(context)
            return VideoTask(path, settings, until="clip" if bpy.app.background else "scores")
        # A button that only loads again does not say it.
        is_said = present(self.properties).is_property_set("with_subfolders")
        subfolders = self.with_subfolders if is_said else None
        return LoadTask(path, into, with_subfolders=subfolders)

    def finished(self, context: Context, task: Task) -> None:
        if isinstance(task, VideoTask) and not task.clip_name:
            if task.scores is not None and not task.cancelled:
                video_preview.show(task.video, task.scores)
                if not bpy.app.background and next(editors.clip_editors(), None) is None:
                    first_look.show_workspace(context)  # the choice is shown in a Clip Editor
                editors.redraw()
            return
        name = cast("LoadTask | VideoTask", task).clip_name
        if name:
            video_preview.end()
        show_loaded(context, name)


class SAM2SPLAT_FH_photos(FileHandler):
    """Load the folder of a photo that is dropped, or the photos of a video"""

    # An editor takes dropped files that it knows before Blender asks here. So a JPEG on the Clip Editor
    # is still opened by Blender. Blender gives folders to nobody, because it goes by extensions.
    bl_idname = "SAM2SPLAT_FH_photos"
    bl_label = "Load Photos"
    bl_import_operator = SAM2SPLAT_OT_load.bl_idname
    bl_file_extensions = ";".join(
        sorted((IMAGE_EXTENSIONS - cast(Any, bpy.path).extensions_image) | VIDEO_EXTENSIONS)
    )

    @classmethod
    def poll_drop(cls, context: Context) -> bool:
        area = context.area
        is_free = area is not None and area.type not in _WITH_OWN_DROPS
        return is_free and task_runner.current() is None


class SAM2SPLAT_OT_make_photos(TaskOperator, Operator):
    """Write the marked frames of the video as photos into a new folder, and load them"""

    bl_idname = "sam2_splat.make_photos"
    bl_label = "Make Photos"
    panel = "load"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return nothing_runs(cls) and video_preview.waiting() is not None

    def start(self, context: Context) -> Task:
        shown = present(video_preview.waiting())
        folder = properties.of_window(context.window_manager).video_folder
        parent = Path(bpy.path.abspath(folder)).absolute() if folder else None
        return VideoTask(shown.video, video_settings(context), parent)

    def finished(self, context: Context, task: Task) -> None:
        made = cast(VideoTask, task)
        if not made.cancelled:
            video_preview.end()
        show_loaded(context, made.clip_name)


class SAM2SPLAT_OT_leave_video(Operator):
    """Make no photos of this video now"""

    bl_idname = "sam2_splat.leave_video"
    bl_label = "Leave This Video"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return nothing_runs(cls)

    def execute(self, context: Context) -> Result:
        video_preview.end()
        editors.redraw()
        return {"FINISHED"}


def video_settings(context: Context) -> VideoSettings:
    """Return how the sidebar says that photos of a video are made."""
    chosen = properties.of_window(context.window_manager)
    return VideoSettings(chosen.video_photos, chosen.video_format)


def show_loaded(context: Context, name: str) -> None:
    """Show the clip that was loaded, if there is one."""
    clip: bpy.types.MovieClip | None = bpy.data.movieclips.get(name)
    if clip is not None:
        preferences.stop_offering_workspace()
        first_look.show_clip(context, clip)


class SAM2SPLAT_OT_open_workspace(Operator):
    """Open the Masking workspace: a large Clip Editor with the add-on's tab, and a timeline"""

    bl_idname = "sam2_splat.open_workspace"
    bl_label = "Masking Workspace"
    bl_options = {"REGISTER"}

    def execute(self, context: Context) -> Result:
        first_look.show_workspace(context)
        live_preview.warm_up()
        preferences.stop_offering_workspace()
        return {"FINISHED"}


class SAM2SPLAT_OT_refuse_workspace(Operator):
    """Take this button away. The Masking workspace stays in the Window menu, under SAM2 Splat"""

    bl_idname = "sam2_splat.refuse_workspace"
    bl_label = "No Masking Workspace"
    bl_options = {"INTERNAL"}

    def execute(self, context: Context) -> Result:
        preferences.stop_offering_workspace()
        return {"FINISHED"}


CLASSES = (
    SAM2SPLAT_OT_load,
    SAM2SPLAT_FH_photos,
    SAM2SPLAT_OT_make_photos,
    SAM2SPLAT_OT_leave_video,
    SAM2SPLAT_OT_open_workspace,
    SAM2SPLAT_OT_refuse_workspace,
)
