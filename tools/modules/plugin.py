# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin for the environments of :mod:`venvs`.

The add-on starts the worker with Blender's own Python. In these environments it has no packages for the
worker. So the worker runs with the Python that an environment variable names.
"""

from __future__ import annotations

import os
import sys

import pytest

VARIABLE = "SAM2_SPLAT_WORKER_PYTHON"

_status = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Let that Python count as the running one, so that the worker starts with it."""
    sys.executable = os.environ[VARIABLE]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember the exit code."""
    session.config.stash[_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End Blender 4.2 at once, after the report.

    As a module it crashes at its exit if a property with an update callback was unregistered.
    """
    import bpy

    if bpy.app.version < (4, 3):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash.get(_status, 1))
