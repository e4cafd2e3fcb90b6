# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of several parts of the engine begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from .photo_footage import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of the bundled model; for reading alone."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "random.safetensors")
