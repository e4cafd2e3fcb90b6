# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that the add-on made, and what it may delete in them; standard library and msgspec only.

A folder is ours when a marker file lies in it, written when the folder was made. Without the marker
nothing in it is deleted. With it only files go whose names the add-on itself gives, one by one, and
folders that are empty then. A link is never followed, and no folder that is one is ours.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ..errors import SplatError
from .atomic_file import make_folder, write_atomic
from .links import is_link
from .safe_read import is_folder

MARKER_NAME: Final = "sam2_splat_folder.json"

CLUTTER: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file managers leave in a folder that somebody looked at."""

_MADE_BY: Final = "SAM2 Splat"
_NOTE: Final = (
    "SAM2 Splat made this folder, and deletes here what it made itself. Without this file it deletes"
    " nothing."
)
_MAX_MARKER_BYTES: Final = 4096
_WILD: Final = {"#": "[0-9]{3,}", "*": "[a-z0-9]+", "?": "[^/]+"}


class _Marker(msgspec.Struct, frozen=True):
    made_by: str
    holds: tuple[str, ...]
    note: str = ""


class OwnNames:
    """The paths that the add-on gives its files within a folder of its own.

    Parameters
    ----------
    patterns
        Such as ``objects/#/#.matte``: ``#`` is a number of three digits or more, ``*`` an
        extension's lower-case letters and digits, ``?`` any name.
    """

    def __init__(self, *patterns: str) -> None:
        folders = {
            "/".join(parts[:depth])
            for parts in (pattern.split("/") for pattern in patterns)
            for depth in range(1, len(parts))
        }
        self._files = _one_of(patterns)
        self._folders = _one_of(folders)

    def holds(self, path: str) -> bool:
        """Whether a file at that path, relative with forward slashes, has a name of ours."""
        return self._files.fullmatch(path) is not None

    def holds_folder(self, path: str) -> bool:
        """Whether such files lie in a folder at that path or below it."""
        return self._folders.fullmatch(path) is not None

    def begins(self, name: str) -> bool:
        """Whether a name in the folder itself is that of a file or folder of ours."""
        return self.holds(name) or self.holds_folder(name)


def _one_of(patterns: Iterable[str]) -> re.Pattern[str]:
    parts = (
        "".join(_WILD.get(letter, re.escape(letter)) for letter in pattern)
        for pattern in sorted(patterns)
    )
    return re.compile("|".join(parts) or r"(?!)")


@dataclass(frozen=True)
class FolderKind:
    """One kind of folder that the add-on makes.

    Attributes
    ----------
    holds
        What the marker says is in it, one word.
    names
        What the add-on makes in it.
    error
        Raised where a folder is not what it should be.
    fix
        What the user can do then.
    knows_unmarked
        Whether a folder whose marker got lost is one all the same. Must read only names and what the
        add-on itself writes.
    is_anothers
        Whether a folder with the marker is another program's all the same: somebody has copied the
        marker there.
    """

    holds: str
    names: OwnNames
    error: type[SplatError]
    fix: str
    knows_unmarked: Callable[[Path], bool]
    is_anothers: Callable[[Path], bool] = lambda _: False

    def owns(self, folder: Path) -> bool:
        """Whether the add-on made a folder, by its marker, and nothing in it says otherwise."""
        if is_link(folder) or self.holds not in _held(folder):
            return False
        try:
            return not self.is_anothers(folder)
        except OSError:  # what can't be read proves nothing
            return False

    def knows(self, folder: Path) -> bool:
        """Whether the add-on made a folder, by its marker or, where that is lost, by what is there."""
        if self.owns(folder):
            return True
        try:
            return not is_link(folder) and self.knows_unmarked(folder)
        except OSError:  # what can't be read proves nothing
            return False

    def is_empty(self, folder: Path) -> bool:
        """Whether nothing in a folder bears a name of ours, or there is no folder."""
        return not is_folder(folder) or not self._beginning(folder)

    def require(self, folder: Path) -> None:
        """Raise `error` unless the add-on made a folder."""
        if not self.knows(folder):
            what = "is a link" if is_link(folder) else f"is no folder of {self.holds} that we made"
            raise self.error(f"{folder} {what}: SAM2 Splat changes nothing in it.", self.fix)

    def claim(self, folder: Path) -> None:
        """Make a folder, or take one in which nothing bears a name of ours; both get the marker.

        A folder of ours stays as it is; one whose marker is lost gets it again.

        Raises
        ------
        SplatError
            `error`: something there is not ours, or a link.
        OSError
            From making or writing; the caller words it.
        """
        if is_link(folder):
            raise self.error(f"{folder} is a link, and could lead to anything.", self.fix)
        if not self.owns(folder):
            make_folder(folder)
            others = self._beginning(folder)
            if self.knows_unmarked(folder):
                others = [path for path in others if not self.names.begins(path.name)]
            marker = folder / MARKER_NAME
            if is_link(marker) or (marker.exists() and not marker.is_file()):
                others.append(marker)
            if others:
                raise self.error(
                    f"{others[0]} is there, and SAM2 Splat did not make it: the folder is"
                    " for something else.",
                    self.fix,
                )
            _mark(folder, {*_held(folder), self.holds})
        for inner, entries in self._walk(folder):
            for entry in entries:
                if self.names.holds_folder(f"{inner}{entry.name}") and is_link(Path(entry.path)):
                    raise self.error(
                        f"{entry.path} is a link, and could lead to anything.", self.fix
                    )

    def make(self, folder: Path, below: str) -> Path:
        """Make a folder of ours within another, through no link.

        Raises
        ------
        SplatError
            `error`: a link is in the way.
        OSError
            From making; the caller words it.
        """
        inner = folder
        for part in ("", *below.split("/")):
            inner /= part
            if is_link(inner):
                raise self.error(f"{inner} is a link, and could lead to anything.", self.fix)
            make_folder(inner)
        return inner

    def files(self, folder: Path, below: str = "") -> Iterator[Path]:
        """The files of ours from ``folder / below`` inwards; no links, and none behind a link."""
        for inner, entries in self._walk(folder, below):
            for entry in entries:
                is_ours = self.names.holds(f"{inner}{entry.name}")
                if is_ours and entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)

    def _walk(self, folder: Path, below: str = "") -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
        """The folders of ours that are there, outer ones first, with what lies in them.

        Each as its relative path with a slash at its end; empty for ``folder`` itself.
        """
        parts = below.split("/") if below else []
        steps = [folder.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
        if parts and not self.names.holds_folder(below):
            return
        if any(is_link(step) or not is_folder(step) for step in steps):
            return
        inner = "".join(f"{part}/" for part in parts)
        entries = _entries(steps[-1])
        yield inner, entries
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                path = f"{inner}{entry.name}"
                if self.names.holds_folder(path):
                    yield from self._walk(folder, path)

    def remove(self, folder: Path, below: str = "") -> None:
        """Delete the files of ours in a folder of ours, and folders of ours that are empty then.

        What else lies there stays.

        Parameters
        ----------
        folder
            The folder with the marker; it stays, and so does the marker.
        below
            Where to begin, relative with forward slashes: a path of our own.

        Raises
        ------
        SplatError
            `error`: the folder is not ours.
        OSError
            From deleting; the caller words it.
        """
        self.require(folder)
        for path in list(self.files(folder, below)):
            path.unlink(missing_ok=True)
        self.prune(folder, below)

    def prune(self, folder: Path, below: str = "") -> None:
        """Remove empty folders of ours, but not ``folder`` itself; raises as `remove` does."""
        self.require(folder)
        found = [folder / inner for inner, _ in self._walk(folder, below) if inner]
        for inner in reversed(found):  # inner ones first
            if not any(inner.iterdir()):
                inner.rmdir()

    def _beginning(self, folder: Path) -> list[Path]:
        """What lies in a folder itself under names of ours."""
        found = (path for path in sorted(folder.iterdir()) if path.name != MARKER_NAME)
        # In any case: where disks don't tell "Objects" from "objects", ours would be written into it.
        return [
            path
            for path in found
            if self.names.begins(path.name.casefold()) and path.name not in CLUTTER
        ]

    def give_up(self, folder: Path) -> None:
        """Take the marker out of a folder in which nothing bears a name of ours any more."""
        if self.owns(folder) and not self._beginning(folder):
            _mark(folder, _held(folder) - {self.holds})


def _held(folder: Path) -> frozenset[str]:
    """What a folder holds of ours, by its marker."""
    marker = folder / MARKER_NAME
    try:
        status = marker.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_MARKER_BYTES:
            return frozenset()
        found = msgspec.json.decode(marker.read_bytes(), type=_Marker)
    except (OSError, ValueError, RecursionError):
        return frozenset()
    return frozenset(found.holds if found.made_by == _MADE_BY else ())


def _mark(folder: Path, holds: Iterable[str]) -> None:
    """Write a folder's marker, or remove it where nothing is left."""
    said = _Marker(_MADE_BY, tuple(sorted(holds)), _NOTE)
    if said.holds:
        data = msgspec.json.format(msgspec.json.encode(said)) + b"\n"
        write_atomic(folder / MARKER_NAME, data)
    else:
        (folder / MARKER_NAME).unlink()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name; nothing where it has gone."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
