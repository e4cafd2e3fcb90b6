# SPDX-License-Identifier: GPL-3.0-or-later
"""The one worker this Blender keeps warm between jobs; imports bpy and client."""

from __future__ import annotations

import atexit
from pathlib import Path

import bpy

from ...client.packages.environment import WorkerEnvironment, find
from ...client.worker.preview import Preview
from ...client.worker.worker_pool import WorkerKeeper
from ...core.errors import EnvironmentSetupError
from . import preferences

_keeper: WorkerKeeper | None = None
_preview: Preview | None = None
# Only a yes is remembered: packages don't vanish while Blender runs, but they may arrive.
_ready = False


def environment() -> WorkerEnvironment:
    """The Python and package folders the worker runs with; raises EnvironmentSetupError."""
    return find(preferences.packages_folder())


def packages_ready() -> bool:
    """Whether there is an environment to run the worker with; cheap enough for panels."""
    global _ready
    if not _ready:
        try:
            environment()
        except EnvironmentSetupError:
            return False
        _ready = True
    return _ready


def keeper() -> WorkerKeeper:
    """Start-on-demand keeper of the worker process."""
    global _keeper
    if _keeper is None:
        _keeper = WorkerKeeper(environment(), addon_folder=Path(__file__).parents[2])
        atexit.register(shut_down)
    return _keeper


def preview() -> Preview:
    """Previews from that worker; raises EnvironmentSetupError."""
    global _preview
    if _preview is None:
        _preview = Preview(keeper())
    return _preview


def asked_preview() -> Preview | None:
    """The previews when there was an ask already, else None."""
    return _preview


def shut_down() -> None:
    """End the worker; the next job starts another."""
    global _keeper, _preview
    _preview = None
    if _keeper is not None:
        _keeper.shutdown()
        _keeper = None
        atexit.unregister(shut_down)


def online() -> bool:
    """Whether the user lets add-ons use the network."""
    return bool(bpy.app.online_access)
