# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are there whole or not at all; imports the standard library only."""

from __future__ import annotations

import contextlib
import os
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

    Only for folders that no other process writes into at the time.

    Raises
    ------
    OSError
        From removing; the caller words it.
    """
    for leftover in folder.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)
