# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos become a movie clip, and a clip's photos are found again.

Blender ends a sequence at the first gap in its numbers, so photos become a clip through a staged
folder of contiguous links.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...core.errors import FootageError
from ...core.footage.scan import Footage, scan
from ...core.footage.staging import stage
from ...core.system.background_task import Report, unwatched
from ...core.system.safe_read import is_folder, is_there
from ...core.system.steps import at_once, quietly
from ..context import preferences, properties
from ..context.active_clip import clip_by_uid, is_linked, require_clip_by_uid
from ..context.present import present
from . import matte_run, photo_remap
from .footage import from_file, remember
from .user_masks import search

# What Blender says of a clip whose photos it can't decode.
_SIZE_OF_UNREADABLE = (256, 256)

Opened = tuple[bpy.types.MovieClip, str]
"""A clip, and what the user is to know of it or nothing."""


def load(path: Path) -> bpy.types.MovieClip:
    """Open a folder of photos (or one of its photos) as a clip; raises FootageError.

    Photos that are a clip already give that clip, with its prompts and settings, refreshed.
    """
    return at_once(open_staged(*read_and_stage(path, preferences.cache_folder())))[0]


def read_and_stage(
    path: Path, cache_folder: Path, report: Report = unwatched
) -> tuple[Footage, Path]:
    """The first half of `load`, which waits for disks and asks nothing of Blender."""
    footage = scan(path, report)
    return footage, stage(footage, preferences.staging_folder(footage.folder, cache_folder), report)


def open_staged(
    footage: Footage, first_link: Path, into: bpy.types.MovieClip | None = None
) -> Generator[None, None, Opened]:
    """The second half of `load`, in small steps; all that changes something is in the last one.

    Parameters
    ----------
    into
        A clip whose photos these are, in another place than they were; its clicks and masks stay.
    """
    if into is not None:
        _relocate(into, footage)
    clip, news = into or _existing_clip(footage), ""
    if clip is not None:
        clip, news = yield from _taken_along(clip, footage)
    clip = _made_or_pointed(clip, footage, first_link)
    _require_shown(clip, footage, first_link)
    return clip, news


def _taken_along(
    clip: bpy.types.MovieClip, footage: Footage
) -> Generator[None, None, tuple[bpy.types.MovieClip, str]]:
    """Let clicks and drawn masks follow their photos; the clip found anew, and what to know of it."""
    moved = photo_remap.compared(clip, footage)
    if moved is None:
        return clip, ""
    uid = clip.session_uid
    drawn_frames = yield from quietly(search(uid))
    clip = require_clip_by_uid(uid)
    news = photo_remap.take_along(clip, moved, drawn_frames)
    if moved.first <= len(footage):
        matte_run.outdate(clip)
    return clip, news


def _made_or_pointed(
    clip: bpy.types.MovieClip | None, footage: Footage, first_link: Path
) -> bpy.types.MovieClip:
    """A clip that shows the staged photos: the one that there was, or a new one."""
    if clip is None:
        clip = bpy.data.movieclips.load(str(first_link))
        clip.name = footage.folder.name
        # A clip nobody shows has no user and would be lost on saving.
        clip.use_fake_user = True
        properties.of_clip(clip).panorama = footage.width == 2 * footage.height
    else:
        _point_to(clip, first_link)
        clip.frame_offset = 0
    properties.of_clip(clip).footage_folder = str(footage.folder)
    properties.of_clip(clip).first_file = ""
    remember(clip, footage)
    return clip


def _require_shown(clip: bpy.types.MovieClip, footage: Footage, first_link: Path) -> None:
    """Raise FootageError where Blender shows the photos otherwise than they are, or not at all."""
    size = (footage.width, footage.height)
    may_be_unreadable = tuple(clip.size) != size or size == _SIZE_OF_UNREADABLE
    if may_be_unreadable and not _can_be_shown(first_link):
        raise FootageError(
            f"Blender can't read {footage.paths[0].name}: it is damaged, or a kind of"
            f" {footage.paths[0].suffix.lower()} file that Blender does not know.",
            "Export the photos again, as 16 bit TIFF or PNG or as an EXR of plain RGB.",
        )
    if tuple(clip.size) != size:
        raise FootageError(
            f"Blender reads {footage.paths[0].name} as {clip.size[0]}x{clip.size[1]} px,"
            f" its header says {footage.width}x{footage.height} px.",
            "Export that photo again.",
        )


def _can_be_shown(photo: Path) -> bool:
    """Whether Blender can decode a photo; a clip does not tell."""
    image = bpy.data.images.load(str(photo))
    try:
        return all(image.size)
    finally:
        bpy.data.images.remove(image)


