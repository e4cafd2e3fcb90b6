# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that tests of several parts of the engine share."""

from __future__ import annotations

from pathlib import Path

import pytest

from .photo_footage import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of the bundled model. Tests only read it."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "random.safetensors")
