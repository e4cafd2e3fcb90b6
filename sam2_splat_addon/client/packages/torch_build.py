# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the build of PyTorch for the graphics card and driver of this machine.

PyPI has one build of each release. On Windows it uses only the processor. On Linux it needs a recent
NVIDIA driver, and 2.7 GB even without a card. The other builds are on PyTorch's own indexes. The cards
and drivers for each build are in PyTorch's RELEASE.md (2.12 and 2.13) and in NVIDIA's "CUDA
Compatibility".
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_INDEX: Final = "https://download.pytorch.org/whl/"
_CUDA_12_DRIVER: Final = 525  # the first major version of the driver for CUDA 12
_CUDA_13_DRIVER: Final = 580  # the first major version of the driver for CUDA 13
_MAXWELL: Final = (5, 0)  # compute capability of the oldest cards that any build serves
_TURING: Final = (7, 5)  # compute capability of the oldest cards for CUDA 13
_BLACKWELL: Final = (10, 0)  # compute capability of the first cards without CUDA 12.6
_QUERY: Final = ("--query-gpu=compute_cap,driver_version", "--format=csv,noheader")
# If one of these is set, the user decides where packages come from.
_PIP_INDEXES: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX")


@dataclass(frozen=True)
class TorchBuild:
    """One of the builds of a release of PyTorch.

    Attributes
    ----------
    name
        As in the local version of a wheel, ``torch-2.13.0+cu126``; empty for the build on PyPI.
    title
        What it computes with, for the user; empty for the build on PyPI.
    index
        Address of its package index; empty for PyPI.
    """

    name: str = ""
    title: str = ""
    index: str = ""


PYPI: Final = TorchBuild()

BUILDS: Final = {
    build.name: build
    for build in (
        TorchBuild("cpu", "the processor", _INDEX + "cpu"),
        TorchBuild("cu126", "CUDA 12.6", _INDEX + "cu126"),
        TorchBuild("cu130", "CUDA 13.0", _INDEX + "cu130"),
    )
}
"""All builds but that on PyPI, by name."""


@dataclass(frozen=True)
class Card:
    """An NVIDIA card: its compute capability, and the major version of its driver."""

    capability: tuple[int, int]
    driver: int


def build_for(wish: str = "auto") -> TorchBuild:
    """Return the build for this machine.

    Parameters
    ----------
    wish
        The name of a build, or ``auto``: the build for the NVIDIA cards of this machine, else that for
        the processor. ``auto`` takes the build on PyPI if pip's environment names an index, or if the
        other index can't be reached. On a Mac there is only one build.

    Raises
    ------
    ValueError
        There is no such build.
    """
    if wish != "auto" and wish not in BUILDS:
        raise ValueError(f"no build of PyTorch is called {wish!r}; there are {', '.join(BUILDS)}")
    if sys.platform == "darwin":
        return PYPI
    if wish != "auto":
        return BUILDS[wish]
    ordinary = platform.machine().lower() in ("x86_64", "amd64")
    if not ordinary or any(os.environ.get(name) for name in _PIP_INDEXES):
        return PYPI
    build = BUILDS[_suited(nvidia_cards())]
    return build if _answers(build.index) else PYPI


def _suited(cards: Sequence[Card]) -> str:
    cards = [
        card for card in cards if card.capability >= _MAXWELL and card.driver >= _CUDA_12_DRIVER
    ]
    if not cards:
        return "cpu"
    if any(card.capability >= _BLACKWELL for card in cards):
        return "cu130"
    modern = all(card.capability >= _TURING and card.driver >= _CUDA_13_DRIVER for card in cards)
    return "cu130" if modern else "cu126"


def _answers(index: str) -> bool:
    """Whether an index can be reached. pip itself would try five times before it goes on."""
    request = urllib.request.Request(f"{index}/torch/", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except urllib.error.HTTPError:
        return True  # any answer shows that it can be reached
    except (OSError, ValueError):
        return False


def nvidia_cards() -> list[Card]:
    """Return the NVIDIA cards of this machine, from the tool of the driver; empty without driver."""
    beside = Path(os.environ.get("PROGRAMFILES", ""), "NVIDIA Corporation", "NVSMI")
    tool = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=str(beside))
    # On Windows the search begins in the working folder, where unknown files may lie.
    if tool is None or Path(tool).absolute().parent == Path.cwd():
        return []
    # Without this flag a console window would flash up in front of Blender on Windows.
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        answer = subprocess.run(
            [tool, *_QUERY],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
            creationflags=flags,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [card for line in answer.stdout.splitlines() if (card := _card(line)) is not None]


def _card(line: str) -> Card | None:
    """Read a line such as ``8.6, 551.86``; None for any other line, such as an error of the driver."""
    try:
        capability, driver = line.split(",")
        major, minor = capability.split(".")
        return Card((int(major), int(minor)), int(driver.split(".")[0]))
    except ValueError:
        return None
