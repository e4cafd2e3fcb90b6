# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin for the environments of :mod:`venvs`; imports pytest and bpy.

The add-on starts the worker with Blender's own Python, which these have without the worker's packages:
the worker runs with the Python that the environment names.
"""

from __future__ import annotations

import os
import sys

import pytest

VARIABLE = "SAM2_SPLAT_WORKER_PYTHON"

_status = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Name that Python as the running one, which the worker is started with."""
    sys.executable = os.environ[VARIABLE]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember how it went."""
    session.config.stash[_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End Blender 4.2 at once, when everything is told.

    As a module it crashes at its exit once any property with an update callback was unregistered.
    """
    import bpy

    if bpy.app.version < (4, 3):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash.get(_status, 1))
