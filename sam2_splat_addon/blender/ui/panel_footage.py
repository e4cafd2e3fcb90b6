# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps at the top of the Clip Editor's sidebar, and the Subjects panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import blf
import bpy
from bpy.types import Context, Panel, UILayout, UIList

from ...core.printable import counted, shown
from ..clip import footage, markers, matte_run
from ..context import properties, task_runner
from ..context.active_clip import active_clip, require_clip
from ..context.present import present
from ..context.stored_text import names_of
from ..context.task_runner import Task
from ..overlay import video_preview
from ..review import live_review
from ..tasks.bake_task import BakeTask
from ..tasks.find_subject_task import FindSubjectTask
from ..tasks.load_task import LoadTask
from ..tasks.propagate_task import PropagateTask
from ..tasks.video_task import VideoTask
from ..translations.catalogue import translated
from . import click_tool_ui, widgets
from .operators.objects import active_prompts, can_start_anew

# How many photos with a problem the panel names.
_NAMED = 3
_LETTERS = 28  # that fit on a line beside an icon
# Of Blender's own look, px at a scale of 1: the size of a button's text, what a button needs around its
# text, and what the sidebar has beside its buttons.
_TEXT = 11.0
_AROUND_TEXT = 7.0
_AROUND_PANEL = 38.0


class SAM2SPLAT_UL_objects(UIList):
    """The list of subjects, with colour, name, number of clicks, two switches and the role."""

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
        subject: bpy.types.MovieTrackingObject = item
        clip = active_clip(context)
        row = layout.row(align=True)
        name = markers.subject_name(subject)
        entry = properties.of_clip(clip).objects.get(name) if clip else None
        if entry is not None:
            swatch = row.row()
            swatch.ui_units_x = 1.0
            swatch.prop(entry, "color", text="")
        if subject.is_camera:
            row.label(text=markers.CAMERA_SUBJECT)
        else:
            row.prop(subject, "name", text="", emboss=False)
        clicks = row.row()
        clicks.ui_units_x = 2.2
        clicks.label(text=str(len(subject.tracks)), icon="TRACKER")
        if entry is not None:
            row.prop(
                entry,
                "show",
                text="",
                icon="HIDE_OFF" if entry.show else "HIDE_ON",
                emboss=False,
            )
            row.prop(
                entry,
                "use_in_bake",
                text="",
                icon="RESTRICT_RENDER_OFF" if entry.use_in_bake else "RESTRICT_RENDER_ON",
                emboss=False,
            )
            role = row.row()
            role.active = entry.use_in_bake
            role.prop(entry, "role", text="", icon_only=True, emboss=False)

    def filter_items(  # type: ignore[override]  # lists are what Blender's manual says
        self, context: Context, data: Any, property: str | None
    ) -> tuple[list[int], list[int]]:
        clip = active_clip(context)
        names = {entry.name for entry in markers.subjects(clip)} if clip else set()
        shown = self.bitflag_filter_item
        return [shown if entry.name in names else 0 for entry in data.objects], []


class SAM2SPLAT_PT_footage(widgets.Sidebar, Panel):
    """The four steps of the work, always in sight, and what is odd about the photos"""

    bl_label = "Steps"
    bl_options = {"HIDE_HEADER"}

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        clip = active_clip(context)
        widgets.draw_environment(layout)
        if clip is None:
            row = layout.row()
            row.scale_y = 1.5
            row.operator("sam2_splat.load", icon="FILE_FOLDER")
            if not widgets.draw_progress(layout, "load"):
                layout.label(text="Load a folder of photos or a video", icon="INFO")
            widgets.draw_problem(layout, None, "load")
            return
        settings = properties.of_clip(clip)
        column = layout.column(align=True)
        _draw_steps(column, context)
        column.separator(factor=0.5)
        column.label(text=translated(next_step(clip)), icon="FORWARD")
        if settings.frame_count:
            what = translated(f"{settings.frame_count} photos, {clip.size[0]} x {clip.size[1]} px")
            column.label(text=what, icon="IMAGE_DATA")
        else:
            what = f"{clip.name}, {clip.size[0]} x {clip.size[1]} px"
            column.label(text=what, icon="IMAGE_DATA")
            if clip.source == "SEQUENCE":
                # Blender's own Open Clip stops at the first gap in the numbers. Blender also uses it
                # for a photo that is dropped onto the picture.
                whole = column.operator(
                    "sam2_splat.load", text="Load Its Folder", icon="IMAGE_DATA"
                )
                whole.filepath = str(Path(bpy.path.abspath(clip.filepath)).parent)
            else:
                # So does a video that is dropped onto the picture.
                photos = column.operator(
                    "sam2_splat.load", text="Make Photos of It", icon="FILE_MOVIE"
                )
                photos.filepath = bpy.path.abspath(clip.filepath)
        _draw_found_masks(column, clip)
        _draw_odd_photos(column, clip)
        widgets.draw_problem(layout, clip, "load")
        widgets.draw_preview_problem(layout)


