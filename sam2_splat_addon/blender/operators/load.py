# SPDX-License-Identifier: GPL-3.0-or-later
"""Load photos as a clip; imports bpy.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from pathlib import Path

import bpy
from bpy.props import StringProperty
from bpy.types import Context, Event, FileHandler, Operator

from ...core.errors import SplatError
from ...core.footage import IMAGE_EXTENSIONS
from .. import footage_clip, footage_proxy
from ..running import Result, report_error


class SAM2SPLAT_OT_load(Operator):
    """Open a folder of photos as one clip, whatever their names"""

    bl_idname = "sam2_splat.load"
    bl_label = "Load Photos"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    filter_image: bpy.props.BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: Context, event: Event) -> Result:
        if self.filepath:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Context) -> Result:
        try:
            clip = footage_clip.load(Path(bpy.path.abspath(self.filepath)))
        except SplatError as error:
            return report_error(self, error)
        show(context, clip)
        settings = clip.sam2_splat
        skipped = (
            f"; {settings.unreadable_count} can't be read and were left out"
            if settings.unreadable_count
            else ""
        )
        self.report(
            {"WARNING" if skipped else "INFO"},
            f"{clip.name}: {settings.frame_count} photos of"
            f" {clip.size[0]}x{clip.size[1]} px{skipped}",
        )
        return {"FINISHED"}


def show(context: Context, clip: bpy.types.MovieClip) -> None:
    """Put the clip into the Clip Editor at hand and fit the scene's range to it."""
    scene = context.scene
    scene.frame_start = clip.frame_start
    scene.frame_end = clip.frame_start + clip.sam2_splat.frame_count - 1
    space = context.space_data
    if space is not None and space.type == "CLIP_EDITOR":
        space.clip = clip
        # A click is muted beside its frame, so that it shows on its own alone.
        space.show_disabled = False
        if not bpy.app.background and footage_proxy.is_wanted(clip):
            footage_proxy.begin(context, clip)
    # Scripts have no editor: the scene's clip is what the operators fall back to.
    scene.active_clip = clip


class SAM2SPLAT_FH_photos(FileHandler):
    """Photos dropped onto the Clip Editor: their whole folder becomes the clip"""

    bl_idname = "SAM2SPLAT_FH_photos"
    bl_label = "Photos for SAM2 Splat"
    bl_import_operator = "sam2_splat.load"
    bl_file_extensions = ";".join(sorted(IMAGE_EXTENSIONS))

    @classmethod
    def poll_drop(cls, context: Context) -> bool:
        return context.area is not None and context.area.type == "CLIP_EDITOR"


CLASSES = (SAM2SPLAT_OT_load, SAM2SPLAT_FH_photos)
