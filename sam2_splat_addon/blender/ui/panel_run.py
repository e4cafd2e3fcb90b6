# SPDX-License-Identifier: GPL-3.0-or-later
"""The Propagate and Bake panels in the Clip Editor's sidebar."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import bpy
from bpy.types import Context, Panel, UILayout

from ...core.bake_plan import bake_name, next_output_folder
from ...core.errors import BakeError
from ...core.settings import (
    BUNDLED,
    QUESTIONS,
    BakeSettings,
    Group,
    RunSettings,
    Settings,
    declared,
)
from ...core.targets import DEFAULT, TARGETS, TARGETS_BY_NAME
from ..context import properties
from ..context.active_clip import require_clip
from ..context.editors import clip_editor_of
from ..context.present import present
from ..context.properties import SAM2SPLAT_PG_clip
from ..tasks.bake_task import bake_folder, chosen_targets
from ..translations.catalogue import translated
from . import missing, presets, widgets


class SAM2SPLAT_PT_propagate(widgets.ClipSidebar, Panel):
    bl_label = "Propagate"

    def draw_header_preset(self, context: Context) -> None:
        presets.SAM2SPLAT_PT_propagate_presets.draw_panel_header(present(self.layout))

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = properties.of_clip(require_clip(context))
        widgets.draw_problem(layout, require_clip(context), "propagate")
        column = layout.column()
        column.prop(settings, "model")
        _draw_model(column, settings)
        _draw_settings(column, settings, RunSettings, "front")
        header, body = layout.panel("sam2_splat_propagate_options", default_closed=True)
        header.label(text="Options")
        if body is not None:
            hidden = () if settings.has_raw else ("raw_photos",)
            for group, column in _questions(body, RunSettings):
                if group == "photos":
                    _draw_range(column, settings)
                _draw_settings(column, settings, RunSettings, group, hidden)
                if group == "lost":
                    column.prop(settings, "edits_prompt")
                if group == "photos":
                    column.prop(properties.of_scene(context.scene), "follow")
        if not widgets.draw_progress(layout, "propagate"):
            column = layout.column(align=True)
            row = column.row(align=True)
            row.scale_y = 1.5
            row.operator("sam2_splat.propagate", icon="TRACKING_FORWARDS")
            _draw_spans(column.row(align=True))
            if settings.mask is not None:
                _draw_results(layout, context)


class SAM2SPLAT_PT_bake(widgets.ClipSidebar, Panel):
    bl_label = "Bake"
    bl_order = 1  # below Review

    def draw_header_preset(self, context: Context) -> None:
        presets.SAM2SPLAT_PT_bake_presets.draw_panel_header(present(self.layout))

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = properties.of_clip(require_clip(context))
        _draw_targets(layout, settings)
        column = layout.column()
        _draw_settings(column, settings, BakeSettings, "front")
        column.prop(settings, "bake_folder", placeholder="Beside the photos")
        _draw_next_folder(layout, require_clip(context))
        header, body = layout.panel("sam2_splat_bake_options", default_closed=True)
        header.label(text="Options")
        if body is not None:
            body.prop(settings, "cameras", placeholder="Beside the photos")
            hidden = _without_use(require_clip(context))
            for group, column in _questions(body, BakeSettings):
                _draw_settings(column, settings, BakeSettings, group, hidden)
        widgets.draw_problem(layout, require_clip(context), "bake")
        if not widgets.draw_progress(layout, "bake"):
            row = layout.row()
            row.scale_y = 1.5
            row.operator("sam2_splat.bake", icon="RENDER_RESULT")
            layout.operator("sam2_splat.export_job", icon="EXPORT")
        if settings.output_folder:
            row = layout.row(align=True)
            row.label(
                text=bpy.path.basename(settings.output_folder.rstrip("/\\")), icon="CHECKMARK"
            )
            row.operator("wm.path_open", text="Open Folder").filepath = settings.output_folder


def _draw_settings(
    column: UILayout,
    settings: SAM2SPLAT_PG_clip,
    kind: type[Settings],
    group: Group,
    hidden: Collection[str] = (),
) -> None:
    """Draw a struct's settings of one group, in the order of their declaration."""
    for one in declared(kind):
        if one.setting.group == group and one.name not in hidden:
            column.prop(settings, one.name)