def _point_to(clip: bpy.types.MovieClip, first_link: Path) -> None:
    """Set the clip's path; Blender then reads the files anew, even at the same path."""
    clip.filepath = str(first_link)
    # It does so when it evaluates the scene, and not before.
    present(bpy.context.view_layer).update()


def _relocate(clip: bpy.types.MovieClip, footage: Footage) -> None:
    """Take note that a clip's photos lie elsewhere now, and mattes beside them too.

    Raises FootageError when there are more or fewer of them.
    """
    settings = properties.of_clip(clip)
    if settings.frame_count not in (0, len(footage)):
        raise FootageError(
            f"{footage.folder} has {len(footage)} photos, and {clip.name!r} was made of"
            f" {settings.frame_count}.",
            "Choose the folder of those photos, or load this one as a clip of its own.",
        )
    old = Path(bpy.path.abspath(settings.footage_folder))
    if settings.store_folder and Path(bpy.path.abspath(settings.store_folder)).parent == old:
        settings.store_folder = str(footage.folder / matte_run.STORE_NAME)
    settings.footage_folder = str(footage.folder)


def _existing_clip(footage: Footage) -> bpy.types.MovieClip | None:
    """The clip of these photos; one that begins with another photo numbers its frames otherwise."""
    for clip in bpy.data.movieclips:
        settings = properties.of_clip(clip)
        if settings.first_file not in ("", footage.paths[0].name):
            continue
        known = settings.footage_folder
        if known and Path(bpy.path.abspath(known)) == footage.folder:
            return clip
    return None


@dataclass(frozen=True)
class Kept:
    """What a clip of a .blend says of its photos, to be compared with the disk elsewhere.

    Attributes
    ----------
    uid
        The clip's session uid.
    folder, first_file, count
        Where the photos were, with which one frame 1 begins, and how many there were.
    shown
        The file of frame 1.
    blend
        The .blend file; None where it has none yet.
    """

    uid: int
    folder: Path
    first_file: str
    count: int
    shown: Path
    blend: Path | None


@dataclass(frozen=True)
class Found:
    """What of a clip is elsewhere now: its photos, or the first of its links; None where as before."""

    uid: int
    moved: Footage | None
    first_link: Path | None


def kept_clips() -> list[Kept]:
    """The clips of this file that have photos; asks no disk."""
    blend = Path(bpy.data.filepath) if bpy.data.filepath else None
    return [
        Kept(
            clip.session_uid,
            Path(bpy.path.abspath(properties.of_clip(clip).footage_folder)),
            properties.of_clip(clip).first_file,
            properties.of_clip(clip).frame_count,
            Path(bpy.path.abspath(clip.filepath)),
            blend,
        )
        for clip in bpy.data.movieclips
        if properties.of_clip(clip).footage_folder and not is_linked(clip)
    ]


def found_on_disk(kept: Kept, cache_folder: Path) -> Found:
    """Make a clip's links again where they are gone, as after a cleared cache or on another machine.

    Waits for disks, and asks nothing of Blender. Photos that were moved together with the .blend file are
    found; those that are gone are left to the operators, which say so when they are needed. Raises
    FootageError.
    """
    folder, moved = kept.folder, None
    if not is_folder(folder):
        moved = _moved_along(kept)
        if moved is None:
            return Found(kept.uid, None, None)
        folder = moved.folder
    if kept.first_file or is_there(kept.shown):
        return Found(kept.uid, moved, None)
    footage = scan(folder)
    return Found(kept.uid, moved, stage(footage, preferences.staging_folder(folder, cache_folder)))


def take_found(found: Found) -> None:
    """Let a clip show what was found, if it is still there; raises FootageError."""
    clip = clip_by_uid(found.uid)
    if clip is None:
        return
    if found.moved is not None:
        _relocate(clip, found.moved)
    if found.first_link is not None:
        _point_to(clip, found.first_link)


def restage_missing() -> None:
    """Do both for all clips, and wait for it; for those who have just emptied the cache."""
    for kept in kept_clips():
        take_found(found_on_disk(kept, preferences.cache_folder()))


def _moved_along(kept: Kept) -> Footage | None:
    """A clip's photos where they are now, if they lie to the .blend file as they may have before."""
    if kept.first_file:
        places = [kept.shown.parent]  # kept by Blender
    elif kept.blend is not None:
        beside = kept.blend.parent
        places = [beside / kept.folder.name, beside.parent / kept.folder.name]
        places += [beside] if beside.name == kept.folder.name else []
    else:
        places = []
    for place in places:
        if is_folder(place):
            try:
                found = scan(place)
                if kept.first_file:
                    found = from_file(found, kept.first_file)
            except FootageError:
                continue
            if len(found) == kept.count:
                return found
    return None
