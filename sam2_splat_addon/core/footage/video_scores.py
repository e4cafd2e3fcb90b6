# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of each frame of a video: its time, how sharp it is, and how far the view has moved.

The engine finds it out once, and keeps it in the cache. From it photos are chosen (`video_choice.py`),
in Blender too, which can't decode videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import FootageError
from ..system.atomic_file import write_atomic
from ..system.owned_folder import FolderKind, OwnNames
from ..system.safe_read import UNREADABLE, read_plain

VIDEO_EXTENSIONS: Final = frozenset(
    (
        ".mp4",
        ".mov",
        ".m4v",
        ".mkv",
        ".webm",
        ".avi",
        ".mts",
        ".m2ts",
        ".ts",
        ".mpg",
        ".mpeg",
        ".3gp",
    )
)

VERSION: Final = 1
"""Of the scores. It grows when they are measured in another way."""

_SUFFIX: Final = ".scores"
_FOLDER: Final = "videos"

SCORES: Final = FolderKind(
    "scores of videos",
    OwnNames(f"*{_SUFFIX}"),
    FootageError,
    "Choose another cache folder in the add-on's preferences, or move these files away.",
    knows_unmarked=lambda _: False,
)
"""The folder in the cache where scores are kept."""

Floats = NDArray[np.float32]


class Thumbnail(msgspec.Struct, frozen=True):
    """A small picture of a frame: RGB, (height, width, 3) uint8, row by row from the top.

    ``index`` counts frames from 0.
    """

    index: int
    width: int
    height: int
    pixels: bytes

    def array(self) -> NDArray[np.uint8]:
        """Return the picture, (height, width, 3) uint8, read-only."""
        return np.frombuffer(self.pixels, np.uint8).reshape(self.height, self.width, 3)


class _Stored(msgspec.Struct, frozen=True):
    """The file of scores: arrays as little-endian bytes."""

    version: int
    width: int
    height: int
    arrays: dict[str, bytes]
    facts: tuple[str, ...]
    damaged: int
    thumbnails: tuple[Thumbnail, ...]


@dataclass(frozen=True, eq=False)
class VideoScores:
    """The scores of all frames that can be used, in the order in which they are shown.

    Attributes
    ----------
    width, height
        Size of a photo of this video, upright and with square pixels, px.
    numbers
        (n,) int64: the number of each frame in the video, from 1. Numbers of damaged frames are missing.
    seconds
        (n,) float64: time since the first frame.
    stamps
        (n,) int64: the time stamp of each frame in the file, by which it is found again.
    sharpness
        (n,) float32: 1 where edges are one pixel wide, less where they are wider.
    places
        (n,) float32: how far the view has moved since the first frame, in widths of the picture. It
        never falls.
    checks
        (n,) uint32: a check sum of a small copy of each frame.
    facts
        Sentences that the user must know about this video.
    damaged
        The number of frames that can't be decoded whole.
    thumbnails
        Of frames that are spread evenly.
    """

    width: int
    height: int
    numbers: NDArray[np.int64]
    seconds: NDArray[np.float64]
    stamps: NDArray[np.int64]
    sharpness: Floats
    places: Floats
    checks: NDArray[np.uint32]
    facts: tuple[str, ...] = ()
    damaged: int = 0
    thumbnails: tuple[Thumbnail, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)


_TYPES: Final = {
    "numbers": "<i8",
    "seconds": "<f8",
    "stamps": "<i8",
    "sharpness": "<f4",
    "places": "<f4",
    "checks": "<u4",
}


def write_scores(path: Path, scores: VideoScores) -> None:
    """Write scores, whole or not at all; raises OSError."""
    arrays = {
        name: np.asarray(getattr(scores, name)).astype(kind).tobytes()
        for name, kind in _TYPES.items()
    }
    stored = _Stored(
        VERSION,
        scores.width,
        scores.height,
        arrays,
        scores.facts,
        scores.damaged,
        scores.thumbnails,
    )
    write_atomic(path, msgspec.msgpack.encode(stored), synced=False)


def read_scores(path: Path) -> VideoScores | None:
    """Read scores. None if there are none, or if they are damaged or of another version."""
    try:
        stored = msgspec.msgpack.decode(read_plain(path), type=_Stored)
        arrays: dict[str, Any] = {
            name: np.frombuffer(stored.arrays[name], kind) for name, kind in _TYPES.items()
        }
        for picture in stored.thumbnails:
            picture.array()
    except (OSError, KeyError, *UNREADABLE):
        return None
    sizes = {len(array) for array in arrays.values()}
    if stored.version != VERSION or len(sizes) != 1 or 0 in sizes:
        return None
    return VideoScores(
        stored.width,
        stored.height,
        **arrays,
        facts=stored.facts,
        damaged=stored.damaged,
        thumbnails=stored.thumbnails,
    )


def scores_path(cache: Path, digest: bytes) -> Path:
    """Return where the scores of a video are kept.

    Parameters
    ----------
    digest
        SHA-256 of the video.
    """
    return scores_folder(cache) / f"{digest.hex()[:32]}{_SUFFIX}"


def scores_folder(cache: Path) -> Path:
    """Return the folder of all scores in a cache."""
    return cache / _FOLDER


def is_video_name(name: str) -> bool:
    """Whether a name has the extension of a video."""
    return PurePath(name).suffix.lower() in VIDEO_EXTENSIONS


def spread(thumbnails: Sequence[Thumbnail], count: int) -> list[Thumbnail]:
    """Return so many thumbnails that are spread evenly, or all if there are fewer."""
    if len(thumbnails) <= count:
        return list(thumbnails)
    return [thumbnails[(2 * at + 1) * len(thumbnails) // (2 * count)] for at in range(count)]
