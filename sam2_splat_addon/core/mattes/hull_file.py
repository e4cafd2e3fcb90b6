# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in which a store keeps a hull: numpy's own format. The engine makes hulls (`engine/agreement`)."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..system.safe_read import read_plain

NAMES: Final = (
    *("key", "offsets", "sizes", "shares", "centre", "radius", "voxel"),
    *("frames", "trust"),
)
"""What the file has."""


def read_hull_file(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a hull's file, by name; None if there is none, or it is damaged."""
    try:
        with np.load(io.BytesIO(read_plain(path)), allow_pickle=False) as file:
            found = {name: file[name] for name in NAMES}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    count = len(found["offsets"])
    fits = found["offsets"].shape == (count, 3) and all(
        found[name].shape == (count,) for name in ("sizes", "shares")
    )
    return found if fits else None
