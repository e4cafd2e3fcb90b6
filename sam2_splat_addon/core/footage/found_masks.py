# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks that lie beside the photos, from other programs.

A mask belongs to a photo by its name. Beside ``x.jpg`` it is called ``x_mask.png`` or
``x.jpg.mask.png`` (with ``.``, ``-``, ``_`` or a space). In a folder ``masks`` beside the photos it may
also be called ``x.png`` or ``x.jpg.png``. ``masks`` may have the same subfolders as the photos, and it
may lie beside a folder ``images``.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath
from typing import Final

from ..printable import is_text

_MASK: Final = re.compile(r"(.+)[._ -]masks?", re.IGNORECASE)
_MASK_FOLDER: Final = re.compile(r"masks?", re.IGNORECASE)
_PHOTO_FOLDERS: Final = frozenset({"images", "image", "photos", "photo", "input", "rgb"})


def masks_among(names: Collection[str]) -> set[str]:
    """Return the files, of those in one folder, that are masks of others there by their names."""
    called = [name for name in names if "mask" in name.casefold()]
    if not called:  # thousands of names are looked at
        return set()
    known = {name.casefold() for name in names} | {_stem(name) for name in names}
    return {name for name in called if known.intersection(_masked(name)) - {name.casefold()}}


def masks_beside(
    folder: Path, photos: Collection[str], extensions: Collection[str]
) -> dict[str, Path]:
    """Return photo -> its mask, for photos that have one.

    Parameters
    ----------
    folder
        The folder of the footage.
    photos
        Names below it, with "/".
    extensions
        Of masks, in lower case.
    """
    by_folder: dict[str, list[str]] = {}
    for photo in photos:
        by_folder.setdefault(PurePath(photo).parent.as_posix(), []).append(photo)
    found: dict[str, Path] = {}
    listed: dict[Path, dict[str, Path]] = {}
    for below, here in by_folder.items():
        places = [
            (folder / below, True),
            *((place, False) for place in _mask_folders(folder, below)),
        ]
        for place, is_beside in places:
            if place not in listed:
                listed[place] = _masks_in(place, extensions, is_beside=is_beside)
        if not any(listed[place] for place, _ in places):
            continue
        stems = Counter(_stem(photo) for photo in here)
        for place, _ in places:
            for photo in here:
                name, stem = PurePath(photo).name.casefold(), _stem(photo)
                mask = listed[place].get(name)
                if mask is None and stems[stem] == 1:
                    mask = listed[place].get(stem)
                if mask is not None:
                    found.setdefault(photo, mask)
    return found


def _mask_folders(folder: Path, below: str) -> Iterator[Path]:
    """Yield the folders where masks of the photos in a folder may lie, nearest first."""
    here = folder / below
    for around in (here, *here.parents):
        for masks in _called_masks(around):
            if around == here:
                yield masks
            else:
                yield masks / here.relative_to(around)
                if around == here.parent and here.name.casefold() in _PHOTO_FOLDERS:
                    yield masks
        if around == folder.parent:
            return


def _called_masks(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = [e.path for e in entries if _MASK_FOLDER.fullmatch(e.name) and e.is_dir()]
    except OSError:
        return []
    return [Path(path) for path in sorted(found)]


def _masks_in(folder: Path, extensions: Collection[str], *, is_beside: bool) -> dict[str, Path]:
    """Return what the masks in a folder belong to -> mask: name or stem of a photo, case folded.

    Parameters
    ----------
    is_beside
        The folder has the photos too, so only names that say it are masks.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if (not is_beside or "mask" in entry.name.casefold())
                and not entry.name.startswith(".")
                and is_text(entry.name)
                and PurePath(entry.name).suffix.lower() in extensions
                and entry.is_file()
            )
    except OSError:
        return {}
    masks = {of: folder / name for name in names for of in _masked(name)}
    return masks if is_beside else {_stem(name): folder / name for name in names} | masks


def _masked(name: str) -> tuple[str, ...]:
    """Return the name or stem of the photo of which a name says that it is the mask."""
    match = _MASK.fullmatch(PurePath(name).stem)
    return (match[1].casefold(),) if match is not None else ()


def _stem(name: str) -> str:
    return PurePath(name).stem.casefold()
