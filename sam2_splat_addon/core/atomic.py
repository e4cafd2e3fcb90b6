# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are there whole or not at all; imports the standard library only."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that takes ``path``'s place when the block ends without an error.

    The temporary file lies in the same folder, so the final ``os.replace`` is one rename; on an
    error it is removed and ``path`` is as it was. The name carries the process id, so that two
    processes never write into one temporary file.

    Raises
    ------
    OSError
        From opening, writing or renaming; the caller words it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all."""
    with atomic_file(path) as stream:
        stream.write(data)


def sweep_temporaries(folder: Path) -> None:
    """Remove, in ``folder`` and below, the temporary files that killed processes left behind.

    Raises
    ------
    OSError
        From removing; the caller words it.
    """
    for leftover in folder.rglob(".*.tmp"):
        if not _is_running(leftover.name.split(".")[-2]):
            leftover.unlink(missing_ok=True)


def _is_running(process: str) -> bool:
    """Whether another process of that id is running on this machine."""
    if not process.isdecimal() or int(process) in (0, os.getpid()):
        return False
    if sys.platform == "win32":
        import ctypes

        # PROCESS_QUERY_LIMITED_INFORMATION; os.kill would send a signal.
        kernel = ctypes.WinDLL("kernel32")
        handle = kernel.OpenProcess(0x1000, False, int(process))
        if handle:
            kernel.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
