# SPDX-License-Identifier: GPL-3.0-or-later
"""The open Clip Editors, and the frames they show; imports bpy.

A clip counts its frames from 1; the scene's playhead and the keys of masks stand on scene frames,
which begin at the clip's ``frame_start``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import bpy

from .present import present


def clip_editors() -> Iterator[tuple[bpy.types.Window, bpy.types.Area, bpy.types.SpaceClipEditor]]:
    """Every Clip Editor on the screen, with where it is."""
    for window in present(bpy.context.window_manager).windows:
        for area in window.screen.areas:
            if area.type == "CLIP_EDITOR":
                yield window, area, cast(bpy.types.SpaceClipEditor, area.spaces.active)


def clip_editor_of(context: bpy.types.Context) -> bpy.types.SpaceClipEditor | None:
    """The Clip Editor at hand, if it is one."""
    space = context.space_data
    return space if isinstance(space, bpy.types.SpaceClipEditor) else None


def redraw() -> None:
    """Ask every Clip Editor to draw itself again soon."""
    for _, area, _ in clip_editors():
        area.tag_redraw()


def clip_frame(space: bpy.types.SpaceClipEditor) -> int:
    """The frame, from 1, that an editor shows of its clip."""
    return to_clip(present(space.clip), space.clip_user.frame_current)


def to_clip(clip: bpy.types.MovieClip, scene_frame: int) -> int:
    """The clip's frame, from 1, on a scene frame."""
    return int(scene_frame) - int(clip.frame_start) + 1


def to_scene(clip: bpy.types.MovieClip, frame: int) -> int:
    """The scene frame of a frame of the clip."""
    return frame + int(clip.frame_start) - 1
