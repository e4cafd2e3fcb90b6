# SPDX-License-Identifier: GPL-3.0-or-later
"""A panel's error as long as its cause lasts, and the button or the field that helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy

from ...core import errors
from ...core.errors import SplatError
from ...core.settings import BUNDLED
from ...core.system.safe_read import is_folder
from ..clip import markers
from ..context import last_error, preferences, properties, worker_session
from ..context.last_error import PanelName, Problem
from ..context.present import present
from ..context.properties import SAM2SPLAT_PG_clip
from . import missing


def current(panel: PanelName, clip: bpy.types.MovieClip | None) -> Problem | None:
    """Return a panel's error for a clip. Forget it if what it depends on has changed since it was shown."""
    uid = clip.session_uid if clip is not None else None
    problem = last_error.last(panel, uid)
    if problem is None:
        return None
    cause = _cause(problem, clip)
    if problem.cause is None:
        problem.cause = cause
    if problem.cause == cause:
        return problem
    last_error.forget(panel, uid)
    return None


def _cause(problem: Problem, clip: bpy.types.MovieClip | None) -> tuple[object, ...]:
    """Return what an error depends on, apart from files that only a new try reads."""
    if issubclass(problem.kind, errors.EnvironmentSetupError):
        return worker_session.packages_ready(), worker_session.online()
    if issubclass(problem.kind, errors.PackageError):
        return worker_session.finds_cameras(), worker_session.online()
    if clip is None:
        return ()
    settings = properties.of_clip(clip)
    if issubclass(problem.kind, errors.PromptError):
        clicks = [(entry.name, len(entry.tracks)) for entry in present(clip.tracking).objects]
        span = (settings.use_range, settings.first_frame, settings.last_frame)
        return (*clicks, settings.mask_prompts, span, markers.has_clicks(clip))
    if issubclass(problem.kind, errors.EditError):  # another frame drops an edit that has no key
        layers = settings.mask.layers if settings.mask is not None else ()
        locks = [(layer.name, layer.hide_select) for layer in layers]
        return (*locks, present(bpy.context.scene).frame_current)
    if issubclass(problem.kind, errors.CheckpointError):
        return settings.model, settings.checkpoint, str(preferences.model_folder())
    if issubclass(problem.kind, errors.FootageError):
        return settings.footage_folder, settings.frame_count, clip.filepath
    if issubclass(problem.kind, errors.StoreError):
        return (settings.store_folder,)
    if issubclass(problem.kind, errors.BakeError):
        used = [(entry.name, entry.use_in_bake, entry.role) for entry in settings.objects]
        targets = tuple(sorted(settings.targets))
        return (*used, targets, settings.invert, settings.bake_folder, settings.mask is None)
    if issubclass(problem.kind, errors.CameraError):
        return settings.cameras, settings.footage_folder, settings.frame_count
    return ()


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
    entry = missing.model_to_download(settings)
    if entry is not None:
        missing.draw_download(row, entry)
    row.prop_enum(settings, "model", BUNDLED, text="Use the Bundled Model")


def _fix_prompts(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    if not properties.of_window(bpy.context.window_manager).use_tool:
        layout.operator("sam2_splat.tool", text="Start Clicking", icon="RESTRICT_SELECT_OFF")


def _fix_job(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    layout.operator_context = "INVOKE_DEFAULT"
    layout.operator("sam2_splat.export_job", icon="EXPORT")


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


def _fix_cameras(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    if worker_session.finds_cameras():
        layout.operator("sam2_splat.find_cameras", icon="VIEW_CAMERA")
    else:
        _fix_cameras_package(layout, settings)


def _fix_cameras_package(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    if worker_session.online() or missing.has_local_cameras():
        layout.operator("sam2_splat.install_cameras", icon="IMPORT")
    else:
        missing.draw_offline(layout)


def _fix_worker(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    layout.operator("sam2_splat.restart_worker", icon="FILE_REFRESH")


def _fix_environment(layout: bpy.types.UILayout, settings: SAM2SPLAT_PG_clip | None) -> None:
    if worker_session.online() or missing.has_local_packages():
        layout.operator("sam2_splat.install_packages", icon="IMPORT")
    else:
        missing.draw_offline(layout)


_FIXES: dict[type[SplatError], Callable[[bpy.types.UILayout, SAM2SPLAT_PG_clip | None], None]] = {
    errors.CheckpointError: _fix_checkpoint,
    errors.PromptError: _fix_prompts,
    errors.JobError: _fix_job,
    errors.EditError: _fix_edit,
    errors.FootageError: _fix_footage,
    errors.StoreError: _fix_store,
    errors.BakeError: _fix_bake,
    errors.CameraError: _fix_cameras,
    errors.PackageError: _fix_cameras_package,
    errors.WorkerError: _fix_worker,
    errors.ProtocolError: _fix_worker,
    errors.EnvironmentSetupError: _fix_environment,
}
