# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert prompts to Blender's own markers and back.

A tracking object is a subject, and a track is a click. A keyed marker that is not muted is a point on
its frame. A track whose name begins with ``-`` excludes. A track whose name begins with ``box`` is a
box: the pattern area of its marker. Mask prompts have no marker. The clip keeps them as JSON, like the
frames that start anew.

Markers lie in the frame that the clip shows. Prompts are in stored pixels of their photo (`shown`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import bpy
from msgspec.structs import replace

from ...core.errors import PromptError
from ...core.geometry.coordinates import marker_to_pixel, pixel_to_marker
from ...core.geometry.shown_photo import ShownPhoto
from ...core.printable import cut_and_numbered
from ...core.prompts import (
    BoxPrompt,
    FramePrompts,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
    from_json,
    to_json,
)
from ..context import preferences, properties
from ..context.present import present
from ..context.stored_text import names_of, names_to_text, text_of
from ..masks import layers
from . import anew_frames, mask_prompts, shown

EXCLUDE_PREFIX = "-"
BOX_PREFIX = "box"
INCLUDE_COLOR = (0.3, 0.95, 0.75)

# The name of the subject if the user clicked without adding a subject first.
CAMERA_SUBJECT = "Subject"
_NAME_BYTES = 63  # Blender cuts longer names, even in the middle of a letter
_MANY_DIGITS = 10
_DECIMALS = 3  # of a px; a marker has seven digits, which is enough for photos of 16,000 px
# How far rounding may move a click over the photo's edge, px.
_ROUNDED = 0.01


def subjects(clip: bpy.types.MovieClip) -> list[bpy.types.MovieTrackingObject]:
    """Return the tracking objects that are subjects.

    The Camera object counts in two cases. If no other object has a track, so that a user who only
    Ctrl+clicks gets a mask. And if it was a subject already, so that a second subject does not replace
    it. Else its tracks may be a camera solve. It never counts beside another object with its name.
    """
    objects = list(present(clip.tracking).objects)
    named = [entry for entry in objects if not entry.is_camera]
    camera = [entry for entry in objects if entry.is_camera and len(entry.tracks)]
    if any(len(entry.tracks) for entry in named):
        was_subject = CAMERA_SUBJECT in properties.of_clip(clip).objects and all(
            subject_name(entry) != CAMERA_SUBJECT for entry in named
        )
        camera = [entry for entry in camera if was_subject and camera_clicks(entry)]
    return named + camera


def subject_to_click(clip: bpy.types.MovieClip) -> bpy.types.MovieTrackingObject:
    """Return the subject that a click goes to: the active one, the first one, or a new one."""
    objects = present(clip.tracking).objects
    active = present(objects.active)
    if not active.is_camera:
        return active
    named = [entry for entry in objects if not entry.is_camera]
    if named:
        objects.active = named[0]
    elif not len(active.tracks):
        objects.active = objects.new(CAMERA_SUBJECT)
    return present(objects.active)


def waits_for_clicks(clip: bpy.types.MovieClip) -> bool:
    """Whether the subject that a click goes to has no clicks and no masks of its own yet."""
    objects = list(present(clip.tracking).objects)
    active = present(present(clip.tracking).objects.active)
    named = [entry for entry in objects if not entry.is_camera]
    owner = named[0] if active.is_camera and named else active
    if len(owner.tracks):
        return False
    entry = properties.of_clip(clip).objects.get(subject_name(owner))
    try:
        return entry is None or not _stored_masks(clip).get(entry.object_id)
    except PromptError:
        return False


def free_name(clip: bpy.types.MovieClip, name: str) -> str:
    """Return a name for a new subject, with a number if another subject has it.

    Blender itself compares it with other tracking objects, but does not know the Camera's subject.
    """
    camera = (entry for entry in present(clip.tracking).objects if entry.is_camera)
    taken = {CAMERA_SUBJECT} if any(len(entry.tracks) for entry in camera) else set[str]()
    return cut_and_numbered(name, taken, _NAME_BYTES)


def has_clicks(clip: bpy.types.MovieClip) -> bool:
    """Whether there is something to propagate: a click, a box or a mask prompt of a subject.

    Quick enough for every redraw.
    """
    clicks = (m for entry in subjects(clip) for track in entry.tracks for m in track.markers)
    return any(map(_is_prompt, clicks)) or bool(text_of(properties.of_clip(clip), "mask_prompts"))


def camera_clicks(
    camera: bpy.types.MovieTrackingObject,
) -> list[bpy.types.MovieTrackingTrack]:
    """Return the Camera's tracks that are only clicks. Tracks with motion may be a camera solve."""
    return [track for track in camera.tracks if all(marker.is_keyed for marker in track.markers)]


def subject_name(tracking_object: bpy.types.MovieTrackingObject) -> str:
    """Return the name of a tracking object's subject."""
    return CAMERA_SUBJECT if tracking_object.is_camera else str(tracking_object.name)


def sync_objects(clip: bpy.types.MovieClip) -> dict[str, int]:
    """Give every subject a stable id and a colour. Return name -> id.

    A renamed subject keeps its id and its mask layer. A new subject in the place of a deleted one gets
    a new id.
    """
    settings = properties.of_clip(clip)
    names = [subject_name(entry) for entry in subjects(clip)]
    for old, new in _renamed(clip).items():
        if settings.mask is not None:
            layers.rename_object_layer(settings.mask, old, new)
        settings.objects[old].name = new
    for name in names:
        if name not in settings.objects:
            _add_entry(clip, name, _next_id(clip))
    if settings.mask is not None:
        layers.name_back(settings.mask, names)
    settings.seen_subjects = _as_seen(clip)
    return {entry.name: entry.object_id for entry in settings.objects if entry.name in names}


def _renamed(clip: bpy.types.MovieClip) -> dict[str, str]:
    """Return the names that are gone, each with the name that is now in its place in Blender's list.

    Blender adds a new object at the end of its list, where a deleted one may just have been. But a new
    object has no clicks.
    """
    known = properties.of_clip(clip).objects
    now = subjects(clip)
    before = _seen(clip) or [(entry.name, 0) for entry in known]
    gone = [name for name, _ in before if name in known and name not in map(subject_name, now)]
    new = [entry for entry in now if subject_name(entry) not in known]
    if len(before) == len(now):
        places = zip(before, now, strict=True)
        pairs = [(*was, entry) for was, entry in places if was[0] in gone and entry in new]
    else:  # some were deleted or are not listed, so compare the names that are left
        pairs = [(gone[0], 0, new[0])] if len(gone) == len(new) == 1 else []
    return {
        name: subject_name(entry) for name, clicks, entry in pairs if entry.tracks or not clicks
    }


def _as_seen(clip: bpy.types.MovieClip) -> str:
    """Return the subjects' names and numbers of clicks as text, in the order of Blender's list."""
    return names_to_text([f"{len(entry.tracks)} {subject_name(entry)}" for entry in subjects(clip)])


def _seen(clip: bpy.types.MovieClip) -> list[tuple[str, int]]:
    """Return names and numbers of clicks at the last look. Empty before the first look."""
    parts = [line.partition(" ") for line in names_of(properties.of_clip(clip), "seen_subjects")]
    return [(name, int(clicks)) for clicks, _, name in parts if _is_count(clicks)]


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < _MANY_DIGITS


def _next_id(clip: bpy.types.MovieClip) -> int:
    settings = properties.of_clip(clip)
    highest = max((entry.object_id for entry in settings.objects), default=0)
    return max(highest + 1, int(settings.next_object_id))


def _add_entry(clip: bpy.types.MovieClip, name: str, object_id: int) -> None:
    settings = properties.of_clip(clip)
    entry = settings.objects.add()
    entry.name = name
    entry.object_id = object_id
    entry.color = preferences.object_color(object_id)
    settings.next_object_id = max(object_id + 1, int(settings.next_object_id))


def collect(clip: bpy.types.MovieClip) -> PromptSet:
    """Return all prompts of the clip, in stored px of the photos. Raises PromptError if there are none."""
    objects = known_prompts(clip)
    if not objects:
        raise PromptError(
            f"There is no click on {clip.name!r} yet.",
            "Ctrl+click on the subject in the Clip Editor and propagate.",
        )
    sizes = shown.stored_sizes(clip)
    ordered = tuple(sorted(objects, key=lambda item: item.id))
    return PromptSet(ordered, sizes.width, sizes.height)


def known_prompts(clip: bpy.types.MovieClip) -> list[ObjectPrompts]:
    """Return the prompts of all subjects that have some, in stored px of the photos."""
    ids, shown_at = sync_objects(clip), shown.reader(clip)
    masks = _stored_masks(clip)
    objects = []
    for entry in subjects(clip):
        name = subject_name(entry)
        clicks = ((t, m) for t in entry.tracks for m in t.markers if _is_prompt(m))
        frames = _gathered(clicks, shown_at)
        for frame, prompts in masks.get(ids[name], {}).items():
            clicked = frames.get(frame, FramePrompts(frame))
            frames[frame] = replace(clicked, mask=prompts.mask)
        for frame in anew_frames.of_object(clip, ids[name]) & frames.keys():
            frames[frame] = replace(frames[frame], anew=True)
        if frames:
            objects.append(ObjectPrompts(ids[name], name, tuple(frames[f] for f in sorted(frames))))
    return objects


def on_frame(clip: bpy.types.MovieClip, frame: int) -> dict[str, FramePrompts]:
    """Return the prompts on one frame, by subject's name, in stored px. Quick enough for every redraw.

    Damaged mask prompts are left out, because a redraw can't report. `collect` reports them.
    """
    shown_at = shown.reader(clip)
    try:
        masks = _stored_masks(clip)
    except PromptError:
        masks = {}
    ids = {entry.name: entry.object_id for entry in properties.of_clip(clip).objects}
    found = {}
    for entry in subjects(clip):
        name = subject_name(entry)
        clicks = _gathered(markers_on(entry, frame), shown_at)
        clicked = clicks.get(frame, FramePrompts(frame))
        object_id = ids.get(name, 0)
        drawn = masks.get(object_id, {}).get(frame)
        if drawn is not None:
            clicked = replace(clicked, mask=drawn.mask)
        if not clicked.is_empty:
            found[name] = replace(clicked, anew=frame in anew_frames.of_object(clip, object_id))
    return found


def markers_on(
    tracking_object: bpy.types.MovieTrackingObject, frame: int
) -> Iterator[tuple[bpy.types.MovieTrackingTrack, bpy.types.MovieTrackingMarker]]:
    """Yield the tracks that prompt on a frame, each with its marker there."""
    for track in tracking_object.tracks:
        marker = track.markers.find_frame(frame, exact=True)
        if marker is not None and _is_prompt(marker):
            yield track, marker


def is_box(track: bpy.types.MovieTrackingTrack) -> bool:
    """Whether a track is a box, not a click."""
    return track.name.lower().startswith(BOX_PREFIX)


def excludes(track: bpy.types.MovieTrackingTrack) -> bool:
    """Whether a track's clicks exclude."""
    return track.name.startswith(EXCLUDE_PREFIX)


def _gathered(
    clicks: Iterable[tuple[bpy.types.MovieTrackingTrack, bpy.types.MovieTrackingMarker]],
    shown_at: shown.ShownAt,
) -> dict[int, FramePrompts]:
    points: dict[int, list[PointPrompt]] = {}
    boxes: dict[int, BoxPrompt] = {}
    for track, marker in clicks:
        at = shown_at(marker.frame)
        if is_box(track):
            boxes[marker.frame] = _stored_box(box_of(marker, *at.frame), at)
            continue
        x, y = marker_to_pixel(marker.co[0], marker.co[1], *at.frame)
        x, y = map(_as_given, _on_photo(at.point_to_stored(x, y), at))
        points.setdefault(marker.frame, []).append(PointPrompt(x, y, not excludes(track)))
    return {
        frame: FramePrompts(frame, tuple(points.get(frame, ())), boxes.get(frame))
        for frame in points.keys() | boxes.keys()
    }


def _stored_box(box: BoxPrompt, at: ShownPhoto) -> BoxPrompt:
    """Return a box in stored px, clamped to the photo."""
    x0, y0, x1, y1 = at.box_to_stored((box.x0, box.y0, box.x1, box.y1))
    width, height = at.photo.width, at.photo.height
    inside = (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
    return BoxPrompt(*map(_as_given, inside))


def _as_given(place: float) -> float:
    """Take away what the few digits of a marker have added: so a click from a file is the same click."""
    return round(place, _DECIMALS)


def _on_photo(point: tuple[float, float], at: ShownPhoto) -> tuple[float, float]:
    """Put a point that rounding moved over the photo's edge back on it."""
    sides = (at.photo.width, at.photo.height)
    inside = [min(max(place, 0.0), float(side)) for place, side in zip(point, sides, strict=True)]
    if max(abs(a - b) for a, b in zip(point, inside, strict=True)) > _ROUNDED:
        return point
    return inside[0], inside[1]


def _is_prompt(marker: bpy.types.MovieTrackingMarker) -> bool:
    # Markers that Blender tracked are not keyed, and disabled markers are muted. Neither is a click.
    return bool(marker.is_keyed and not marker.mute)


def box_of(marker: bpy.types.MovieTrackingMarker, width: int, height: int) -> BoxPrompt:
    """Return the box of a marker's pattern area, clamped to the clip's frame, in shown px."""
    corners = [
        marker_to_pixel(marker.co[0] + x, marker.co[1] + y, width, height)
        for x, y in marker.pattern_corners
    ]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return BoxPrompt(
        max(0.0, min(xs)),
        max(0.0, min(ys)),
        min(float(width), max(xs)),
        min(float(height), max(ys)),
    )


def _stored_masks(clip: bpy.types.MovieClip) -> dict[int, dict[int, FramePrompts]]:
    text = text_of(properties.of_clip(clip), "mask_prompts")
    if not text:
        return {}
    return _decoded_masks(text, clip.name)


@lru_cache(maxsize=2)
def _decoded_masks(text: str, name: str) -> dict[int, dict[int, FramePrompts]]:
    stored = from_json(text.encode(), f"The mask prompts of {name!r}")
    return {entry.id: {frame.frame: frame for frame in entry.frames} for entry in stored.objects}


def apply(clip: bpy.types.MovieClip, prompts: PromptSet) -> None:
    """Replace the clip's prompts by a set, with one tracking object per object and one track per click.

    The set's ids are kept. ``prompts`` must have been checked against the photos: they are in stored px.
    """
    width, height = clip.size
    shown_at = shown.reader(clip)
    remove_all(clip)
    settings = properties.of_clip(clip)
    taken = {one.name for one in present(clip.tracking).objects}
    for entry in prompts.objects:
        name = cut_and_numbered(entry.name, taken, _NAME_BYTES)
        taken.add(name)
        tracking_object = present(clip.tracking).objects.new(name)
        _add_entry(clip, tracking_object.name, entry.id)
        for frame in entry.frames:
            _add_shown(tracking_object, frame, shown_at(frame.frame), width, height)
    masks = tuple(
        ObjectPrompts(
            entry.id,
            entry.name,
            tuple(FramePrompts(f.frame, mask=f.mask) for f in entry.frames if f.mask is not None),
        )
        for entry in prompts.objects
    )
    masks = tuple(entry for entry in masks if entry.frames)
    sizes = shown.stored_sizes(clip)
    kept = PromptSet(masks, sizes.width, sizes.height)
    settings.mask_prompts = to_json(kept).decode() if masks else ""
    for entry in prompts.objects:
        for frame in entry.frames:
            if frame.anew:
                anew_frames.mark(clip, entry.id, frame.frame, anew=True)


def add(clip: bpy.types.MovieClip, prompts: PromptSet) -> None:
    """Add clicks, boxes and masks to subjects that the clip has already, known by their ids.

    Photos on which a subject has prompts keep these. ``prompts`` must have been checked against the photos.
    """
    width, height = clip.size
    shown_at = shown.reader(clip)
    ids = sync_objects(clip)
    known = {ids[subject_name(one)]: one for one in subjects(clip) if subject_name(one) in ids}
    told = {entry.id: {at.frame for at in entry.frames} for entry in known_prompts(clip)}
    for entry in prompts.objects:
        if entry.id not in known:
            continue
        new = [frame for frame in entry.frames if frame.frame not in told.get(entry.id, ())]
        masks = {frame.frame: frame.mask for frame in new if frame.mask is not None}
        if masks:
            mask_prompts.set_many(clip, entry.id, masks)
        for frame in new:
            _add_shown(known[entry.id], frame, shown_at(frame.frame), width, height)
            if frame.anew:
                anew_frames.mark(clip, entry.id, frame.frame, anew=True)


def _add_shown(
    tracking_object: bpy.types.MovieTrackingObject,
    prompts: FramePrompts,
    at: ShownPhoto,
    width: int,
    height: int,
) -> None:
    """Add the clicks and the box of a frame, which are in stored px, where the clip shows them."""
    for point in prompts.points:
        x, y = at.point_to_shown(point.x, point.y)
        add_point(tracking_object, prompts.frame, PointPrompt(x, y, point.include), width, height)
    if prompts.box is not None:
        box = prompts.box
        sides = at.box_to_shown((box.x0, box.y0, box.x1, box.y1))
        add_box(tracking_object, prompts.frame, BoxPrompt(*sides), width, height)


def add_point(
    tracking_object: bpy.types.MovieTrackingObject,
    frame: int,
    point: PointPrompt,
    width: int,
    height: int,
) -> bpy.types.MovieTrackingTrack:
    """Add one click, in shown px, as a track that prompts on ``frame`` only."""
    track = tracking_object.tracks.new(name=_next_name(tracking_object), frame=frame)
    set_exclude(track, not point.include)
    _only_on(track, frame, pixel_to_marker(point.x, point.y, width, height))
    return track


def _next_name(tracking_object: bpy.types.MovieTrackingObject) -> str:
    """Return a name for one more click, which is most likely free.

    If it is not, Blender adds a number. Starting from a bare "click", Blender would compare every name
    with every number, and thousands of clicks would take minutes.
    """
    count = len(tracking_object.tracks)
    return f"click.{count:03d}" if count else "click"


def _only_on(
    track: bpy.types.MovieTrackingTrack, frame: int, co: tuple[float, float]
) -> bpy.types.MovieTrackingMarker:
    """Put a new track's marker on its frame, and hide it on all other frames."""
    for beside in (frame - 1, frame + 1):
        track.markers.insert_frame(beside, co=co).mute = True
    # Do this last, because an insertion makes earlier references invalid.
    return track.markers.insert_frame(frame, co=co)


def set_exclude(track: bpy.types.MovieTrackingTrack, exclude: bool) -> None:
    """Make a click exclude or include. The first character of its name says which."""
    plain = track.name.lstrip(EXCLUDE_PREFIX)
    track.name = f"{EXCLUDE_PREFIX}{plain}" if exclude else plain
    # Colour-blind people can tell these colours apart, and neither is the red of a disabled marker.
    track.use_custom_color = True
    track.color = preferences.exclude_color() if exclude else INCLUDE_COLOR


def add_box(
    tracking_object: bpy.types.MovieTrackingObject,
    frame: int,
    box: BoxPrompt,
    width: int,
    height: int,
) -> bpy.types.MovieTrackingTrack:
    """Add a box, in shown px, as the pattern area of a track, on ``frame`` only."""
    track = tracking_object.tracks.new(name=BOX_PREFIX, frame=frame)
    track.use_custom_color = True
    track.color = INCLUDE_COLOR
    center = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    marker = _only_on(track, frame, pixel_to_marker(*center, width, height))
    half_x, half_y = (box.x1 - box.x0) / 2 / width, (box.y1 - box.y0) / 2 / height
    marker.pattern_corners = (
        (-half_x, -half_y),
        (half_x, -half_y),
        (half_x, half_y),
        (-half_x, half_y),
    )
    return track


def turn(
    track: bpy.types.MovieTrackingTrack,
    marker: bpy.types.MovieTrackingMarker,
    before: ShownPhoto,
    after: ShownPhoto,
) -> None:
    """Move a click or a box to where its place in the photo will be shown."""
    corners = [(marker.co[0] + x, marker.co[1] + y) for x, y in marker.pattern_corners]
    middle = _turned((marker.co[0], marker.co[1]), before, after)
    marker.co = middle
    if is_box(track):
        places = [_turned(corner, before, after) for corner in corners]
        xs, ys = [x - middle[0] for x, _ in places], [y - middle[1] for _, y in places]
        low, high = (min(xs), min(ys)), (max(xs), max(ys))
        marker.pattern_corners = (low, (high[0], low[1]), high, (low[0], high[1]))


def _turned(co: tuple[float, float], before: ShownPhoto, after: ShownPhoto) -> tuple[float, float]:
    stored = before.point_to_stored(*marker_to_pixel(*co, *before.frame))
    return pixel_to_marker(*after.point_to_shown(*stored), *after.frame)


def remove_all(clip: bpy.types.MovieClip) -> None:
    """Remove all subjects except the Camera, whose tracks may be the user's camera solve."""
    for entry in list(present(clip.tracking).objects):
        if not entry.is_camera:
            present(clip.tracking).objects.remove(entry)
    properties.of_clip(clip).objects.clear()
    properties.of_clip(clip).mask_prompts = ""
    properties.of_clip(clip).anew_frames = ""
