# SPDX-License-Identifier: GPL-3.0-or-later
"""The circle at the mouse that shows the mask brush's size. Blender draws it without the editor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import bpy
import gpu
from gpu_extras.batch import batch_for_shader

from ..context import properties, session_state
from ..context.editors import clip_editor_of
from ..context.present import present
from ..context.session_state import SessionPart

_CORNERS = 64
# A dark line and a bright line on it, so that the circle shows on every photo.
_LINES = ((3.5, (0.0, 0.0, 0.0, 0.5)), (1.5, (1.0, 1.0, 1.0, 0.9)))
# The eraser's bright line.
_ERASER = (1.0, 0.45, 0.45, 0.95)


@dataclass
class _Cursor(SessionPart):
    """Blender's handle of the circle.

    Attributes
    ----------
    held
        The circle's middle in px of the window, while its size is changed. None follows the mouse.
    """

    handle: Any = None
    held: tuple[float, float] | None = None

    def closes(self) -> None:
        """Stop drawing."""
        if self.handle is not None:
            _manager().draw_cursor_remove(self.handle)
            self.handle = None


def register() -> None:
    """Start to draw."""
    if not bpy.app.background:
        session_state.part(_Cursor).handle = _manager().draw_cursor_add(
            _draw, (), "CLIP_EDITOR", "WINDOW"
        )


def radius(context: bpy.types.Context) -> float:
    """Return the brush's radius, px of the window."""
    scale = float(present(context.preferences).system.ui_scale)
    return float(properties.of_window(context.window_manager).brush_px) * scale


def hold(middle: tuple[float, float] | None) -> None:
    """Keep the circle in one place, px of the window. None lets it follow the mouse again."""
    session_state.part(_Cursor).held = middle


def held() -> tuple[float, float] | None:
    """Return where the circle is kept. None if it follows the mouse."""
    return session_state.part(_Cursor).held


def _manager() -> Any:
    # Blender's stubs lack these functions.
    return bpy.types.WindowManager


def _draw(at: tuple[float, float]) -> None:
    context = bpy.context
    space = clip_editor_of(context)
    state = properties.of_window(context.window_manager)
    if (
        space is None
        or space.clip is None
        or (space.view, space.mode) != ("CLIP", "TRACKING")
        or not state.use_brush
    ):
        return
    x, y = held() or at
    size = radius(context)
    turns = [2.0 * math.pi * corner / _CORNERS for corner in range(_CORNERS + 1)]
    places = [(x + size * math.cos(turn), y + size * math.sin(turn)) for turn in turns]
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    batch = batch_for_shader(shader, "LINE_STRIP", {"pos": places})
    gpu.state.blend_set("ALPHA")
    shader.bind()
    viewport: Any = gpu.state.viewport_get()  # type: ignore[func-returns-value]  # as in draw.py
    shader.uniform_float("viewportSize", viewport[2:])
    for width, tone in _LINES:
        bright = _ERASER if state.use_eraser and width < 2.0 else tone
        shader.uniform_float("lineWidth", width)
        shader.uniform_float("color", bright)
        batch.draw(shader)
    gpu.state.blend_set("NONE")
