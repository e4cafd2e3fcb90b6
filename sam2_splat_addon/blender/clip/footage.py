# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage as a movie clip, both ways; imports bpy and core.

Blender ends a sequence at the first gap in its numbers, so photos become a clip through a staged
folder of contiguous links. A clip that the user opened without us is taken as it is when its photos
have no gap.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Generator
from pathlib import Path

import bpy
import msgspec

from ...core.errors import FootageError
from ...core.footage import matching
from ...core.footage.scan import Footage, scan
from ...core.footage.staging import LINKS, PROXIES, stage
from ...core.mattes.run_manifest import RunManifest
from ...core.mattes.run_record import last_run
from ...core.mattes.store import MatteStore
from ...core.system.background_task import Report, unwatched
from ...core.system.links import is_link
from ...core.system.safe_read import is_folder, is_there
from ..context import preferences
from ..context.active_clip import require_clip_by_uid
from ..context.stored_text import names_to_text, text_of
from . import photo_remap
from .user_masks import at_once, quietly, search

# The folder of mattes, beside the photos or in the cache.
STORE_NAME = "sam2_splat_mattes"
# What Blender says of a clip whose photos it can't decode.
_SIZE_OF_UNREADABLE = (256, 256)
# What loading photos again does, for errors that ask for it.
_ALONG = "clicks and drawn masks go along with their photos"

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
    return footage, stage(footage, _staging_folder(footage.folder, cache_folder), report)


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
    clip = into or _existing_clip(footage)
    news = ""
    moved = None if clip is None else photo_remap.compared(clip, footage)
    if clip is not None and moved is not None:
        uid = clip.session_uid
        drawn_frames = yield from quietly(search(uid))
        clip = require_clip_by_uid(uid)
        news = photo_remap.take_along(clip, moved, drawn_frames)
        if moved.first <= len(footage):
            _outdate(clip)
    if clip is None:
        clip = bpy.data.movieclips.load(str(first_link))
        clip.name = footage.folder.name
        # A clip nobody shows has no user and would be lost on saving.
        clip.use_fake_user = True
        clip.sam2_splat.panorama = footage.width == 2 * footage.height
    else:
        _point_to(clip, first_link)
        clip.frame_offset = 0
    settings = clip.sam2_splat
    settings.footage_folder = str(footage.folder)
    settings.first_file = ""
    _remember(clip, footage)
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
    return clip, news


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
    bpy.context.view_layer.update()


def _relocate(clip: bpy.types.MovieClip, footage: Footage) -> None:
    """Take note that a clip's photos lie elsewhere now, and mattes beside them too.

    Raises FootageError when there are more or fewer of them.
    """
    settings = clip.sam2_splat
    if settings.frame_count not in (0, len(footage)):
        raise FootageError(
            f"{footage.folder} has {len(footage)} photos, and {clip.name!r} was made of"
            f" {settings.frame_count}.",
            "Choose the folder of those photos, or load this one as a clip of its own.",
        )
    old = Path(bpy.path.abspath(settings.footage_folder))
    if settings.store_folder and Path(bpy.path.abspath(settings.store_folder)).parent == old:
        settings.store_folder = str(footage.folder / STORE_NAME)
    settings.footage_folder = str(footage.folder)


def _remember(clip: bpy.types.MovieClip, footage: Footage) -> None:
    settings = clip.sam2_splat
    settings.frame_count = len(footage)
    settings.unreadable_count = len(footage.unreadable)
    settings.damaged_names = ""
    settings.unreadable_names = names_to_text([file.path.name for file in footage.unreadable])
    settings.photos = matching.to_text(matching.known_photos(footage))
    if not settings.use_range:
        settings.last_frame = len(footage)


def damaged_names(clip: bpy.types.MovieClip) -> list[str]:
    """The photos that the last job found damaged; none where the property is not as we write it."""
    try:
        return msgspec.json.decode(clip.sam2_splat.damaged_names or "[]", type=list[str])
    except (msgspec.MsgspecError, RecursionError):
        return []


