# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes and keeps an environment for each Blender module that the tests also run in; no bpy.

.venv holds one Blender; the others lie in a cache outside the clone, a folder each. The worker's own
packages are not in them: the worker is a process of its own and runs with .venv's Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Where the environments are kept; about 1 GB each.
CACHE_VARIABLE = "SAM2_SPLAT_MODULES_CACHE"
# What the tests import besides Blender, whose own needs decide numpy's version.
_PACKAGES = (
    "pillow==13.0.0",
    "msgspec==0.22.0",
    "opencv-python-headless==4.11.0.86",
    "pytest==9.2.0",
)


class NoModuleError(Exception):
    """A Blender module can't be had here; its text is one sentence that says why."""


@dataclass(frozen=True)
class Module:
    """One version of Blender as a Python module.

    Attributes
    ----------
    version
        Of the package `bpy`.
    python
        The only Python that it is built for.
    """

    version: str
    python: str


# Of 4.5 LTS the usual tests take care.
MODULES = (Module("4.2.23", "3.11"), Module("5.0.1", "3.11"), Module("5.2.3", "3.13"))


def ready(module: Module) -> Path:
    """Return the Python that has a module, made ready first where it must be.

    Raises
    ------
    NoModuleError
        There is no such Python, or the packages can't be fetched.
    """
    folder = _folder(module)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    mark = folder / "ready"
    wanted = "\n".join((module.version, *_PACKAGES))
    if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
        return python
    base = _find_python(module.python)
    started = time.monotonic()
    print(f"Fetching Blender {module.version} as a module ...", end="", flush=True)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        _run([base, "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--no-compile", "--progress-bar", "off"]
        _run([*pip, "--only-binary", ":all:", f"bpy=={module.version}", *_PACKAGES])
        _run([str(python), "-c", "import bpy"])
        mark.write_text(wanted, encoding="utf-8")
    finally:
        print(f" {time.monotonic() - started:.0f} s", flush=True)
    return python


def _folder(module: Module) -> Path:
    chosen = os.environ.get(CACHE_VARIABLE)
    cache = Path(chosen) if chosen else Path.home() / ".cache" / "sam2-splat-modules"
    return cache / module.version


def _find_python(version: str) -> str:
    """Return a Python of a version: on the path, as the Windows launcher or pyenv know it."""
    candidates = [
        [f"python{version}"],
        ["py", f"-{version}"],
        *([str(path)] for path in sorted(_pyenv().glob(f"versions/{version}.*/bin/python"))),
    ]
    # A pyenv shim is there for every version that is installed, and works for the chosen one only.
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        candidates.insert(0, [getattr(sys, "_base_executable", "") or sys.executable])
    tell = "import sys, venv; print(sys.version_info[:2], sys.executable, sep='\\n')"
    for command in candidates:
        if shutil.which(command[0]) is None:
            continue
        told = subprocess.run([*command, "-c", tell], capture_output=True, text=True, check=False)
        said = told.stdout.splitlines()
        if told.returncode == 0 and said[0] == str(tuple(map(int, version.split(".")))):
            return said[1]
    raise NoModuleError(f"It is for Python {version}, which is not installed.")


def _pyenv() -> Path:
    return Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


def _run(command: list[str]) -> None:
    ran = subprocess.run(
        command,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if ran.returncode != 0:
        last = (ran.stdout + ran.stderr).strip().splitlines()[-1:]
        raise NoModuleError(f"It can't be made ready here: {' '.join(last)}")
