# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build of PyTorch suits a machine's graphics card and driver; standard library only.

PyPI has one build of each release: on Windows it computes on the processor alone, on Linux it needs
a recent NVIDIA driver and 2.7 GB whatever card is there. The others lie on PyTorch's own indexes.
Which cards and drivers each serves is said by PyTorch's RELEASE.md (2.12 and 2.13) and by NVIDIA's
"CUDA Compatibility".
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
_CUDA_13_DRIVER: Final = 580  # the first major version that runs it
_TURING: Final = (7, 5)  # compute capability of the oldest cards that CUDA 13 serves
_BLACKWELL: Final = (10, 0)  # and of the first that CUDA 12.6 does not
_QUERY: Final = ("--query-gpu=compute_cap,driver_version", "--format=csv,noheader")
# With one of these set, where packages come from is the user's own decision.
_PIP_INDEXES: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX")


@dataclass(frozen=True)
class TorchBuild:
    """One of the builds that a release of PyTorch comes in.

    Attributes
    ----------
    name
        As in a wheel's local version, ``torch-2.13.0+cu126``; empty for PyPI's.
    title
        What it computes with, for the user; empty for PyPI's.
    index
        Address of the package index that has it; empty for PyPI.
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
"""By name, all but PyPI's."""


@dataclass(frozen=True)
class Card:
    """An NVIDIA card: its compute capability, and the major version of its driver."""

    capability: tuple[int, int]
    driver: int


def build_for(wish: str = "auto") -> TorchBuild:
    """Return the build that a wish means on this machine.

    Parameters
    ----------
    wish
        A build's name, or ``auto``: for the NVIDIA cards that are there, else for the processor.
        ``auto`` means PyPI's where pip's own environment names an index, or the build's index can't
        be reached. On a Mac there is one build only.

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
    if not cards:
        return "cpu"
    if any(card.capability >= _BLACKWELL for card in cards):
        return "cu130"
    modern = all(card.capability >= _TURING and card.driver >= _CUDA_13_DRIVER for card in cards)
    return "cu130" if modern else "cu126"


def _answers(index: str) -> bool:
    """Whether an index can be reached; pip would try five times before it goes on without."""
    request = urllib.request.Request(f"{index}/torch/", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except urllib.error.HTTPError:
        return True  # whatever it says, it is there
    except (OSError, ValueError):
        return False


def nvidia_cards() -> list[Card]:
    """Return this machine's NVIDIA cards, as the driver's own tool tells; empty without driver."""
    beside = Path(os.environ.get("PROGRAMFILES", ""), "NVIDIA Corporation", "NVSMI")
    tool = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=str(beside))
    # On Windows the search begins in the working folder, where anything may lie.
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
    """Read ``8.6, 551.86``; None for what is no such line, as drivers print what they can't say."""
    try:
        capability, driver = line.split(",")
        major, minor = capability.split(".")
        return Card((int(major), int(minor)), int(driver.split(".")[0]))
    except ValueError:
        return None
