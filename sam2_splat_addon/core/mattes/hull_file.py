# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in which a store keeps a hull: numpy's own format. The engine makes hulls (`engine/agreement`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from ..system.npz_file import read_npz
from ..system.safe_read import read_plain

NAMES: Final = (
    *("key", "offsets", "sizes", "shares", "centre", "radius", "voxel"),
    *("frames", "trust", "others"),
)
"""What the file has."""


def read_hull_file(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a hull's file, by name; None if there is none, or it is damaged."""
    try:
        found = read_npz(read_plain(path))
    except (OSError, ValueError):
        return None
    if not found.keys() >= set(NAMES):
        return None
    cells, frames = found["sizes"].shape, found["frames"].shape
    shapes = {
        "offsets": (*cells, 3),
        "shares": cells,
        "trust": frames,
        "centre": (3,),
        **dict.fromkeys(("key", "radius", "voxel", "others"), ()),
    }
    fits = len(cells) == len(frames) == 1
    fits = fits and all(found[name].shape == shape for name, shape in shapes.items())
    return {name: found[name] for name in NAMES} if fits else None
