# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the folder of links that Blender opens as one clip.

Blender opens files as one sequence if they have the same extension and numbers without gaps. It
decodes a file by its content and not by its extension, so all links may have the same extension.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from ..errors import FootageError
from ..system.atomic_file import sweep_temporaries, temporary_beside, write_atomic
from ..system.background_task import Report, unwatched
from ..system.links import is_link
from ..system.owned_folder import FolderKind, OwnNames
from ..system.safe_read import UNREADABLE, read_plain
from .scan import Footage

MAP_NAME = "frames.json"
PROXIES = "proxies"
MADE_OF_NAME = "made_of.txt"
COPIES = "copies"
"""The folder, within a folder of links, of copies that Blender can show."""
COPIES_MADE_OF = f"{COPIES}/made_of.json"
PHOTO_LINK = ".photo"
"""The extension of links if Blender shows copies instead."""

_LINK_NAME = re.compile(r"frame_[0-9]{6,}\.[a-z]+(\.tmp)?")
# The cache gives the folder of each footage such a name.
_DIGEST = re.compile(r"[0-9a-f]{16}")


def folder_in_cache(photos: Path, cache: Path) -> Path:
    """Return the folder in a cache for the photos of a folder. It may not exist yet."""
    digest = hashlib.sha256(os.fsencode(photos)).hexdigest()[:16]
    return cache / "footage" / digest


class StageMap(msgspec.Struct, frozen=True):
    """Which photo each link shows: frame `i + 1` is `links[i]` and shows `sources[i]`.

    `copies` says whether a link may be a copied file, on systems that allow no symbolic links.
    """

    folder: str
    links: tuple[str, ...]
    sources: tuple[str, ...]
    version: int = 1
    copies: bool = True


def _knows_unmarked(folder: Path) -> bool:
    """Whether a folder without a marker belongs to our cache all the same.

    It does if it has such a name, and if each file with the name of a link is a link, or a copy that
    the map names.
    """
    if _DIGEST.fullmatch(folder.name) is None or is_link(folder / PROXIES):
        return False
    if is_link(folder / COPIES):
        return False
    copies = _copies(folder)
    if copies is None:
        return False
    return all(is_link(path) or path.name in copies for path in _linked(folder))


LINKS: Final = FolderKind(
    "links",
    OwnNames(
        MAP_NAME,
        "frame_#.*",
        "frame_#.*.tmp",
        f"{COPIES}/frame_#.jpg",
        COPIES_MADE_OF,
        *(
            f"{PROXIES}/?/proxy_{percent}{kind}/{name}"
            for percent in (25, 50, 75, 100)
            for kind in ("", "_undistorted")
            for name in ("#.jpg", MADE_OF_NAME)
        ),
    ),
    FootageError,
    "Choose another cache folder in the add-on's preferences, or move these files away.",
    _knows_unmarked,
)
"""Folders of links to photos. Blender's proxies (small copies of the photos) are in them too."""


def stage(footage: Footage, folder: Path, report: Report = unwatched) -> Path:
    """Write links `frame_000001.<ext>`, one per frame without a gap, and the map `frames.json`.

    Links are symbolic if the system allows it, else hard links, else copies. A second call changes
    only what changed in the footage. It removes links that are no longer needed, and leaves other
    files alone.

    Parameters
    ----------
    footage
        The photos. Unreadable files get no link.
    folder
        Where the links go; made if missing. Use one folder per footage.
    report
        Called with the number of links done, and of all links.

    Returns
    -------
    Path
        The link of frame 1: the file to open in Blender.

    Raises
    ------
    FootageError
        The folder can't be written or is not ours, a photo can be neither linked nor copied, or a
        link has the name of a file that is not ours.
    """
    extension = _common_extension(footage)
    links = tuple(f"frame_{frame.frame:06d}{extension}" for frame in footage.frames)
    try:
        LINKS.claim(folder)
        sweep_temporaries(folder, below=False)
        copies = _copies(folder) or ()
        sources = dict(zip(links, footage.paths, strict=True))
        for there in _linked(folder):
            is_ours = is_link(there) or there.name in copies or there.suffix == ".tmp"
            if is_ours and there.name not in sources:
                there.unlink(missing_ok=True)
            elif (
                not is_ours
                and there.name in sources
                and not _shows(there, sources[there.name])
                and there.is_file()  # not a link that another Blender has just removed
            ):
                raise FootageError(
                    f"{there} has the name of one of our links, but SAM2 Splat did not make it.",
                    LINKS.fix,
                )
        has_copies = any(at.name in copies and not is_link(at) for at in _linked(folder))
        # The map comes before the links: so a copy is known as ours even if the photos change later.
        stage_map = StageMap(
            str(footage.folder),
            links,
            tuple(at.name for at in footage.frames),
            copies=has_copies or not _can_link(folder),
        )
        _write_if_changed(folder / MAP_NAME, msgspec.json.format(msgspec.json.encode(stage_map)))
        for done, (name, source) in enumerate(sources.items()):
            report(done, len(links))
            link = folder / name
            if not _shows(link, source):
                _link(source, link)
    except OSError as problem:
        raise FootageError(
            f"The folder {folder} for the clip can't be written: {problem.strerror or problem}.",
            "Choose a cache folder that you may write to, on a disk with free space.",
        ) from problem
    return folder / links[0]


