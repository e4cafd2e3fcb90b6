# SPDX-License-Identifier: GPL-3.0-or-later
"""Load photos as a movie clip, and find a clip's photos again.

Blender ends a sequence at the first gap in its numbers. So the clip shows a folder of links with
numbers without gaps.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...core.errors import FootageError
from ...core.footage.copies import copy_paths, frame_size, needs_copies
from ...core.footage.raw_photos import RawPhotosUnknown
from ...core.footage.scan import Footage, from_file
from ...core.footage.staging import stage
from ...core.mattes.store import STORE_NAME
from ...core.settings import RawSource
from ...core.system.background_task import Report, unwatched
from ...core.system.safe_read import is_folder, is_there
from ...core.system.steps import at_once, quietly
from ..context import preferences, properties
from ..context.active_clip import clip_by_uid, is_linked, require_clip_by_uid
from ..context.present import present
from . import copies, matte_run, photo_remap, raw_photos, shown
from .footage import Place, remember
from .user_masks import search

# The size that Blender gives a clip whose photos it can't decode.
_SIZE_OF_UNREADABLE = (256, 256)

Opened = tuple[bpy.types.MovieClip, str]
"""A clip, and a sentence that the user must know, or nothing."""


def load(path: Path) -> bpy.types.MovieClip:
    """Open a folder of photos, or one of its photos, as a clip. Raises FootageError.

    If the photos already have a clip, that clip is updated. It keeps its prompts and settings.
    """
    cache = preferences.cache_folder()
    place = Place(path, had_subfolders(path), cache)
    try:
        footage, first = read_and_stage(place, cache)
    except RawPhotosUnknown as unknown:
        look = raw_photos.job_for(unknown.paths, cache)
        look.wait()
        raw_photos.take(look)
        footage, first = read_and_stage(place, cache)
    raw = raw_source(footage)
    job, first = copies.begun(footage, first, raw)
    if job is not None:
        job.wait()
        first = copies.take(job, footage, first, raw)
    return at_once(open_staged(footage, first))[0]


def read_and_stage(
    place: Place, cache_folder: Path, report: Report = unwatched
) -> tuple[Footage, Path]:
    """Do the first part of `load`, which waits for disks and does not use Blender.

    Returns
    -------
    tuple
        The photos, and the file of frame 1 that Blender opens: a link, or a copy that is yet to be made
        (see `copies`).
    """
    footage = place.scanned(report)
    _ = footage.masks  # here, because it waits for a disk
    folder = preferences.staging_folder(footage.folder, cache_folder)
    first_link = stage(footage, folder, report)
    return footage, copy_paths(footage, folder)[0] if needs_copies(footage) else first_link


def open_staged(
    footage: Footage, first_link: Path, into: bpy.types.MovieClip | None = None
) -> Generator[None, None, Opened]:
    """Do the last part of `load`, in small steps. Only the last step changes something.

    Parameters
    ----------
    into
        A clip whose photos were moved here. Its clicks and masks stay.
    """
    if into is not None:
        _relocate(into, footage)
    clip, news = into or _existing_clip(footage), ""
    if clip is not None:
        clip, news = yield from _taken_along(clip, footage, first_link)
    clip = _made_or_pointed(clip, footage, first_link)
    _require_shown(clip, footage, first_link)
    return clip, news


def _taken_along(
    clip: bpy.types.MovieClip, footage: Footage, first_link: Path
) -> Generator[None, None, tuple[bpy.types.MovieClip, str]]:
    """Move clicks and drawn masks along with their photos. Return the clip and what to tell the user.

    They also move within their photos if these will be shown turned in another way. A clip of an earlier
    version shows them as they are stored, and a photo may have got another tag.
    """
    moved = photo_remap.compared(clip, footage)
    places = {} if moved is None else moved.places
    before = shown.reader(clip)
    after = shown.planned(footage, is_upright=copies.shows_copies(first_link))
    turned = photo_remap.turned(before, after, places, len(footage))
    if moved is None and not turned:
        return clip, ""
    uid = clip.session_uid
    drawn_frames = yield from quietly(search(uid))
    clip = require_clip_by_uid(uid)
    news = ""
    if moved is not None:
        news = photo_remap.take_along(clip, moved, drawn_frames)
        drawn_frames = photo_remap.moved_drawn(drawn_frames, places)
    if turned:
        photo_remap.turn(clip, turned, drawn_frames)
        news = news or (
            "The photos are turned in another way than before. Clicks and drawn masks went along."
            " Propagate again"
        )
    if turned or (moved is not None and moved.first <= len(footage)):
        matte_run.outdate(clip)
    return clip, news


def _made_or_pointed(
    clip: bpy.types.MovieClip | None, footage: Footage, first_link: Path
) -> bpy.types.MovieClip:
    """Return a clip that shows the staged photos: the one that exists, or a new one."""
    if clip is None:
        clip = bpy.data.movieclips.load(str(first_link))
        clip.name = footage.folder.name
        # A clip that no editor shows has no user, and would be lost on saving.
        clip.use_fake_user = True
        width, height = frame_size(footage)
        properties.of_clip(clip).panorama = width == 2 * height
    else:
        _point_to(clip, first_link)
        clip.frame_offset = 0
    properties.of_clip(clip).footage_folder = str(footage.folder)
    properties.of_clip(clip).first_file = ""
    remember(clip, footage)
    shown.remember(clip, footage, is_upright=copies.shows_copies(first_link))
    return clip


def _require_shown(clip: bpy.types.MovieClip, footage: Footage, first_link: Path) -> None:
    """Raise FootageError if Blender can't show the photos, or shows them in another size."""
    size = (footage.width, footage.height)
    if copies.shows_copies(first_link):
        size = frame_size(footage)
    may_be_unreadable = tuple(clip.size) != size or size == _SIZE_OF_UNREADABLE
    if may_be_unreadable and not _can_be_shown(first_link):
        raise FootageError(
            f"Blender can't read {footage.paths[0].name}. It is damaged, or a kind of"
            f" {footage.paths[0].suffix.lower()} file that Blender does not know.",
            "Export the photos again as 16 bit TIFF, PNG or plain RGB EXR.",
        )
    if tuple(clip.size) != size:
        raise FootageError(
            f"Blender reads {footage.paths[0].name} as {clip.size[0]}x{clip.size[1]} px, but"
            f" its header says {size[0]}x{size[1]} px.",
            "Export that photo again.",
        )


