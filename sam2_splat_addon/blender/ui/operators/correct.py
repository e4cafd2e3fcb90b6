# SPDX-License-Identifier: GPL-3.0-or-later
"""Correct single frames: undo an edit, make it a prompt, clear masks.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from typing import Annotated, NamedTuple

import bpy
from bpy.props import EnumProperty
from bpy.types import Context, Operator

from ....core.errors import PromptError, SplatError
from ....core.geometry.trace import trace_shown
from ....core.printable import counted
from ...clip import clear_results, markers, mask_prompts, matte_cache, matte_run, shown
from ...context import changes, properties
from ...context.active_clip import active_clip, require_clip
from ...context.editors import to_clip
from ...context.present import present
from ...context.task_runner import Result, report_error
from ...masks import edit_search, keys, layers, single_frame
from ...tasks import local_edits
from ...translations.catalogue import translated_report
from . import click_targets
from .polls import has_masks, nothing_runs


class Place(NamedTuple):
    """The active subject on the current frame."""

    clip: bpy.types.MovieClip
    mask: bpy.types.Mask
    object_id: int
    name: str
    frame: int
    scene_frame: int


def place_of(context: Context) -> Place | None:
    """Return what the buttons work on, or None when the active subject has no mask layer."""
    clip = active_clip(context)
    if clip is None:
        return None
    settings = properties.of_clip(clip)
    mask = settings.mask
    if mask is None:
        return None
    entry = present(clip.tracking).objects.active
    name = markers.subject_name(entry) if entry is not None else ""
    known = settings.objects.get(name)
    if known is None or name not in mask.layers:
        return None
    now = present(context.scene).frame_current
    frame = to_clip(clip, now)
    return Place(clip, mask, known.object_id, name, frame, now)


class _OnFrame:
    """The common part of operators on the active subject and the current frame."""

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not nothing_runs(cls):
            return False
        if place_of(context) is None:
            cls.poll_message_set("Choose a subject with a mask")  # type: ignore[attr-defined]
            return False
        return True


class SAM2SPLAT_OT_restore_mask(_OnFrame, Operator):
    """Undo your edit of the active subject's mask on this frame"""

    bl_idname = "sam2_splat.restore_mask"
    bl_label = "Back to SAM 2's Mask"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Context) -> Result:
        place = place_of(context)
        assert place is not None  # poll has seen it
        clip = place.clip
        try:
            edit_search.settle_torn(place.mask, place.name, drop=place.scene_frame)
            local_edits.settle(clip, here=True)
            store = matte_run.current_store(clip)
            contours = []
            if store is not None and store.has(place.object_id, place.frame):
                logits = store.read(place.object_id, place.frame).logits
                contours = trace_shown(logits, shown.of(clip, place.frame))
            single_frame.restore_frame(place.mask, clip, place.name, place.scene_frame, contours)
        except SplatError as error:
            return report_error(self, error)
        changes.edits_changed(clip.session_uid)
        if _was_prompt(place):
            self.report(
                {"INFO"},
                "SAM 2 has learned from your edit here. Propagate to see its own mask again",
            )
        return {"FINISHED"}


def _was_prompt(place: Place) -> bool:
    """Whether the mask on a frame was a prompt of the last propagation."""
    last = matte_run.last_run(place.clip)
    frames = (
        prompts
        for entry in (last.prompts.objects if last is not None else ())
        if entry.id == place.object_id
        for prompts in entry.frames
    )
    return any(one.frame == place.frame and one.mask is not None for one in frames)


class SAM2SPLAT_OT_mask_to_prompt(_OnFrame, Operator):
    """Keep the active subject's mask on this frame, and let the next Propagate learn from it"""

    bl_idname = "sam2_splat.mask_to_prompt"
    bl_label = "Use as Prompt"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not super().poll(context):
            return False
        place = place_of(context)
        if place is None or matte_cache.is_empty(
            place.clip, place.object_id, place.name, place.frame
        ):
            cls.poll_message_set("The subject has no mask on this photo")
            return False
        return True

    def execute(self, context: Context) -> Result:
        place = place_of(context)
        assert place is not None  # poll has seen it
        size = (int(place.clip.size[0]), int(place.clip.size[1]))
        try:
            local_edits.settle(place.clip, here=True)
            outlines = layers.read_object_layer(place.mask, place.name, place.scene_frame, size)
            if not 1 <= place.frame <= properties.of_clip(place.clip).frame_count:
                raise PromptError("The playhead is outside the clip.", "Go to one of its frames.")
            mask_prompts.set_from_outlines(place.clip, place.object_id, place.frame, outlines)
        except SplatError as error:
            return report_error(self, error)
        said = f"The mask of {place.name} on frame {place.frame} is now a prompt"
        self.report({"INFO"}, translated_report(said))
        return {"FINISHED"}


