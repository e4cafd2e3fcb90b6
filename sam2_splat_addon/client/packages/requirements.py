# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the locks that say what the worker's package folder must hold; standard library only."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

LOCKS = Path(__file__).parents[1] / "requirements"

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)\s*(?P<marker>;[^\\]*)?")


@dataclass(frozen=True)
class Pin:
    """A package at one version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Step:
    """One call of pip: what the user reads, the lock it installs, and how.

    Attributes
    ----------
    title
        What the progress bar says.
    lock
        Name of the requirements file.
    arguments
        What pip is told besides the lock.
    """

    title: str
    lock: str
    arguments: tuple[str, ...]


_HASHED = ("--require-hashes", "--no-build-isolation", "--no-deps")

TORCH_LOCK = "torch.txt"
# These only build the others; a finished folder does without them.
BUILD_LOCK = "build.txt"
# Their versions bind what torch brings along.
HASHED_LOCKS = (BUILD_LOCK, "packages.txt")

# The order matters: what comes as source is built with what the steps before it have installed.
STEPS = (
    Step("Build tools", BUILD_LOCK, _HASHED),
    Step("Image libraries", "packages.txt", _HASHED),
    # torch comes without hashes, and with whatever its build for this machine depends on:
    # the CPU and the CUDA builds share a version, not a file.
    Step("PyTorch", TORCH_LOCK, ()),
    Step("SAM 2", "sam2.txt", _HASHED),
)


def read_pins(lock: Path) -> tuple[Pin, ...]:
    """Return the packages that one lock pins for every platform.

    Lines with an environment marker are left out: they name what only some systems need.
    """
    pins = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        match = _PIN.match(line)
        if match and not match["marker"]:
            pins.append(Pin(match["name"], match["version"]))
    return tuple(pins)


def wanted_pins(locks: Path = LOCKS) -> tuple[Pin, ...]:
    """Return every package that the worker needs at run time."""
    return tuple(
        pin for step in STEPS if step.lock != BUILD_LOCK for pin in read_pins(locks / step.lock)
    )


def fingerprint(lock: Path) -> str:
    """Return the sha-256 of one lock, by which a finished step is known again."""
    return hashlib.sha256(lock.read_bytes()).hexdigest()
