# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the cameras of the photos, and install what this needs."""

from __future__ import annotations

from typing import Any

from bpy.types import Context, Operator

from ....client.packages import installer
from ....client.packages.requirements import CAMERAS_STEPS
from ....core.errors import EnvironmentSetupError, PackageError
from ...context import preferences, worker_session
from ...context.active_clip import active_clip, require_clip
from ...context.task_runner import Task, TaskOperator
from ...tasks.find_cameras_task import FindCamerasTask, expected
from ...translations.catalogue import translated_tip
from ..missing import has_local_cameras
from .environment import OFFLINE_FIX, FetchTask, Steps, installing
from .polls import has_clip, nothing_runs


class SAM2SPLAT_OT_find_cameras(TaskOperator, Operator):
    """Find where each photo was taken, for all that compares masks in 3D"""

    bl_idname = "sam2_splat.find_cameras"
    bl_label = "Find Cameras"
    panel = "cameras"
    bl_options = {"REGISTER"}

    @classmethod
    def description(cls, context: Context, properties: Any) -> str:
        clip = active_clip(context)
        said = "Find where each photo was taken, for all that compares masks in 3D"
        if clip is None:
            return translated_tip(said)
        return translated_tip(f"{said}. It takes {expected(clip, preferences.threads())}")

    @classmethod
    def poll(cls, context: Context) -> bool:
        if not has_clip(cls, context):
            return False
        if not worker_session.finds_cameras():
            cls.poll_message_set("Install pycolmap first, in the Cameras panel")
            return False
        return True

    def start(self, context: Context) -> Task:
        return FindCamerasTask(require_clip(context), threads=preferences.threads())


def _install_steps() -> Steps:
    try:
        yield from installing(
            installer.cameras_folder(preferences.packages_folder()), steps=CAMERAS_STEPS
        )
    except EnvironmentSetupError as problem:  # its button is another one
        raise PackageError(problem.message, problem.fix) from problem


class SAM2SPLAT_OT_install_cameras(TaskOperator, Operator):
    """Download pycolmap into a folder of its own. Find Cameras needs it"""

    bl_idname = "sam2_splat.install_cameras"
    bl_label = "Install pycolmap"
    panel = "cameras"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return nothing_runs(cls)

    def start(self, context: Context) -> Task:
        if not worker_session.online() and not has_local_cameras():
            raise PackageError("Blender is offline.", OFFLINE_FIX)
        return FetchTask("Installing", _install_steps(), "pycolmap is installed")


CLASSES = (SAM2SPLAT_OT_find_cameras, SAM2SPLAT_OT_install_cameras)
