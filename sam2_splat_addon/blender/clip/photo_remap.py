# SPDX-License-Identifier: GPL-3.0-or-later
"""Move clicks and drawn masks along with their photos when photos are added, removed or turned."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import bpy
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ...core.footage.matching import from_text, known_photos, moved_frames
from ...core.footage.scan import Footage
from ...core.geometry.coordinates import mask_to_pixels, pixels_to_mask
from ...core.geometry.shown_photo import ShownPhoto
from ...core.printable import counted
from ...core.prompts import from_json, to_json
from ..context import properties
from ..context.stored_text import text_of
from ..masks import layers
from . import anew_frames, approved_frames, user_masks
from . import markers as clip_prompts
from .shown import ShownAt

# A frame beyond all others, where markers wait until every place is free.
_FAR = 1_000_000


@dataclass(frozen=True)
class Moved:
    """What has changed when photos were loaded again.

    Attributes
    ----------
    first
        The first frame with another photo than before, or none.
    count
        Number of photos now.
    places
        Old frame -> new frame of each photo. Empty if no photo was recognized. Clicks then stay on their
        frames.
    """

    first: int
    count: int
    places: Mapping[int, int]


def compared(clip: bpy.types.MovieClip, footage: Footage) -> Moved | None:
    """Return what has changed since the clip was loaded last.

    None if every old frame shows the same photo, or if the old photos are not known.
    """
    before = from_text(text_of(properties.of_clip(clip), "photos"))
    places = moved_frames(before, known_photos(footage))
    for frame in range(1, len(before) + 1):
        if places.get(frame) != frame:
            return Moved(frame, len(footage), places)
    return None


def take_along(
    clip: bpy.types.MovieClip, moved: Moved, drawn_frames: Mapping[str, Collection[int]]
) -> str:
    """Move clicks and drawn masks along with their photos, before the clip shows the new photos.

    Parameters
    ----------
    drawn_frames
        The old frames that the user has drawn on, by object.

    Returns
    -------
    str
        A sentence for the user.
    """
    if moved.first <= moved.count:
        said = f"The photos from frame {moved.first} on are not the same as before"
    else:
        said = f"Photos at the end, from frame {moved.first} on, are gone"
    if not moved.places:
        return f"{said}. Check that clicks and drawn masks are on the right photos, then propagate"
    clicks = follow(clip, moved.places)
    masks = _follow_drawn(clip, drawn_frames, moved.places)
    approved_frames.move(clip, moved.places)
    anew_frames.move(clip, moved.places)
    _follow_range(clip, moved.places)
    counts = ((clicks, "click"), (masks, "drawn mask"))
    lost = " and ".join(counted(count, what) for count, what in counts if count)
    were = "was" if clicks + masks == 1 else "were"
    lost = f" ({lost} {were} on photos that are gone)" if lost else ""
    return f"{said}. Clicks and drawn masks went along{lost}. Propagate again"


def follow(clip: bpy.types.MovieClip, places: Mapping[int, int]) -> int:
    """Move every click, box and mask prompt to the new frame of its photo.

    On photos that are gone, clicks and boxes are muted, and mask prompts are dropped. Return their
    number. Markers that Blender tracked stay on their frames.
    """
    gone = 0
    for owner in clip_prompts.subjects(clip):
        for track in owner.tracks:
            if all(marker.is_keyed for marker in track.markers):
                gone += _follow(track, places)
    text = text_of(properties.of_clip(clip), "mask_prompts")
    if not text:
        return gone
    stored = from_json(text.encode(), f"The mask prompts of {clip.name!r}")
    objects = []
    for entry in stored.objects:
        kept = [replace(at, frame=places[at.frame]) for at in entry.frames if at.frame in places]
        gone += len(entry.frames) - len(kept)
        kept.sort(key=lambda at: at.frame)
        objects.append(replace(entry, frames=tuple(kept)))
    objects = [entry for entry in objects if entry.frames]
    kept_set = replace(stored, objects=tuple(objects))
    properties.of_clip(clip).mask_prompts = to_json(kept_set).decode() if objects else ""
    return gone


def _follow_drawn(
    clip: bpy.types.MovieClip,
    drawn_frames: Mapping[str, Collection[int]],
    places: Mapping[int, int],
) -> int:
    """Move the drawn masks of an object. Return how many were on photos that are gone."""
    mask = properties.of_clip(clip).mask
    if mask is None:
        return 0
    gone = 0
    for name, frames in drawn_frames.items():
        before = user_masks.frames_before(clip, mask, name)
        moves = {
            at + before: places[at] + before if at in places else None for at in sorted(frames)
        }
        gone += sum(place is None for place in moves.values())
        if any(place != frame for frame, place in moves.items()):
            layers.move_edited(mask, clip, name, moves)
    return gone


Turn = tuple[ShownPhoto, ShownPhoto]
"""How a photo was shown, and how it will be shown."""


def turned(
    before: ShownAt, after: ShownAt, places: Mapping[int, int], count: int
) -> dict[int, Turn]:
    """Return the new frames whose photos will be shown in another way than before.

    Parameters
    ----------
    before, after
        How the clip shows its old frames, and will show the new ones.
    places
        Old frame -> new frame of each photo. Empty if no photo has moved.
    count
        Number of photos now.
    """
    pairs = places.items() if places else ((at, at) for at in range(1, count + 1))
    found = {new: (before(old), after(new)) for old, new in pairs}
    return {frame: turn for frame, turn in found.items() if turn[0] != turn[1]}


def moved_drawn(
    drawn_frames: Mapping[str, Collection[int]], places: Mapping[int, int]
) -> dict[str, set[int]]:
    """Return the new frames of what the user has drawn, by object, after `take_along`."""
    if not places:
        return {name: set(frames) for name, frames in drawn_frames.items()}
    return {
        name: {places[at] for at in frames if at in places} for name, frames in drawn_frames.items()
    }


def turn(
    clip: bpy.types.MovieClip,
    turns: Mapping[int, Turn],
    drawn_frames: Mapping[str, Collection[int]],
) -> None:
    """Move clicks, boxes and drawn masks to where their places will be shown.

    Parameters
    ----------
    turns
        Frame -> how its photo was shown, and how it will be shown.
    drawn_frames
        The frames that the user has drawn on, by object.
    """
    for owner in clip_prompts.subjects(clip):
        for track in owner.tracks:
            if all(marker.is_keyed for marker in track.markers):
                for marker in track.markers:
                    if marker.frame in turns:
                        clip_prompts.turn(track, marker, *turns[marker.frame])
    mask = properties.of_clip(clip).mask
    if mask is None:
        return
    for name, frames in drawn_frames.items():
        start = user_masks.frames_before(clip, mask, name)
        # All of them: `move_edited` drops what it is not told of.
        moves = {at + start: at + start for at in sorted(frames)}
        maps = {at + start: partial(_turned_points, turns[at]) for at in frames if at in turns}
        if maps:
            layers.move_edited(mask, clip, name, moves, maps)


def _turned_points(turn: Turn, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move points of a mask, (n, 2) mask space, to where their places will be shown."""
    before, after = turn
    stored = before.points_to_stored(mask_to_pixels(points.astype(np.float64), *before.frame))
    return pixels_to_mask(after.points_to_shown(stored), *after.frame).astype(np.float32)


