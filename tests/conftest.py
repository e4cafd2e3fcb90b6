# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep every test away from the user's own Blender, and end a process with Blender in it for sure."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile

import pytest

# Blender reads this once, when bpy is imported: so set it before any test module is imported.
_RESOURCES = tempfile.mkdtemp(prefix="sam2_splat_blender_")
os.environ["BLENDER_USER_RESOURCES"] = _RESOURCES
_STATUS = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the exit code for the end."""
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what Blender wrote under the temporary user folder, and end the process.

    After a failed test, tracebacks keep Blender's module alive, and its own end then waits for a
    thread for ever. So the process ends without it; all reports are written by now.
    """
    shutil.rmtree(_RESOURCES, ignore_errors=True)
    if "bpy" in sys.modules and _STATUS in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_STATUS])
