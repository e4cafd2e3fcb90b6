# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether this machine can have a Debian for the window tests, and where to get it."""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

MIRROR_VARIABLE = "SAM2_SPLAT_DEBIAN_MIRROR"
# The most disk space of a Debian while it is made, bytes.
_ROOM = 4e9
_PROGRAMS = ("unshare", "setpriv", "chroot", "mount")
# The programs that a command inside a Debian needs; see tools.window.chroot.
_TRIAL = """
set -e
cd "$0"
mkdir proc sys tmp dev
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs tmp
mount --bind /etc dev
mount -o remount,bind,ro dev
"""


class NoWindowError(Exception):
    """Window tests can't run here. The text is one sentence that says why."""


@functools.cache
def obstacle() -> str:
    """Return a sentence why window tests can't run on this machine; empty if they can."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return "Window tests need Linux on x86-64: they open Blender inside a Debian."
    if os.geteuid() != 0:
        return "Window tests need root, to open Blender inside a Debian of their own."
    # The folders of root's programs; the PATH of a service may not have them.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"Window tests need {' and '.join(missing)}, which this machine lacks."
    apart = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(
            [*apart, "sh", "-c", _TRIAL, folder], capture_output=True, text=True, check=False
        )
    if tried.returncode != 0:
        said = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"Window tests need mounts of their own, which this machine does not allow ({said})."
    return ""


def check_room(folder: Path) -> None:
    """Raise NoWindowError if the disk of a folder has too little space for another Debian."""
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        raise NoWindowError(
            f"A Debian needs {_ROOM / 1e9:.0f} GB in {folder}, where {free / 1e9:.1f} GB are free."
        )


def reachable_mirror(suite: str) -> str:
    """Return the address of a Debian mirror that answers and has a suite, such as `sid`.

    It comes from the environment variable or from the package sources of this machine.
    """
    mirror = os.environ.get(MIRROR_VARIABLE) or _own_mirror()
    if not mirror:
        raise NoWindowError(
            f"This machine's package sources name no Debian mirror; name one in {MIRROR_VARIABLE}."
        )
    address = f"{mirror.rstrip('/')}/dists/{suite}/Release"
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:
            answer.read(1)
    except (OSError, ValueError, urllib.error.URLError) as problem:
        raise NoWindowError(
            f"The Debian mirror {mirror} could not be reached ({problem}); name another one in "
            f"{MIRROR_VARIABLE}."
        ) from problem
    return mirror


def _own_mirror() -> str:
    """Return the mirror that apt on this machine uses, if it is a Debian."""
    lists = Path("/etc/apt")
    for path in (lists / "sources.list", *sorted((lists / "sources.list.d").glob("*"))):
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^(?:URIs:|deb\s.*?)\s*(https?://\S+/debian/?)(?=\s)", text, re.M)
        if found:
            return found[1]
    return ""
