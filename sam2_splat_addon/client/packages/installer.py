# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills the worker's package folder with pip, resumable; imports core and msgspec only."""

from __future__ import annotations

import contextlib
import csv
import os
import posixpath
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from ...core.errors import EnvironmentSetupError
from ...core.system.atomic_file import sync_folder, sync_tree, write_atomic
from ...core.system.background_task import Errand
from ...core.system.links import is_link
from ...core.system.owned_folder import CLUTTER, MARKER_NAME, FolderKind, OwnNames
from ...core.system.safe_read import UNREADABLE, read_plain
from .pip_process import run_pip
from .requirements import HASHED_LOCKS, LOCKS, STEPS, TORCH_LOCK, Step, fingerprint, read_pins
from .torch_build import PYPI, TorchBuild

# What the user is told before the download; the larger end is a Linux with CUDA.
DOWNLOAD_SIZE = "0.4 to 3 GB"
STAMP_NAME = "sam2_splat_packages.json"
LOG_NAME = "install.log"
CONSTRAINTS_NAME = "constraints.txt"


class Stamp(msgspec.Struct, frozen=True):
    """What a package folder holds.

    Attributes
    ----------
    python
        The Python that its compiled packages are for, such as "3.11".
    done
        Lock name -> fingerprint of the lock when its step was finished.
    torch
        Name of the build of PyTorch (`TorchBuild.name`).
    """

    python: str
    done: dict[str, str]
    torch: str = ""


@dataclass(frozen=True)
class InstallProgress:
    """How far an installation is.

    Attributes
    ----------
    step, steps
        The running step, from 1, and how many there are.
    title
        What is being installed.
    line
        pip's latest line; may be empty.
    seconds
        Time since the installation began.
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
    wait_s: float = 0.1,
) -> Generator[InstallProgress, None, None]:
    """Fill a folder with the worker's packages, yielding progress at least every `wait_s` seconds.

    The work happens in a folder beside it, which takes its place when all is there. Closing the
    iterator cancels; a later call goes on after the last finished step.

    Parameters
    ----------
    folder
        The package folder to make or to bring up to date.
    python
        The worker's Python; the running one by default.
    wheels
        Folder with wheels and source archives to take packages from, besides the index.
    online
        Whether a package index may be asked; without it all must lie in `wheels`.
    torch
        Which build of PyTorch. Where its index can't be reached, pip takes PyPI's.
    locks
        Folder with the locks.
    wait_s
        Longest time that one step of the iterator blocks, in seconds.

    Raises
    ------
    EnvironmentSetupError
        No pip, no network, no space, no permission, pip failed for a reason it says, or one of the
        folders that would be replaced holds what is not ours.
    """
    started = time.monotonic()
    interpreter = python or Path(sys.executable)
    if not online and (wheels is None or not wheels.is_dir()):
        raise EnvironmentSetupError(
            "Packages can't be installed without the network: no folder of wheels is at hand.",
            "Allow Online Access in Blender's preferences, or put the wheels beside the add-on.",
        )
    version = _version_of(interpreter)
    marks = {step.lock: fingerprint(locks / step.lock) for step in STEPS}
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
        for number, step in enumerate(STEPS, start=1):
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
                yield InstallProgress(number, len(STEPS), title, line, time.monotonic() - started)
            begun = Stamp(version, {**begun.done, step.lock: mark}, torch.name)
            writing = Errand(lambda _: sync_tree(partial))  # gigabytes, before they are called done
            while not writing.poll(wait_s):
                yield InstallProgress(number, len(STEPS), title, "", time.monotonic() - started)
            writing.result()
            _write_stamp(partial, begun)
        _take_place(partial, folder)
    except OSError as problem:
        raise EnvironmentSetupError(
            f"Packages could not be installed in {folder}: {problem}.",
            "Choose a folder you may write to, with room for a few gigabytes.",
        ) from problem


def require_replaceable(folder: Path) -> None:
    """Raise unless an installation may replace a folder, and use those beside it.

    Raises
    ------
    EnvironmentSetupError
        One of them is a link, is not ours, or holds files that no package brought.
    OSError
        From reading; the caller words it.
    """
    for place in (folder, _beside(folder, ".partial"), _beside(folder, ".old")):
        if not is_link(place) and not place.exists():
            continue
        if is_link(place) or not place.is_dir():
            raise EnvironmentSetupError(f"{place} is there, and is no folder.", PACKAGES.fix)
        others = sorted(path.name for path in place.iterdir() if path.name not in CLUTTER)
        if not others:
            continue
        if PACKAGES.knows(place):
            # What pip was killed at has no record yet; that folder is named by nobody else.
            others = [] if place.name.endswith(".partial") else list(islice(_others(place), 4))
        if others:
            names = ", ".join(others[:3]) + (" and more" if len(others) > 3 else "")
            raise EnvironmentSetupError(
                f"{place} holds what SAM2 Splat did not put there: {names}. An installation would"
                " replace the whole folder.",
                PACKAGES.fix,
            )


def _beside(folder: Path, ending: str) -> Path:
    if not folder.name:
        raise EnvironmentSetupError(f"{folder} is a whole disk.", PACKAGES.fix)
    return folder.with_name(folder.name + ending)


def _others(folder: Path) -> Iterator[str]:
    """The files of a package folder that neither packages nor the installation brought."""
    ours = {STAMP_NAME, LOG_NAME, CONSTRAINTS_NAME, MARKER_NAME}
    for record in folder.glob("*.dist-info/RECORD"):
        with (
            contextlib.suppress(csv.Error),
            record.open(encoding="utf-8", errors="replace", newline="") as lines,
        ):
            for row in filter(None, csv.reader(lines)):
                # Scripts lie beside the packages, and are recorded as two folders further out.
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
    """Whether a folder without a marker is one of packages all the same, finished or begun.

    By its stamp, or by the log, which begins with the command that filled this very folder.
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
"""Folders that pip fills."""


