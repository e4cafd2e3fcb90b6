# SPDX-License-Identifier: GPL-3.0-or-later
"""Download what the worker needs: packages and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from pathlib import Path

import bpy
from bpy.types import Context, Operator

from ....client.packages import installer
from ....client.packages.download import download
from ....client.packages.requirements import STEPS, Step
from ....client.packages.torch_build import PYPI, TorchBuild, build_for
from ....core.checkpoint_catalogue import CHECKPOINTS, Checkpoint
from ....core.errors import CheckpointError, EnvironmentSetupError
from ...context import preferences, properties, worker_session
from ...context.active_clip import active_clip, require_clip
from ...context.task_runner import Task, TaskOperator
from ..missing import WHEELS, has_local_packages
from .polls import nothing_runs

OFFLINE_FIX = "Allow Online Access in the preferences, under System."

# Each step of a download yields a fraction, 0 to 1, and a sentence.
Steps = Generator[tuple[float, str], None, None]


class FetchTask:
    """Run a generator of (fraction, sentence) as a task. See `task_runner.Task`."""

    def __init__(self, title: str, steps: Steps, summary: str) -> None:
        self.title = title
        self.fraction = 0.0
        self.sentence = "Starting"
        self.summary = summary
        self.cancelled = False
        self._steps = steps

    def step(self, deadline: float) -> bool:
        """Work until the deadline. Return True at the end."""
        while not self.cancelled:
            progress = next(self._steps, None)
            if progress is None:
                self.fraction = 1.0
                return True
            self.fraction, self.sentence = progress
            if time.monotonic() >= deadline:
                return False
        self.summary = "Cancelled. The next try goes on where this one stopped"
        return True

    def cancel(self) -> None:
        """Stop, and keep what has arrived."""
        self.abort()
        self.cancelled = True

    def abort(self) -> None:
        """Stop at once."""
        self._steps.close()


def _install_steps() -> Steps:
    return installing(preferences.packages_folder(), build_for(preferences.torch_build()))


def installing(folder: Path, torch: TorchBuild = PYPI, steps: Sequence[Step] = STEPS) -> Steps:
    """Install packages into a folder. Each step is a fraction and a sentence."""
    # A running worker holds the files that are to be replaced.
    worker_session.shut_down()
    for progress in installer.install(
        folder,
        wheels=WHEELS if WHEELS.is_dir() else None,
        online=worker_session.online(),
        torch=torch,
        steps=steps,
        wait_s=0.2 if bpy.app.background else 0.01,
    ):
        sentence = f"{progress.title} ({progress.step} of {progress.steps})"
        yield (progress.step - 1) / progress.steps, f"{sentence}, {progress.seconds:.0f} s"
    worker_session.shut_down()


def _download_steps(entry: Checkpoint) -> Steps:
    for progress in download(entry, preferences.model_folder()):
        done, total = progress.done / 1e6, progress.total / 1e6
        yield progress.done / progress.total, f"{entry.name}, {done:.0f} of {total:.0f} MB"


class SAM2SPLAT_OT_install_packages(TaskOperator, Operator):
    """Download PyTorch and SAM 2 into the add-on's own folder"""

    bl_idname = "sam2_splat.install_packages"
    bl_label = "Install SAM 2"
    panel = "install"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return nothing_runs(cls)

    def start(self, context: Context) -> Task:
        if not worker_session.online() and not has_local_packages():
            raise EnvironmentSetupError("Blender is offline.", OFFLINE_FIX)
        return FetchTask("Installing", _install_steps(), "SAM 2 is installed")


class SAM2SPLAT_OT_download_model(TaskOperator, Operator):
    """Download the chosen SAM 2.1 checkpoint from its authors"""

    bl_idname = "sam2_splat.download_model"
    bl_label = "Download Model"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        clip = active_clip(context)
        if clip is None or properties.of_clip(clip).model not in CHECKPOINTS:
            cls.poll_message_set("Choose a SAM 2.1 model first")
            return False
        return nothing_runs(cls)

    def start(self, context: Context) -> Task:
        if not worker_session.online():
            raise CheckpointError("Blender is offline.", OFFLINE_FIX)
        entry = CHECKPOINTS[properties.of_clip(require_clip(context)).model]
        return FetchTask("Downloading", _download_steps(entry), f"{entry.file_name} is downloaded")


CLASSES = (SAM2SPLAT_OT_install_packages, SAM2SPLAT_OT_download_model)
