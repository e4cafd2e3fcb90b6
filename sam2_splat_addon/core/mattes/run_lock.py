# SPDX-License-Identifier: GPL-3.0-or-later
"""Allow one run at a time in a folder, among all processes.

This is the system's lock on a file. It ends with the process that holds it, whatever happens. On file
systems without locks, such as some network drives, it locks nothing. There a lease does it (`lease`).
"""

from __future__ import annotations

import contextlib
import errno
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, Literal

from ..errors import StoreError
from ..system.links import is_link
from .lease import Lease, leased, require_free

LOCK_NAME: Final = "run.lock"

_ENDING: Final = 0.5  # s that a large process may take to end
_TAKEN: Final = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


def _patient(host: str) -> None:
    """Wait on."""


@contextlib.contextmanager
def only_run(folder: Path, waits: Callable[[str], None] = _patient) -> Iterator[Lease]:
    """Lock the folder for a run; raises StoreError while another process or computer has it.

    If the run of another computer may have died, this waits until it is sure.

    Parameters
    ----------
    waits
        As in `lease.leased`.
    """
    with _held(folder, "a+b") as locked, leased(folder, waits, locked=locked) as lease:
        yield lease


@contextlib.contextmanager
def no_run(folder: Path) -> Iterator[None]:
    """Lock the folder for work that must not happen during a run; raises StoreError during a run.

    Makes no lock file in a folder that never had a run.
    """
    with _held(folder, "r+b"):
        require_free(folder)
        yield


@contextlib.contextmanager
def _held(folder: Path, mode: Literal["a+b", "r+b"]) -> Iterator[bool]:
    """Lock the folder. It yields whether the system really has locked it."""
    locked = False
    if is_link(folder / LOCK_NAME):  # to open it would make or lock a file elsewhere
        raise StoreError(
            f"{folder / LOCK_NAME} is a link, and could lead to anything.", "Remove it."
        )
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # if no file can be made, nothing is locked
            file = stack.enter_context((folder / LOCK_NAME).open(mode))
            try:
                _lock_soon(file)
                locked = True
            except OSError as problem:
                if problem.errno in _TAKEN:
                    raise StoreError(
                        f"Another Blender is propagating over the photos of {folder.parent}.",
                        "Wait until it has finished, or cancel it there; then try again.",
                    ) from problem
        yield locked


def _lock_soon(file: IO[bytes]) -> None:
    """Lock the file, if need be in a moment: a process that was killed still has its lock while it ends."""
    end = time.monotonic() + _ENDING
    while True:
        try:
            return _lock(file)
        except OSError as problem:
            if problem.errno not in _TAKEN or time.monotonic() > end:
                raise
        time.sleep(0.02)


def _lock(file: IO[bytes]) -> None:
    """Lock the file until it is closed; raises OSError at once if another process has the lock."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
