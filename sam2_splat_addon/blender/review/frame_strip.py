# SPDX-License-Identifier: GPL-3.0-or-later
"""The strip at the bottom of the Clip Editor, with one cell for each frame.

It is above Blender's own line of cached frames and has the same scale, from the scene's first frame to
its last frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import bpy
import gpu
from gpu_extras.batch import batch_for_shader

from ...core.review.judge import FrameState
from ...core.review.report import STATE_COLORS
from ..context import session_state
from ..context.editors import clip_editor_of
from ..context.present import present
from ..context.session_state import SessionPart
from . import live_review

# Px at a resolution scale of 1. Blender's cache line is 8 px high.
_BOTTOM, _HEIGHT = 10.0, 7.0
_BACK = (0.0, 0.0, 0.0, 0.55)
_PLAYHEAD = (1.0, 1.0, 1.0, 1.0)
_SHADOW = (0.0, 0.0, 0.0, 1.0)
# There are many good frames, so their colour stays in the background.
_FADED = 0.6
# Cells of frames to look at are taller, so that they differ by more than colour.
_RISE: dict[FrameState, float] = {"doubtful": 4.0, "absent": 4.0}

_Rectangle = tuple[float, float, float, float, tuple[float, float, float, float]]


@dataclass
class DrawHandle(SessionPart):
    """Blender's handle of our drawing."""

    handle: Any = None

    def closes(self) -> None:
        """Stop drawing."""
        if self.handle is not None:
            bpy.types.SpaceClipEditor.draw_handler_remove(self.handle, "WINDOW")
            self.handle = None


@dataclass
class _Drawn(SessionPart):
    """The last cells: what they show, and their batch. Drop it before the graphics context."""

    of_file: ClassVar[bool] = True
    shows: object = None
    batch: gpu.types.GPUBatch | None = None


def register() -> None:
    """Start to draw."""
    if not bpy.app.background:
        session_state.part(DrawHandle).handle = bpy.types.SpaceClipEditor.draw_handler_add(
            _draw, (), "WINDOW", "POST_PIXEL"
        )


def cells(
    states: dict[int, FrameState], span: tuple[int, int], width: float, scale: float = 1.0
) -> list[_Rectangle]:
    """Return the strip's rectangles, back to front: (left, bottom, right, top, colour), px.

    Parameters
    ----------
    states
        Scene frame -> state.
    span
        The scene's first and last frame. They fill the width.
    width
        The region's width, px.
    scale
        Scale of Blender's interface.
    """
    first, last = span
    step = width / max(last - first + 1, 1)
    bottom, top = _BOTTOM * scale, (_BOTTOM + _HEIGHT) * scale
    found: list[_Rectangle] = [(0.0, bottom - scale, width, top + scale, _BACK)]
    for frame, state in sorted(states.items()):
        if not first <= frame <= last:
            continue
        left = (frame - first) * step
        # Leave a gap between the cells if there is room for it.
        right = left + (step - scale if step > 4.0 * scale else step)
        rise = _RISE.get(state, 0.0) * scale
        color = _rgba(STATE_COLORS[state], _FADED if state == "good" else 1.0)
        found.append((left, bottom, right, top + rise, color))
    return found


def playhead(
    frame: int, span: tuple[int, int], width: float, scale: float = 1.0
) -> list[_Rectangle]:
    """Return the mark on the current frame, like `cells`. Empty if the frame is outside."""
    first, last = span
    if not first <= frame <= last:
        return []
    middle = (frame - first + 0.5) * width / (last - first + 1)
    bottom, top = (_BOTTOM - 1.0) * scale, (_BOTTOM + _HEIGHT + 1.0) * scale
    return [
        (middle - half * scale, bottom, middle + half * scale, top, color)
        for half, color in ((2.0, _SHADOW), (1.0, _PLAYHEAD))
    ]


def _rgba(color: str, alpha: float) -> tuple[float, float, float, float]:
    red, green, blue = (int(color[at : at + 2], 16) / 255.0 for at in (1, 3, 5))
    return red, green, blue, alpha


def _draw() -> None:
    context = bpy.context
    space = present(clip_editor_of(context))
    region, scene = present(context.region), present(context.scene)
    if space.clip is None or space.view != "CLIP":
        return
    found = live_review.of_clip(space.clip)
    if found is None or not found.reviews:
        return
    chosen = live_review.chosen_object(space.clip)
    span = (scene.frame_start, scene.frame_end)
    offset = space.clip.frame_start - 1
    scale = present(context.preferences).system.ui_scale
    key = (space.clip.session_uid, found.revision, chosen, span, offset, region.width, scale)
    drawn = session_state.part(_Drawn)
    if drawn.batch is None or drawn.shows != key:
        states = {frame + offset: state for frame, state in found.states(chosen).items()}
        drawn.shows, drawn.batch = key, _batch(cells(states, span, region.width, scale))
    shader = gpu.shader.from_builtin("FLAT_COLOR")
    gpu.state.blend_set("ALPHA")
    drawn.batch.draw(shader)
    marks = playhead(scene.frame_current, span, region.width, scale)
    if marks:
        _batch(marks).draw(shader)
    gpu.state.blend_set("NONE")


def _batch(shapes: Iterable[_Rectangle]) -> gpu.types.GPUBatch:
    """Return all rectangles as one batch to draw."""
    places: list[tuple[float, float]] = []
    colors: list[tuple[float, float, float, float]] = []
    corners: list[tuple[int, int, int]] = []
    for left, bottom, right, top, color in shapes:
        begin = len(places)
        places += [(left, bottom), (right, bottom), (right, top), (left, top)]
        colors += [color] * 4
        corners += [(begin, begin + 1, begin + 2), (begin, begin + 2, begin + 3)]
    shader = gpu.shader.from_builtin("FLAT_COLOR")
    return batch_for_shader(shader, "TRIS", {"pos": places, "color": colors}, indices=corners)
