# SPDX-License-Identifier: GPL-3.0-or-later
"""The stamp of a file: as long as it stays the same, the bytes of the file are the same."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """What the file system says of a file.

    Attributes
    ----------
    path
        The path as the caller gave it.
    size
        Bytes.
    changed_ns
        When its bytes last changed, ns. Programs may set this time as they like.
    touched_ns
        When the file was last touched in any way, ns. Programs cannot set this time on Linux and
        macOS. On Windows it is the time when the file was made.
    inode
        The number of the file in its file system.
    """

    path: str
    size: int
    changed_ns: int
    touched_ns: int
    inode: int


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a file; raises OSError."""
    status = path.stat()
    return Stamp(str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
