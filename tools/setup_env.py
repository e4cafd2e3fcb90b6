# SPDX-License-Identifier: GPL-3.0-or-later
"""Make .venv for the commands in tools/, once, and run them in it. Uses only the standard library.

A command calls `ensure_environment()` before it imports anything outside the standard library. This
file must also run on older Pythons, to say in a clear sentence that they are too old.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
LOG = ROOT / "build" / "setup.log"
# Blender 4.5 LTS is published as a module only for this Python.
PYTHON = (3, 11)

_STAMP = VENV / "sam2_splat_setup.json"
_LOCKS = ROOT / "sam2_splat_addon" / "client" / "requirements"
_HASHED = ["--require-hashes", "--no-build-isolation"]
_GET_PYTHON = {
    "linux": "Install it with your package manager (python3.11 and python3.11-venv on Debian).",
    "darwin": "Install it from python.org, or with: brew install python@3.11",
    "win32": "Install it from python.org, or with: winget install Python.Python.3.11",
}


# Libraries that Blender's module needs, and that a minimal Linux may not have.
_LINUX_LIBRARIES = (
    "on Debian and Ubuntu, apt install "
    "libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libgl1"
)


class Step(NamedTuple):
    """One step of filling .venv: its title, its lock, and pip's arguments."""

    title: str
    lock: Path
    arguments: List[str]


STEPS = (
    Step("pip, setuptools, wheel", _LOCKS / "build.txt", _HASHED),
    Step(
        "Blender 4.5 LTS as a module, libraries, checks", ROOT / "requirements" / "dev.txt", _HASHED
    ),
    # torch is not in the hash locks: its CPU and CUDA builds share a version, but not a file.
    Step("torch", _LOCKS / "torch.txt", []),
    # An isolated build would fetch a second torch. The CUDA extension only fills holes in masks.
    Step("sam2", _LOCKS / "sam2.txt", [*_HASHED, "--no-deps"]),
)


def ensure_environment() -> None:
    """Make or repair .venv if needed, and return only inside its Python.

    Outside .venv, the running command starts again with the Python of .venv, and this never returns.
    """
    if not _is_complete():
        LOG.parent.mkdir(exist_ok=True)
        with _one_at_a_time(LOG.parent / "setup.lock"):
            if not _is_complete():
                _make()
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    command = [str(venv_python()), *sys.argv]
    if os.name == "nt":
        # On Windows, execv returns to the shell before the new process ends.
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)


def venv_python() -> Path:
    """Return the path of .venv's Python, whether or not it exists."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _fingerprint(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _done() -> Dict[str, str]:
    """Return the finished steps of .venv: name of the lock -> its fingerprint."""
    try:
        stamp = json.loads(_STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in stamp.items()} if isinstance(stamp, dict) else {}


def _torch_index() -> List[str]:
    """Return pip's arguments for the build of PyTorch that the extension would choose here."""
    sys.path.insert(0, str(ROOT))
    from sam2_splat_addon.client.packages.torch_build import build_for

    index = build_for().index
    return ["--extra-index-url", index] if index else []


def _is_complete() -> bool:
    done = _done()
    return venv_python().exists() and all(
        done.get(step.lock.name) == _fingerprint(step.lock) for step in STEPS
    )


def _make() -> None:
    steps = len(STEPS) + 2
    started = time.monotonic()
    print(f"Setting up {VENV} (only once; the output of pip is in {LOG})", flush=True)
    LOG.write_text("", encoding="utf-8")
    if not _works(venv_python()):
        base = _find_python()
        shutil.rmtree(VENV, ignore_errors=True)
        _run(f"[1/{steps}] Python environment", [*base, "-m", "venv", str(VENV)])
    done = _done()
    for number, step in enumerate(STEPS, start=2):
        fingerprint = _fingerprint(step.lock)
        if done.get(step.lock.name) == fingerprint:
            continue
        # Compile on first use: most modules of torch and Blender are never imported.
        pip = [str(venv_python()), "-m", "pip", "install", "--no-compile", "--progress-bar", "off"]
        title = f"[{number}/{steps}] {step.title}"
        arguments = [*step.arguments, *(_torch_index() if step.title == "torch" else [])]
        _run(title, [*pip, *arguments, "-r", str(step.lock)])
        done[step.lock.name] = fingerprint
        _write_stamp(done)
    check = "import bpy, torch, sam2, cv2, OpenEXR, msgspec"
    try:
        _run(f"[{steps}/{steps}] check", [str(venv_python()), "-c", check])
    except SystemExit:
        # A package that pip installed can't be imported: so the next run must not trust the stamp.
        _write_stamp({})
        if sys.platform.startswith("linux"):
            print(f"\nIf a system library is missing: {_LINUX_LIBRARIES}", file=sys.stderr)
        raise
    print(f"Ready after {time.monotonic() - started:.0f} s.", flush=True)


def _write_stamp(done: Dict[str, str]) -> None:
    unfinished = _STAMP.with_suffix(".tmp")
    unfinished.write_text(json.dumps(done, indent=2), encoding="utf-8")
    unfinished.replace(_STAMP)


def _works(python: Path) -> bool:
    """Return whether this Python starts, has the version of the project, and has pip."""
    return python.exists() and _version_of([str(python)], "import pip") == PYTHON


def _version_of(command: List[str], also: str = "") -> Optional[Tuple[int, int]]:
    code = f"import sys; {also or 'pass'}; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [*command, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        major, minor = answer.stdout.split()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return int(major), int(minor)


def _find_python() -> List[str]:
    """Return the command of a Python with the version of the project: this one or another one here."""
    if sys.version_info[:2] == PYTHON:
        # In a virtual environment, make the new one from the base Python.
        return [getattr(sys, "_base_executable", "") or sys.executable]
    name = "{}.{}".format(*PYTHON)
    for command in ([f"python{name}"], ["py", f"-{name}"]):
        if shutil.which(command[0]) and _version_of(command) == PYTHON:
            return command
    raise SystemExit(
        f"SAM2 Splat needs Python {name}, "
        f"and this is Python {sys.version.split()[0]} ({sys.executable}). "
        + _GET_PYTHON.get(sys.platform, "Install it from python.org.")
        + f" Then run this again with python{name}."
    )


def _run(title: str, command: List[str]) -> None:
    """Run one step. Show its title and seconds, and write its output into the log."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment.update(
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_NO_INPUT="1",
        PIP_USER="0",
        PIP_ROOT_USER_ACTION="ignore",
        SAM2_BUILD_CUDA="0",
    )
    started = time.monotonic()
    print(f"{title} ...", end="", flush=True)
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            while process.poll() is None:
                time.sleep(0.1)
                if sys.stdout.isatty():
                    print(f"\r{title} ... {time.monotonic() - started:.0f} s", end="", flush=True)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise SystemExit("\nInterrupted. The same command goes on from here.") from None
    end = "\r" + title + " ..." if sys.stdout.isatty() else ""
    print(f"{end} {time.monotonic() - started:.0f} s", flush=True)
    if process.returncode != 0:
        raise SystemExit(f"{title} failed. The last lines of {LOG}:\n\n{_last_lines()}")


def _last_lines(count: int = 15) -> str:
    lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    telling = [line for line in lines if line.strip() and not line.startswith("WARNING: Location")]
    return "\n".join(telling[-count:])


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a file lock: two commands must not fill .venv at the same time."""
    with path.open("w", encoding="utf-8") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:
                    # LK_LOCK stops after ten seconds, but the other run may need minutes.
                    time.sleep(0.5)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
