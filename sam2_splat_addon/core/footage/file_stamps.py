# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file looks like from outside: when that is the same, so is what it holds; standard library."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """A file as its file system describes it.

    Attributes
    ----------
    path
        As it was asked for.
    size
        In bytes.
    changed_ns, touched_ns
        When its bytes were changed last, ns, which programs may set as they like; and when the file
        was touched at all, which they can't on Linux and macOS (on Windows, when it was made).
    inode
        Which file of the file system it is.
    """

    path: str
    size: int
    changed_ns: int
    touched_ns: int
    inode: int


def stamp_of(path: Path) -> Stamp:
    """Look at a file; raises OSError."""
    status = path.stat()
    return Stamp(str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
