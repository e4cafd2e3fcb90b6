# SPDX-License-Identifier: GPL-3.0-or-later
"""The SAM2 Splat tab in the Clip Editor's sidebar; imports bpy."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.types import Context, Panel, UILayout, UIList

from ..client import installation
from ..core.bake_plan import next_output_folder
from ..core.catalogue import CHECKPOINTS
from ..core.errors import BakeError
from . import clip_prompts, footage_clip, panels_tool, preferences, problems, running, worker
from .active_clip import active_clip
from .bake_task import bake_folder
from .panels_tool import wrapped
from .properties import BUNDLED, SAM2SPLAT_PG_clip

# How many odd photos the panel names.
_NAMED = 3


class _Sidebar:
    bl_space_type = "CLIP_EDITOR"
    bl_region_type = "UI"
    bl_category = "SAM2 Splat"


class _ClipSidebar(_Sidebar):
    """A panel that needs a clip."""

    @classmethod
    def poll(cls, context: Context) -> bool:
        """Shown once there is a clip."""
        return active_clip(context) is not None


class SAM2SPLAT_UL_objects(UIList):
    """The subjects: colour, name, number of clicks, and whether they are baked."""

    def draw_item(
        self,
        context: Context,
        layout: UILayout,
        data: object,
        item: bpy.types.MovieTrackingObject,
        icon: int,
        active_data: object,
        active_property: str,
        index: int = 0,
        flt_flag: int = 0,
    ) -> None:
        clip = active_clip(context)
        row = layout.row(align=True)
        entry = clip.sam2_splat.objects.get(clip_prompts.subject_name(item)) if clip else None
        if entry is not None:
            swatch = row.row()
            swatch.ui_units_x = 1.0
            swatch.prop(entry, "color", text="")
        if item.is_camera:
            row.label(text=clip_prompts.CAMERA_SUBJECT)
        else:
            row.prop(item, "name", text="", emboss=False)
        row.label(text=str(len(item.tracks)), icon="TRACKER")
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

    def filter_items(
        self, context: Context, data: bpy.types.MovieTracking, property: str
    ) -> tuple[list[int], list[int]]:
        clip = active_clip(context)
        names = {entry.name for entry in clip_prompts.subjects(clip)} if clip else set()
        shown = self.bitflag_filter_item
        return [shown if entry.name in names else 0 for entry in data.objects], []


class SAM2SPLAT_PT_footage(_Sidebar, Panel):
    bl_label = "Footage"

    def draw(self, context: Context) -> None:
        layout = self.layout
        clip = active_clip(context)
        layout.operator("sam2_splat.load", icon="FILE_FOLDER")
        if clip is None:
            layout.label(text="Load a folder of photos to begin", icon="INFO")
            _draw_problem(layout, None)
            return
        settings = clip.sam2_splat
        column = layout.column(align=True)
        if settings.frame_count:
            column.label(text=f"{settings.frame_count} photos, {clip.size[0]} x {clip.size[1]} px")
        else:
            column.label(text=f"{clip.name}, {clip.size[0]} x {clip.size[1]} px")
        _draw_odd_photos(column, clip)


class SAM2SPLAT_PT_objects(_ClipSidebar, Panel):
    bl_label = "Objects"

    def draw(self, context: Context) -> None:
        layout = self.layout
        clip = active_clip(context)
        tracking = clip.tracking
        row = layout.row()
        row.template_list(
            "SAM2SPLAT_UL_objects",
            "",
            tracking,
            "objects",
            tracking,
            "active_object_index",
            rows=3,
        )
        column = row.column(align=True)
        column.operator("sam2_splat.object_add", text="", icon="ADD")
        column.operator("sam2_splat.object_remove", text="", icon="REMOVE")
        row = layout.row()
        row.scale_y = 1.25
        panels_tool.draw_tool(row, context)
        tracks = tracking.objects.active.tracks if tracking.objects.active else None
        track = tracks.active if tracks else None
        if track is not None:
            excludes = track.name.startswith(clip_prompts.EXCLUDE_PREFIX)
            layout.operator(
                "sam2_splat.toggle_exclude",
                text="Make It Include" if excludes else "Make It Exclude",
                icon="ADD" if excludes else "REMOVE",
            )


class SAM2SPLAT_PT_propagate(_ClipSidebar, Panel):
    bl_label = "Propagate"

    def draw(self, context: Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = active_clip(context).sam2_splat
        draw_environment(layout)
        _draw_problem(layout, settings)
        column = layout.column()
        column.prop(settings, "model")
        _draw_model(column, settings)
        header, body = layout.panel("sam2_splat_propagate_options", default_closed=True)
        header.label(text="Options")
        if body is not None:
            column = body.column()
            column.prop(settings, "direction")
            column.prop(settings, "use_range")
            if settings.use_range:
                span = column.column(align=True)
                span.prop(settings, "first_frame")
                span.prop(settings, "last_frame")
            column.prop(settings, "nearby_prompts")
            column.prop(context.scene.sam2_splat, "follow")
        if not _draw_progress(layout):
            column = layout.column(align=True)
            row = column.row(align=True)
            row.scale_y = 1.5
            row.operator("sam2_splat.propagate", icon="TRACKING_FORWARDS")
            _draw_spans(column.row(align=True))
            if settings.mask is not None:
                _draw_results(layout, context)


class SAM2SPLAT_PT_bake(_ClipSidebar, Panel):
    bl_label = "Bake"
    bl_order = 1  # below Review

    def draw(self, context: Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = active_clip(context).sam2_splat
        column = layout.column()
        column.prop(settings, "alpha")
        column.prop(settings, "grow_px")
        column.prop(settings, "feather_px")
        column.prop(settings, "fill_holes_px")
        column.prop(settings, "drop_specks_px")
        column.prop(settings, "invert")
        column.prop(settings, "black_rgb")
        column.prop(settings, "sidecar_masks")
        column.prop(settings, "exposure")
        column.prop(settings, "bake_folder", placeholder="Beside the photos")
        _draw_next_folder(layout, active_clip(context))
        row = layout.row()
        row.scale_y = 1.5
        row.operator("sam2_splat.bake", icon="RENDER_RESULT")
        if settings.output_folder:
            row = layout.row(align=True)
            row.label(
                text=bpy.path.basename(settings.output_folder.rstrip("/\\")), icon="CHECKMARK"
            )
            row.operator("wm.path_open", text="Open Folder").filepath = settings.output_folder


def _draw_odd_photos(column: UILayout, clip: bpy.types.MovieClip) -> None:
    """Photos that can't be read or are gone."""
    settings = clip.sam2_splat
    names = settings.unreadable_names.splitlines()
    if settings.unreadable_count:
        column.label(text=f"{settings.unreadable_count} can't be read, left out:", icon="ERROR")
        for name in names[:_NAMED]:
            column.label(text=name, icon="BLANK1")
        if len(names) > _NAMED:
            column.label(text=f"and {len(names) - _NAMED} more", icon="BLANK1")
    if clip.source == "SEQUENCE" and footage_clip.photo_of(clip, 1) is None:
        column.label(text="The photos are not where they were", icon="ERROR")
        column.operator("sam2_splat.load", text="Find Them", icon="FILE_FOLDER")
    elif clip.use_proxy:
        column.label(text="The editor shows small copies", icon="INFO")


