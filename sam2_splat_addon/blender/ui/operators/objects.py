# SPDX-License-Identifier: GPL-3.0-or-later
"""Add and remove subjects, and clear results.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from typing import Annotated

import bpy
from bpy.props import BoolProperty, StringProperty
from bpy.types import Context, Operator

from ....core.errors import SplatError
from ....core.prompts import FramePrompts
from ...clip import anew_frames, markers, matte_run
from ...context import changes, properties
from ...context.active_clip import active_clip, require_clip
from ...context.editors import to_clip
from ...context.present import present
from ...context.task_runner import Result, Task, TaskOperator, report_error
from ...masks import layers
from ...tasks import layer_build
from ...tasks.masks_task import MasksTask
from .polls import has_clip, nothing_runs


def _delete_clicks(camera: bpy.types.MovieTrackingObject) -> None:
    """Delete the Camera's clicks. Blender removes tracks in a Clip Editor only."""
    clicks = {track.name for track in markers.camera_clicks(camera)}
    for track in camera.tracks:
        track.select = track.name in clicks
    bpy.ops.clip.delete_track()


class SAM2SPLAT_OT_object_add(Operator):
    """Add a subject, which then gets the new clicks"""

    bl_idname = "sam2_splat.object_add"
    bl_label = "Add Subject"
    bl_options = {"REGISTER", "UNDO"}

    name: Annotated[str, StringProperty(name="Name", default="Subject")]

    @classmethod
    def poll(cls, context: Context) -> bool:
        return has_clip(cls, context)

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        objects = present(clip.tracking).objects
        objects.active = objects.new(markers.free_name(clip, self.name))
        markers.sync_objects(clip)
        return {"FINISHED"}


class SAM2SPLAT_OT_object_remove(Operator):
    """Remove the active subject with its clicks and masks"""

    bl_idname = "sam2_splat.object_remove"
    bl_label = "Remove Subject"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not has_clip(cls, context):
            return False
        entry = present(present(require_clip(context).tracking).objects.active)
        space = context.space_data
        if entry.is_camera and (space is None or space.type != "CLIP_EDITOR"):
            cls.poll_message_set("Remove the Camera's clicks in a Clip Editor")
            return False
        if entry.is_camera and not markers.camera_clicks(entry):
            cls.poll_message_set("The Camera can't be removed and has no clicks to remove")
            return False
        return True

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        settings = properties.of_clip(clip)
        entry = present(present(clip.tracking).objects.active)
        name = markers.subject_name(entry)
        if entry.is_camera:
            _delete_clicks(entry)
        else:
            present(clip.tracking).objects.remove(entry)
        if settings.mask is not None:
            layers.remove_object_layer(settings.mask, name)
        index = settings.objects.find(name)
        if index >= 0:
            settings.objects.remove(index)
        return {"FINISHED"}


class SAM2SPLAT_OT_use_found_masks(TaskOperator, Operator):
    """Take the masks that lie beside the photos as the active subject's masks. White is the subject"""

    bl_idname = "sam2_splat.use_found_masks"
    bl_label = "Use Masks Beside the Photos"
    panel = "load"
    bl_options = {"REGISTER"}

    invert: Annotated[
        bool,
        BoolProperty(
            name="Invert", description="Black is the subject in these masks", default=False
        ),
    ]

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not nothing_runs(cls):
            return False
        if not has_clip(cls, context):
            return False
        if not properties.of_clip(require_clip(context)).found_masks:
            cls.poll_message_set("There are no masks beside the photos")
            return False
        return True

    def start(self, context: Context) -> Task:
        clip = require_clip(context)
        name = markers.subject_name(markers.subject_to_click(clip))
        markers.sync_objects(clip)
        return MasksTask(clip, name, invert=self.invert)


class SAM2SPLAT_OT_toggle_exclude(Operator):
    """Change the selected clicks from include to exclude, or back"""

    bl_idname = "sam2_splat.toggle_exclude"
    bl_label = "Toggle Exclude"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not has_clip(cls, context):
            return False
        entry = present(require_clip(context).tracking).objects.active
        if entry is None or entry.tracks.active is None:
            cls.poll_message_set("Select a click first")
            return False
        return True

    def execute(self, context: Context) -> Result:
        tracks = present(present(require_clip(context).tracking).objects.active).tracks
        active = present(tracks.active)
        chosen = [track for track in tracks if track.select] or [active]
        exclude = not active.name.startswith(markers.EXCLUDE_PREFIX)
        for track in chosen:
            markers.set_exclude(track, exclude)
        return {"FINISHED"}


class SAM2SPLAT_OT_start_anew(Operator):
    """Let only the clicks on this photo say where the active subject is, not the mask tracked to it"""

    bl_idname = "sam2_splat.start_anew"
    bl_label = "Start Anew Here"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not has_clip(cls, context):
            return False
        if not can_start_anew(context):
            cls.poll_message_set("Click on the subject on this photo first")
            return False
        return True

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        markers.sync_objects(clip)
        name = markers.subject_name(present(present(clip.tracking).objects.active))
        object_id = properties.of_clip(clip).objects[name].object_id
        frame = to_clip(clip, present(context.scene).frame_current)
        anew = frame not in anew_frames.of_object(clip, object_id)
        anew_frames.mark(clip, object_id, frame, anew=anew)
        return {"FINISHED"}


def can_start_anew(context: Context) -> bool:
    """Whether this photo has clicks on the active subject, and no mask that is a prompt."""
    prompts = active_prompts(context)
    return prompts is not None and prompts.includes_something and prompts.mask is None


def active_prompts(context: Context) -> FramePrompts | None:
    """Return the active subject's prompts on this photo, if there are any."""
    clip = active_clip(context)
    if clip is None:
        return None
    entry = present(clip.tracking).objects.active
    if entry is None:
        return None
    frame = to_clip(clip, present(context.scene).frame_current)
    return markers.on_frame(clip, frame).get(markers.subject_name(entry))


class SAM2SPLAT_OT_clear_results(Operator):
    """Delete all masks of this clip, and keep the clicks"""

    bl_idname = "sam2_splat.clear_results"
    bl_label = "Clear Results"
    # The mattes on disk do not come back with Ctrl+Z.
    panel = "propagate"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not has_clip(cls, context):
            return False
        if not matte_run.has_masks(require_clip(context)):
            cls.poll_message_set("There are no masks to delete")
            return False
        return True

    def invoke(self, context: Context, event: bpy.types.Event) -> Result:
        return present(context.window_manager).invoke_confirm(self, event)

    def execute(self, context: Context) -> Result:
        try:
            clip = require_clip(context)
            store = matte_run.proven_store(clip)
            if store is not None:
                store.clear()
            changes.mattes_changed(clip.session_uid)
            layer_build.results_cleared(clip)
        except SplatError as error:
            return report_error(self, error)
        mask = properties.of_clip(clip).mask
        if mask is not None:
            for entry in properties.of_clip(clip).objects:
                layers.remove_object_layer(mask, entry.name)
        return {"FINISHED"}


CLASSES = (
    SAM2SPLAT_OT_object_add,
    SAM2SPLAT_OT_object_remove,
    SAM2SPLAT_OT_use_found_masks,
    SAM2SPLAT_OT_toggle_exclude,
    SAM2SPLAT_OT_start_anew,
    SAM2SPLAT_OT_clear_results,
)
