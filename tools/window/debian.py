# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and keep the Debians whose Blender the window tests open.

Each one has a folder of its own outside the clone. It is made once, in steps: debootstrap, then Blender
with a virtual screen and PyTorch, then the other packages of the worker for that Python. A finished step
is not repeated; an interrupted one is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sam2_splat_addon.client.packages.requirements import (
    BUILD_LOCK,
    LOCKS,
    STEPS,
    TORCH_LOCK,
    read_pins,
)
from tools.window.chroot import APART, CERTIFICATES, command_inside
from tools.window.machine import NoWindowError, check_room, obstacle, reachable_mirror

# The folder of the Debians; about 2 GB each.
CACHE_VARIABLE = "SAM2_SPLAT_WINDOW_CACHE"
# Inside a Debian: the packages of the worker. torch is Debian's own.
SITE = "/opt/sam2_splat_site"
DEBIAN_SITE = "/usr/lib/python3/dist-packages"

_PACKAGES = (
    # Blender, and what Debian's package of it does not bring.
    *("blender", "python3-numpy", "python3-cattr", "python3-requests"),
    # A screen, OpenGL in software, and screenshots.
    *("xvfb", "xauth", "libgl1-mesa-dri", "libegl1", "imagemagick"),
    # For dragging files onto the window.
    "python3-xlib",
    # The wheel in the zip is for the Pythons of blender.org's builds.
    "python3-msgspec",
    # Debian's PyTorch is only for the processor, and a tenth of the download from PyPI. Without
    # OpenBLAS it multiplies five times slower.
    *("python3-torch", "libopenblas0-pthread", "python3-pip"),
)
_APT_CONF = """\
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::Check-Valid-Until "false";
"""
_DPKG_CONF = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
"""


@dataclass(frozen=True)
class Release:
    """One Debian.

    Attributes
    ----------
    suite
        Debian's name of it.
    blender
        The Blender it holds, as people call it.
    zip_python
        Which of the extension's zips its Blender takes: the Python of blender.org's build.
    """

    suite: str
    blender: str
    zip_python: str


RELEASES = (Release("sid", "5.2", "3.13"), Release("trixie", "4.3", "3.11"))


def root_of(release: Release) -> Path:
    """Return the folder of a Debian, whether or not it exists."""
    chosen = os.environ.get(CACHE_VARIABLE)
    cache = Path(chosen) if chosen else Path.home() / ".cache" / "sam2-splat-window"
    return cache / release.suite


def is_ready(release: Release) -> bool:
    """Return whether a Debian is complete."""
    root = root_of(release)
    return all(_is_done(root, name) for name in _steps())


def make(release: Release, deadline: float, say: Callable[[str], None] = print) -> None:
    """Make a Debian complete.

    Parameters
    ----------
    release
        Which.
    deadline
        Monotonic seconds; a step that is not finished by then is stopped.
    say
        Called with a line about each step.

    Raises
    ------
    NoWindowError
        It can't be done here, or not in time. Finished steps stay for the next try.
    """
    if problem := obstacle():
        raise NoWindowError(problem)
    if is_ready(release):
        return
    root = root_of(release)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with _locked(release, deadline):
            if not is_ready(release):
                _make(release, root, deadline, say)
    except OSError as refused:
        raise NoWindowError(f"No Debian can be made in {root.parent}: {refused}.") from refused


@contextlib.contextmanager
def in_use(release: Release) -> Iterator[None]:
    """Lock a Debian, so that nobody makes it again while a scenario runs in it."""
    import fcntl

    with _lock_file(release).open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _make(release: Release, root: Path, deadline: float, say: Callable[[str], None]) -> None:
    if not _is_done(root, "base"):
        check_room(root.parent)
        if shutil.which("debootstrap") is None:
            raise NoWindowError(
                "Window tests need debootstrap: install it with apt install debootstrap."
            )
    mirror = reachable_mirror(release.suite)
    log = root.with_suffix(".log")
    say(f"Making a Debian {release.suite} with Blender {release.blender} in {root}; see {log}")
    for name, title in _steps().items():
        if _is_done(root, name):
            continue
        started = time.monotonic()
        for command in _commands(name, root, release, mirror):
            _run(title, command, log, deadline)
        if name == "base":
            _settle(root)
        _mark(root, name).parent.mkdir(exist_ok=True)
        _mark(root, name).touch()
        say(f"  {title}: {time.monotonic() - started:.0f} s")


def _steps() -> dict[str, str]:
    """Return the names of the steps, which change with their contents, and their titles."""
    pins = hashlib.sha256("\n".join(_pins()).encode() + _sam2_lock().read_bytes()).hexdigest()
    packages = hashlib.sha256(" ".join(_PACKAGES).encode()).hexdigest()
    return {
        "base": "Debian",
        f"blender-{packages[:12]}": "Blender, a screen, PyTorch",
        f"site-{pins[:12]}": "The worker's other packages",
    }


def _pins() -> list[str]:
    """Return the packages of the worker besides torch, with versions.

    The hashes of the locks are left out: they are for the Pythons of published Blenders.
    """
    locks = [step.lock for step in STEPS if step.lock not in (TORCH_LOCK, _sam2_lock().name)]
    locks.remove(BUILD_LOCK)
    return [f"{pin.name}=={pin.version}" for lock in locks for pin in read_pins(LOCKS / lock)]


def _sam2_lock() -> Path:
    return LOCKS / "sam2.txt"


def _commands(name: str, root: Path, release: Release, mirror: str) -> list[list[str]]:
    if name == "base":
        shutil.rmtree(root, ignore_errors=True)
        debootstrap = ["debootstrap", "--variant=minbase", release.suite, str(root), mirror]
        return [[*APART, "--mount-proc", *debootstrap]]
    if name.startswith("blender"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        fetch = ["apt-get", "install", "-qy", *_PACKAGES]
        # A killed run may have left this half installed.
        repair = ["dpkg", "--configure", "-a"]
        return [
            command_inside(root, command, variables=quiet)
            for command in (repair, ["apt-get", "update", "-q"], fetch, ["apt-get", "clean"])
        ]
    pip = ["python3", "-m", "pip", "install", "--target", SITE, "--upgrade", "--no-compile"]
    pip += ["--no-deps", "--progress-bar", "off", "--root-user-action", "ignore"]
    build = [f"{pin.name}=={pin.version}" for pin in read_pins(LOCKS / BUILD_LOCK)]
    sam2 = [f"{pin.name}=={pin.version}" for pin in read_pins(_sam2_lock())]
    # Source packages are built with the installed packages, and sam2 without its CUDA extension.
    variables = {"PYTHONPATH": SITE, "SAM2_BUILD_CUDA": "0"}
    return [
        command_inside(root, command, binds=(CERTIFICATES,), variables=variables)
        for command in (
            [*pip, *build],
            [*pip, "--no-build-isolation", *_pins()],
            [*pip, "--no-build-isolation", *sam2],
        )
    ]


def _settle(root: Path) -> None:
    """Tell apt and dpkg inside to fetch little, write fast, and start no service."""
    (root / "etc/apt/apt.conf.d/90window").write_text(_APT_CONF, encoding="utf-8")
    (root / "etc/dpkg/dpkg.cfg.d/90window").write_text(_DPKG_CONF, encoding="utf-8")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    policy.chmod(0o755)
    # To compile all of torch and sympy takes a minute; imported modules are compiled anyway.
    compiler = root / "usr/bin/py3compile"
    compiler.symlink_to("/bin/true")
    with (root / "var/lib/dpkg/diversions").open("a", encoding="utf-8") as diversions:
        diversions.write("/usr/bin/py3compile\n/usr/bin/py3compile.distrib\n:\n")


def _mark(root: Path, name: str) -> Path:
    return root / "var" / "lib" / "sam2_splat_window" / name


def _is_done(root: Path, name: str) -> bool:
    return _mark(root, name).exists()


def _run(title: str, command: list[str], log: Path, deadline: float) -> None:
    """Run one command of a step, with its output in the log."""
    with log.open("ab") as file:
        begin = file.tell()
        process = subprocess.Popen(
            # Other work may run at the same time, such as the other tests.
            ["nice", "-n", "5", *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait(timeout=max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            raise NoWindowError(
                f"Making the Debian took too long, at {title!r}; "
                "python tools/test.py --window goes on from there."
            ) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        with log.open("rb") as file:
            file.seek(begin)
            said = file.read().decode(errors="replace").strip().splitlines()[-4:]
        raise NoWindowError(f"{title} failed: {' / '.join(said)} (all of it in {log}).")


@contextlib.contextmanager
def _locked(release: Release, deadline: float) -> Iterator[None]:
    """Lock a Debian alone: two runs must not make it at once, nor while a scenario runs in it."""
    import fcntl  # not on Windows: there the message is that it is not Linux

    with _lock_file(release).open("w", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NoWindowError(
                        f"Another run makes or uses the Debian {release.suite}."
                    ) from None
            time.sleep(1.0)
        yield


def _lock_file(release: Release) -> Path:
    return root_of(release).with_suffix(".lock")
