# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out before a job whether its results can be written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ...core.errors import BakeError, StoreError
from ...core.review.report import HTML_NAME
from ...core.system.atomic_file import make_folder
from ...core.system.links import is_link
from ...core.system.safe_read import is_there

# Content of the file that is written to find out whether a folder is writable.
_TRIED_BYTES: Final = 1 << 12
_TRIED_NAME: Final = ".sam2_splat_tried"


def require_new_output(folder: Path) -> None:
    """Raise BakeError unless a folder is missing and can be made."""
    if is_there(folder):
        raise BakeError(
            f"{folder} exists already. A bake never overwrites files.",
            "Name a folder that does not exist yet.",
        )
    try:
        with _made_for_now(folder.absolute()):
            pass
    except (OSError, ValueError) as problem:
        raise BakeError(
            f"{folder} can't be made: {told(problem)}.", "Name another folder."
        ) from problem


def make_parents(folder: Path) -> None:
    """Make the folders around a folder that a bake will make. Raises BakeError."""
    try:
        make_folder(folder.absolute().parent)
    except (OSError, ValueError) as problem:
        raise BakeError(
            f"{folder.parent} can't be made: {told(problem)}.", "Name another folder."
        ) from problem


def require_room_in(folder: Path) -> None:
    """Raise BakeError if a folder in which a bake makes its own can't be written to."""
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise BakeError(
            f"The folder {folder} can't be written to.",
            "Name another folder for the PNGs with --output.",
        )


def require_report(folder: Path) -> None:
    """Raise StoreError if no review can be written to a folder, which may be missing."""
    try:
        with _made_for_now(folder.absolute()):
            require_writable(folder / HTML_NAME, folder / _TRIED_NAME, "--report")
    except (OSError, ValueError) as problem:
        raise StoreError(
            f"The report can't be written to {folder}: {told(problem)}.",
            "Name another folder with --report.",
        ) from problem


@contextlib.contextmanager
def _made_for_now(folder: Path) -> Iterator[None]:
    """Make a folder and its missing parents, and remove at the end what was made. Raises OSError."""
    made: list[Path] = []
    try:
        missing = [at for at in (folder, *folder.parents) if not is_there(at)]
        if not missing and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        for at in reversed(missing):
            at.mkdir()
            made.append(at)
        yield
    finally:
        for at in reversed(made):
            with contextlib.suppress(OSError):
                at.rmdir()


def require_writable(path: Path, beside: Path, option: str) -> None:
    """Raise StoreError if a file can't be written. Try it by writing another file beside it."""
    try:
        if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if is_link(beside):  # writing would make or change the link's target
            raise FileExistsError(errno.EEXIST, f"{beside.name} is a link")
        taken = beside.exists()
        with beside.open("ab") as file:
            if not taken:
                file.write(bytes(_TRIED_BYTES))
        if not taken:
            beside.unlink()
    except (OSError, ValueError) as problem:
        raise StoreError(
            f"{path} can't be written: {told(problem)}.", f"Name another place with {option}."
        ) from problem


def told(problem: OSError | ValueError) -> str:
    """Return what is wrong, in the words of the system."""
    return getattr(problem, "strerror", None) or str(problem)
