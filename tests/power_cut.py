# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulate a power cut in a folder: what was synced stays, and any part of the rest may be lost.

It observes every sync of the real code. From that it builds what the disk had at any moment. File
systems may write names early, and names before their bytes. So there are three ways to lose what was
not synced.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

Way = Literal["nothing", "names", "chance"]
"""What is left of the rest: nothing; all names, but empty files; some of both."""

WAYS: tuple[Way, ...] = ("nothing", "names", "chance")

Names = dict[str, int]


class Disk:
    """The contents of a folder that are on the disk.

    Parameters
    ----------
    root
        A folder. Its present contents count as on the disk.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, Names] = {}
        self._folders: set[int] = set()
        self._held: list[int] = []  # so that no other file gets its inode number in between
        for folder, _, files in os.walk(root):
            for path in (Path(folder), *(Path(folder, name) for name in files)):
                self._keep(path)

    @contextmanager
    def looking_on(self, at: Callable[[], None]) -> Iterator[None]:
        """Note every sync. Call ``at`` before and after each one, and before every rename."""
        real_sync, real_replace = os.fsync, os.replace

        def fsync(number: int) -> None:
            at()
            self._keep(Path(f"/proc/self/fd/{number}"))
            at()

        def replace(source: Path, target: Path) -> None:
            at()
            real_replace(source, target)

        os.fsync, os.replace = fsync, replace  # type: ignore[assignment]
        try:
            yield
        finally:
            os.fsync, os.replace = real_sync, real_replace

    def close(self) -> None:
        for number in self._held:
            os.close(number)

    def left(self, folder: Path, way: Way, seed: int = 0) -> Path:
        """Make a folder with what is left if the power goes off now."""
        self._build(self._root.stat().st_ino, self._root, folder, way, np.random.default_rng(seed))
        return folder

    def _keep(self, path: Path) -> None:
        number = os.open(path, os.O_RDONLY)
        self._held.append(number)
        status = os.fstat(number)
        if stat.S_ISDIR(status.st_mode):
            self._folders.add(status.st_ino)
            with os.scandir(number) as entries:
                self._names[status.st_ino] = {entry.name: entry.inode() for entry in entries}
        else:
            self._contents[status.st_ino] = os.pread(number, status.st_size, 0)

    def _build(
        self, number: int, live: Path | None, folder: Path, way: Way, rng: np.random.Generator
    ) -> None:
        folder.mkdir(parents=True)
        synced = self._names.get(number, {})
        there: dict[str, os.DirEntry[str]] = {}
        if live is not None and live.is_dir() and live.stat().st_ino == number:
            with os.scandir(live) as entries:
                there = {entry.name: entry for entry in entries}
        for name in sorted({*synced, *there}):
            new, old = there.get(name), synced.get(name)
            takes_new = way == "names" or (way == "chance" and rng.random() < 0.5)
            inode = (new.inode() if new is not None else None) if takes_new else old
            if inode is None:
                continue
            path = Path(new.path) if new is not None and new.inode() == inode else None
            is_folder = path.is_dir() if path is not None else inode in self._folders
            if is_folder:
                self._build(inode, path, folder / name, way, rng)
                continue
            data = self._contents.get(inode)
            if data is None:
                whole = path.read_bytes() if path is not None else b""
                data = whole[: rng.integers(len(whole) + 1)] if way == "chance" else b""
            (folder / name).write_bytes(data)
