# SPDX-License-Identifier: GPL-3.0-or-later
"""The strip at the bottom of the Clip Editor and of the timeline, with one cell for each frame.

In the Clip Editor it lies on Blender's own line of cached frames and has the same scale, from the
scene's first frame to its last frame. A click there sets the frame. Blender's own number of the frame
is above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import bpy
import gpu
from gpu_extras.batch import batch_for_shader

from ..context import session_state
from ..context.editors import clip_editor_of
from ..context.present import present
from ..context.session_state import SessionPart
from . import arrivals, live_review
from .arrivals import StripState

# Px at a resolution scale of 1. Blender's cache line is 8 px high, and its frame number is above it.
_BOTTOM, _HEIGHT = 1.0, 4.0
_BACK = (0.0, 0.0, 0.0, 0.55)
_PLAYHEAD = (1.0, 1.0, 1.0, 1.0)
_SHADOW = (0.0, 0.0, 0.0, 1.0)
# There are many good frames, so their colour stays in the background.
_FADED = 0.6
# Cells of frames to look at are taller, so that they differ by more than colour.
_RISE: dict[StripState, float] = {"doubtful": 3.0, "absent": 3.0}

_Rectangle = tuple[float, float, float, float, tuple[float, float, float, float]]


@dataclass
class DrawHandle(SessionPart):
    """Blender's handles of our drawing, in Clip Editors and in timelines."""

    handle: Any = None
    in_timeline: Any = None

    def closes(self) -> None:
        """Stop drawing."""
        if self.handle is not None:
            bpy.types.SpaceClipEditor.draw_handler_remove(self.handle, "WINDOW")
            bpy.types.SpaceDopeSheetEditor.draw_handler_remove(self.in_timeline, "WINDOW")
            self.handle = self.in_timeline = None


@dataclass
class _Drawn(SessionPart):
    """The last cells of each kind of editor: what they show, and their batch.

    Drop it before the graphics context.
    """

    of_file: ClassVar[bool] = True
    kept: dict[str, tuple[object, gpu.types.GPUBatch]] = field(default_factory=dict)


def register() -> None:
    """Start to draw."""
    if bpy.app.background:
        return
    drawing, how = session_state.part(DrawHandle), ("WINDOW", "POST_PIXEL")
    drawing.handle = bpy.types.SpaceClipEditor.draw_handler_add(_draw, (), *how)
    drawing.in_timeline = bpy.types.SpaceDopeSheetEditor.draw_handler_add(
        _draw_in_timeline, (), *how
    )


def cells(
    states: Mapping[int, StripState],
    span: tuple[int, int],
    width: float,
    scale: float = 1.0,
    start: float = 0.0,
) -> list[_Rectangle]:
    """Return the strip's rectangles, back to front: (left, bottom, right, top, colour), px.

    Parameters
    ----------
    states
        Scene frame -> state.
    span
        The scene's first and last frame. They fill the width.
    width
        The strip's width, px.
    scale
        Scale of Blender's interface.
    start
        Where the strip begins, px from the region's left edge.
    """
    first, last = span
    step = width / max(last - first + 1, 1)
    bottom, top = _BOTTOM * scale, (_BOTTOM + _HEIGHT) * scale
    found: list[_Rectangle] = [(start, bottom - scale, start + width, top + 4.0 * scale, _BACK)]
    for frame, state in sorted(states.items()):
        if not first <= frame <= last:
            continue
        left = start + (frame - first) * step
        # Leave a gap between the cells if there is room for it.
        right = left + (step - scale if step > 4.0 * scale else step)
        rise = _RISE.get(state, 0.0) * scale
        color = _rgba(arrivals.COLORS[state], _FADED if state in ("good", "done") else 1.0)
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
    bottom, top = 0.0, (_BOTTOM + _HEIGHT + 3.0) * scale
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
    span = (scene.frame_start, scene.frame_end)
    if _draw_cells("clip", space.clip, span, (0.0, float(region.width))):
        scale = present(context.preferences).system.ui_scale
        marks = playhead(scene.frame_current, span, region.width, scale)
        if marks:
            gpu.state.blend_set("ALPHA")
            _batch(marks).draw(gpu.shader.from_builtin("FLAT_COLOR"))
            gpu.state.blend_set("NONE")


def _draw_in_timeline() -> None:
    """Draw the same cells at the lower edge of the timeline, on its own scale."""
    context = bpy.context
    space, region = context.space_data, present(context.region)
    clip = live_review.clip_in_view()
    if clip is None or not isinstance(space, bpy.types.SpaceDopeSheetEditor):
        return
    if space.mode != "TIMELINE":
        return
    scene = present(context.scene)
    span = (scene.frame_start, scene.frame_end)
    ends = [
        float(region.view2d.view_to_region(frame, 0.0, clip=False)[0])
        for frame in (span[0] - 0.5, span[1] + 0.5)
    ]
    _draw_cells("timeline", clip, span, (ends[0], ends[1] - ends[0]))


def _draw_cells(
    where: str,
    clip: bpy.types.MovieClip,
    span: tuple[int, int],
    place: tuple[float, float],
) -> bool:
    """Draw a clip's cells. Return False if there are none. ``place`` is (left edge, width), px."""
    shown = arrivals.shown(clip)
    if shown is None:
        return False
    chosen = live_review.chosen_object(clip)
    offset = clip.frame_start - 1
    scale = present(bpy.context.preferences).system.ui_scale
    key = (shown, chosen, span, offset, place, scale)
    kept = session_state.part(_Drawn).kept
    if where not in kept or kept[where][0] != key:
        states = arrivals.states(clip, chosen).items()
        on_scene = {frame + offset: state for frame, state in states}
        kept[where] = (key, _batch(cells(on_scene, span, place[1], scale, place[0])))
    gpu.state.blend_set("ALPHA")
    kept[where][1].draw(gpu.shader.from_builtin("FLAT_COLOR"))
    gpu.state.blend_set("NONE")
    return True


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
