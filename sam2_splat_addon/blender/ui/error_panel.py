# SPDX-License-Identifier: GPL-3.0-or-later
"""The button or the field that helps after an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy

from ...core import errors
from ...core.errors import SplatError
from ...core.settings import BUNDLED
from ...core.system.safe_read import is_folder
from ..context import properties, worker_session
from ..context.last_error import Problem
from ..context.present import present
from ..context.properties import SAM2SPLAT_PG_clip


def draw_fix(
    layout: bpy.types.UILayout, problem: Problem, settings: SAM2SPLAT_PG_clip | None
) -> None:
    """Draw the button or the field that helps with a problem, if there is one."""
    for kind, draw in _FIXES.items():
        if issubclass(problem.kind, kind):
            draw(layout, settings)
            return


def _fix_checkpoint(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    if settings is None or settings.model == BUNDLED:
        return
    row = layout.row(align=True)
    if worker_session.online() and not settings.checkpoint:
        row.operator("sam2_splat.download_model", icon="IMPORT")
    row.prop_enum(settings, "model", BUNDLED, text="Use the Bundled Model")


def _fix_prompts(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    if not properties.of_window(bpy.context.window_manager).use_tool:
        layout.operator("sam2_splat.tool", text="Start Clicking", icon="RESTRICT_SELECT_OFF")


def _fix_edit(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    tools = present(bpy.context.scene).tool_settings
    layout.prop(tools, "use_keyframe_insert_auto", text="Auto Keying", toggle=True)


def _fix_footage(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    row = layout.row(align=True)
    if settings is None or not settings.footage_folder:
        row.operator("sam2_splat.load", text="Choose Photos", icon="FILE_FOLDER").filepath = ""
    elif is_folder(Path(bpy.path.abspath(settings.footage_folder))):
        again = row.operator("sam2_splat.load", text="Load Again", icon="FILE_REFRESH")
        again.filepath = settings.footage_folder
        row.operator("sam2_splat.load", text="Choose Photos", icon="FILE_FOLDER").filepath = ""
    else:
        row.operator("sam2_splat.load", text="Find Them", icon="FILE_FOLDER").relink = True


def _fix_store(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    if settings is not None:
        layout.prop(settings, "store_folder", text="")


def _fix_bake(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    if settings is not None:
        layout.prop(settings, "bake_folder", text="", placeholder="Beside the photos")


def _fix_worker(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    layout.operator("sam2_splat.restart_worker", icon="FILE_REFRESH")


def _fix_environment(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    if worker_session.online():
        layout.operator("sam2_splat.install_packages", icon="IMPORT")


_FIXES: dict[type[SplatError], Callable[[bpy.types.UILayout, SAM2SPLAT_PG_clip | None], None]] = {
    errors.CheckpointError: _fix_checkpoint,
    errors.PromptError: _fix_prompts,
    errors.EditError: _fix_edit,
    errors.FootageError: _fix_footage,
    errors.StoreError: _fix_store,
    errors.BakeError: _fix_bake,
    errors.WorkerError: _fix_worker,
    errors.ProtocolError: _fix_worker,
    errors.EnvironmentSetupError: _fix_environment,
}