def _follow_range(clip: bpy.types.MovieClip, places: Mapping[int, int]) -> None:
    """Let the user's range begin and end with the same photos, if some of them are left."""
    settings = properties.of_clip(clip)
    left = [places[at] for at in places if settings.first_frame <= at <= settings.last_frame]
    if settings.use_range and left:
        settings.first_frame, settings.last_frame = min(left), max(left)
    else:
        settings.use_range, settings.first_frame = False, 1


def _follow(track: bpy.types.MovieTrackingTrack, places: Mapping[int, int]) -> int:
    markers = track.markers
    prompts = [marker.frame for marker in markers if not marker.mute]
    kept = [frame for frame in prompts if frame in places]
    if [places.get(frame) for frame in prompts] == prompts:
        return 0
    if not kept:  # a track needs at least one marker
        for marker in markers:
            marker.mute = True
        return len(prompts)
    muted = {marker.frame for marker in markers if marker.mute}
    beside = {frame for frame in muted if not {frame - 1, frame + 1}.isdisjoint(prompts)}
    # A single muted marker is a click that the user has switched off.
    moving = [*kept, *(frame for frame in sorted(muted - beside) if frame in places)]
    for frame in {*muted, *prompts} - set(moving):
        markers.delete_frame(frame)
    # Look up each marker again, because moving one makes references to others invalid. Move in two
    # steps, because a marker replaces another one on its frame.
    for frame in moving:
        markers.find_frame(frame, exact=True).frame = frame + _FAR
    for frame in moving:
        markers.find_frame(frame + _FAR, exact=True).frame = places[frame]
    if beside:  # again at each click, so that Blender draws it on its own frame only
        for frame in kept:
            at = markers.find_frame(places[frame], exact=True).co
            co = (at[0], at[1])
            for side in (places[frame] - 1, places[frame] + 1):
                if markers.find_frame(side, exact=True) is None:
                    markers.insert_frame(side, co=co).mute = True
    return len(prompts) - len(kept)
