# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the Python and the package folders for the worker."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import EnvironmentSetupError
from .installer import cameras_folder, read_stamp
from .requirements import LOCKS, Pin, wanted_pins

# Package folders that come before any other, separated as in PATH; for scripts and tests.
SITE_VARIABLE = "SAM2_SPLAT_SITE"

CAMERAS_PACKAGE = "pycolmap"

# The worker cannot start without these two. Only `check` looks for the others.
_ESSENTIAL = ("torch", "sam2")
_FIX = "Press Install SAM 2 in the add-on's preferences."


@dataclass(frozen=True)
class WorkerEnvironment:
    """The Python that runs the worker, and the folders that hold its packages.

    Attributes
    ----------
    python
        The interpreter.
    site_dirs
        Folders for `site.addsitedir`, in this order.
    """

    python: Path
    site_dirs: tuple[Path, ...]


def find(preferred: Path | None = None) -> WorkerEnvironment:
    """Return the environment of the worker, without importing any of its packages.

    It looks, in this order, in the folders of `SAM2_SPLAT_SITE`, in the preferred folder, and in the
    packages of the running Python (the .venv of a developer). The Python is always the running one:
    that of Blender.

    Parameters
    ----------
    preferred
        The folder that `install` fills.

    Raises
    ------
    EnvironmentSetupError
        torch or sam2 is in none of them, or the folder was made for another Python.
    """
    python = Path(sys.executable)
    named = tuple(Path(p) for p in os.environ.get(SITE_VARIABLE, "").split(os.pathsep) if p)
    if named:
        _require_this_python(named)
        if not all(_holds(named, package) for package in _ESSENTIAL):
            raise EnvironmentSetupError(
                f"{SITE_VARIABLE} names {os.pathsep.join(map(str, named))}, "
                "but torch or sam2 is not there.",
                "Correct the variable, or unset it.",
            )
        return WorkerEnvironment(python, named)
    if preferred is not None and all(_holds((preferred,), package) for package in _ESSENTIAL):
        _require_this_python((preferred,))
        return WorkerEnvironment(python, (preferred, *_extra(preferred)))
    own = _own_site_dirs()
    if own is None:
        raise EnvironmentSetupError("PyTorch and SAM 2 are not installed yet.", _FIX)
    return WorkerEnvironment(python, (*own, *_extra(preferred)))


def can_find_cameras(environment: WorkerEnvironment) -> bool:
    """Whether the optional package for Find Cameras is there."""
    return _holds(environment.site_dirs, CAMERAS_PACKAGE)


def _extra(preferred: Path | None) -> tuple[Path, ...]:
    """Return the folder of the optional packages, if it was made for this Python."""
    if preferred is None:
        return ()
    folder = cameras_folder(preferred)
    stamp = read_stamp(folder)
    return (folder,) if stamp is not None and stamp.python == _version() else ()


def check(environment: WorkerEnvironment, locks: Path = LOCKS) -> tuple[Pin, ...]:
    """Return the packages, with their wanted versions, that the environment does not have.

    A package with another version passes: the environment of a developer may have it.
    """
    paths = [str(folder) for folder in environment.site_dirs]
    present = {
        _normal(distribution.name) for distribution in importlib.metadata.distributions(path=paths)
    }
    return tuple(pin for pin in wanted_pins(locks) if _normal(pin.name) not in present)


def _normal(name: str) -> str:
    """Return the name of a distribution in the spelling of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _holds(folders: tuple[Path, ...], package: str) -> bool:
    finder = importlib.machinery.PathFinder
    return finder.find_spec(package, [str(folder) for folder in folders]) is not None


def _own_site_dirs() -> tuple[Path, ...] | None:
    """Return the folders of the running Python with torch and sam2; None if one is missing."""
    folders: list[Path] = []
    for package in (*_ESSENTIAL, CAMERAS_PACKAGE):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            if package == CAMERAS_PACKAGE:
                break
            return None
        folder = Path(spec.origin).parents[1]
        if folder not in folders:
            folders.append(folder)
    return tuple(folders)


def _version() -> str:
    return "{}.{}".format(*sys.version_info)


def _require_this_python(folders: tuple[Path, ...]) -> None:
    """Raise EnvironmentSetupError if the packages in a folder were made for another Python."""
    version = _version()
    for folder in folders:
        stamp = read_stamp(folder)
        if stamp is not None and stamp.python != version:
            raise EnvironmentSetupError(
                f"The packages in {folder} are for Python {stamp.python}, "
                f"but this Blender has Python {version}.",
                _FIX,
            )
