# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the worker's packages; imports bpy and client."""

import time
from collections.abc import Iterator
from pathlib import Path

import bpy
from bpy.types import Context, Operator

from ...client import environment
from ...core.errors import EnvironmentSetupError
from .. import preferences, running, worker
from ..running import Task, TaskOperator

# A wheels/ folder beside the add-on is used when there is one: that is the offline installation.
_WHEELS = Path(__file__).parents[2] / "wheels"


class InstallTask:
    """Fills the add-on's package folder with torch and sam2."""

    title = "Installing"

    def __init__(self, folder: Path) -> None:
        self.fraction = 0.0
        self.sentence = "Starting"
        self.summary = ""
        self.cancelled = False
        self._steps: Iterator[environment.InstallProgress] = environment.install(
            folder,
            wheels=_WHEELS if _WHEELS.is_dir() else None,
            online=worker.online(),
            wait_s=0.2 if bpy.app.background else 0.01,
        )

    def step(self, deadline: float) -> bool:
        while not self.cancelled:
            progress = next(self._steps, None)
            if progress is None:
                self.fraction = 1.0
                self.summary = "SAM 2 is installed"
                worker.shut_down()
                return True
            self.fraction = (progress.step - 1) / progress.steps
            self.sentence = (
                f"{progress.title} ({progress.step} of {progress.steps}), {progress.seconds:.0f} s"
            )
            if time.monotonic() >= deadline:
                return False
        self.summary = "Cancelled; the next installation goes on where this one stopped"
        return True

    def cancel(self) -> None:
        self.abort()
        self.cancelled = True

    def abort(self) -> None:
        self._steps.close()


class SAM2SPLAT_OT_install_packages(TaskOperator, Operator):
    """Get PyTorch and SAM 2 into the add-on's own folder; nothing else is touched"""

    bl_idname = "sam2_splat.install_packages"
    bl_label = "Install SAM 2"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return running.current() is None

    def start(self, context: Context) -> Task:
        if not worker.online() and not _WHEELS.is_dir():
            raise EnvironmentSetupError(
                "Blender is offline.", "Allow Online Access in the preferences, under System."
            )
        return InstallTask(preferences.packages_folder())


CLASSES = (SAM2SPLAT_OT_install_packages,)
