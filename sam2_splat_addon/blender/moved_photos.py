# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks and drawn masks go along with their photos when others come or go; imports bpy and core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import bpy
from msgspec.structs import replace

from ..core.footage import Footage
from ..core.prompts import from_json, to_json
from . import clip_prompts, drawn, mask_layers


@dataclass(frozen=True)
class Moved:
    """What loading photos again found.

    Attributes
    ----------
    first
        The first frame that shows another photo than before, by its name.
    places
        Where photos of before are now, frame -> frame; None where hardly any is known by its name,
        as after renaming all of them, and clicks stay on their frames.
    """

    first: int
    places: Mapping[int, int] | None


def compared(clip: bpy.types.MovieClip, footage: Footage) -> Moved | None:
    """What is other than when the clip was loaded last.

    None where every frame shows the same photo, or where the clip is an earlier version's.
    """
    before = clip.sam2_splat.photo_names.splitlines()
    frames = zip(before, footage.frames, strict=False)
    first = next((now.frame for old, now in frames if old != now.path.name), None)
    if first is None:
        return None
    now = {frame.path.name: frame.frame for frame in footage.frames}
    places = {at: now[name] for at, name in enumerate(before, start=1) if name in now}
    return Moved(first, places if 2 * len(places) >= len(before) else None)


def take_along(clip: bpy.types.MovieClip, footage: Footage) -> str:
    """Move clicks and drawn masks along with their photos, before the clip shows these.

    Gives what the user must know, nothing where nothing moved.
    """
    moved = compared(clip, footage)
    if moved is None:
        return ""
    said = f"From frame {moved.first} on these are other photos than before"
    if moved.places is None:
        return f"{said}: look whether clicks and drawn masks are still on the right ones, propagate"
    gone = follow(clip, moved.places)
    _follow_drawn(clip, moved.places)
    lost = f" ({gone} clicks were on photos that are gone)" if gone else ""
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
    text = clip.sam2_splat.mask_prompts
    if not text:
        return gone
    stored = from_json(text.encode(), f"The mask prompts of {clip.name!r}")
    objects = []
    for entry in stored.objects:
        kept = [at for at in entry.frames if at.frame in places]
        gone += len(entry.frames) - len(kept)
        moved = tuple(replace(at, frame=places[at.frame]) for at in kept)
        objects.append(replace(entry, frames=moved))
    objects = [entry for entry in objects if entry.frames]
    kept_set = replace(stored, objects=tuple(objects))
    clip.sam2_splat.mask_prompts = to_json(kept_set).decode() if objects else ""
    return gone


def _follow_drawn(clip: bpy.types.MovieClip, places: Mapping[int, int]) -> None:
    mask = clip.sam2_splat.mask
    if mask is None:
        return
    for name, frames in drawn.at_once(drawn.search(clip.session_uid)).items():
        before = drawn.frames_before(clip, mask, name)
        moves = {
            at + before: places[at] + before if at in places else None for at in sorted(frames)
        }
        if any(place != frame for frame, place in moves.items()):
            mask_layers.move_edited(mask, clip, name, moves)


def _follow(track: bpy.types.MovieTrackingTrack, places: Mapping[int, int]) -> int:
    prompts = [marker.frame for marker in track.markers if not marker.mute]
    kept = [frame for frame in prompts if frame in places]
    if [places.get(frame) for frame in prompts] == prompts:
        return 0
    if not kept:  # a track can't be without any marker
        for marker in track.markers:
            marker.mute = True
        return len(prompts)
    muted = [marker.frame for marker in track.markers if marker.mute]
    for frame in {*muted, *prompts} - set(kept):
        track.markers.delete_frame(frame)
    for marker in track.markers:  # photos keep their order, and so do markers
        marker.frame = places[marker.frame]
    if muted:  # beside each click, so that Blender draws it on its frame alone
        for frame in kept:
            at = track.markers.find_frame(places[frame]).co
            co = (at[0], at[1])
            for beside in (places[frame] - 1, places[frame] + 1):
                if track.markers.find_frame(beside, exact=True) is None:
                    track.markers.insert_frame(beside, co=co).mute = True
    return len(prompts) - len(kept)