class SAM2SPLAT_OT_remove_mask_prompt(_OnFrame, Operator):
    """Stop using the mask on this frame as a prompt, and keep the mask itself"""

    bl_idname = "sam2_splat.remove_mask_prompt"
    bl_label = "Remove Mask Prompt"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not super().poll(context):
            return False
        place = place_of(context)
        if place is None or not mask_prompts.has_mask(place.clip, place.object_id, place.frame):
            cls.poll_message_set("This frame has no mask prompt")
            return False
        return True

    def execute(self, context: Context) -> Result:
        place = place_of(context)
        assert place is not None  # poll has seen it
        mask_prompts.remove(place.clip, place.object_id, place.frame)
        return {"FINISHED"}


class SAM2SPLAT_OT_remove_contour(Operator):
    """Remove the contours with selected points from this photo only"""

    bl_idname = "sam2_splat.remove_contour"
    bl_label = "Remove Contour Here"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not click_targets.in_mask_mode(context.space_data):
            cls.poll_message_set("Go to Mask mode and select a point of the contour")
            return False
        return has_masks(cls, context, "There are no masks")

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        mask, now = properties.of_clip(clip).mask, present(context.scene).frame_current
        assert mask is not None  # poll has seen it
        count = 0
        try:
            for entry in properties.of_clip(clip).objects:
                layer = keys.named(mask.layers, entry.name)
                if layer is None or layer.hide or layer.hide_select:
                    continue
                chosen = keys.selected_splines(layer)
                if chosen:
                    single_frame.remove_contours(mask, clip, entry.name, now, chosen)
                    count += len(chosen)
        except SplatError as error:
            return report_error(self, error)
        if not count:
            self.report({"WARNING"}, "Select a point of the contour first")
            return {"CANCELLED"}
        changes.edits_changed(clip.session_uid)
        said = f"{counted(count, 'contour')} removed from this photo only"
        self.report({"INFO"}, translated_report(said))
        return {"FINISHED"}


def draw_mask_menu(menu: bpy.types.Menu, context: Context) -> None:
    """Draw our entry in the editor's Mask menu."""
    layout = present(menu.layout)
    layout.separator()
    layout.operator(SAM2SPLAT_OT_remove_contour.bl_idname)


class SAM2SPLAT_OT_clear_masks(Operator):
    """Remove masks and keep the clicks"""

    bl_idname = "sam2_splat.clear_masks"
    bl_label = "Clear"
    bl_options = {"REGISTER", "UNDO"}

    what: Annotated[
        str,
        EnumProperty(
            name="Clear",
            items=(
                ("FRAME", "This Frame", "Remove the active subject's mask on this frame"),
                ("OBJECT", "Active Subject", "Remove all masks of the active subject"),
                ("ALL", "All Subjects", "Remove all masks of this clip"),
            ),
        ),
    ]

    @classmethod
    def poll(cls, context: Context) -> bool:
        return has_masks(cls, context, "There are no masks")

    def execute(self, context: Context) -> Result:
        clip = require_clip(context)
        try:
            if self.what == "ALL":
                clear_results.clear_objects(
                    clip, {one.object_id for one in properties.of_clip(clip).objects}
                )
            else:
                self._clear_one(context, clip)
        except SplatError as error:
            return report_error(self, error)
        changes.edits_changed(clip.session_uid)
        return {"FINISHED"}

    def _clear_one(self, context: Context, clip: bpy.types.MovieClip) -> None:
        place = place_of(context)
        if place is None:
            raise SplatError("The active subject has no mask.", "Choose another subject.")
        if self.what == "OBJECT":
            clear_results.clear_objects(clip, {place.object_id})
        else:
            local_edits.settle(clip, here=True)
            single_frame.empty_frame(place.mask, clip, place.name, place.scene_frame)


CLASSES = (
    SAM2SPLAT_OT_restore_mask,
    SAM2SPLAT_OT_mask_to_prompt,
    SAM2SPLAT_OT_remove_mask_prompt,
    SAM2SPLAT_OT_remove_contour,
    SAM2SPLAT_OT_clear_masks,
)
