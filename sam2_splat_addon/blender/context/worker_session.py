# SPDX-License-Identifier: GPL-3.0-or-later
"""The one worker that this Blender keeps ready between jobs."""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...client.packages.environment import WorkerEnvironment, can_find_cameras, find
from ...client.worker.preview import Preview
from ...client.worker.worker_pool import WorkerPool
from ...core.errors import EnvironmentSetupError
from . import preferences, session_state
from .session_state import SessionPart


@dataclass
class _Worker(SessionPart):
    """The pool with the worker process, and its previews.

    Attributes
    ----------
    ready
        Whether the packages are installed. Only True is remembered: packages don't vanish while Blender
        runs, but the user may install them.
    finds_cameras
        Whether the optional package for Find Cameras is installed; remembered as ``ready``.
    """

    pool: WorkerPool | None = None
    preview: Preview | None = None
    ready: bool = False
    finds_cameras: bool = False

    def closes(self) -> None:
        self.preview = None
        if self.pool is not None:
            self.pool.shutdown()
            self.pool = None
            atexit.unregister(shut_down)


def environment() -> WorkerEnvironment:
    """Return the Python and the package folders of the worker. Raises EnvironmentSetupError."""
    return find(preferences.packages_folder())


def packages_ready() -> bool:
    """Whether the worker's packages are installed. This is quick enough for panels."""
    worker = session_state.part(_Worker)
    if not worker.ready:
        try:
            environment()
        except EnvironmentSetupError:
            return False
        worker.ready = True
    return worker.ready


def finds_cameras() -> bool:
    """Whether the package that finds cameras is installed. This is quick enough for panels."""
    worker = session_state.part(_Worker)
    if not worker.finds_cameras:
        try:
            worker.finds_cameras = can_find_cameras(environment())
        except EnvironmentSetupError:
            return False
    return worker.finds_cameras


def pool() -> WorkerPool:
    """Return the pool that starts the worker process when it is needed."""
    worker = session_state.part(_Worker)
    if worker.pool is None:
        worker.pool = WorkerPool(environment(), addon_folder=Path(__file__).parents[2])
        atexit.register(shut_down)
    return worker.pool


def preview() -> Preview:
    """Return the previews from that worker. Raises EnvironmentSetupError."""
    worker = session_state.part(_Worker)
    if worker.preview is None:
        worker.preview = Preview(pool())
    return worker.preview


def asked_preview() -> Preview | None:
    """Return the previews if one was asked for already, else None."""
    return session_state.part(_Worker).preview


def shut_down() -> None:
    """End the worker. The next job starts a new one."""
    session_state.part(_Worker).closes()


def online() -> bool:
    """Whether the user allows add-ons to use the network."""
    return bool(bpy.app.online_access)
