# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads files and bytes that others may have made; standard library only."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

UNREADABLE: Final = (ValueError, RecursionError, OverflowError)
"""All that msgspec raises over bytes: its own errors, which are ValueErrors, and those for text that is
not UTF-8, for values nested too deeply, and for numbers out of range."""


def reason(problem: BaseException) -> str:
    """What is wrong with the bytes, for a sentence: one of `UNREADABLE` in words."""
    if isinstance(problem, RecursionError):
        return "it is nested too deeply"
    if isinstance(problem, UnicodeError):
        return "it is no text in UTF-8"
    return str(problem)


def require_plain_file(path: Path) -> os.stat_result:
    """Look at what a path leads to, without opening it; raises OSError unless it is a plain file.

    A pipe, a socket or a device would let its reader wait for ever, or give bytes without an end.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a file", str(path))
    return status


def is_there(path: Path) -> bool:
    """Whether something is at a path; False also where no file can be, as for a name too long."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is at a path; False also where none can be, as `is_there`."""
    return is_there(path) and path.is_dir()


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file for reading; raises OSError for everything else.

    Never waits for somebody to write: what became a pipe since it was looked at is refused, too.
    """
    require_plain_file(path)
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - it is the caller's to close
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no plain file any more", str(path))
    return file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_plain(path: Path) -> bytes:
    """All bytes of a plain file; raises OSError for what is missing, no file, or can't be read."""
    with open_plain(path) as file:
        return file.read()
