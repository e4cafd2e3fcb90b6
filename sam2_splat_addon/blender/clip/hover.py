# SPDX-License-Identifier: GPL-3.0-or-later
"""The click under the mouse that is not made yet, and the mask that it would give.

`tasks/live_preview.py` asks for the mask, and the overlay shows it while the user holds a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import bpy
from msgspec.structs import replace

from ...core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from ..context import properties, session_state
from ..context.session_state import SessionPart
from . import markers
from .matte_cache import ShownMatte


@dataclass
class _Hover(SessionPart):
    """The click under the mouse.

    Attributes
    ----------
    place
        The clip's session uid, the subject's name and the frame. None if no key is held.
    point
        Where the mouse is. None beside the photo.
    matte
        The last answer.
    """

    of_file: ClassVar[bool] = True
    place: tuple[int, str, int] | None = None
    point: PointPrompt | None = None
    matte: ShownMatte | None = None


def point_at(clip: bpy.types.MovieClip, name: str, frame: int, point: PointPrompt | None) -> None:
    """Move the click under the mouse. It belongs to a subject."""
    now, place = session_state.part(_Hover), (clip.session_uid, name, frame)
    if now.place != place or point is None:
        now.matte = None
    now.place, now.point = place, point


def end() -> None:
    """Forget the click under the mouse, because the key is not held any more."""
    session_state.drop(_Hover)


def is_on() -> bool:
    """Whether there is a click under the mouse."""
    return session_state.part(_Hover).point is not None


def prompts(clip: bpy.types.MovieClip, frame: int) -> ObjectPrompts | None:
    """Return the subject's clicks on a frame with the click under the mouse. None if there is none."""
    now = session_state.part(_Hover)
    if now.place is None or now.point is None:
        return None
    uid, name, hovered = now.place
    entry = properties.of_clip(clip).objects.get(name)
    if (uid, hovered) != (clip.session_uid, frame) or entry is None:
        return None
    clicked = markers.on_frame(clip, frame).get(name, FramePrompts(frame))
    with_it = replace(clicked, points=(*clicked.points, now.point))
    return ObjectPrompts(entry.object_id, name, (with_it,))


def keep(matte: ShownMatte | None) -> None:
    """Keep the answer for the click under the mouse."""
    now = session_state.part(_Hover)
    if now.point is not None:
        now.matte = matte


def shown(clip: bpy.types.MovieClip, name: str, frame: int) -> ShownMatte | None:
    """Return the mask that the click under the mouse gives to a subject. None if it is not known."""
    now = session_state.part(_Hover)
    return now.matte if now.place == (clip.session_uid, name, frame) else None
