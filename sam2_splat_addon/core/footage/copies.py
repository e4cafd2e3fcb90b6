# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of photos that Blender can't show, or would not show upright or in another size.

If one photo of a clip needs a copy, all of them get one, so that Blender opens one sequence. All copies
have one size, and a photo of another shape has bars beside it (`core.geometry.shown_photo`). Only the
editor shows the copies. SAM 2 and the bake read the photos.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import FootageError
from ..settings import RawSource
from ..system.atomic_file import write_atomic
from ..system.safe_read import UNREADABLE, read_plain
from .scan import Footage
from .staging import COPIES, COPIES_MADE_OF, LINKS, PHOTO_LINK


def needs_copies(footage: Footage) -> bool:
    """Whether Blender can't show some of the photos, or not upright, or not in frames of one size."""
    return not footage.is_shown_itself


def are_optional(footage: Footage) -> bool:
    """Whether Blender can show all photos without copies, though some would lie on their side."""
    return not footage.sizes.odd and not any(frame.header.needs_copy for frame in footage.frames)


def frame_size(footage: Footage) -> tuple[int, int]:
    """Return the width and height of the copies, px: those of most photos when they are upright."""
    return footage.sizes.upright.width, footage.sizes.upright.height


def copy_paths(footage: Footage, folder: Path) -> tuple[Path, ...]:
    """Return where the copies go, frame 1 first.

    Parameters
    ----------
    folder
        The folder of links of this footage.
    """
    return tuple(folder / COPIES / f"frame_{frame.frame:06d}.jpg" for frame in footage.frames)


def photo_link(copy: Path) -> Path:
    """Return the link to the photo of which this is the copy."""
    return copy.parent.parent / f"{copy.stem}{PHOTO_LINK}"


def missing(footage: Footage, folder: Path, raw: RawSource) -> tuple[int, ...]:
    """Return the indices of the photos that have no copy yet, or one of another photo."""
    try:
        made = msgspec.json.decode(read_plain(folder / COPIES_MADE_OF), type=list[str])
    except (OSError, *UNREADABLE):
        made = []
    wanted, paths = _made_of(footage, raw), copy_paths(footage, folder)
    return tuple(
        index
        for index, of in enumerate(wanted)
        if index >= len(made) or made[index] != of or not paths[index].is_file()
    )


def begin(footage: Footage, folder: Path) -> None:
    """Make the folder of copies, and forget what the old ones are of. Raises FootageError."""
    try:
        LINKS.claim(folder)
        LINKS.make(folder, COPIES)
        (folder / COPIES_MADE_OF).unlink(missing_ok=True)
        kept = {path.name for path in copy_paths(footage, folder)}
        for path in (folder / COPIES).glob("frame_*.jpg"):
            if path.name not in kept:
                path.unlink()
    except OSError as problem:
        raise FootageError(
            f"Copies for the editor can't be kept in {folder}: {problem.strerror or problem}.",
            LINKS.fix,
        ) from problem


def finish(footage: Footage, folder: Path, raw: RawSource) -> None:
    """Note of which photos the copies are. Raises FootageError."""
    try:
        write_atomic(folder / COPIES_MADE_OF, msgspec.json.encode(_made_of(footage, raw)))
    except OSError as problem:
        raise FootageError(
            f"Copies for the editor can't be kept in {folder}: {problem.strerror or problem}.",
            LINKS.fix,
        ) from problem


def _made_of(footage: Footage, raw: RawSource) -> list[str]:
    width, height = frame_size(footage)
    return [
        f"{at.name} {at.byte_size} {at.changed_ns} {width} {height}"
        + (f" {raw}" if at.header.format == "raw" else "")
        for at in footage.frames
    ]
