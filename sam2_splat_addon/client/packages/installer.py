# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill the package folder of the worker with pip. An interrupted installation can be continued."""

from __future__ import annotations

import contextlib
import csv
import os
import posixpath
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from ...core.errors import EnvironmentSetupError
from ...core.system.atomic_file import sync_folder, sync_tree, write_atomic
from ...core.system.background_task import BackgroundTask
from ...core.system.links import is_link
from ...core.system.owned_folder import CLUTTER, MARKER_NAME, FolderKind, OwnNames
from ...core.system.safe_read import UNREADABLE, read_plain
from .pip_process import run_pip
from .requirements import HASHED_LOCKS, LOCKS, STEPS, TORCH_LOCK, Step, fingerprint, read_pins
from .torch_build import PYPI, TorchBuild

# Shown before the download; the larger number is for Linux with CUDA.
DOWNLOAD_SIZE = "0.4 to 3 GB"
CAMERAS_SIZE = "21 to 38 MB"
STAMP_NAME = "sam2_splat_packages.json"
LOG_NAME = "install.log"
CONSTRAINTS_NAME = "constraints.txt"


class Stamp(msgspec.Struct, frozen=True):
    """The contents of a package folder.

    Attributes
    ----------
    python
        The Python version of its compiled packages, such as "3.11".
    done
        Name of a lock -> its fingerprint when its step was finished.
    torch
        Name of the build of PyTorch (`TorchBuild.name`).
    """

    python: str
    done: dict[str, str]
    torch: str = ""


@dataclass(frozen=True)
class InstallProgress:
    """The progress of an installation.

    Attributes
    ----------
    step, steps
        The running step, from 1, and the number of steps.
    title
        What is being installed.
    line
        The latest line of pip; may be empty.
    seconds
        Time since the installation began, s.
    """

    step: int
    steps: int
    title: str
    line: str
    seconds: float


def install(
    folder: Path,
    *,
    python: Path | None = None,
    wheels: Path | None = None,
    online: bool = True,
    torch: TorchBuild = PYPI,
    locks: Path = LOCKS,
    steps: Sequence[Step] = STEPS,
    wait_s: float = 0.1,
) -> Generator[InstallProgress, None, None]:
    """Fill a folder with the worker's packages, and yield progress at least every `wait_s` seconds.

    The packages go into a folder beside it, which replaces it at the end. Closing the iterator cancels.
    A later call continues after the last finished step.

    Parameters
    ----------
    folder
        The package folder to make or to update.
    python
        The Python of the worker; the running one by default.
    wheels
        Folder with wheels and source archives, used in addition to the index.
    online
        Whether a package index may be used. If not, all packages must be in `wheels`.
    torch
        The build of PyTorch. If its index can't be reached, pip takes the build on PyPI.
    locks
        Folder with the locks.
    steps
        What is installed: all that the worker needs, or an optional package.
    wait_s
        Longest time that one step of the iterator blocks, s.

    Raises
    ------
    EnvironmentSetupError
        No pip, no network, no space, no permission, another error of pip, or a folder that would be
        replaced has files that are not ours.
    """
    started = time.monotonic()
    interpreter = python or Path(sys.executable)
    if not online and (wheels is None or not wheels.is_dir()):
        raise EnvironmentSetupError(
            "Packages can't be installed without the network: there is no folder of wheels.",
            "Allow Online Access in Blender's preferences, or put the wheels beside the add-on.",
        )
    version = _version_of(interpreter)
    marks = {step.lock: fingerprint(locks / step.lock) for step in steps}
    wanted = Stamp(version, marks, torch.name)
    partial = _beside(folder, ".partial")
    try:
        if read_stamp(folder) == wanted and not is_link(folder):
            PACKAGES.claim(folder)
            return
        require_replaceable(folder)
        begun = read_stamp(partial)
        if begun is None or (begun.python, begun.torch) != (version, torch.name):
            _remove(partial)
            PACKAGES.claim(partial)
            begun = Stamp(version, {}, torch.name)
        sources = _source_arguments(wheels, online)
        for number, step in enumerate(steps, start=1):
            mark = wanted.done[step.lock]
            if begun.done.get(step.lock) == mark:
                continue
            command = [*_pip(interpreter, partial), "install", "--target", str(partial)]
            command += [*_step_arguments(step, locks, partial, torch), *sources]
            title = step.title
            if step.lock == TORCH_LOCK and torch.title:
                title += f" for {torch.title}"
            log = partial / LOG_NAME
            for line in run_pip(command, _pip_environment(partial), log, wait_s):
                yield InstallProgress(number, len(steps), title, line, time.monotonic() - started)
            begun = Stamp(version, {**begun.done, step.lock: mark}, torch.name)
            writing = BackgroundTask(
                lambda _: sync_tree(partial)
            )  # gigabytes, before they are called done
            while not writing.poll(wait_s):
                yield InstallProgress(number, len(steps), title, "", time.monotonic() - started)
            writing.result()
            _write_stamp(partial, begun)
        _take_place(partial, folder)
    except OSError as problem:
        raise EnvironmentSetupError(
            f"Packages could not be installed in {folder}: {problem}.",
            "Choose a folder that you may write to, on a disk with a few free gigabytes.",
        ) from problem


