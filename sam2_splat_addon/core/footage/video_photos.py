# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of photos that a video became: its name, how it is found again, and its report.

The folder lies beside the video and is never changed once it is complete. It is made under another
name, so an unfinished one can't be taken for it, and the next try goes on there.
"""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from ..errors import FootageError
from ..printable import cut
from ..settings import VideoFormat
from ..system.owned_folder import FolderKind, OwnNames
from ..system.safe_read import UNREADABLE, is_folder, read_plain
from . import video_choice, video_scores
from .scan import shorten
from .video_choice import VideoChoice
from .video_scores import VideoScores

REPORT_NAME: Final = "video.json"
FRAMES_NAME: Final = "video_frames.csv"
SUFFIXES: Final = {"jpeg": ".jpg", "png": ".png"}

_PHOTOS: Final = "_photos"
_MOST_BYTES: Final = 120  # of the video's name in the names of folder and photos
_MOST_FOLDERS: Final = 1000  # names that are tried
_LARGE_STEP: Final = 0.25  # widths of the picture between two photos, of which the user is told
_LEFT_OUT: Final = ("blurred", "alike")

UNFINISHED: Final = FolderKind(
    "photos of a video",
    OwnNames(REPORT_NAME, FRAMES_NAME, *(f"?_#{suffix}" for suffix in SUFFIXES.values())),
    FootageError,
    "Move this folder away, or choose another folder for the photos.",
    knows_unmarked=lambda _: False,
)
"""Folders of photos that are being made, and complete ones."""


class VideoPhoto(msgspec.Struct, frozen=True):
    """A photo of a video.

    Attributes
    ----------
    frame, seconds
        Its frame in the video, from 1, and its time since the first frame.
    sharpness
        1 if its edges are one pixel wide (of a copy of at most 1,280 px), less if they are wider.
    moved
        How far the view has moved since the photo before, in widths of the picture.
    """

    file: str
    frame: int
    seconds: float
    sharpness: float
    moved: float


class LeftOut(msgspec.Struct, frozen=True):
    """Frames ``first`` to ``last`` that were left out, and why: blurred, or alike a photo's view."""

    first: int
    last: int
    why: str


class VideoReport(msgspec.Struct, frozen=True):
    """How photos were made from a video. It has no times and no paths: the same input gives the same bytes.

    Attributes
    ----------
    key
        Of the video and what was asked for; see `photos_key`.
    summary, facts
        Sentences for the user.
    damaged
        Frames that could not be decoded whole.
    """

    video: str
    key: str
    wanted: int
    kind: VideoFormat
    width: int
    height: int
    summary: str
    facts: tuple[str, ...]
    frames: int
    damaged: int
    photos: tuple[VideoPhoto, ...]
    left_out: tuple[LeftOut, ...]
    version: int = 1


def photos_key(digest: bytes, wanted: int, kind: VideoFormat) -> str:
    """Return what decides the photos of a video, as a short digest.

    Parameters
    ----------
    digest
        SHA-256 of the video.
    """
    rules = (video_scores.VERSION, video_choice.RULES)
    return hashlib.sha256(repr((digest, wanted, kind, rules)).encode()).hexdigest()[:16]


def found_photos(parent: Path, video: Path, key: str) -> Path | None:
    """Return the complete folder of photos with a key, if there is one with photos in it."""
    for folder in _folders(parent, video):
        if not is_folder(folder):
            return None
        report = read_report(folder)
        if report is not None and report.key == key:
            names = {photo.file for photo in report.photos}
            if any(entry.name in names for entry in folder.iterdir()):
                return folder
    return None


def free_folder(parent: Path, video: Path) -> Path:
    """Return the first name for a folder of photos that nothing has. Raises FootageError."""
    for folder in _folders(parent, video):
        if not folder.exists() and not folder.is_symlink():
            return folder
    raise FootageError(
        f"{parent} has too many folders of photos of {video.name}.", "Move some of them away."
    )


def unfinished_folder(parent: Path, video: Path, key: str) -> Path:
    """Return where the photos with a key are made."""
    return parent / f".{_stem(video)}{_PHOTOS}_{key}.unfinished"


