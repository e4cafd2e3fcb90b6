# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep every test away from the user's own Blender."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

# Blender reads this once, when bpy is imported: so set it before any test module is imported.
_RESOURCES = tempfile.mkdtemp(prefix="sam2_splat_blender_")
os.environ["BLENDER_USER_RESOURCES"] = _RESOURCES


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what Blender wrote under the temporary user folder."""
    shutil.rmtree(_RESOURCES, ignore_errors=True)
