# SPDX-License-Identifier: GPL-3.0-or-later
"""Know the folders that the add-on made, and delete only its own files in them.

A folder is ours if it has a marker file, which is written when the folder is made. Without the marker
nothing in it is deleted. With it only files with names of the add-on are deleted, one by one, and then
empty folders. A link is never followed, and a link to a folder is never ours.
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
"""Files that file managers leave in folders."""

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
    """The paths of the add-on's files within a folder of its own.

    Parameters
    ----------
    patterns
        Such as ``objects/#/#.matte``: ``#`` is a number with three digits or more, ``*`` stands for
        lower-case letters and digits, ``?`` for any name.
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
        """Whether a path, relative with forward slashes, is that of a file of ours."""
        return self._files.fullmatch(path) is not None

    def holds_folder(self, path: str) -> bool:
        """Whether a folder at that path may have files of ours in it or below it."""
        return self._folders.fullmatch(path) is not None

    def begins(self, name: str) -> bool:
        """Whether a name in the folder itself belongs to a file or folder of ours."""
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
        One word in the marker: what is in the folder.
    names
        The names of the add-on's files in it.
    error
        The class of error for a folder that is not ours.
    fix
        What the user can do then.
    knows_unmarked
        Whether a folder that lost its marker is ours all the same. It may read only names, and files
        that the add-on itself writes.
    is_anothers
        Whether a folder with the marker belongs to another program: somebody has copied the marker.
    """

    holds: str
    names: OwnNames
    error: type[SplatError]
    fix: str
    knows_unmarked: Callable[[Path], bool]
    is_anothers: Callable[[Path], bool] = lambda _: False

    def owns(self, folder: Path) -> bool:
        """Whether the add-on made a folder: it has the marker, and nothing in it says otherwise."""
        if is_link(folder) or self.holds not in _held(folder):
            return False
        try:
            return not self.is_anothers(folder)
        except OSError:  # what can't be read proves nothing
            return False

    def knows(self, folder: Path) -> bool:
        """Whether the add-on made a folder: by its marker or, if that is lost, by its files."""
        if self.owns(folder):
            return True
        try:
            return not is_link(folder) and self.knows_unmarked(folder)
        except OSError:  # what can't be read proves nothing
            return False

    def is_empty(self, folder: Path) -> bool:
        """Whether a folder is missing, or nothing in it has a name of ours."""
        return not is_folder(folder) or not self._beginning(folder)

    def require(self, folder: Path) -> None:
        """Raise `error` unless the add-on made a folder."""
        if not self.knows(folder):
            what = "is a link" if is_link(folder) else f"is not a folder of {self.holds} of ours"
            raise self.error(f"{folder} {what}: SAM2 Splat changes nothing in it.", self.fix)

    def claim(self, folder: Path) -> None:
        """Make a folder, or use one in which nothing has a name of ours. It gets the marker.

        A folder of ours stays as it is. If its marker is lost, it gets the marker again.

        Raises
        ------
        SplatError
            `error`: something there is not ours, or is a link.
        OSError
            Making or writing failed; the caller writes the message.
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
                    f"{others[0]} is there, and SAM2 Splat did not make it: this folder is for"
                    " something else.",
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
        """Make a folder of ours within another, and follow no link.

        Raises
        ------
        SplatError
            `error`: a link is in the way.
        OSError
            Making failed; the caller writes the message.
        """
        inner = folder
        for part in ("", *below.split("/")):
            inner /= part
            if is_link(inner):
                raise self.error(f"{inner} is a link, and could lead to anything.", self.fix)
            make_folder(inner)
        return inner

    def files(self, folder: Path, below: str = "") -> Iterator[Path]:
        """Yield the files of ours in ``folder / below`` and inside it, without following links."""
        for inner, entries in self._walk(folder, below):
            for entry in entries:
                is_ours = self.names.holds(f"{inner}{entry.name}")
                if is_ours and entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)

    def _walk(self, folder: Path, below: str = "") -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
        """Yield the folders of ours, outer ones first, with their entries.

        Each is a relative path that ends with a slash; empty for ``folder`` itself.
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
        """Delete the files of ours in a folder of ours, and then empty folders of ours.

        Other files stay.

        Parameters
        ----------
        folder
            The folder with the marker; both stay.
        below
            Where to begin: a path of ours, relative with forward slashes.

        Raises
        ------
        SplatError
            `error`: the folder is not ours.
        OSError
            Deleting failed; the caller writes the message.
        """
        self.require(folder)
        for path in list(self.files(folder, below)):
            path.unlink(missing_ok=True)
        self.prune(folder, below)

    def prune(self, folder: Path, below: str = "") -> None:
        """Remove empty folders of ours, but not ``folder`` itself; raises like `remove`."""
        self.require(folder)
        found = [folder / inner for inner, _ in self._walk(folder, below) if inner]
        for inner in reversed(found):  # inner ones first
            if not any(inner.iterdir()):
                inner.rmdir()

    def _beginning(self, folder: Path) -> list[Path]:
        """Return the entries of a folder that have a name of ours."""
        found = (path for path in sorted(folder.iterdir()) if path.name != MARKER_NAME)
        # Case does not count: on some disks "Objects" and "objects" are the same folder.
        return [
            path
            for path in found
            if self.names.begins(path.name.casefold()) and path.name not in CLUTTER
        ]

    def give_up(self, folder: Path) -> None:
        """Remove the marker from a folder in which nothing has a name of ours any more."""
        if self.owns(folder) and not self._beginning(folder):
            _mark(folder, _held(folder) - {self.holds})


def _held(folder: Path) -> frozenset[str]:
    """Return what the marker says is in a folder."""
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
    """Write the marker of a folder, or remove it if nothing of ours is left."""
    said = _Marker(_MADE_BY, tuple(sorted(holds)), _NOTE)
    if said.holds:
        data = msgspec.json.format(msgspec.json.encode(said)) + b"\n"
        write_atomic(folder / MARKER_NAME, data)
    else:
        (folder / MARKER_NAME).unlink()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder by name; none if it was deleted."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
