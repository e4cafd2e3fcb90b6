# SPDX-License-Identifier: GPL-3.0-or-later
"""What the click tool acts on: the click under the mouse, and the subject to click on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import bpy
import numpy as np
from bpy.types import Context, Event

from ....core.geometry.coordinates import marker_to_pixel
from ....core.prompts import BoxPrompt
from ...clip import markers
from ...context import properties
from ...context.editors import clip_editor_of, clip_frame
from ...context.frame_view import FrameView
from ...context.present import present

# How near the mouse must be to a click to take it, in px of the screen at normal size.
_REACH = 11.0
# A stroke of the click tool makes at most this many clicks.
_MOST_CLICKS = 5
# Height of the strip at the editor's lower edge, where a click sets the frame, in px.
_FRAME_STRIP = 18.0


def ready(context: Context) -> bool:
    """Whether the current editor shows a clip with its clicks."""
    space = clip_editor_of(context)
    return (
        space is not None
        and space.clip is not None
        and space.view == "CLIP"
        and space.mode == "TRACKING"
    )


def tool_on(context: Context) -> bool:
    """Whether the click tool is on in the current editor."""
    return ready(context) and bool(properties.of_window(context.window_manager).use_tool)


def brush_on(context: Context) -> bool:
    """Whether the mask brush is on in the current editor."""
    return ready(context) and bool(properties.of_window(context.window_manager).use_brush)


def on_frame_strip(event: Event) -> bool:
    """Whether the mouse is at the editor's lower edge, where a click sets the frame."""
    return event.mouse_region_y < scaled(_FRAME_STRIP)


def in_mask_mode(space: Any) -> bool:
    """Whether clicks in an editor edit the points of masks, whatever tool is on."""
    return (
        space is not None
        and space.type == "CLIP_EDITOR"
        and space.clip is not None
        and space.mode == "MASK"
    )


def switch_tool(context: Context, chosen: Literal["use_tool", "use_brush"]) -> bool:
    """Switch one of our two tools on, and the other one off, or switch it off. Return whether it is on."""
    state = properties.of_window(context.window_manager)
    space = present(clip_editor_of(context))
    # In Mask mode both are always off, so this switches it on.
    is_on = in_mask_mode(space) or not getattr(state, chosen)
    setattr(state, chosen, is_on)
    if is_on:
        setattr(state, "use_brush" if chosen == "use_tool" else "use_tool", False)
        show_clicks(space)
    return is_on


def show_clicks(space: bpy.types.SpaceClipEditor) -> None:
    """Bring an editor into the mode in which our tools work."""
    space.mode, space.view = "TRACKING", "CLIP"
    # A click is muted on all other frames. Hide muted tracks, so that it shows on its own frame only.
    space.show_disabled = False


def scaled(length: float) -> float:
    """Convert a length in px at normal size to px of this screen."""
    return length * float(present(bpy.context.preferences).system.ui_scale)


def under_mouse(
    context: Context, event: Event
) -> tuple[bpy.types.MovieTrackingObject, bpy.types.MovieTrackingTrack] | None:
    """Find the nearest click or box edge within reach. Return its subject and its track."""
    space = present(clip_editor_of(context))
    clip = present(space.clip)
    view = FrameView.of(present(context.region), clip)
    frame = clip_frame(space)
    best, found = scaled(_REACH), None
    for owner in markers.subjects(clip):
        for track, marker in markers.markers_on(owner, frame):
            if markers.is_box(track):
                box = markers.box_of(marker, view.width, view.height)
                away = _to_edge(view, box, event.mouse_region_x, event.mouse_region_y)
            else:
                at = marker_to_pixel(marker.co[0], marker.co[1], view.width, view.height)
                x, y = view.to_region(*at)
                away = math.hypot(x - event.mouse_region_x, y - event.mouse_region_y)
            if away < best:
                best, found = away, (owner, track)
    return found


def _to_edge(view: FrameView, box: BoxPrompt, x: float, y: float) -> float:
    """Return the distance from a place to the edge of a box, in px of the region."""
    left, high = view.to_region(box.x0, box.y0)
    right, low = view.to_region(box.x1, box.y1)
    beside = max(left - x, x - right)
    above = max(low - y, y - high)
    if beside <= 0 and above <= 0:
        return -max(beside, above)
    return math.hypot(max(beside, 0.0), max(above, 0.0))


def along(line: Sequence[tuple[float, float]], spacing: float) -> list[tuple[float, float]]:
    """Return a few places on a line, evenly far apart and as far from its ends.

    Parameters
    ----------
    line
        Places in px of the photo.
    spacing
        About how far from each other, in px of the photo. There are at least two and at most
        `_MOST_CLICKS`.
    """
    points = np.array(line)
    lengths = np.hypot(*np.diff(points, axis=0).T)
    at = np.concatenate([[0.0], np.cumsum(lengths)])
    count = min(max(round(float(at[-1]) / spacing), 2), _MOST_CLICKS)
    wanted = (np.arange(count) + 0.5) * (at[-1] / count)
    x, y = (np.interp(wanted, at, points[:, axis]) for axis in (0, 1))
    return list(zip(x.tolist(), y.tolist(), strict=True))


def select(
    clip: bpy.types.MovieClip,
    owner: bpy.types.MovieTrackingObject,
    track: bpy.types.MovieTrackingTrack,
) -> None:
    """Select one track only, and make its subject the active one."""
    present(clip.tracking).objects.active = owner
    for other in owner.tracks:
        other.select = False
    track.select = True
    owner.tracks.active = track


def delete(
    context: Context,
    clip: bpy.types.MovieClip,
    owner: bpy.types.MovieTrackingObject,
    track: bpy.types.MovieTrackingTrack,
    frame: int,
) -> None:
    """Delete a click on its frame. Delete its track too, if it has no click elsewhere.

    The context must have a Clip Editor that shows the clip.
    """
    others = [m for m in track.markers if m.is_keyed and not m.mute and m.frame != frame]
    if others:
        track.markers.delete_frame(frame)
        return
    # Blender's list of tracks has no ``remove``.
    select(clip, owner, track)
    bpy.ops.clip.delete_track()


def remove_boxes(
    context: Context,
    clip: bpy.types.MovieClip,
    owner: bpy.types.MovieTrackingObject,
    frame: int,
) -> None:
    """Remove a subject's boxes on a frame. SAM 2 takes one box, so a new box replaces the old one."""
    boxes = [track for track, _ in markers.markers_on(owner, frame)]
    for name in [track.name for track in boxes if markers.is_box(track)]:
        if ready(context):
            delete(context, clip, owner, owner.tracks[name], frame)
        else:
            owner.tracks[name].markers.find_frame(frame).mute = True
