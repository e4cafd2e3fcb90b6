# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of links that becomes one clip in Blender; standard library and msgspec only.

Blender takes files for one sequence when their names differ by a number without gaps and they share
one extension. It looks at each file's content and not at its extension to decode it, so every link
may carry the same one.
"""

from __future__ import annotations

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

_LINK_NAME = re.compile(r"frame_[0-9]{6,}\.[a-z]+(\.tmp)?")
# How the cache names the folder of one footage.
_DIGEST = re.compile(r"[0-9a-f]{16}")


class StageMap(msgspec.Struct, frozen=True):
    """Which photo stands behind which link: frame `i + 1` is `links[i]` and shows `sources[i]`.

    `copies` says whether links may be files, as where the system allows no symbolic ones; versions
    before did not say.
    """

    folder: str
    links: tuple[str, ...]
    sources: tuple[str, ...]
    version: int = 1
    copies: bool = True


def _is_earlier(folder: Path) -> bool:
    """Whether a folder without a marker is one of the cache's all the same.

    By its name, and since what has a link's name is a link, or a copy that its map names.
    """
    if _DIGEST.fullmatch(folder.name) is None or is_link(folder / PROXIES):
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
        *(
            f"{PROXIES}/?/proxy_{percent}{kind}/{name}"
            for percent in (25, 50, 75, 100)
            for kind in ("", "_undistorted")
            for name in ("#.jpg", MADE_OF_NAME)
        ),
    ),
    FootageError,
    "Choose another cache folder in the add-on's preferences, or move what is there away.",
    _is_earlier,
)
"""Folders of links to photos, with Blender's small copies of these."""


def stage(footage: Footage, folder: Path, report: Report = unwatched) -> Path:
    """Write links `frame_000001.<ext>`, one per frame without a gap, and the map `frames.json`.

    Links are symbolic where the system allows them, else hard, else copies. Calling again changes
    only what the footage changed; links that no longer belong are removed, other files are left
    alone.

    Parameters
    ----------
    footage
        What to stage; unreadable files have no link.
    folder
        Where the links go; made when missing. Use one folder per footage.
    report
        Told how many links are there, of how many.

    Returns
    -------
    Path
        The link of frame 1, the file to open in Blender.

    Raises
    ------
    FootageError
        The folder can't be written or is not ours, a photo can be neither linked nor copied, or a
        file that is not ours is in a link's place.
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
                and there.is_file()  # and no link that another Blender has just removed
            ):
                raise FootageError(
                    f"{there} is in the place of a link, and SAM2 Splat did not make it.",
                    LINKS.fix,
                )
        has_copies = any(at.name in copies and not is_link(at) for at in _linked(folder))
        # Before the links, so that a copy is known as ours when the photos are others by then.
        stage_map = StageMap(
            str(footage.folder),
            links,
            tuple(path.name for path in footage.paths),
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
            f"The clip's folder {folder} can't be prepared: {problem.strerror or problem}.",
            "Choose a cache folder that you may write, with room on its disk.",
        ) from problem
    return folder / links[0]


def unstage(folder: Path) -> None:
    """Remove links, copies and small copies that the add-on made in a folder of its own.

    What else lies there stays; the folder goes when it is empty then.

    Raises
    ------
    FootageError
        The folder is not ours.
    OSError
        From removing; the caller words it.
    """
    LINKS.require(folder)
    sweep_temporaries(folder, below=False)
    copies = _copies(folder) or ()
    for there in _linked(folder):
        if is_link(there) or there.name in copies or there.suffix == ".tmp":
            there.unlink(missing_ok=True)
    LINKS.remove(folder, PROXIES)
    (folder / MAP_NAME).unlink(missing_ok=True)
    LINKS.give_up(folder)
    if not any(folder.iterdir()):
        folder.rmdir()


def _linked(folder: Path) -> list[Path]:
    """What stands in a folder under the names of links, whatever it is but a folder."""
    found = (path for path in sorted(folder.iterdir()) if _LINK_NAME.fullmatch(path.name))
    return [path for path in found if is_link(path) or not path.is_dir()]


def _copies(folder: Path) -> tuple[str, ...] | None:
    """The names of links that may be files of ours; none without a map, None where it is no map."""
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
            f"{folder} is not a folder that SAM2 Splat prepared.", "Load the photos again."
        ) from problem
    except UNREADABLE as problem:
        raise FootageError(
            f"{folder / MAP_NAME} is damaged.", "Load the photos again."
        ) from problem


def _common_extension(footage: Footage) -> str:
    counts = Counter(path.suffix.lower() for path in footage.paths)
    return min(counts, key=lambda extension: (-counts[extension], extension))


def _shows(link: Path, source: Path) -> bool:
    """True when `link` stands for `source`: a link to it, or a copy of its size and time."""
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
    temporary = temporary_beside(link)  # of this Blender alone: two may load the same photos
    try:
        for way in (os.symlink, os.link, shutil.copy2):
            try:
                way(source, temporary)
                break
            except (OSError, NotImplementedError):
                # Symbolic links need a privilege on Windows, hard links the same disk; a copy must
                # work.
                if way is shutil.copy2:
                    raise
        temporary.replace(link)
    finally:
        temporary.unlink(missing_ok=True)


def _write_if_changed(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(path, data)