def cameras_folder(packages: Path) -> Path:
    """Return the folder for what only Find Cameras needs, beside the worker's package folder."""
    return _beside(packages, "_cameras")


def require_replaceable(folder: Path) -> None:
    """Raise unless an installation may replace this folder and use the two folders beside it.

    Raises
    ------
    EnvironmentSetupError
        One of them is a link, is not ours, or has files that no package brought.
    OSError
        Reading failed; the caller writes the message.
    """
    for place in (folder, _beside(folder, ".partial"), _beside(folder, ".old")):
        if not is_link(place) and not place.exists():
            continue
        if is_link(place) or not place.is_dir():
            raise EnvironmentSetupError(f"{place} exists, but it is not a folder.", PACKAGES.fix)
        others = sorted(path.name for path in place.iterdir() if path.name not in CLUTTER)
        if not others:
            continue
        if PACKAGES.knows(place):
            # The package at which pip was killed has no record yet. Only we use this folder name.
            others = [] if place.name.endswith(".partial") else list(islice(_others(place), 4))
        if others:
            names = ", ".join(others[:3]) + (" and more" if len(others) > 3 else "")
            raise EnvironmentSetupError(
                f"{place} has files that SAM2 Splat did not put there: {names}. An installation would"
                " replace the whole folder.",
                PACKAGES.fix,
            )


def _beside(folder: Path, ending: str) -> Path:
    if not folder.name:
        raise EnvironmentSetupError(f"{folder} is a whole disk, not a folder.", PACKAGES.fix)
    return folder.with_name(folder.name + ending)


def _others(folder: Path) -> Iterator[str]:
    """Yield the files of a package folder that neither a package nor the installation brought."""
    ours = {STAMP_NAME, LOG_NAME, CONSTRAINTS_NAME, MARKER_NAME}
    for record in folder.glob("*.dist-info/RECORD"):
        with (
            contextlib.suppress(csv.Error),
            record.open(encoding="utf-8", errors="replace", newline="") as lines,
        ):
            for row in filter(None, csv.reader(lines)):
                # Scripts are beside the packages, but their record says two folders further out.
                ours.add(posixpath.normpath(row[0]).removeprefix("../../"))
    for root, folders, names in os.walk(folder):
        inner = Path(root).relative_to(folder)
        links = [name for name in folders if is_link(Path(root, name))]
        folders[:] = sorted(set(folders) - {"__pycache__", *links})
        for name in sorted([*names, *links]):
            path = (inner / name).as_posix()
            if path not in ours and name not in CLUTTER and not name.endswith(".pyc"):
                yield path


def _knows_unmarked(folder: Path) -> bool:
    """Whether a folder without a marker is a package folder of ours all the same.

    Its stamp tells it, or its log, which begins with the command that filled this folder.
    """
    if any(is_link(folder / name) for name in (STAMP_NAME, LOG_NAME)):
        return False
    if read_stamp(folder) is not None:
        return True
    log = folder / LOG_NAME
    if not log.is_file():
        return False
    with log.open(encoding="utf-8", errors="replace") as lines:
        first = lines.readline(1 << 16)
    return first.startswith("$ ") and f" --target {folder} " in first


PACKAGES: Final = FolderKind(
    "packages",
    OwnNames("?"),  # the whole folder is replaced
    EnvironmentSetupError,
    "Choose a new or an empty folder for the packages in the add-on's preferences, or move these"
    " files elsewhere.",
    _knows_unmarked,
)
"""Folders of packages, which pip fills."""


