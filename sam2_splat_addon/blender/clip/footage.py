# SPDX-License-Identifier: GPL-3.0-or-later
"""The photos of a movie clip.

A clip that the user has opened with Blender's own Open Clip is accepted if its photos have no gap.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import bpy
import msgspec

from ...core.errors import FootageError
from ...core.footage import matching
from ...core.footage.copies import photo_link
from ...core.footage.raw_photos import FILE_NAME, RawPhotos
from ...core.footage.scan import Footage, cuts_between, from_file, scan
from ...core.footage.staging import COPIES, LINKS, PROXIES
from ...core.system.background_task import Report, unwatched
from ...core.system.links import is_link
from ...core.system.safe_read import is_folder, is_there
from ..context import preferences, properties
from ..context.stored_text import names_to_text, text_of
from . import shown

# What happens when photos are loaded again, for errors that ask for it.
_ALONG = "clicks and drawn masks go along with their photos"


def remember(clip: bpy.types.MovieClip, footage: Footage) -> None:
    """Store in a clip which photos it shows."""
    settings = properties.of_clip(clip)
    settings.frame_count = len(footage)
    settings.with_subfolders = footage.with_subfolders
    settings.found_masks = len(footage.masks)
    settings.has_raw = any(frame.header.format == "raw" for frame in footage.frames)
    settings.has_linear = any(frame.header.is_linear for frame in footage.frames)
    settings.unreadable_count = len(footage.unreadable)
    settings.damaged_names = ""
    settings.unreadable_names = names_to_text([file.name for file in footage.unreadable])
    settings.photos = matching.to_text(matching.known_photos(footage))
    if not settings.use_range:
        settings.last_frame = len(footage)


def damaged_names(clip: bpy.types.MovieClip) -> list[str]:
    """Return the photos that the last job found damaged. None if the property is invalid."""
    try:
        return msgspec.json.decode(properties.of_clip(clip).damaged_names or "[]", type=list[str])
    except (msgspec.MsgspecError, RecursionError):
        return []


def cache_folder_of(clip: bpy.types.MovieClip) -> Path:
    """Return the folder in the cache for a loaded clip's photos. It may not exist."""
    return preferences.staging_folder(
        Path(bpy.path.abspath(properties.of_clip(clip).footage_folder))
    )


def proxy_folder(clip: bpy.types.MovieClip) -> Path:
    """Return the folder of Blender's small copies of a loaded clip's photos."""
    return cache_folder_of(clip) / PROXIES


def staged_folders() -> list[Path]:
    """Return every folder in the cache that holds links to photos and files made from them.

    The cache may be a folder with other files too. Our folders have a marker.
    """
    root = preferences.cache_folder() / "footage"
    if is_link(root) or not is_folder(root):
        return []
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and LINKS.knows(entry))


@dataclasses.dataclass(frozen=True)
class Place:
    """Where photos are, for a thread.

    Attributes
    ----------
    path
        A folder, or one of its photos.
    with_subfolders
        Whether subfolders count.
    cache
        The cache folder, which knows the sizes of camera RAW photos. None knows none.
    """

    path: Path
    with_subfolders: bool = False
    cache: Path | None = None

    def scanned(self, report: Report = unwatched) -> Footage:
        """Look at the photos; as `core.footage.scan.scan`."""
        raw = None if self.cache is None else RawPhotos(self.cache / FILE_NAME).of
        return scan(self.path, report, with_subfolders=self.with_subfolders, raw=raw)


def footage_of(clip: bpy.types.MovieClip) -> Footage:
    """Return the photos of a clip, frame 1 first. Raises FootageError."""
    return accept(clip, place_of(clip).scanned())


def cuts_of(clip: bpy.types.MovieClip) -> tuple[int, ...]:
    """Return the first frame of each further subfolder, without looking at the photos."""
    settings = properties.of_clip(clip)
    if not settings.with_subfolders:
        return ()
    return cuts_between([at.name for at in matching.from_text(text_of(settings, "photos"))])


