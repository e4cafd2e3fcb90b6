# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a file into another folder without copying its bytes, where the disk can do that."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from .atomic_file import FolderSync, sync_file, sync_folder, temporary_beside

_FICLONE: Final = 0x40049409  # _IOW(0x94, 9, int), linux/fs.h


def share(source: Path, target: Path, *, folders: FolderSync | None = None) -> None:
    """Make `target` a file with the bytes of `source`, which stays as it is.

    A clone is tried first: two files that share their bytes on the disk until one is changed. Then a
    hard link: the same file under two names. Then a copy.

    Parameters
    ----------
    source
        A file. If it is a link, the file behind it counts.
    target
        Replaced in one step.
    folders
        As in `atomic_file`.

    Raises
    ------
    OSError
        None of the three works. Nothing is left of the target.
    """
    source = source.resolve()  # a hard link to a symbolic link would be one itself
    temporary = temporary_beside(target)
    try:
        for way in (_clone, os.link, _copy):
            try:
                way(source, temporary)
                break
            except OSError:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                if way is _copy:
                    raise
        os.replace(temporary, target)
        # Two names of one file: renaming one onto the other leaves both.
        temporary.unlink(missing_ok=True)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if folders is not None:
        folders.add(target.parent)
    else:
        sync_folder(target.parent)


def _clone(source: Path, target: Path) -> None:
    """Clone a file, as Btrfs, XFS and APFS can; raises OSError elsewhere."""
    if sys.platform == "darwin":
        library = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
        if library.clonefile(os.fsencode(source), os.fsencode(target), 0):
            raise OSError(ctypes.get_errno(), "clonefile")
        return
    if sys.platform != "linux":
        raise OSError("this system has no clones")
    import fcntl

    with source.open("rb") as read, target.open("xb") as written:
        fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        sync_file(written.fileno())
    _keep_times(source, target)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("r+b") as file:
        sync_file(file.fileno())
    _keep_times(source, target)


def _keep_times(source: Path, target: Path) -> None:
    """Give a file the times of another one. Disks without them are no failure."""
    status = source.stat()
    with contextlib.suppress(OSError):
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