def _remove(folder: Path) -> None:
    """Remove what pip has brought into a folder of ours, and the folder; raises as `install` does.

    What else is in it is kept in a folder beside it, whose name ends in ``.left_1`` or so.
    """
    if not folder.exists():
        return
    if any(path.name not in CLUTTER for path in folder.iterdir()):
        PACKAGES.require(folder)
    others = set(_others(folder))
    if not others:
        shutil.rmtree(folder)
        return
    # Of a half-filled folder nobody knows what pip had begun to write and what is the user's.
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
    """A place beside a folder of packages for what is left of it."""
    number = 1
    while (place := _beside(folder, f".left_{number}")).exists() or is_link(place):
        number += 1
    return place


def read_stamp(folder: Path) -> Stamp | None:
    """Return what a package folder says of itself, or None where it says nothing readable."""
    try:
        return msgspec.json.decode(read_plain(folder / STAMP_NAME), type=Stamp)
    except (OSError, *UNREADABLE):
        return None


def _write_stamp(folder: Path, stamp: Stamp) -> None:
    write_atomic(folder / STAMP_NAME, msgspec.json.encode(stamp))


def _ask(python: Path, code: str) -> str:
    """Return what a Python prints for a line of code; empty where it fails."""
    try:
        answer = subprocess.run(
            # Alone: a pip.py in the folder where Blender was started is none of pip's.
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
            f"{python} does not run as a Python.", "Reinstall Blender, or name another Python."
        )
    return version


def _pip(python: Path, folder: Path) -> list[str]:
    """Return the command for pip: the folder's own once it is there, else Python's.

    Blender's Python may come without pip, but with the wheel that ensurepip would install; a wheel
    of pip runs as it lies, so that nothing is written into Blender.
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
    """Return pip's environment: the user's own, less what would send packages elsewhere."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_LOG")
    environment = {k: v for k, v in os.environ.items() if k not in unwanted}
    environment |= {
        # Source packages are built with the build tools and the torch of the folder itself.
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
        # torch brings its dependencies along: at the versions that the hash lock has settled.
        constraints = folder / CONSTRAINTS_NAME
        pins = [pin for lock in HASHED_LOCKS for pin in read_pins(locks / lock)]
        constraints.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in pins), "utf-8")
        arguments += ["--constraint", str(constraints)]
        if torch.index:
            # Of one release pip prefers the build that has a local version, "+cu130".
            arguments += ["--extra-index-url", torch.index]
    return [*arguments, "--requirement", str(locks / step.lock)]


def _source_arguments(wheels: Path | None, online: bool) -> list[str]:
    arguments = [] if online else ["--no-index"]
    if wheels is not None and wheels.is_dir():
        arguments += ["--find-links", str(wheels)]
    return arguments


def _take_place(partial: Path, folder: Path) -> None:
    """Put the finished folder where the old one stood; on failure the old one stays."""
    require_replaceable(folder)  # pip took minutes, and the user may have put something there
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
    with contextlib.suppress(OSError):  # Windows keeps what another Blender has loaded
        _remove(old)
