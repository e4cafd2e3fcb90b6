# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and keep an environment for each further Blender module that the tests run in.

.venv has one Blender. The others are in a cache outside the clone, one folder each. They do not have the
packages of the worker: the worker is a process of its own, and runs with the Python of .venv.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# The folder of the environments; about 1 GB each.
CACHE_VARIABLE = "SAM2_SPLAT_MODULES_CACHE"
# What the tests import besides Blender. Blender decides the version of numpy.
_PACKAGES = (
    "pillow==13.0.0",
    "msgspec==0.22.0",
    "opencv-python-headless==4.11.0.86",
    "pytest==9.2.0",
)


class NoModuleError(Exception):
    """A Blender module is not available here. The text is one sentence that says why."""


@dataclass(frozen=True)
class Module:
    """One version of Blender as a Python module.

    Attributes
    ----------
    version
        Version of the package `bpy`.
    python
        The only Python that it is built for.
    """

    version: str
    python: str


# The usual tests run in 4.5 LTS.
MODULES = (Module("4.2.23", "3.11"), Module("5.0.1", "3.11"), Module("5.2.3", "3.13"))


def ready(module: Module) -> Path:
    """Return the Python with a module; installs it first if needed.

    Raises
    ------
    NoModuleError
        The Python is not installed, or the packages can't be fetched.
    """
    folder, python = _folder(module), python_of(module)
    if is_ready(module):
        return python
    base = find_python(module.python)
    started = time.monotonic()
    print(f"Fetching Blender {module.version} as a module ...", end="", flush=True)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        _run([base, "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--no-compile", "--progress-bar", "off"]
        _run([*pip, "--only-binary", ":all:", f"bpy=={module.version}", *_PACKAGES])
        _run([str(python), "-c", "import bpy"])
        _mark(module).write_text(_wanted(module), encoding="utf-8")
    finally:
        print(f" {time.monotonic() - started:.0f} s", flush=True)
    return python


def is_ready(module: Module) -> bool:
    """Return whether a module is completely installed."""
    mark = _mark(module)
    return mark.exists() and mark.read_text(encoding="utf-8") == _wanted(module)


def python_of(module: Module) -> Path:
    """Return the path of the Python with a module, whether or not it exists."""
    return _folder(module) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _mark(module: Module) -> Path:
    return _folder(module) / "ready"


def _wanted(module: Module) -> str:
    return "\n".join((module.version, *_PACKAGES))


def _folder(module: Module) -> Path:
    chosen = os.environ.get(CACHE_VARIABLE)
    cache = Path(chosen) if chosen else Path.home() / ".cache" / "sam2-splat-modules"
    return cache / module.version


def find_python(version: str) -> str:
    """Return a Python of a version: from the path, the Windows launcher or pyenv."""
    candidates = [
        [f"python{version}"],
        ["py", f"-{version}"],
        *([str(path)] for path in sorted(_pyenv().glob(f"versions/{version}.*/bin/python"))),
    ]
    # pyenv has a shim for every installed version, but only that of the chosen version works.
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
        raise NoModuleError(f"It can't be installed here: {' '.join(last)}")
