# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks and drawn masks go along with their photos when others come or go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import bpy
from msgspec.structs import replace

from ...core.footage.matching import from_text, known_photos, moved_frames
from ...core.footage.scan import Footage
from ...core.printable import counted
from ...core.prompts import from_json, to_json
from ..context import properties
from ..context.stored_text import text_of
from ..masks import layers
from . import anew_frames, approved_frames, user_masks
from . import markers as clip_prompts

# Beyond all frames, where markers wait until every place is free.
_FAR = 1_000_000


@dataclass(frozen=True)
class Moved:
    """What loading photos again found.

    Attributes
    ----------
    first
        The first frame that shows another photo than before, or none.
    count
        How many photos there are now.
    places
        Where photos of before are now, frame -> frame; empty where none is known again, and clicks
        stay on their frames.
    """

    first: int
    count: int
    places: Mapping[int, int]


def compared(clip: bpy.types.MovieClip, footage: Footage) -> Moved | None:
    """What is other than when the clip was loaded last.

    None where every frame of before shows the same photo, or where it is not known which they were.
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
    """Move clicks and drawn masks along with their photos, before the clip shows these.

    Parameters
    ----------
    drawn_frames
        The frames of before that the user has drawn on, by object.

    Returns
    -------
    str
        What the user must know.
    """
    if moved.first <= moved.count:
        said = f"From frame {moved.first} on these are other photos than before"
    else:
        said = f"Photos at the end, from frame {moved.first} on, are gone"
    if not moved.places:
        return f"{said}: look whether clicks and drawn masks are still on the right ones, propagate"
    clicks = follow(clip, moved.places)
    masks = _follow_drawn(clip, drawn_frames, moved.places)
    approved_frames.move(clip, moved.places)
    anew_frames.move(clip, moved.places)
    _follow_range(clip, moved.places)
    counts = ((clicks, "click"), (masks, "drawn mask"))
    lost = " and ".join(counted(count, what) for count, what in counts if count)
    were = "was" if clicks + masks == 1 else "were"
    lost = f" ({lost} {were} on photos that are gone)" if lost else ""
    return f"{said}: clicks and drawn masks went along{lost}. Propagate again"


def follow(clip: bpy.types.MovieClip, places: Mapping[int, int]) -> int:
    """Move every click, box and mask prompt to its photo's frame of now.

    Those of photos that are gone are muted, mask prompts dropped; returns how many these are. What
    Blender tracked stays where it is.
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
    """Move what was drawn; returns on how many frames of an object it was on photos that are gone."""
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


def _follow_range(clip: bpy.types.MovieClip, places: Mapping[int, int]) -> None:
    """Let the range that the user chose begin and end with the same photos, if any of it is left."""
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
    if not kept:  # a track can't be without any marker
        for marker in markers:
            marker.mute = True
        return len(prompts)
    muted = {marker.frame for marker in markers if marker.mute}
    beside = {frame for frame in muted if not {frame - 1, frame + 1}.isdisjoint(prompts)}
    # A muted one by itself is a click that the user has switched off.
    moving = [*kept, *(frame for frame in sorted(muted - beside) if frame in places)]
    for frame in {*muted, *prompts} - set(moving):
        markers.delete_frame(frame)
    # Looked up anew each time, since a marker that moves leaves the references to others stale; and
    # in two goes, since it takes the place of one that is there.
    for frame in moving:
        markers.find_frame(frame, exact=True).frame = frame + _FAR
    for frame in moving:
        markers.find_frame(frame + _FAR, exact=True).frame = places[frame]
    if beside:  # again at each click, so that Blender draws it on its frame alone
        for frame in kept:
            at = markers.find_frame(places[frame], exact=True).co
            co = (at[0], at[1])
            for side in (places[frame] - 1, places[frame] + 1):
                if markers.find_frame(side, exact=True) is None:
                    markers.insert_frame(side, co=co).mute = True
    return len(prompts) - len(kept)
