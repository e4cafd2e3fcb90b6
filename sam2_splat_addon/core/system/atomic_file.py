# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are there whole or not at all; standard library only."""

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

# Machine, process, number: short, so that a name of 255 bytes has room for its temporary.
_TEMPORARY: Final = re.compile(r"\.s2s_([0-9a-f]{8})_([0-9]{1,10})_[0-9]+\.tmp")
# As versions before named them: after the file and the process of a machine that nobody knows.
_EARLIER: Final = re.compile(r"\.[0-9]{6,}\.(?:matte|safetensors)\.[0-9]+\.tmp")
# What another machine began to write so long ago is of a process that has ended.
_ABANDONED_AFTER: Final = 24 * 3600.0  # s

_numbers = itertools.count()

FOLDER_SECONDS: Final = 1.0
"""How long the name of a finished file may wait for its folder to be synced with others."""

# What file systems answer that know no such call, as some network drives; not a failure of a disk.
_NO_SYNC: Final = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES)


class FolderSync:
    """Folders with new names in them that are not on the disk yet; for any thread.

    A folder's sync takes longer than a file's, and serves all names in it: so names wait for each
    other, `FOLDER_SECONDS` at most, and then are synced beside whatever goes on. `flush` ends all
    waiting.
    """

    def __init__(self) -> None:
        self._waiting: set[Path] = set()
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._syncing = threading.Lock()

    def add(self, folder: Path) -> None:
        """Take note of a folder."""
        with self._lock:
            self._waiting.add(folder)
            if self._timer is None:
                self._timer = threading.Timer(FOLDER_SECONDS, self._flush_later)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Sync all that wait; raises OSError when the disk fails, now or while nobody waited."""
        with self._syncing:  # and so waits for what is on its way
            with self._lock:
                folders, self._waiting = sorted(self._waiting), set()
            for done, folder in enumerate(folders):
                try:
                    sync_folder(folder)
                except OSError:
                    with self._lock:
                        self._waiting.update(folders[done:])
                    raise

    def _flush_later(self) -> None:
        with self._lock:
            self._timer = None
        with contextlib.suppress(OSError):  # what is left waits for the next flush, which tells it
            self.flush()


def sync_file(number: int) -> None:
    """Wait until an open file's bytes are on the disk; raises OSError when it fails."""
    try:
        if sys.platform == "darwin":
            import fcntl

            with contextlib.suppress(OSError):  # network drives know the plain call alone
                fcntl.fcntl(number, fcntl.F_FULLFSYNC)
                return
        os.fsync(number)
    except OSError as problem:
        if problem.errno not in _NO_SYNC:
            raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; raises OSError when it fails.

    Windows writes them to its journal by itself. A folder that is gone has nothing to wait for.
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
    """Wait until everything in a folder is on the disk, whoever wrote it; raises OSError."""
    if sys.platform == "win32":
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("r+b") as file:
                    sync_file(file.fileno())
    else:
        os.sync()  # one call where there may be ten thousand files


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, to outlast a power cut; raises OSError."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def temporary_beside(path: Path) -> Path:
    """A path in the same folder that nobody else makes, which `sweep_temporaries` knows as ours."""
    return path.with_name(f".s2s_{_this_machine()}_{os.getpid()}_{next(_numbers)}.tmp")


@contextlib.contextmanager
def atomic_file(
    path: Path, *, folders: FolderSync | None = None, synced: bool = True
) -> Iterator[BinaryIO]:
    """Open a binary file that takes ``path``'s place when the block ends without an error.

    The temporary file lies in the same folder, so the final ``os.replace`` is one rename; on an
    error it is removed and ``path`` is as it was. Its name says which machine and process writes
    it, so that no two write into one, and others know whose it is. The bytes are on the disk before
    the name is theirs: so a power cut leaves the old file or the new one.

    Parameters
    ----------
    folders
        Where the folder waits to be synced; None syncs it at once.
    synced
        False leaves it to the system when anything comes onto the disk: for files that cost nothing
        but time, and whose readers know damaged ones.

    Raises
    ------
    OSError
        From opening, writing or renaming; the caller words it.
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
    """Write ``data`` to ``path`` whole or not at all; see `atomic_file`."""
    with atomic_file(path, folders=folders, synced=synced) as stream:
        stream.write(data)


def sweep_temporaries(folder: Path, *, below: bool = True) -> None:
    """Remove the temporary files that killed processes left behind, by our own names alone.

    Those of this machine go when their process has ended, those of others when they are a day old:
    what runs there is not known here. Call it for a folder that is ours, while its lock is held.

    Parameters
    ----------
    folder
        Where to look; links in it are not followed.
    below
        Whether to look into its folders too.

    Raises
    ------
    OSError
        From removing; the caller words it.
    """
    for root, folders, names in os.walk(folder):
        for name in names:
            leftover = Path(root, name)
            if _is_abandoned(leftover):
                leftover.unlink(missing_ok=True)
        folders[:] = [name for name in folders if below and not is_link(Path(root, name))]


def _is_abandoned(path: Path) -> bool:
    """Whether a file is a temporary one of ours that nobody writes any more."""
    ours = _TEMPORARY.fullmatch(path.name)
    if ours is not None and ours[1] == _this_machine():
        return not _is_running(ours[2])
    if ours is None and _EARLIER.fullmatch(path.name) is None:
        return False
    try:
        return time.time() - path.lstat().st_mtime > _ABANDONED_AFTER
    except FileNotFoundError:
        return False


@functools.cache
def _this_machine() -> str:
    """What tells apart the machines, and containers, whose processes count from 1 each."""
    facts = [platform.node()]
    with contextlib.suppress(OSError):
        facts.append(Path("/etc/machine-id").read_text(encoding="ascii", errors="replace"))
    with contextlib.suppress(OSError):
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def _is_running(process: str) -> bool:
    """Whether another process of that id is running on this machine."""
    if int(process) in (0, os.getpid()):
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
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True