def _outdate(clip: bpy.types.MovieClip) -> None:
    """Take note that the mattes that there are go by other frames than the clip's now."""
    store = known_store(clip)
    if store is not None:
        clip.sam2_splat.outdated_run = run_mark(last_run(store))


def run_mark(run: RunManifest | None) -> str:
    """What tells the mattes of other photos apart, for `outdated_run`."""
    return run.footage if run is not None else "unknown"


def _existing_clip(footage: Footage) -> bpy.types.MovieClip | None:
    """The clip of these photos; one that begins with another photo numbers its frames otherwise."""
    for clip in bpy.data.movieclips:
        settings = clip.sam2_splat
        if settings.first_file not in ("", footage.paths[0].name):
            continue
        known = settings.footage_folder
        if known and Path(bpy.path.abspath(known)) == footage.folder:
            return clip
    return None


def _staging_folder(folder: Path, cache_folder: Path | None = None) -> Path:
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return (cache_folder or preferences.cache_folder()) / "footage" / digest


def cache_folder_of(clip: bpy.types.MovieClip) -> Path:
    """The folder in the cache that is for a loaded clip's photos; it need not be there."""
    return _staging_folder(Path(bpy.path.abspath(clip.sam2_splat.footage_folder)))


def proxy_folder(clip: bpy.types.MovieClip) -> Path:
    """Where Blender's small copies of a loaded clip's photos go."""
    return cache_folder_of(clip) / PROXIES


def staged_folders() -> list[Path]:
    """Every folder in the cache that holds links to photos and what was made of them.

    The cache may be a folder that holds others' things too: those of ours are told by their marker.
    """
    root = preferences.cache_folder() / "footage"
    if is_link(root) or not is_folder(root):
        return []
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and LINKS.knows(entry))


def footage_of(clip: bpy.types.MovieClip) -> Footage:
    """The photos behind a clip, frame 1 first; raises FootageError with what to do."""
    return accept(clip, scan(place_of(clip)))


def place_of(clip: bpy.types.MovieClip) -> Path:
    """Where a clip's photos are, for `scan`; raises FootageError for a clip that has none."""
    if clip.sam2_splat.footage_folder:
        return Path(bpy.path.abspath(clip.sam2_splat.footage_folder))
    if clip.source != "SEQUENCE":
        raise FootageError(
            f"{clip.name!r} is a movie file; the trainer needs photos.",
            "Export its frames as images and load their folder.",
        )
    return Path(bpy.path.abspath(clip.filepath))


def accept(clip: bpy.types.MovieClip, footage: Footage) -> Footage:
    """What was scanned at a clip's place as that clip shows it; raises FootageError.

    A clip that was opened with Blender's own Open Clip is ours from then on.
    """
    settings = clip.sam2_splat
    if clip.frame_offset:
        raise FootageError(
            f"{clip.name!r} has a Frame Offset of {clip.frame_offset}, so that masks would lie on"
            " other photos than those you see.",
            "Load the photos again, or set it to 0 in the Footage tab; clicks stay on their frames.",
        )
    if not settings.footage_folder:
        return _adopted(clip, footage)
    if settings.first_file:
        footage = _from_file(footage, settings.first_file)
    before, now = (
        matching.from_text(text_of(settings, "photos")),
        matching.known_photos(footage),
    )
    other = matching.first_other(before, now)
    if other is not None and len(footage) == settings.frame_count:
        raise FootageError(
            f"Frame {other} showed another photo when {footage.folder} was loaded.",
            f"Load the photos again; {_ALONG}.",
        )
    if len(footage) != settings.frame_count:
        raise FootageError(
            f"{footage.folder} had {settings.frame_count} photos when it was loaded and has"
            f" {len(footage)} now.",
            f"Load the photos again; {_ALONG if before else 'the clicks and settings stay'}.",
        )
    if not before:  # the list is lost, or was never one
        settings.photos = matching.to_text(now)
    return footage


