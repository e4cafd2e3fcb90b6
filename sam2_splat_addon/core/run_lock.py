# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time over a folder, between processes; standard library only.

The system's own lock on a file, which ends with the process that holds it, however that ends. Where
there are no locks, as on some network drives, nothing is locked.
"""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from .errors import StoreError
from .links import is_link

LOCK_NAME: Final = "run.lock"

_TAKEN: Final = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold the folder for a run; raises StoreError while another process holds it."""
    if is_link(folder / LOCK_NAME):  # opening it would make or lock a file elsewhere
        raise StoreError(
            f"{folder / LOCK_NAME} is a link, and could lead to anything.", "Remove it."
        )
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context((folder / LOCK_NAME).open("a+b"))
            _lock(file)
        except OSError as problem:
            if problem.errno in _TAKEN:
                raise StoreError(
                    f"Another Blender is propagating over the photos of {folder.parent}.",
                    "Wait until it is done, or cancel it there, then propagate again.",
                ) from problem
        yield


def _lock(file: IO[bytes]) -> None:
    """Lock the file until it is closed; raises OSError at once where another process has."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
