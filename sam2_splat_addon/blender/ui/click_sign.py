# SPDX-License-Identifier: GPL-3.0-or-later
"""A sign beside the newest click while its mask is not there: what we wait for, or what is missing.

What is missing has a button that mends it. A click with our tool opens it under the mouse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blf
import bpy
import gpu
from bpy.types import Context, MovieClip, Panel
from gpu_extras.batch import batch_for_shader

from ...core.geometry.coordinates import marker_to_pixel
from ..clip import markers
from ..context import properties, session_state, task_runner, worker_session
from ..context.active_clip import require_clip
from ..context.editors import clip_editor_of, clip_frame
from ..context.frame_view import FrameView
from ..context.present import present
from ..context.session_state import SessionPart
from ..tasks import live_preview
from . import missing
from .widgets import wrapped

# In px of the screen at normal size: the text's height, its place beside the click, and its margin.
_TEXT = 12.0
_BESIDE = (14.0, 10.0)
_MARGIN = 6.0
_LETTERS = 48  # of a line
_BACK = (0.08, 0.08, 0.08, 0.85)
_INK = (1.0, 1.0, 1.0, 1.0)


@dataclass
class _Sign(SessionPart):
    """Blender's handle of our drawing."""

    handle: Any = None

    def closes(self) -> None:
        """Stop drawing."""
        if self.handle is not None:
            bpy.types.SpaceClipEditor.draw_handler_remove(self.handle, "WINDOW")
            self.handle = None


class SAM2SPLAT_PT_missing(Panel):
    """What a click needs, with the button that gets it"""

    bl_label = "A Click Needs This"
    bl_space_type = "CLIP_EDITOR"
    bl_region_type = "HEADER"
    bl_ui_units_x = 13

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        if not missing.draw(layout, properties.of_clip(require_clip(context))):
            layout.label(text="Nothing is missing. Click on the subject", icon="CHECKMARK")


def text_for(clip: MovieClip, frame: int) -> str:
    """Return what the sign says on a clip's frame. Empty if its clicks have their masks, or none are due."""
    if not properties.of_scene(bpy.context.scene).live_preview:
        return ""
    clicked = any(prompts.includes_something for prompts in markers.on_frame(clip, frame).values())
    what = missing.sentence(properties.of_clip(clip))
    if what:
        return what if clicked else ""
    task = task_runner.current()
    if task is not None:
        waits = clicked and live_preview.is_unanswered(clip, frame)
        return f"{task.title}. This mask comes after that" if waits else ""
    if live_preview.is_busy() and not live_preview.silence():
        preview = worker_session.asked_preview()
        return "Working ..." if preview is not None and preview.is_warm else "Starting SAM 2 ..."
    return live_preview.problem() if clicked else ""


def offer_help(context: Context, clip: MovieClip) -> None:
    """Open the button that gets what a click needs, under the mouse. Do nothing if nothing is missing."""
    if bpy.app.background or task_runner.current() is not None:
        return
    if missing.sentence(properties.of_clip(clip)):
        bpy.ops.wm.call_panel("INVOKE_DEFAULT", name=SAM2SPLAT_PT_missing.__name__, keep_open=True)


def register() -> None:
    """Start to draw."""
    if not bpy.app.background:
        session_state.part(_Sign).handle = bpy.types.SpaceClipEditor.draw_handler_add(
            _draw, (), "WINDOW", "POST_PIXEL"
        )


def _draw() -> None:
    context = bpy.context
    space = present(clip_editor_of(context))
    clip = space.clip
    if clip is None or space.view != "CLIP" or not clip.size[0]:
        return
    frame = clip_frame(space)
    text = text_for(clip, frame)
    place = _newest_click(clip, frame) if text else None
    if place is not None:
        region = present(context.region)
        _draw_text(wrapped(text, _LETTERS), FrameView.of(region, clip).to_region(*place))


def _newest_click(clip: MovieClip, frame: int) -> tuple[float, float] | None:
    """Return the newest click of the active subject on a frame, in px of the photo."""
    width, height = clip.size
    active = present(present(clip.tracking).objects.active)
    owners = [one for one in markers.subjects(clip) if one != active]
    for owner in (active, *reversed(owners)):
        found = list(markers.markers_on(owner, frame))
        if found:
            track, marker = found[-1]
            if markers.is_box(track):
                box = markers.box_of(marker, width, height)
                return box.x1, box.y1
            return marker_to_pixel(marker.co[0], marker.co[1], width, height)
    return None


def _draw_text(lines: list[str], at: tuple[float, float]) -> None:
    """Draw lines on a dark ground, right below a place in px of the region."""
    scale = float(present(bpy.context.preferences).system.ui_scale)
    blf.size(0, _TEXT * scale)
    step = 1.4 * _TEXT * scale
    wide = max(blf.dimensions(0, line)[0] for line in lines)
    left, top = at[0] + _BESIDE[0] * scale, at[1] - _BESIDE[1] * scale
    margin = _MARGIN * scale
    right, low = left + wide + 2 * margin, top - step * len(lines) - margin
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    corners = ((left, low), (right, low), (left, top), (right, top))
    gpu.state.blend_set("ALPHA")
    shader.bind()
    shader.uniform_float("color", _BACK)
    batch_for_shader(shader, "TRI_STRIP", {"pos": corners}).draw(shader)
    blf.color(0, *_INK)
    for number, line in enumerate(lines, start=1):
        blf.position(0, left + margin, top - step * number + 0.2 * step, 0.0)
        blf.draw(0, line)
    gpu.state.blend_set("NONE")


CLASSES = (SAM2SPLAT_PT_missing,)