def photo_of(clip: bpy.types.MovieClip, frame: int) -> Path | None:
    """The file that a clip shows on its frame, or None; quick, where :func:`footage_of` is sure."""
    names = shown_paths(clip, range(frame, frame + 1)) if frame >= 1 else ()
    photo = Path(names[0]) if names else None
    return photo if photo is not None and is_there(photo) and photo.is_file() else None


def shown_paths(clip: bpy.types.MovieClip, frames: range) -> tuple[str, ...]:
    """The files that a clip shows on its frames, whether they are there or not.

    A name without a number has frame 1 only.
    """
    first = Path(bpy.path.abspath(clip.filepath))
    numbers = list(re.finditer(r"[0-9]+", first.stem))
    if not numbers:
        return (str(first),) if 1 in frames else ()
    digits = numbers[-1]
    before, after = first.stem[: digits.start()], first.stem[digits.end() :] + first.suffix
    start, width = int(digits[0]) - 1, len(digits[0])
    begin = str(first)[: -len(first.name)] + before
    return tuple(f"{begin}{start + frame:0{width}d}{after}" for frame in frames)


def _adopted(clip: bpy.types.MovieClip, footage: Footage) -> Footage:
    """Take a clip that was opened with Blender's own Open Clip."""
    first = Path(bpy.path.abspath(clip.filepath))
    footage = _from_file(footage, first.name)
    if clip.frame_duration != len(footage):
        raise FootageError(
            f"Blender's own Open Clip shows {clip.frame_duration} of the {len(footage)} photos in"
            f" {first.parent} from {first.name} on: it stops where the numbers have gaps.",
            "Press Load Its Folder, which shows all of them.",
        )
    settings = clip.sam2_splat
    settings.footage_folder = str(first.parent)
    settings.first_file = first.name
    _remember(clip, footage)
    return footage


def _from_file(footage: Footage, name: str) -> Footage:
    """The footage from that photo on, since the frame a clip was opened at is its frame 1."""
    start = footage.frame_of(Path(name)) - 1
    frames = tuple(
        dataclasses.replace(frame, index=index)
        for index, frame in enumerate(footage.frames[start:])
    )
    return dataclasses.replace(footage, frames=frames)


def store_folder(clip: bpy.types.MovieClip, photos: Path) -> Path:
    """Where the clip's mattes are: beside the photos, or in the cache where that is read-only."""
    settings = clip.sam2_splat
    if not settings.store_folder:
        beside = photos / STORE_NAME
        if os.access(photos, os.W_OK):
            settings.store_folder = str(beside)
        else:
            settings.store_folder = str(_staging_folder(photos) / STORE_NAME)
    return Path(bpy.path.abspath(settings.store_folder))


def known_store(clip: bpy.types.MovieClip) -> MatteStore | None:
    """The clip's mattes, which need not be there; None before its first propagation."""
    folder = clip.sam2_splat.store_folder
    return MatteStore(Path(bpy.path.abspath(folder))) if folder else None


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
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
            Path(bpy.path.abspath(clip.sam2_splat.footage_folder)),
            clip.sam2_splat.first_file,
            clip.sam2_splat.frame_count,
            Path(bpy.path.abspath(clip.filepath)),
            blend,
        )
        for clip in bpy.data.movieclips
        if clip.sam2_splat.footage_folder and clip.library is None
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
    return Found(kept.uid, moved, stage(footage, _staging_folder(folder, cache_folder)))


def take_found(found: Found) -> None:
    """Let a clip show what was found, if it is still there; raises FootageError."""
    clip = next((one for one in bpy.data.movieclips if one.session_uid == found.uid), None)
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
                    found = _from_file(found, kept.first_file)
            except FootageError:
                continue
            if len(found) == kept.count:
                return found
    return None