def _draw_next_folder(layout: UILayout, clip: bpy.types.MovieClip) -> None:
    """Where the next bake goes."""
    if not clip.sam2_splat.footage_folder:
        return
    photos = Path(bpy.path.abspath(clip.sam2_splat.footage_folder))
    try:
        folder = next_output_folder(bake_folder(clip, photos))
    except BakeError as error:
        layout.label(text=error.message, icon="ERROR")
        return
    layout.label(text=f"To {folder.parent.name}/{folder.name}", icon="FILE_FOLDER")


def _draw_spans(row: UILayout) -> None:
    """Propagation over a part of the frames."""
    row.operator(
        "sam2_splat.propagate", text="Back", icon="TRACKING_BACKWARDS_SINGLE"
    ).span = "backward"
    row.operator("sam2_splat.propagate", text="This Frame").span = "frame"
    row.operator(
        "sam2_splat.propagate", text="Forward", icon="TRACKING_FORWARDS_SINGLE"
    ).span = "forward"


def _draw_problem(layout: UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    """What went wrong last, and what mends it."""
    problem = problems.last()
    if problem is None or running.current() is not None:
        return
    box = layout.box().column()
    box.use_property_split = False
    row = box.row()
    lines = wrapped(problem.sentence, 28)
    row.label(text=lines[0], icon="ERROR")
    row.operator("sam2_splat.dismiss", text="", icon="X", emboss=False)
    for line in lines[1:]:
        box.label(text=line)
    problems.draw_fix(box, problem, settings)


def _draw_progress(layout: UILayout) -> bool:
    """The running task's bar and Cancel button; False when nothing runs."""
    task = running.current()
    if task is None:
        return False
    column = layout.column(align=True)
    column.progress(factor=task.fraction, text=f"{task.title} {task.fraction:.0%}")
    # The sidebar is narrow: what and which frame on one line, speed and time left on the next.
    parts = task.sentence.split(", ")
    for words in (parts[:2], parts[2:]):
        if words:
            column.label(text=", ".join(words))
    column.operator("sam2_splat.cancel", icon="CANCEL")
    return True


def _draw_results(layout: UILayout, context: Context) -> None:
    """Switch the editor between the clicks and the masks they gave; forget the masks."""
    space = context.space_data
    if space is not None and space.type == "CLIP_EDITOR":
        row = layout.row(align=True)
        row.use_property_split = False
        row.prop_enum(space, "mode", "TRACKING", text="Clicks")
        row.prop_enum(space, "mode", "MASK", text="Masks")
    layout.operator("sam2_splat.clear_results", icon="TRASH")


def _draw_model(column: UILayout, settings: SAM2SPLAT_PG_clip) -> None:
    """The checkpoint's path, and the button that gets the official one."""
    if settings.model == BUNDLED:
        return
    column.prop(settings, "checkpoint", placeholder="From the model folder")
    entry = CHECKPOINTS[settings.model]
    if settings.checkpoint or (preferences.model_folder() / entry.file_name).is_file():
        return
    size = f"{entry.bytes / 1e6:.0f} MB"
    if worker.online():
        column.operator("sam2_splat.download_model", text=f"Download ({size})", icon="IMPORT")
    else:
        column.label(text="Needs Online Access to download", icon="ERROR")


def draw_environment(layout: UILayout) -> None:
    """Say when the worker's packages are missing, with the button that gets them."""
    if worker.packages_ready():
        return
    box = layout.box().column()
    box.label(text="SAM 2 is not installed yet", icon="ERROR")
    if worker.online():
        box.operator("sam2_splat.install_packages", icon="IMPORT")
        box.label(text=f"Downloads {installation.DOWNLOAD_SIZE}")
    else:
        box.label(text="Needs Online Access (preferences)")
    _draw_progress(box)


CLASSES = (
    SAM2SPLAT_UL_objects,
    SAM2SPLAT_PT_footage,
    SAM2SPLAT_PT_objects,
    SAM2SPLAT_PT_propagate,
    SAM2SPLAT_PT_bake,
)
