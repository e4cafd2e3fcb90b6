# SPDX-License-Identifier: GPL-3.0-or-later
"""The cameras that *Find Cameras* has found: where they lie, what is known of them, and what a search costs.

Layout of the folder::

    sam2_splat_folder.json      marks the folder as ours (core/system/owned_folder.py)
    found.json                  what was found, see `FoundCameras`
    sparse/0/*.bin              the model, as COLMAP writes it
    run.lock                    held while a search runs (core/mattes/run_lock.py)
    search/                     a search that is not finished; the next one goes on there
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import msgspec

from ..errors import CameraError
from ..system.owned_folder import FolderKind, OwnNames
from ..system.safe_read import UNREADABLE, read_plain

FOUND_NAME: Final = "found.json"
MODEL: Final = "sparse/0"
SEARCH: Final = "search"
DEFAULT_NAME: Final = "sam2_splat_cameras"
"""Name of the folder beside the default folder of mattes."""

ALL_PAIRS: Final = 120
"""Up to so many photos each is compared with each other. Of more, only those that look alike."""

ALIKE: Final = 25
"""So many photos that look alike are compared with each photo."""

NEXT: Final = 10
"""So many following photos are compared too, if the photos are a film."""

# Seconds of one core, measured and rounded up (docs/geometry.md).
_A_PHOTO: Final = 2.5
_A_PAIR: Final = 0.06
_A_PLACE: Final = 0.5

_MATTES: Final = "_mattes"

FOLDER: Final = FolderKind(
    "cameras",
    OwnNames(
        FOUND_NAME,
        "run.lock",
        "run.lease",
        *(f"{MODEL}/{name}.bin" for name in ("cameras", "images", "points3D")),
        f"{SEARCH}/?",
        f"{SEARCH}/models/?/?",
    ),
    CameraError,
    "Move this folder away, or choose another folder for the masks.",
    knows_unmarked=lambda _: False,
)
"""Folders of found cameras."""


class FoundCameras(msgspec.Struct, frozen=True):
    """What a search has found.

    Attributes
    ----------
    footage
        Fingerprint of the photos.
    photos
        Number of photos.
    placed
        How many of them have a camera.
    missing
        Names of the photos without a camera.
    error
        How far points lie from where the cameras see them, px of the small copies; the mean.
    points
        Number of points.
    """

    footage: str
    photos: int
    placed: int
    missing: tuple[str, ...] = ()
    error: float = 0.0
    points: int = 0

    def sentence(self) -> str:
        """Say in one sentence how many photos have a camera."""
        return f"{self.placed} of {self.photos} photos have a camera."


def folder_beside(store: Path) -> Path:
    """Return the folder of found cameras beside a folder of mattes."""
    return store.with_name(f"{store.name.removesuffix(_MATTES)}_cameras")


def model_beside(store: Path) -> Path:
    """Return the folder of the found model, which may be missing."""
    return folder_beside(store) / MODEL


def read_found(folder: Path) -> FoundCameras | None:
    """Return what a search has found in a folder; None for nothing, or if that can't be read."""
    try:
        return msgspec.json.decode(read_plain(folder / FOUND_NAME), type=FoundCameras)
    except (OSError, *UNREADABLE):
        return None


def pairs_of(photos: int) -> int:
    """Return about how many pairs of photos are compared."""
    every = photos * (photos - 1) // 2
    return every if photos <= ALL_PAIRS else min(every, photos * (ALIKE * 3 // 4 + NEXT))


def seconds_for(photos: int, cores: int) -> tuple[float, float, float]:
    """Return about how long a search takes, s: for the details, for the pairs, and for placing."""
    used = max(1, min(cores, 8))
    return (
        photos * _A_PHOTO / min(used, 4),
        pairs_of(photos) * _A_PAIR / used,
        photos * _A_PLACE,  # on one core, so that it always gives the same
    )


def estimate(photos: int, cores: int) -> str:
    """Say about how long a search takes."""
    minutes = math.ceil(sum(seconds_for(photos, cores)) / 60)
    return f"about {minutes} minutes" if minutes > 1 else "about a minute"
