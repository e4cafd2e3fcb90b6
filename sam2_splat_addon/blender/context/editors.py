# SPDX-License-Identifier: GPL-3.0-or-later
"""The open Clip Editors, and the frames they show.

A clip counts its frames from 1. The playhead and the keys of masks are on scene frames, and frame 1
of the clip is the scene frame ``frame_start``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import bpy

from .present import present


def clip_editors() -> Iterator[tuple[bpy.types.Window, bpy.types.Area, bpy.types.SpaceClipEditor]]:
    """Yield every Clip Editor on the screen, with its window and its area."""
    for window in present(bpy.context.window_manager).windows:
        for area in window.screen.areas:
            if area.type == "CLIP_EDITOR":
                yield window, area, cast(bpy.types.SpaceClipEditor, area.spaces.active)


def clip_editor_of(context: bpy.types.Context) -> bpy.types.SpaceClipEditor | None:
    """Return the current editor, if it is a Clip Editor."""
    space = context.space_data
    return space if isinstance(space, bpy.types.SpaceClipEditor) else None


def redraw() -> None:
    """Ask every Clip Editor to redraw soon."""
    for _, area, _ in clip_editors():
        area.tag_redraw()


def redraw_timelines() -> None:
    """Ask every timeline to redraw soon."""
    for window in present(bpy.context.window_manager).windows:
        for area in window.screen.areas:
            if area.ui_type == "TIMELINE":
                area.tag_redraw()


def clip_frame(space: bpy.types.SpaceClipEditor) -> int:
    """Return the frame of its clip that an editor shows, from 1."""
    return to_clip(present(space.clip), space.clip_user.frame_current)


def to_clip(clip: bpy.types.MovieClip, scene_frame: int) -> int:
    """Convert a scene frame to a frame of the clip, from 1."""
    return int(scene_frame) - int(clip.frame_start) + 1


def to_scene(clip: bpy.types.MovieClip, frame: int) -> int:
    """Convert a frame of the clip to a scene frame."""
    return frame + int(clip.frame_start) - 1
