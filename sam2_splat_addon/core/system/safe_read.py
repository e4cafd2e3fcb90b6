# SPDX-License-Identifier: GPL-3.0-or-later
"""Read files and bytes that others may have made, without trusting them."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

UNREADABLE: Final = (ValueError, RecursionError, OverflowError)
"""All errors of msgspec for bad bytes. Its own errors and bad UTF-8 are ValueErrors; the others mean
values nested too deeply and numbers out of range."""


def reason(problem: BaseException) -> str:
    """Say in words what is wrong with the bytes, from one of the errors in `UNREADABLE`."""
    if isinstance(problem, RecursionError):
        return "it is nested too deeply"
    if isinstance(problem, UnicodeError):
        return "it is not text in UTF-8"
    return str(problem)


def require_plain_file(path: Path) -> os.stat_result:
    """Return the status of a path without opening it; raises OSError unless it is a plain file.

    A reader of a pipe, a socket or a device could wait for ever, or get bytes without end.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a file", str(path))
    return status


def is_there(path: Path) -> bool:
    """Whether something is at a path. False also for an impossible path, such as a too long name."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is at a path. False also for an impossible path, as in `is_there`."""
    return is_there(path) and path.is_dir()


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file for reading; raises OSError for everything else.

    Never waits for a writer: a file that became a pipe in between is refused too.
    """
    require_plain_file(path)
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a plain file any more", str(path))
    return file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_plain(path: Path) -> bytes:
    """Read all bytes of a plain file; raises OSError if it is missing, not a file, or unreadable."""
    with open_plain(path) as file:
        return file.read()