def _folders(parent: Path, video: Path) -> list[Path]:
    first = parent / f"{_stem(video)}{_PHOTOS}"
    return [first, *(parent / f"{first.name}_{at}" for at in range(2, _MOST_FOLDERS))]


def _stem(video: Path) -> str:
    """Return the video's name without extension, as the beginning of other names."""
    return cut(video.stem.lstrip("."), _MOST_BYTES).rstrip(" .") or "video"


def read_report(folder: Path) -> VideoReport | None:
    """Return the report in a folder of photos. None if there is none, or a damaged one."""
    try:
        return msgspec.json.decode(read_plain(folder / REPORT_NAME), type=VideoReport)
    except (OSError, *UNREADABLE):
        return None


def report_of(
    scores: VideoScores, choice: VideoChoice, video: Path, key: str, kind: VideoFormat
) -> VideoReport:
    """Return the report of a choice, with the names of the photos."""
    at = choice.chosen
    moved = np.diff(scores.places[at], prepend=scores.places[at[:1]])
    stem, suffix = _stem(video), SUFFIXES[kind]
    photos = tuple(
        VideoPhoto(
            f"{stem}_{int(scores.numbers[index]):06d}{suffix}",
            int(scores.numbers[index]),
            round(float(scores.seconds[index]), 4),
            round(float(scores.sharpness[index]), 4),
            round(float(step), 4),
        )
        for index, step in zip(at.tolist(), moved, strict=True)
    )
    return VideoReport(
        video.name,
        key,
        choice.wanted,
        kind,
        scores.width,
        scores.height,
        choice.sentence(),
        (*scores.facts, *_large_steps(scores, choice)),
        len(scores),
        scores.damaged,
        photos,
        _stretches(scores, choice),
    )


def _large_steps(scores: VideoScores, choice: VideoChoice) -> tuple[str, ...]:
    """Say where blurred frames were taken, and where the view still moves far between two photos."""
    said = []
    soft = scores.seconds[choice.blurred_photos]
    if len(soft):
        times = shorten([f"{at:.1f} s" for at in soft.tolist()])
        said.append(
            f"Blurred photos were taken where the view turns too quickly for sharp ones: at {times}."
        )
    moved = np.diff(scores.places[choice.chosen])
    if len(moved) and moved.max() > _LARGE_STEP and moved.max() >= 3 * np.median(moved):
        at = int(np.argmax(moved))
        seconds = float(scores.seconds[choice.chosen[at]])
        said.append(
            f"The largest step between two photos is {moved[at]:.1f} of the picture's width, at"
            f" {seconds:.1f} s: the view turns too quickly there."
        )
    return tuple(said)


def _stretches(scores: VideoScores, choice: VideoChoice) -> tuple[LeftOut, ...]:
    """Return the frames that were left out, joined where they follow each other."""
    why = np.where(choice.blurred, 1, np.where(choice.alike, 2, 0))
    why[choice.chosen] = 0
    ends = np.flatnonzero(np.diff(why)) + 1
    found = []
    for first, last in zip([0, *ends.tolist()], [*ends.tolist(), len(why)], strict=True):
        if why[first]:
            numbers = int(scores.numbers[first]), int(scores.numbers[last - 1])
            found.append(LeftOut(*numbers, _LEFT_OUT[why[first] - 1]))
    return tuple(found)


def frames_table(scores: VideoScores, choice: VideoChoice) -> bytes:
    """Return every frame as a line of CSV: number, time, sharpness, way of the view, what became of it."""
    chosen = set(choice.chosen.tolist())
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["frame", "seconds", "sharpness", "view", "use"])
    for at in range(len(scores)):
        use = "photo" if at in chosen else ""
        use = use or ("blurred" if choice.blurred[at] else "alike" if choice.alike[at] else "spare")
        table.writerow(
            [
                int(scores.numbers[at]),
                f"{scores.seconds[at]:.4f}",
                f"{scores.sharpness[at]:.4f}",
                f"{scores.places[at]:.4f}",
                use,
            ]
        )
    return text.getvalue().encode()