class SAM2SPLAT_PT_video(widgets.Sidebar, Panel):
    """How many frames of a video become photos. The strip in the editor shows which ones"""

    bl_label = "Photos of the Video"

    @classmethod
    def poll(cls, context: Context) -> bool:
        return video_preview.waiting() is not None

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        video = video_preview.waiting()
        choice = video.choice() if video is not None else None
        if video is None or video.scores is None or choice is None:
            return
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.label(text=shown(video.video.name), icon="FILE_MOVIE")
        window = properties.of_window(context.window_manager)
        column.prop(window, "video_photos")
        column.prop(window, "video_format")
        column.prop(window, "video_folder")
        for sentence in (choice.sentence(), *video.scores.facts):
            for at, line in enumerate(widgets.wrapped(sentence, _LETTERS)):
                column.label(text=line, icon="BLANK1" if at else "INFO")
        row = layout.row(align=True)
        row.scale_y = 1.5
        row.operator("sam2_splat.make_photos", icon="IMAGE_DATA")
        row.operator("sam2_splat.leave_video", text="", icon="X")


class SAM2SPLAT_PT_objects(widgets.ClipSidebar, Panel):
    bl_label = "Subjects"

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        tracking = present(require_clip(context).tracking)
        row = layout.row()
        row.template_list(
            "SAM2SPLAT_UL_objects",
            "",
            tracking,
            "objects",
            tracking,
            "active_object_index",
            rows=2,
        )
        column = row.column(align=True)
        column.operator("sam2_splat.object_add", text="", icon="ADD")
        column.operator("sam2_splat.object_remove", text="", icon="REMOVE")
        row = layout.row()
        row.scale_y = 1.25
        click_tool_ui.draw_tool(row, context)
        if markers.waits_for_clicks(require_clip(context)):
            layout.operator("sam2_splat.find_subject", icon="VIEWZOOM")
        tracks = tracking.objects.active.tracks if tracking.objects.active else None
        track = tracks.active if tracks else None
        if track is not None:
            excludes = track.name.startswith(markers.EXCLUDE_PREFIX)
            layout.operator(
                "sam2_splat.toggle_exclude",
                text="Change to Include" if excludes else "Change to Exclude",
                icon="ADD" if excludes else "REMOVE",
            )
        if can_start_anew(context):
            prompts = active_prompts(context)
            layout.operator(
                "sam2_splat.start_anew",
                icon="MARKER",
                depress=prompts is not None and prompts.anew,
            )


