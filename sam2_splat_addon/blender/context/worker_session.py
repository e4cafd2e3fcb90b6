# SPDX-License-Identifier: GPL-3.0-or-later
"""The one worker this Blender keeps warm between jobs; imports bpy and client."""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...client.packages.environment import WorkerEnvironment, find
from ...client.worker.preview import Preview
from ...client.worker.worker_pool import WorkerPool
from ...core.errors import EnvironmentSetupError
from . import preferences, session_state
from .session_state import SessionPart


@dataclass
class _Worker(SessionPart):
    """The pool with the process, and the previews that come from it.

    Attributes
    ----------
    ready
        Whether there are packages; only a yes is remembered: they don't vanish while Blender runs, but
        they may arrive.
    """

    pool: WorkerPool | None = None
    preview: Preview | None = None
    ready: bool = False

    def closes(self) -> None:
        self.preview = None
        if self.pool is not None:
            self.pool.shutdown()
            self.pool = None
            atexit.unregister(shut_down)


def environment() -> WorkerEnvironment:
    """The Python and package folders the worker runs with; raises EnvironmentSetupError."""
    return find(preferences.packages_folder())


def packages_ready() -> bool:
    """Whether there is an environment to run the worker with; cheap enough for panels."""
    worker = session_state.part(_Worker)
    if not worker.ready:
        try:
            environment()
        except EnvironmentSetupError:
            return False
        worker.ready = True
    return worker.ready


def pool() -> WorkerPool:
    """The pool that starts the worker process when it is needed."""
    worker = session_state.part(_Worker)
    if worker.pool is None:
        worker.pool = WorkerPool(environment(), addon_folder=Path(__file__).parents[2])
        atexit.register(shut_down)
    return worker.pool


def preview() -> Preview:
    """Previews from that worker; raises EnvironmentSetupError."""
    worker = session_state.part(_Worker)
    if worker.preview is None:
        worker.preview = Preview(pool())
    return worker.preview


def asked_preview() -> Preview | None:
    """The previews when there was an ask already, else None."""
    return session_state.part(_Worker).preview


def shut_down() -> None:
    """End the worker; the next job starts another."""
    session_state.part(_Worker).closes()


def online() -> bool:
    """Whether the user lets add-ons use the network."""
    return bool(bpy.app.online_access)