def unstage(folder: Path) -> None:
    """Remove links, copies and proxies that the add-on made in a folder of its own.

    Other files stay. The folder itself is removed if it is empty then.

    Raises
    ------
    FootageError
        The folder is not ours.
    OSError
        Removing failed; the caller writes the message.
    """
    LINKS.require(folder)
    sweep_temporaries(folder, below=False)
    copies = _copies(folder) or ()
    for there in _linked(folder):
        if is_link(there) or there.name in copies or there.suffix == ".tmp":
            there.unlink(missing_ok=True)
    LINKS.remove(folder, PROXIES)
    LINKS.remove(folder, COPIES)
    (folder / MAP_NAME).unlink(missing_ok=True)
    LINKS.give_up(folder)
    if not any(folder.iterdir()):
        folder.rmdir()


def _linked(folder: Path) -> list[Path]:
    """Return everything in a folder that has the name of a link and is not a folder."""
    found = (path for path in sorted(folder.iterdir()) if _LINK_NAME.fullmatch(path.name))
    return [path for path in found if is_link(path) or not path.is_dir()]


def _copies(folder: Path) -> tuple[str, ...] | None:
    """Return the names of links that may be copies of ours.

    Without a map there are none. None means that the file in the map's place is not a map.
    """
    path = folder / MAP_NAME
    if is_link(path) or (path.exists() and not path.is_file()):
        return None
    if not path.exists() or not path.stat().st_size:
        return ()
    try:
        found = read_stage(folder)
    except FootageError:
        return None
    return found.links if found.copies else ()


def _can_link(folder: Path) -> bool:
    """Whether the system allows symbolic links in a folder."""
    probe = temporary_beside(folder / "link")
    try:
        probe.symlink_to(folder)
        probe.unlink()
    except (OSError, NotImplementedError):
        return False
    return True


def read_stage(folder: Path) -> StageMap:
    """Read the map of a staged folder.

    Raises
    ------
    FootageError
        The folder has no map, or a damaged one.
    """
    try:
        return msgspec.json.decode(read_plain(folder / MAP_NAME), type=StageMap)
    except OSError as problem:
        raise FootageError(
            f"{folder} is not a folder of links that SAM2 Splat made.", "Load the photos again."
        ) from problem
    except UNREADABLE as problem:
        raise FootageError(
            f"{folder / MAP_NAME} is damaged.", "Load the photos again."
        ) from problem


def _common_extension(footage: Footage) -> str:
    if not footage.is_shown_itself:
        return PHOTO_LINK
    counts = Counter(path.suffix.lower() for path in footage.paths)
    return min(counts, key=lambda extension: (-counts[extension], extension))


def _shows(link: Path, source: Path) -> bool:
    """Whether `link` shows `source`: it is a link to it, or a copy with the same size and time."""
    try:
        if link.is_symlink():
            return link.readlink() == source
        there = link.stat()
    except FileNotFoundError:
        return False
    wanted = source.stat()
    same_file = (there.st_ino, there.st_dev) == (wanted.st_ino, wanted.st_dev) and there.st_ino != 0
    same_copy = (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)
    return same_file or same_copy


def _link(source: Path, link: Path) -> None:
    """Put `link` in place in one step, by the cheapest way the system allows."""
    temporary = temporary_beside(link)  # only this Blender's: two may load the same photos
    try:
        for way in (os.symlink, os.link, shutil.copy2):
            try:
                way(source, temporary)
                break
            except (OSError, NotImplementedError):
                # Symbolic links need a privilege on Windows, and hard links need the same disk. A
                # copy must work.
                if way is shutil.copy2:
                    raise
        temporary.replace(link)
    finally:
        temporary.unlink(missing_ok=True)


def _write_if_changed(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(path, data)