def _questions(body: UILayout, kind: type[Settings]) -> Iterator[tuple[Group, UILayout]]:
    """Draw the questions that a struct's options answer. Yield each with a column for its settings."""
    asked = {one.setting.group for one in declared(kind)}
    for group, question in QUESTIONS.items():
        if group in asked:
            column = body.column()
            column.label(text=question)
            yield group, column


def _draw_range(column: UILayout, settings: SAM2SPLAT_PG_clip) -> None:
    """Draw the switch for a part of the photos, and that part's ends."""
    column.prop(settings, "use_range")
    if settings.use_range:
        span = column.column(align=True)
        span.prop(settings, "first_frame")
        span.prop(settings, "last_frame")


def _draw_targets(layout: UILayout, settings: SAM2SPLAT_PG_clip) -> None:
    """Draw which trainers the bake is for. The list of all is closed until the user wants it."""
    labels = [translated(TARGETS_BY_NAME[name].label) for name in chosen_targets(settings)]
    header, body = layout.panel("sam2_splat_bake_targets", default_closed=True)
    header.use_property_split = False
    header.label(text="Trainers")
    more = f" +{len(labels) - 1}" if len(labels) > 1 else ""
    header.label(text="".join(labels[:1]) + more)
    if body is not None:
        column = body.column(align=True)
        column.use_property_split = False
        for target in TARGETS:
            column.prop_enum(settings, "targets", target.name)


def _without_use(clip: bpy.types.MovieClip) -> tuple[str, ...]:
    """Return the settings of a bake that would change nothing, or that only old files still use."""
    settings = properties.of_clip(clip)
    hidden = []
    # The clip may show copies of its photos; and a clip of an older file does not know of its photos.
    is_exr = Path(clip.filepath).suffix.lower() == ".exr"
    if not (settings.has_linear or is_exr or settings.exposure):
        hidden.append("exposure")
    if not settings.invert:
        hidden.append("invert")
    if DEFAULT not in settings.targets:
        hidden.append("sidecar_masks")
    return tuple(hidden)


def _draw_next_folder(layout: UILayout, clip: bpy.types.MovieClip) -> None:
    """Draw the name of the next bake's folder."""
    if not properties.of_clip(clip).footage_folder:
        return
    photos = Path(bpy.path.abspath(properties.of_clip(clip).footage_folder))
    try:
        targets = chosen_targets(properties.of_clip(clip))
        folder = next_output_folder(bake_folder(clip, photos), bake_name(targets or (DEFAULT,)))
    except BakeError as error:
        layout.label(text=translated(error.message), icon="ERROR")
        return
    said = translated(f"To {folder.parent.name}/{folder.name}")
    layout.label(text=said, icon="FILE_FOLDER")


def _draw_spans(row: UILayout) -> None:
    """Draw the buttons that propagate over a part of the frames."""
    row.operator(
        "sam2_splat.propagate", text="Back", icon="TRACKING_BACKWARDS_SINGLE"
    ).span = "backward"
    row.operator("sam2_splat.propagate", text="This Frame").span = "frame"
    row.operator(
        "sam2_splat.propagate", text="Forward", icon="TRACKING_FORWARDS_SINGLE"
    ).span = "forward"


def _draw_results(layout: UILayout, context: Context) -> None:
    """Draw the switch between clicks and masks, and the button that deletes the masks."""
    space = clip_editor_of(context)
    if space is not None:
        row = layout.row(align=True)
        row.use_property_split = False
        row.prop_enum(space, "mode", "TRACKING", text="Clicks")
        row.operator("sam2_splat.edit_points", text="Points", depress=space.mode == "MASK")
    layout.operator("sam2_splat.clear_results", icon="TRASH")


def _draw_model(column: UILayout, settings: SAM2SPLAT_PG_clip) -> None:
    """Draw the checkpoint's path, and the button that downloads the official one."""
    if settings.model == BUNDLED:
        return
    column.prop(settings, "checkpoint", placeholder="From the model folder")
    entry = missing.model_to_download(settings)
    if entry is not None:
        missing.draw_download(column, entry)


CLASSES = (SAM2SPLAT_PT_propagate, SAM2SPLAT_PT_bake)
