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

import msgspec

from .atomic import write_atomic
from .errand import Report, unwatched
from .errors import FootageError
from .footage import Footage

MAP_NAME = "frames.json"

_LINK_NAME = re.compile(r"frame_[0-9]{6,}\.[a-z]+(\.tmp)?")


class StageMap(msgspec.Struct, frozen=True):
    """Which photo stands behind which link: frame `i + 1` is `links[i]` and shows `sources[i]`."""

    folder: str
    links: tuple[str, ...]
    sources: tuple[str, ...]
    version: int = 1


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
        The folder can't be written, or a photo can be neither linked nor copied.
    """
    extension = _common_extension(footage)
    links = tuple(f"frame_{frame.frame:06d}{extension}" for frame in footage.frames)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        expected = set(links)
        for file in folder.iterdir():
            if _LINK_NAME.fullmatch(file.name) and file.name not in expected:
                file.unlink()
        for done, (name, source) in enumerate(zip(links, footage.paths, strict=True)):
            report(done, len(links))
            link = folder / name
            if not _shows(link, source):
                _link(source, link)
        stage_map = StageMap(str(footage.folder), links, tuple(p.name for p in footage.paths))
        _write_if_changed(folder / MAP_NAME, msgspec.json.format(msgspec.json.encode(stage_map)))
    except OSError as problem:
        raise FootageError(
            f"The clip's folder {folder} can't be prepared: {problem.strerror or problem}.",
            "Choose a cache folder that you may write, with room on its disk.",
        ) from problem
    return folder / links[0]


def read_stage(folder: Path) -> StageMap:
    """Read the map of a staged folder.

    Raises
    ------
    FootageError
        The folder has no map, or a damaged one.
    """
    try:
        return msgspec.json.decode((folder / MAP_NAME).read_bytes(), type=StageMap)
    except OSError as problem:
        raise FootageError(
            f"{folder} is not a folder that SAM2 Splat prepared.", "Load the photos again."
        ) from problem
    except msgspec.MsgspecError as problem:
        raise FootageError(
            f"{folder / MAP_NAME} is damaged.", "Load the photos again."
        ) from problem


def _common_extension(footage: Footage) -> str:
    counts = Counter(path.suffix.lower() for path in footage.paths)
    return min(counts, key=lambda extension: (-counts[extension], extension))


def _shows(link: Path, source: Path) -> bool:
    """True when `link` stands for `source`: a link to it, or a copy of its size and time."""
    if link.is_symlink():
        return link.readlink() == source
    try:
        there = link.stat()
    except FileNotFoundError:
        return False
    wanted = source.stat()
    same_file = (there.st_ino, there.st_dev) == (wanted.st_ino, wanted.st_dev) and there.st_ino != 0
    same_copy = (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)
    return same_file or same_copy


def _link(source: Path, link: Path) -> None:
    """Put `link` in place in one step, by the cheapest way the system allows."""
    temporary = link.with_name(link.name + ".tmp")
    temporary.unlink(missing_ok=True)
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
