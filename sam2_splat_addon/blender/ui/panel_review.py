# SPDX-License-Identifier: GPL-3.0-or-later
"""The Review panel in the Clip Editor's sidebar."""

from __future__ import annotations

from typing import Any

from bpy.types import Context, Panel, UILayout, UIList

from ...core.review.judge import FrameReview, FrameState
from ..clip import mask_prompts, matte_cache
from ..context import properties, task_runner
from ..context.active_clip import active_clip, require_clip
from ..context.present import present
from ..review import list_properties, live_review, model_proposal, thumbnails
from ..review.list_properties import SAM2SPLAT_PG_review_row
from ..review.review_builder import ClipReview
from ..tasks import local_edits
from ..tasks.report_task import written_page
from ..translations.catalogue import translated
from . import click_tool_ui
from .operators import click_targets
from .operators.correct import Place, place_of
from .widgets import Sidebar, draw_problem, draw_progress, wrapped

# How many letters a label holds beside an icon, in a sidebar of the usual width.
_LETTERS = 30
_WORDS: dict[FrameState, str] = {
    "good": "good",
    "doubtful": "worth a look",
    "absent": "no mask",
    "corrected": "edited by you",
    "fine": "looks fine",
}


class SAM2SPLAT_UL_review(UIList):
    """The list of photos to look at, worst first.

    A line has the mask in its subject's colour, the photo's number and one reason.
    """

    def draw_item(
        self,
        context: Context,
        layout: UILayout,
        data: Any,
        item: Any,
        icon: int | None,
        active_data: Any,
        active_property: str | None,
        index: int | None = 0,
        flt_flag: int | None = 0,
    ) -> None:
        listed: SAM2SPLAT_PG_review_row = item
        clip = active_clip(context)
        row = layout.row(align=True)
        entry = properties.of_clip(clip).objects.get(listed.name) if clip is not None else None
        found = live_review.of_clip(clip) if clip is not None else None
        picture = 0
        if clip is not None and entry is not None and found is not None:
            picture = thumbnails.icon(
                clip, listed.object_id, listed.frame, entry.color, found.revision
            )
        image = row.row()
        image.ui_units_x = 1.0
        if picture:
            image.template_icon(picture)
        else:
            image.label(text="")
        number = row.row()
        number.ui_units_x = 1.6
        number.alignment = "RIGHT"
        number.label(text=str(listed.frame))
        row.separator()
        row.label(text=translated(listed.summary))
        fine = row.operator("sam2_splat.looks_fine", text="", icon="CHECKBOX_DEHLT", emboss=False)
        fine.frame, fine.object_id = listed.frame, listed.object_id

    def draw_filter(self, context: Context, layout: UILayout) -> None:
        """Draw nothing. The switch below the list filters it."""


class SAM2SPLAT_PT_review(Sidebar, Panel):
    bl_label = "Review"

    @classmethod
    def poll(cls, context: Context) -> bool:
        """Show the panel when there are masks."""
        clip = active_clip(context)
        return clip is not None and properties.of_clip(clip).mask is not None

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        clip = require_clip(context)
        found = live_review.of_clip(clip)
        shown = list_properties.of_window(context.window_manager)
        row = layout.row(align=True)
        row.label(text=translated(_headline(found, live_review.progress(clip))))
        row.operator("sam2_splat.review", text="", icon="FILE_REFRESH")
        draw_problem(layout, clip, "review")
        if found is None or not found.reviews:
            return
        model_proposal.draw(layout, clip, found)
        if found.listed():
            rows = min(max(len(shown.rows), 2), 4)
            layout.template_list(
                "SAM2SPLAT_UL_review", "", shown, "rows", shown, "active_index", rows=rows
            )
            row = layout.row(align=True)
            step = row.operator("sam2_splat.review_step", text="Previous", icon="TRIA_UP")
            step.direction = "PREVIOUS"
            step = row.operator("sam2_splat.review_step", text="Next", icon="TRIA_DOWN")
            step.direction = "NEXT"
        if len(found.reviews) > 1:
            layout.prop(shown, "only_active")
        if draw_progress(layout, "review"):
            return
        row = layout.row(align=True)
        row.operator("sam2_splat.report", icon="FILE_TEXT")
        page = written_page(clip)
        if page is not None:
            row.operator("wm.path_open", text="Open", icon="URL").filepath = str(page)