def _can_be_shown(photo: Path) -> bool:
    """Whether Blender can decode a photo. A clip does not say it."""
    image = bpy.data.images.load(str(photo))
    try:
        return all(image.size)
    finally:
        bpy.data.images.remove(image)


def _point_to(clip: bpy.types.MovieClip, first_link: Path) -> None:
    """Set the clip's path. Blender then reads the files again, even with the same path."""
    clip.filepath = str(first_link)
    # Blender does so only when it evaluates the scene.
    present(bpy.context.view_layer).update()


def _relocate(clip: bpy.types.MovieClip, footage: Footage) -> None:
    """Note that a clip's photos are in another place now, with the mattes beside them.

    Raises FootageError if their number has changed.
    """
    settings = properties.of_clip(clip)
    if settings.frame_count not in (0, len(footage)):
        raise FootageError(
            f"{footage.folder} has {len(footage)} photos, but {clip.name!r} was made of"
            f" {settings.frame_count}.",
            "Choose the folder of those photos, or load this folder as a new clip.",
        )
    old = Path(bpy.path.abspath(settings.footage_folder))
    if settings.store_folder and Path(bpy.path.abspath(settings.store_folder)).parent == old:
        settings.store_folder = str(footage.folder / STORE_NAME)
    settings.footage_folder = str(footage.folder)


def _existing_clip(footage: Footage) -> bpy.types.MovieClip | None:
    """Return the clip of these photos. It must begin with the same photo, for the same frame numbers."""
    for clip in bpy.data.movieclips:
        settings = properties.of_clip(clip)
        if settings.first_file not in ("", footage.frames[0].name):
            continue
        known = settings.footage_folder
        if known and Path(bpy.path.abspath(known)) == footage.folder:
            return clip
    return None


def raw_source(footage: Footage, into: int | None = None) -> RawSource:
    """Return what the clip of these photos, or a clip that is named, takes from camera RAW photos."""
    clip = clip_by_uid(into) if into is not None else _existing_clip(footage)
    source: RawSource = "developed"
    return source if clip is None else properties.of_clip(clip).raw_photos