def _draw_steps(column: UILayout, context: Context) -> None:
    """Draw the four steps as buttons. A step that can't be done is grey, and its tooltip says why.

    A running task shows in its own step how far it is.
    """
    task = task_runner.current()
    steps = column.column(align=True)
    rows = [steps.row(align=True) for _ in range(1 if _fit_in_a_row(context) else 2)]
    for number, (text, name, kinds) in enumerate(_STEPS):
        row = rows[number * len(rows) // len(_STEPS)]
        row.scale_y = 1.5
        if task is not None and isinstance(task, kinds):
            row.progress(factor=task.fraction, text=f"{task.fraction:.0%}")
            row.operator("sam2_splat.cancel", text="", icon="X")
        elif name == "sam2_splat.tool":
            row.operator(name, text=text, depress=click_tool_ui.is_clicking(context))
        else:
            row.operator(name, text=text)


_STEPS: tuple[tuple[str, str, tuple[type[Task], ...]], ...] = (
    ("Load", "sam2_splat.load", (LoadTask, VideoTask)),
    ("Click", "sam2_splat.tool", (FindSubjectTask,)),
    ("Propagate", "sam2_splat.propagate", (PropagateTask,)),
    ("Bake", "sam2_splat.bake", (BakeTask,)),
)


def _fit_in_a_row(context: Context) -> bool:
    """Whether the four steps stand beside each other without one being cut, in the user's language."""
    if context.region is None:
        return True
    scale = float(present(context.preferences).system.ui_scale)
    blf.size(0, _TEXT * scale)
    # When there is little room, Blender makes all buttons of a row equally wide.
    widest = max(blf.dimensions(0, translated(text))[0] for text, _, _ in _STEPS)
    room = context.region.width - _AROUND_PANEL * scale
    return len(_STEPS) * (widest + _AROUND_TEXT * scale) <= room


def next_step(clip: bpy.types.MovieClip) -> str:
    """Return in a few words what to do next, or what is being done."""
    task = task_runner.current()
    if task is not None:
        return task.title
    if not markers.has_clicks(clip):
        return "Next: click on the subject"
    if not matte_run.has_masks(clip):
        return "Next: propagate"
    found = live_review.of_clip(clip)
    listed = found.counts[0] if found is not None else 0
    if listed:
        return f"Next: look at {counted(listed, 'photo')}, then bake"
    return "Baked" if properties.of_clip(clip).output_folder else "Next: bake"


def _draw_list(column: UILayout, names: list[str]) -> None:
    for name in names[:_NAMED]:
        column.label(text=name, icon="BLANK1")
    if len(names) > _NAMED:
        column.label(text=translated(f"and {len(names) - _NAMED} more"), icon="BLANK1")


def _draw_found_masks(column: UILayout, clip: bpy.types.MovieClip) -> None:
    """Offer the masks beside the photos, until there are clicks or masks."""
    count = properties.of_clip(clip).found_masks
    if not count or markers.has_clicks(clip):
        return
    text = "Use the Mask Found Beside a Photo"
    if count > 1:
        text = f"Use {count} Masks Found Beside the Photos"
    row = column.row(align=True)
    row.operator("sam2_splat.use_found_masks", text=translated(text), icon="MOD_MASK")
    inverted = row.operator("sam2_splat.use_found_masks", text="", icon="ARROW_LEFTRIGHT")
    inverted.invert = True


def _draw_odd_photos(column: UILayout, clip: bpy.types.MovieClip) -> None:
    """Name the photos that can't be read, are damaged or are gone."""
    settings = properties.of_clip(clip)
    names = [shown(name) for name in names_of(settings, "unreadable_names")]
    if settings.unreadable_count:
        said = translated(f"{settings.unreadable_count} left out, can't be read")
        column.label(text=said, icon="ERROR")
        _draw_list(column, names)
    damaged = footage.damaged_names(clip)
    if damaged:
        column.label(text=translated(f"{len(damaged)} left out, damaged"), icon="ERROR")
        _draw_list(column, damaged)
    if clip.source == "SEQUENCE" and footage.photo_of(clip, 1) is None:
        column.label(text="The photos are not where they were", icon="ERROR")
        column.operator("sam2_splat.load", text="Find Them", icon="FILE_FOLDER").relink = True
    elif clip.frame_offset:
        said = translated(f"Frame Offset is {clip.frame_offset}, but must be 0")
        column.label(text=said, icon="ERROR")
        again = column.operator("sam2_splat.load", text="Load Again", icon="FILE_REFRESH")
        again.filepath = settings.footage_folder
    elif clip.use_proxy:
        column.label(text="The editor shows small copies", icon="INFO")


CLASSES = (
    SAM2SPLAT_UL_objects,
    SAM2SPLAT_PT_footage,
    SAM2SPLAT_PT_video,
    SAM2SPLAT_PT_objects,
)
