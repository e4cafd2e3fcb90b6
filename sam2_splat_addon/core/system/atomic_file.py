# SPDX-License-Identifier: GPL-3.0-or-later
"""Write files completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from .links import is_link

# Machine, process, number. Short, because a name can have only 255 bytes.
_TEMPORARY: Final = re.compile(r"\.s2s_([0-9a-f]{8})_([0-9]{1,10})_[0-9]+\.tmp")
# A file that another machine began so long ago belongs to a process that has ended.
_ABANDONED_AFTER: Final = 24 * 3600.0  # s

_numbers = itertools.count()

# Answers of file systems without this call, such as some network drives; not a failure of the disk.
_NO_SYNC: Final = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES)


class FolderSync:
    """Folders with new names that are not on the disk yet; for any thread.

    One sync of a folder covers all names in it, so names wait for each other until `flush`. Call it
    before you report a file as finished.
    """

    def __init__(self) -> None:
        self._waiting: set[Path] = set()
        self._lock = threading.Lock()
        self._syncing = threading.Lock()

    def add(self, folder: Path) -> None:
        """Add a folder to those that wait."""
        with self._lock:
            self._waiting.add(folder)

    def flush(self) -> None:
        """Sync all folders that wait; raises OSError if the disk fails now or failed before."""
        with self._syncing:  # this also waits for a sync that is running
            with self._lock:
                folders, self._waiting = sorted(self._waiting), set()
            for done, folder in enumerate(folders):
                try:
                    sync_folder(folder)
                except OSError:
                    with self._lock:
                        self._waiting.update(folders[done:])
                    raise


def sync_file(number: int) -> None:
    """Wait until the bytes of an open file are on the disk; raises OSError if that fails."""
    try:
        if sys.platform == "darwin":
            import fcntl

            with contextlib.suppress(OSError):  # network drives know only fsync
                fcntl.fcntl(number, fcntl.F_FULLFSYNC)
                return
        os.fsync(number)
    except OSError as problem:
        if problem.errno not in _NO_SYNC:
            raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; raises OSError if that fails.

    On Windows nothing is needed: its journal keeps names. A folder that is gone needs nothing either.
    """
    if sys.platform == "win32":
        return
    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        sync_file(number)
    finally:
        os.close(number)


def sync_tree(folder: Path) -> None:
    """Wait until everything in a folder is on the disk; raises OSError."""
    if sys.platform == "win32":
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("r+b") as file:
                    sync_file(file.fileno())
    else:
        os.sync()  # one call for perhaps ten thousand files


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents so that they survive a power cut; raises OSError."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def temporary_beside(path: Path) -> Path:
    """Return a new path in the same folder that nobody else uses; `sweep_temporaries` knows it."""
    return path.with_name(f".s2s_{this_machine()}_{os.getpid()}_{next(_numbers)}.tmp")


@contextlib.contextmanager
def atomic_file(
    path: Path, *, folders: FolderSync | None = None, synced: bool = True
) -> Iterator[BinaryIO]:
    """Open a binary file that replaces ``path`` when the block ends without an error.

    The bytes go to a temporary file in the same folder, and the last step is one rename. On an error
    the temporary file is removed, and ``path`` is unchanged. The name of the temporary file contains
    its machine and process. So no two processes share one, and others know whose it is. The bytes are on
    the disk before the rename: a power cut leaves the old file or the new one.

    Parameters
    ----------
    folders
        Where the folder waits for its sync; None syncs it at once.
    synced
        False leaves the time of writing to the system. For files that only save time, and whose readers
        notice damage.

    Raises
    ------
    OSError
        Opening, writing or renaming failed; the caller writes the message.
    """
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as stream:
            yield stream
            if synced:
                stream.flush()
                sync_file(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if synced:
        if folders is not None:
            folders.add(path.parent)
        else:
            sync_folder(path.parent)


def write_atomic(
    path: Path, data: bytes, *, folders: FolderSync | None = None, synced: bool = True
) -> None:
    """Write ``data`` to ``path`` completely or not at all; see `atomic_file`."""
    with atomic_file(path, folders=folders, synced=synced) as stream:
        stream.write(data)


def sweep_temporaries(folder: Path, *, below: bool = True) -> None:
    """Remove temporary files that killed processes left behind. Only names of our own count.

    Files of this machine are removed if their process has ended. Files of other machines are removed
    if they are a day old, because their processes cannot be seen here. Call it for a folder of ours
    while you hold its lock.

    Parameters
    ----------
    folder
        Where to look; links in it are not followed.
    below
        Whether to look into its sub-folders too.

    Raises
    ------
    OSError
        Removing failed; the caller writes the message.
    """
    for root, folders, names in os.walk(folder):
        for name in names:
            leftover = Path(root, name)
            if _is_abandoned(leftover):
                leftover.unlink(missing_ok=True)
        folders[:] = [name for name in folders if below and not is_link(Path(root, name))]


def _is_abandoned(path: Path) -> bool:
    """Whether a file is a temporary file of ours that no process writes any more."""
    ours = _TEMPORARY.fullmatch(path.name)
    if ours is None:
        return False
    if ours[1] == this_machine():
        return not is_running(ours[2])
    try:
        return time.time() - path.lstat().st_mtime > _ABANDONED_AFTER
    except FileNotFoundError:
        return False


@functools.cache
def this_machine() -> str:
    """Return a digest that differs between machines and containers, since process ids may be equal."""
    facts = [platform.node()]
    with contextlib.suppress(OSError):
        facts.append(Path("/etc/machine-id").read_text(encoding="ascii", errors="replace"))
    with contextlib.suppress(OSError):
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def is_running(process: str) -> bool:
    """Whether another process with that id runs on this machine."""
    if int(process) in (0, os.getpid()):
        return False
    if sys.platform == "win32":
        import ctypes

        # PROCESS_QUERY_LIMITED_INFORMATION. On Windows os.kill would end the process.
        kernel = ctypes.WinDLL("kernel32")
        handle = kernel.OpenProcess(0x1000, False, int(process))
        if handle:
            kernel.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # it belongs to another user
    return True
