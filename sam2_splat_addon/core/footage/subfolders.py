# SPDX-License-Identifier: GPL-3.0-or-later
"""Which subfolders of a capture may hold photos of the user."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from ..system.background_task import Report, unwatched
from ..system.links import is_link
from ..system.owned_folder import MARKER_NAME
from ..system.safe_read import UNREADABLE, read_plain
from ..targets import SEVERAL, TARGETS_BY_NAME

DEEPEST: Final = 8
"""Levels of subfolders that are looked at. The whole disk may have been chosen by mistake."""

_NOT_PHOTOS: Final = re.compile(
    r"masks?|.+[._ -]masks?"  # masks beside the photos, and those of our bakes
    rf"|({'|'.join((*TARGETS_BY_NAME, SEVERAL))})_v[0-9]{{3,}}"  # our bakes, also stopped ones
    r"|sam2_splat_.*"  # our mattes and reports
    r"|bl_proxy|blendcache_.*"  # Blender's own
    r"|__macosx|@eadir|\$recycle\.bin|system volume information",  # copies that systems keep
    re.IGNORECASE,
)
_MANIFEST: Final = "manifest.json"  # of a bake with a name of the user's
_MAX_MANIFEST: Final = 1 << 26


def subfolders(folder: Path, report: Report = unwatched) -> Iterator[Path]:
    """Yield all subfolders that may hold photos, in no particular order.

    Left out are hidden folders, folders of masks, our own folders, and those that Blender and
    operating systems make. A folder that several links lead to is yielded once. A link to a folder
    that holds this one is not followed.

    Parameters
    ----------
    report
        Called with the number of folders done, and 0; may raise Cancelled.
    """
    seen = {os.path.realpath(folder)}
    waiting = [(folder, 0)]
    done = 0
    while waiting:
        here, depth = waiting.pop()
        report(done, 0)
        done += 1
        if depth:
            yield here
        if depth < DEEPEST:
            for below in _folders_in(here):
                place = os.path.realpath(below)
                if place not in seen and not _holds(place, folder):
                    seen.add(place)
                    waiting.append((below, depth + 1))


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if _is_folder(entry)]
    except OSError:
        return []  # who lists its photos will say it
    return [below for below in found if not _is_ours(below)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or _NOT_PHOTOS.fullmatch(entry.name):
        return False
    try:
        return entry.is_dir()
    except OSError:
        return False


def _holds(place: str, folder: Path) -> bool:
    """Whether a folder is one of those that the other one lies in."""
    inner = os.path.realpath(folder)
    return inner == place or inner.startswith(place.rstrip(os.sep) + os.sep)


def _is_ours(folder: Path) -> bool:
    """Whether we made a folder: it has our marker, or the manifest of a bake."""
    if os.path.lexists(folder / MARKER_NAME):
        return True
    path = folder / _MANIFEST
    try:
        if is_link(path) or path.stat().st_size > _MAX_MANIFEST:
            return False
        found = msgspec.json.decode(read_plain(path))
    except (OSError, *UNREADABLE):
        return False
    return isinstance(found, dict) and {"footage", "options", "images"} <= found.keys()
