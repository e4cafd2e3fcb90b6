# SPDX-License-Identifier: GPL-3.0-or-later
"""Real photos with true masks, from one folder.

Whoever measures gives the folder. It has this layout::

    test/clicks/images/*.jpg            photos, each with
    test/clicks/labels/*.png            its label: 255 object, 128 does not count, 0 ground
    test/davis/JPEGImages/NAME/*.jpg    sequences, each frame with
    test/davis/Annotations/NAME/*.png   its mask: 255 object, 0 ground
    test/orbits/NAME/photos/*.jpg       photos around a thing, each with
    test/orbits/NAME/masks/*.png        its mask
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.footage.scan import scan
from tools.research.bench.evaluation.sources import Clip, Subject, read_labels

SEQUENCE_FRAMES: Final = 25
"""Frames of each sequence that are tracked."""

STILL_FRAMES: Final = ("00007", "00022")
"""File names of the frames that a sequence gives to the stills."""

_OBJECT: Final = 255
_UNDECIDED: Final = 128  # its value in the labels of test/clicks

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Still:
    """One photo with one object.

    Attributes
    ----------
    group
        Its set: ``clicks`` or ``davis``.
    name
        For people.
    photo, label
        The files.
    """

    group: str
    name: str
    photo: Path
    label: Path

    def truth(self) -> tuple[Mask, Mask]:
        """Return the object's mask, and the pixels that count, (H, W) each; raises FootageError."""
        values = read_labels(self.label)
        return values == _OBJECT, values != _UNDECIDED


def stills(root: Path) -> list[Still]:
    """The single photos of a folder, by set and name.

    Raises
    ------
    FootageError
        There is none, or a label lacks its photo.
    """
    found = [
        Still("clicks", label.stem, root / "test/clicks/images" / f"{label.stem}.jpg", label)
        for label in sorted((root / "test/clicks/labels").glob("*.png"))
    ]
    for truths in _folders(root / "test/davis/Annotations"):
        photos = root / "test/davis/JPEGImages" / truths.name
        found += [
            Still("davis", f"{truths.name}_{frame}", photos / f"{frame}.jpg", label)
            for frame in STILL_FRAMES
            if (label := truths / f"{frame}.png").is_file()
        ]
    if not found:
        raise _no_such_folder(root)
    for still in found:
        if not still.photo.is_file():
            raise FootageError(
                f"{still.label} has no photo: {still.photo} is not there.", "Copy the folder again."
            )
    return found


def sequences(root: Path, every: int) -> list[Clip]:
    """Return sequences and orbits of a folder. All frames count.

    Parameters
    ----------
    root
        The folder.
    every
        Takes one of this many photos of an orbit. A sequence gives its first `SEQUENCE_FRAMES`.

    Raises
    ------
    FootageError
        There is none, or a photo can't be read.
    """
    clips = []
    for truths in _folders(root / "test/davis/Annotations"):
        photos = scan(root / "test/davis/JPEGImages" / truths.name).paths
        clips.append(_clip(truths.name, photos[:SEQUENCE_FRAMES], truths))
    for folder in _folders(root / "test/orbits"):
        photos = scan(folder / "photos").paths
        clips.append(_clip(folder.name, photos[::every], folder / "masks"))
    if not clips:
        raise _no_such_folder(root)
    return clips


def is_orbit(root: Path, name: str) -> bool:
    """Whether a sequence goes around a thing."""
    return (root / "test/orbits" / name).is_dir()


def _clip(name: str, photos: Sequence[Path], truths: Path) -> Clip:
    files = [truths / f"{photo.stem}.png" for photo in photos]
    known = tuple(path if path.is_file() else None for path in files)
    return Clip(name, tuple(photos), known, (Subject(1, "subject", None),), range(len(photos)))


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _no_such_folder(root: Path) -> FootageError:
    return FootageError(
        f"{root} holds no photos with true masks.",
        "Give a folder as tools/research/bench/evaluation/real.py describes it.",
    )
