# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage with truth: the sample, rendered captures, DAVIS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.footage.scan import scan
from tools.research.capture import scene_file
from tools.research.capture.identity import SUBJECT

_VOID: Final = 255  # DAVIS: pixels that nobody could decide
_OBJECT: Final = 1


@dataclass(frozen=True)
class Subject:
    """One object of a clip.

    Attributes
    ----------
    id
        From 1.
    name
        For people.
    label
        Its value in the truth's pictures. None if they are grey coverage, 255 inside.
    clicks
        Good places on the first frame, px from the top left corner, best first. May be empty.
    """

    id: int
    name: str
    label: int | None
    clicks: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Clip:
    """Photos with truth.

    Attributes
    ----------
    name
        For people.
    photos
        In frame order.
    truths
        The truth of each photo. None if nobody made one.
    subjects
        What to segment.
    scored
        Indices of the frames that count.
    """

    name: str
    photos: tuple[Path, ...]
    truths: tuple[Path | None, ...]
    subjects: tuple[Subject, ...]
    scored: range

    def truth(self, index: int, subject: Subject) -> NDArray[np.bool_] | None:
        """Return the subject's mask on a frame (index from 0), (H, W). None if there is no truth."""
        path = self.truths[index]
        if path is None:
            return None
        values = read_labels(path)
        return values > 127 if subject.label is None else values == subject.label

    def shortened(self, frames: int) -> Clip:
        """The clip's first frames; all of them for 0."""
        if frames == 0:
            return self
        scored = range(self.scored.start, min(self.scored.stop, frames))
        return Clip(self.name, self.photos[:frames], self.truths[:frames], self.subjects, scored)


def sample(folder: Path) -> Clip:
    """Return the sample in the repository's folder ``sample``. Its first click is on the seat."""
    return _capture(folder, "sample", label=None)


def capture(folder: Path) -> Clip:
    """A capture of `tools.capture` with instance ids beside the photos; the subject counts."""
    return _capture(folder, folder.name, label=SUBJECT)


def captures(root: Path) -> list[Clip]:
    """All captures in the folders under ``root``, by name.

    Raises
    ------
    FootageError
        There is none.
    """
    folders = sorted(path.parent for path in root.glob("*/scene.json"))
    if not folders:
        raise FootageError(
            f"There is no capture in {root}.", "Make some with tools/research/capture/train_set.py."
        )
    return [capture(folder) for folder in folders]


def davis(root: Path) -> list[Clip]:
    """Return every clip of a folder with DAVIS's layout.

    ``JPEGImages`` and ``Annotations`` contain a folder for each clip, or folders of such
    (``480p``). A truth is a picture with a palette. Its values are the objects' numbers. As in the
    benchmark, the first frame (which is prompted) and the last don't count.

    Raises
    ------
    FootageError
        The folder has another layout, or a clip has no truth or no object.
    """
    annotations = root / "Annotations"
    folders = sorted({path.parent for path in annotations.rglob("*.png")})
    if not folders:
        raise FootageError(
            f"{root} has no truth: no PNG in its folder Annotations.",
            "Give the folder that holds JPEGImages and Annotations.",
        )
    return [
        _davis_clip(root / "JPEGImages" / folder.relative_to(annotations), folder)
        for folder in folders
    ]


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Return a truth's values, (H, W): a palette picture's indices, or grey levels.

    Raises
    ------
    FootageError
        It is not such a picture.
    """
    try:
        with Image.open(path) as image:
            keeps_values = image.mode in ("P", "L")
            return np.asarray(image if keeps_values else image.convert("L"), dtype=np.uint8)
    except OSError as problem:
        raise FootageError(
            f"The truth {path} can't be read: {problem}.", "Copy or make this file again."
        ) from problem


def _capture(folder: Path, name: str, *, label: int | None) -> Clip:
    try:
        facts = scene_file.decode((folder / "scene.json").read_bytes())
    except OSError as problem:
        raise FootageError(
            f"{folder} is no capture: its scene.json can't be read.", "Render it again."
        ) from problem
    return Clip(
        name,
        tuple(folder / frame.file for frame in facts.frames),
        tuple(folder / frame.truth for frame in facts.frames),
        (Subject(_OBJECT, facts.kind, label, tuple((c.x, c.y) for c in facts.clicks)),),
        range(len(facts.frames)),
    )


def _davis_clip(photo_folder: Path, truth_folder: Path) -> Clip:
    photos = scan(photo_folder).paths
    truths = [truth_folder / f"{photo.stem}.png" for photo in photos]
    known = tuple(path if path.is_file() else None for path in truths)
    labels: set[int] = set()
    for path in known:
        if path is not None:
            labels |= set(np.unique(read_labels(path)).tolist())
    if labels - {0} != {_VOID}:  # DAVIS 2016 marks its one object with 255
        labels.discard(_VOID)
    subjects = tuple(
        Subject(number, f"{label}", label)
        for number, label in enumerate(sorted(labels - {0}), start=1)
    )
    if not subjects:
        raise FootageError(
            f"{truth_folder} names no object on any photo of {photo_folder}.",
            "Check that photos and annotations have the same names.",
        )
    return Clip(photo_folder.name, tuple(photos), known, subjects, range(1, len(photos) - 1))