def place_of(clip: bpy.types.MovieClip) -> Place:
    """Return the place of a clip's photos. Raises FootageError for a clip without photos."""
    settings = properties.of_clip(clip)
    if settings.footage_folder:
        path = Path(bpy.path.abspath(settings.footage_folder))
        return Place(path, settings.with_subfolders, preferences.cache_folder())
    if clip.source != "SEQUENCE":
        raise FootageError(
            f"{clip.name!r} is a movie file, but the trainer needs photos.",
            "Press Make Photos of It, or load a folder of photos.",
        )
    return Place(Path(bpy.path.abspath(clip.filepath)), cache=preferences.cache_folder())


def accept(clip: bpy.types.MovieClip, footage: Footage) -> Footage:
    """Return the scanned photos in the way that a clip shows them. Raises FootageError.

    A clip that was opened with Blender's own Open Clip becomes one of ours.
    """
    settings = properties.of_clip(clip)
    if clip.frame_offset:
        raise FootageError(
            f"{clip.name!r} has a Frame Offset of {clip.frame_offset}, so masks would not be on"
            " the photos that you see.",
            "Load the photos again, or set it to 0 in the Footage tab. Clicks stay on their frames.",
        )
    if not settings.footage_folder:
        return _adopted(clip, footage)
    if settings.first_file:
        footage = from_file(footage, settings.first_file)
    before, now = (
        matching.from_text(text_of(settings, "photos")),
        matching.known_photos(footage),
    )
    other = matching.first_other(before, now)
    if other is not None and len(footage) == settings.frame_count:
        raise FootageError(
            f"Frame {other} showed another photo when {footage.folder} was loaded.",
            f"Load the photos again: {_ALONG}.",
        )
    if len(footage) != settings.frame_count:
        raise FootageError(
            f"{footage.folder} had {settings.frame_count} photos when it was loaded and has"
            f" {len(footage)} now.",
            f"Load the photos again: {_ALONG if before else 'the clicks and settings stay'}.",
        )
    if not before:  # the list is lost or was never there
        settings.photos = matching.to_text(now)
    if shown.known_sizes(clip) is None:  # a clip of an earlier version
        shown.remember(clip, footage, is_upright=settings.shows_upright)
    return footage


def photo_of(clip: bpy.types.MovieClip, frame: int) -> Path | None:
    """Return the file on a frame of a clip, or None. Quick, but less exact than :func:`footage_of`."""
    names = shown_paths(clip, range(frame, frame + 1)) if frame >= 1 else ()
    photo = Path(names[0]) if names else None
    return photo if photo is not None and is_there(photo) and photo.is_file() else None


def shown_paths(clip: bpy.types.MovieClip, frames: range) -> tuple[str, ...]:
    """Return the photos that a clip shows on its frames, or links to them. They may not exist.

    A name without a number is on frame 1 only.
    """
    first = Path(bpy.path.abspath(clip.filepath))
    settings = properties.of_clip(clip)
    if settings.footage_folder and not settings.first_file and first.parent.name == COPIES:
        first = photo_link(first)  # Blender shows a copy of the photo
    numbers = list(re.finditer(r"[0-9]+", first.stem))
    if not numbers:
        return (str(first),) if 1 in frames else ()
    digits = numbers[-1]
    before, after = first.stem[: digits.start()], first.stem[digits.end() :] + first.suffix
    start, width = int(digits[0]) - 1, len(digits[0])
    begin = str(first)[: -len(first.name)] + before
    return tuple(f"{begin}{start + frame:0{width}d}{after}" for frame in frames)


def _adopted(clip: bpy.types.MovieClip, footage: Footage) -> Footage:
    """Accept a clip that was opened with Blender's own Open Clip."""
    first = Path(bpy.path.abspath(clip.filepath))
    footage = from_file(footage, first.name)
    if clip.frame_duration != len(footage):
        raise FootageError(
            f"Blender's own Open Clip shows only {clip.frame_duration} of the {len(footage)} photos in"
            f" {first.parent} from {first.name} on, because the numbers have a gap.",
            "Press Load Its Folder to see all of them.",
        )
    settings = properties.of_clip(clip)
    settings.footage_folder = str(first.parent)
    settings.first_file = first.name
    remember(clip, footage)
    shown.remember(clip, footage, is_upright=False)
    return footage