def _headline(found: ClipReview | None, progress: tuple[int, int] | None) -> str:
    if progress is not None:
        return f"Reviewing, {progress[0]} of {progress[1]}" if progress[1] else "Reviewing"
    if found is None:
        return "No masks yet"
    if found.error:
        return found.error
    listed, frames = found.counts
    if not frames:
        return "No masks yet"
    return f"{listed} of {frames} photos to look at"


class SAM2SPLAT_PT_correct(Sidebar, Panel):
    bl_parent_id = "SAM2SPLAT_PT_review"
    bl_label = "This Photo"

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        place = place_of(context)
        column = layout.column(align=True)
        written = local_edits.progress(place.clip) if place is not None else None
        if written is not None:
            column.progress(factor=written, text="Restoring the other photos' masks")
        if place is None:
            column.label(text="Choose a subject with a mask")
        else:
            here = _review_of(place)
            edited = _is_edited(place, here)
            _describe(column, place, here, edited=edited)
            if edited:
                layout.prop(properties.of_clip(place.clip), "edits_prompt")
                layout.operator("sam2_splat.restore_mask", icon="LOOP_BACK")
            elif here is not None and here.state != "good":
                _draw_tick(layout, here)
            row = layout.row(align=True)
            click_tool_ui.draw_brush(row, context)
            row.operator("sam2_splat.edit_points", text="Points", icon="EDITMODE_HLT")
            if click_targets.in_mask_mode(context.space_data):
                layout.operator("sam2_splat.remove_contour", icon="X")
            row = layout.row(align=True)
            if mask_prompts.has_mask(place.clip, place.object_id, place.frame):
                row.operator("sam2_splat.mask_to_prompt", text="Update Prompt", icon="MOD_MASK")
                row.operator("sam2_splat.remove_mask_prompt", text="", icon="X")
            elif not (
                edited and properties.of_clip(place.clip).edits_prompt
            ):  # else it already is one
                row.operator("sam2_splat.mask_to_prompt", icon="MOD_MASK")
        layout.operator_menu_enum("sam2_splat.clear_masks", "what", icon="TRASH")


def _draw_tick(layout: UILayout, here: FrameReview) -> None:
    """Draw the box in which the user says that a frame is good."""
    is_fine = here.state == "fine"
    # The same call as the key's, so that the tooltip names the key.
    layout.operator(
        "sam2_splat.looks_fine",
        icon="CHECKBOX_HLT" if is_fine else "CHECKBOX_DEHLT",
        depress=is_fine,
    )


def _review_of(place: Place) -> FrameReview | None:
    found = live_review.of_clip(place.clip)
    own = found.reviews.get(place.object_id, []) if found is not None else []
    return next((one for one in own if one.frame == place.frame), None)


def _is_edited(place: Place, here: FrameReview | None) -> bool:
    """Whether the user drew the mask of the frame. A frame without a matte has no review."""
    if here is not None:
        return here.state == "corrected"
    return matte_cache.is_drawn(place.clip, place.name, place.frame)


def _describe(column: UILayout, place: Place, here: FrameReview | None, *, edited: bool) -> None:
    """Draw the subject's state on the frame, with all reasons."""
    if edited:
        state = _WORDS["corrected"]
    elif here is not None:
        state = _WORDS[here.state]
    else:
        # A review follows each task.
        waits = task_runner.current() is not None or live_review.progress(place.clip) is not None
        state = "being reviewed" if waits else "no mask"
    column.label(text=translated(f"Photo {place.frame}, {place.name}: {state}"))
    if edited:
        _list(column, "It is baked as you drew it")
        if properties.of_clip(place.clip).edits_prompt:
            _list(column, "Propagate learns from it for the photos around")
    for reason in here.reasons if here is not None else ():
        _list(column, reason)


def _list(column: UILayout, sentence: str) -> None:
    """Draw a sentence with a dot before it, in as many lines as it needs."""
    for number, line in enumerate(wrapped(sentence, _LETTERS)):
        column.label(text=line, icon="BLANK1" if number else "DOT")


CLASSES = (SAM2SPLAT_UL_review, SAM2SPLAT_PT_review, SAM2SPLAT_PT_correct)
