# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the lock files that name the packages of the worker."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

LOCKS = Path(__file__).parents[1] / "requirements"

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)\s*(?P<marker>;[^\\]*)?")


@dataclass(frozen=True)
class Pin:
    """A package with its version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Step:
    """One call of pip.

    Attributes
    ----------
    title
        Text of the progress bar.
    lock
        Name of the lock file to install.
    arguments
        Further arguments of pip.
    """

    title: str
    lock: str
    arguments: tuple[str, ...]


_HASHED = ("--require-hashes", "--no-build-isolation", "--no-deps")

TORCH_LOCK = "torch.txt"
# These only build the others: a finished folder does not need them.
BUILD_LOCK = "build.txt"
# Packages that torch brings along must have the versions in these locks.
HASHED_LOCKS = (BUILD_LOCK, "packages.txt")

# The order matters: a source package is built with the packages of the steps before it.
STEPS = (
    Step("Build tools", BUILD_LOCK, _HASHED),
    Step("Image libraries", "packages.txt", _HASHED),
    # torch has no hashes and brings its own dependencies: the CPU and the CUDA builds share a
    # version, but not a file.
    Step("PyTorch", TORCH_LOCK, ()),
    Step("SAM 2", "sam2.txt", _HASHED),
)


CAMERAS_LOCK = "cameras.txt"

# What only Find Cameras needs. It has a folder of its own, and uses numpy of the other one.
CAMERAS_STEPS = (Step("pycolmap", CAMERAS_LOCK, _HASHED),)


def read_pins(lock: Path) -> tuple[Pin, ...]:
    """Return the packages that one lock names for every platform.

    Lines with an environment marker are left out: only some systems need these packages.
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
    """Return the SHA-256 of one lock, hex. It tells whether a finished step is still up to date."""
    return hashlib.sha256(lock.read_bytes()).hexdigest()