def _remove(folder: Path) -> None:
    """Remove a folder of ours with all that pip has brought into it; raises like `install`.

    Other files are kept in a folder beside it, whose name ends in ``.left_1`` or a higher number.
    """
    if not folder.exists():
        return
    if any(path.name not in CLUTTER for path in folder.iterdir()):
        PACKAGES.require(folder)
    others = set(_others(folder))
    if not others:
        shutil.rmtree(folder)
        return
    # In a half-filled folder, files of pip and files of the user look the same.
    aside = _free_beside(folder)
    os.replace(folder, aside)
    for root, folders, names in os.walk(aside, topdown=False):
        for name in names:
            path = Path(root, name)
            if path.relative_to(aside).as_posix() not in others:
                path.unlink()
        for name in folders:
            inner = Path(root, name)
            if not is_link(inner) and not any(inner.iterdir()):
                inner.rmdir()


def _free_beside(folder: Path) -> Path:
    """Return a free path beside a package folder for the files that stay."""
    number = 1
    while (place := _beside(folder, f".left_{number}")).exists() or is_link(place):
        number += 1
    return place


def read_stamp(folder: Path) -> Stamp | None:
    """Return the stamp of a package folder, or None if it has no readable stamp."""
    try:
        return msgspec.json.decode(read_plain(folder / STAMP_NAME), type=Stamp)
    except (OSError, *UNREADABLE):
        return None


def _write_stamp(folder: Path, stamp: Stamp) -> None:
    write_atomic(folder / STAMP_NAME, msgspec.json.encode(stamp))


def _ask(python: Path, code: str) -> str:
    """Return what a Python prints for a line of code; empty if it fails."""
    try:
        answer = subprocess.run(
            # Isolated: a pip.py in Blender's working folder must not be used.
            [str(python), "-I", "-c", code],
            cwd=python.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _version_of(python: Path) -> str:
    version = _ask(python, "import sys; print('{}.{}'.format(*sys.version_info))")
    if not version:
        raise EnvironmentSetupError(
            f"{python} does not run as Python.", "Reinstall Blender, or name another Python."
        )
    return version


def _pip(python: Path, folder: Path) -> list[str]:
    """Return the command for pip: that of the folder if it has one, else that of Python.

    Blender's Python may have no pip, but the wheel that ensurepip would install. A wheel of pip runs
    without being installed, so nothing is written into Blender.
    """
    start = [str(python), "-I", str(Path(__file__).with_name("pip_start.py"))]
    if (folder / "pip").is_dir():
        return [*start, str(folder)]
    if _ask(python, "import pip; print(pip.__version__)"):
        return [*start, ""]
    bundled = _ask(
        python,
        "import ensurepip, pathlib;"
        "print(*pathlib.Path(ensurepip.__file__).parent.glob('_bundled/pip-*.whl'))",
    )
    if not bundled:
        raise EnvironmentSetupError(
            f"{python} has no pip.",
            "Install it (on Debian and Ubuntu: apt install python3-pip), then install again.",
        )
    return [*start, bundled]


def _pip_environment(folder: Path) -> dict[str, str]:
    """Return the environment of pip: that of the user without settings that redirect packages."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_LOG")
    environment = {k: v for k, v in os.environ.items() if k not in unwanted}
    environment |= {
        # Source packages are built with the build tools and torch of this folder.
        "PYTHONPATH": str(folder),
        "PIP_USER": "0",
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # sam2's extension only fills holes in masks, and needs a CUDA compiler.
        "SAM2_BUILD_CUDA": "0",
    }
    return environment


def _step_arguments(step: Step, locks: Path, folder: Path, torch: TorchBuild) -> list[str]:
    arguments = ["--upgrade", "--no-compile", "--progress-bar", "off", *step.arguments]
    if step.lock == TORCH_LOCK:
        # torch brings its dependencies along: they must have the versions of the hashed locks.
        constraints = folder / CONSTRAINTS_NAME
        pins = [pin for lock in HASHED_LOCKS for pin in read_pins(locks / lock)]
        constraints.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in pins), "utf-8")
        arguments += ["--constraint", str(constraints)]
        if torch.index:
            # Among builds of one release, pip prefers the one with a local version, "+cu130".
            arguments += ["--extra-index-url", torch.index]
    return [*arguments, "--requirement", str(locks / step.lock)]


def _source_arguments(wheels: Path | None, online: bool) -> list[str]:
    arguments = [] if online else ["--no-index"]
    if wheels is not None and wheels.is_dir():
        arguments += ["--find-links", str(wheels)]
    return arguments


def _take_place(partial: Path, folder: Path) -> None:
    """Replace the old folder with the finished one; on failure the old one stays."""
    require_replaceable(folder)  # again: pip took minutes, and the user may have put files there
    old = _beside(folder, ".old")
    _remove(old)
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(partial, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    sync_folder(folder.parent)
    with contextlib.suppress(OSError):  # Windows keeps files that another Blender has loaded
        _remove(old)