def had_subfolders(path: Path, into: int | None = None) -> bool:
    """Whether the clip of these photos, or a clip that is named, was loaded with subfolders."""
    clip = clip_by_uid(into) if into is not None else None
    if clip is not None:
        return bool(properties.of_clip(clip).with_subfolders)
    every = (properties.of_clip(clip) for clip in bpy.data.movieclips)
    return any(
        settings.with_subfolders
        and settings.footage_folder
        and Path(bpy.path.abspath(settings.footage_folder)) == path.absolute()
        for settings in every
    )


@dataclass(frozen=True)
class Kept:
    """What a clip of a .blend file says about its photos, to compare it with the disk in a thread.

    Attributes
    ----------
    uid
        The clip's session uid.
    folder, first_file, count
        The photos' folder, the photo on frame 1, and the number of photos.
    shown
        The file on frame 1.
    blend
        The .blend file. None if it was never saved.
    with_subfolders
        Whether photos in subfolders count.
    """

    uid: int
    folder: Path
    first_file: str
    count: int
    shown: Path
    blend: Path | None
    with_subfolders: bool


@dataclass(frozen=True)
class Found:
    """The new place of a clip's photos, or of its first link. None if it has not changed."""

    uid: int
    moved: Footage | None
    first_link: Path | None


def kept_clips() -> list[Kept]:
    """Return the clips of this file that have photos, without reading a disk."""
    blend = Path(bpy.data.filepath) if bpy.data.filepath else None
    return [
        Kept(
            clip.session_uid,
            Path(bpy.path.abspath(properties.of_clip(clip).footage_folder)),
            properties.of_clip(clip).first_file,
            properties.of_clip(clip).frame_count,
            Path(bpy.path.abspath(clip.filepath)),
            blend,
            properties.of_clip(clip).with_subfolders,
        )
        for clip in bpy.data.movieclips
        if properties.of_clip(clip).footage_folder and not is_linked(clip)
    ]


def found_on_disk(kept: Kept, cache_folder: Path) -> Found:
    """Make a clip's links again if they are missing, as after Clear Cache or on another machine.

    This waits for disks and does not use Blender. It finds photos that were moved together with the
    .blend file. If photos are missing, the operators say so when they need them. Raises FootageError.
    """
    folder, moved = kept.folder, None
    if not is_folder(folder):
        moved = _moved_along(kept, cache_folder)
        if moved is None:
            return Found(kept.uid, None, None)
        folder = moved.folder
    if kept.first_file or is_there(kept.shown):
        return Found(kept.uid, moved, None)
    first = read_and_stage(Place(folder, kept.with_subfolders, cache_folder), cache_folder)[1]
    if not copies.shows_copies(kept.shown):  # the user has loaded photos that lie on their side
        first = copies.without(first)
    # Copies need the worker: until Load is pressed, the clip shows nothing.
    return Found(kept.uid, moved, first if is_there(first) else None)


def take_found(found: Found) -> None:
    """Let a clip show what was found, if the clip still exists. Raises FootageError."""
    clip = clip_by_uid(found.uid)
    if clip is None:
        return
    if found.moved is not None:
        _relocate(clip, found.moved)
    if found.first_link is not None:
        _point_to(clip, found.first_link)


def restage_missing() -> None:
    """Find the photos of all clips and show them, and wait for it. Used after emptying the cache."""
    for kept in kept_clips():
        take_found(found_on_disk(kept, preferences.cache_folder()))


def _moved_along(kept: Kept, cache_folder: Path) -> Footage | None:
    """Find a clip's photos if they were moved together with the .blend file."""
    if kept.first_file:
        places = [kept.shown.parent]  # Blender keeps it
    elif kept.blend is not None:
        beside = kept.blend.parent
        places = [beside / kept.folder.name, beside.parent / kept.folder.name]
        places += [beside] if beside.name == kept.folder.name else []
    else:
        places = []
    for place in places:
        if is_folder(place):
            try:
                found = Place(place, kept.with_subfolders, cache_folder).scanned()
                if kept.first_file:
                    found = from_file(found, kept.first_file)
            except FootageError:
                continue
            if len(found) == kept.count:
                return found
    return None
