# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of frames to look at, as the sidebar shows it (``WindowManager``).

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    FloatProperty,
    IntProperty,
    StringProperty,
)
from bpy.types import Context, PropertyGroup

from ..clip import markers
from ..context import properties, session_state
from ..context.active_clip import active_clip
from ..context.editors import to_scene
from ..context.present import present
from ..context.session_state import SessionPart

if TYPE_CHECKING:
    from ..context.properties import Rows

_NAME = "sam2_splat_review"


@dataclass
class _Filling(SessionPart):
    """Whether the list is being filled. Then a new active row does not come from the user."""

    is_on: bool = False


def go_to(context: Context, clip: bpy.types.MovieClip, frame: int, object_id: int) -> None:
    """Move the playhead to a frame of the clip, and make an object active, so that it gets the clicks."""
    scene_frame = to_scene(clip, frame)
    # Not frame_set, because it does not move a window's Clip Editor.
    present(context.scene).frame_current = scene_frame
    space = context.space_data
    if bpy.app.background and isinstance(space, bpy.types.SpaceClipEditor):
        space.clip_user.frame_current = scene_frame
    objects = present(clip.tracking).objects
    for entry in markers.subjects(clip):
        known = properties.of_clip(clip).objects.get(markers.subject_name(entry))
        if known is not None and known.object_id == object_id and objects.active != entry:
            objects.active = entry


class SAM2SPLAT_PG_review_row(PropertyGroup):
    """A frame to look at. Its name is the object's."""

    object_id: Annotated[int, IntProperty()]
    frame: Annotated[int, IntProperty()]
    badness: Annotated[float, FloatProperty()]
    summary: Annotated[str, StringProperty()]


def _clicked(self: "SAM2SPLAT_PG_review", context: Context) -> None:
    clip = active_clip(context)
    if (
        clip is None
        or session_state.part(_Filling).is_on
        or not 0 <= self.active_index < len(self.rows)
    ):
        return
    self.go_to_line(context, clip, self.active_index)


class SAM2SPLAT_PG_review(PropertyGroup):
    """The list, its active row and its filter."""

    rows: Annotated[
        "Rows[SAM2SPLAT_PG_review_row]", CollectionProperty(type=SAM2SPLAT_PG_review_row)
    ]
    active_index: Annotated[
        int,
        IntProperty(
            name="Frame to Look At", description="Click to go to this frame", update=_clicked
        ),
    ]
    only_active: Annotated[
        bool,
        BoolProperty(
            name="Active Subject Only",
            description="List only frames of the active subject",
            default=False,
        ),
    ]
    shown_for: Annotated[str, StringProperty()]
    # The line that the user is at: object id and frame. It stays when that line is gone.
    at_object: Annotated[int, IntProperty()]
    at_frame: Annotated[int, IntProperty()]

    def following(self, step: int) -> int | None:
        """Return the index of the line to go to, one on (1) or back (-1). None at the list's end.

        If the line that the user is at is gone, the line that took its place is the next one.
        """
        at = self.place() == (self.at_object, self.at_frame)
        index = self.active_index + (step if at or step < 0 else 0)
        return index if 0 <= index < len(self.rows) else None

    def leave(self) -> None:
        """Be at no line, because the list gets other lines."""
        self.at_object = self.at_frame = 0
        self._activate(0)

    def go_to_line(self, context: Context, clip: bpy.types.MovieClip, index: int) -> None:
        """Make a line active, and go to its photo and its subject."""
        row = self.rows[index]
        self.at_object, self.at_frame = row.object_id, row.frame
        self.keep_place((row.object_id, row.frame))
        go_to(context, clip, row.frame, row.object_id)

    def place(self) -> tuple[int, int]:
        """Return the active row's (object id, frame), or zeros if there is none."""
        if not 0 <= self.active_index < len(self.rows):
            return 0, 0
        row = self.rows[self.active_index]
        return row.object_id, row.frame

    def keep_place(self, place: tuple[int, int]) -> None:
        """Make the row of an (object id, frame) active, without going to the frame."""
        places = [(row.object_id, row.frame) for row in self.rows]
        if place in places:
            index = places.index(place)
        else:
            index = min(self.active_index, max(len(places) - 1, 0))
        self._activate(index)

    def _activate(self, index: int) -> None:
        filling = session_state.part(_Filling)
        filling.is_on = True
        try:
            self.active_index = index
        finally:
            filling.is_on = False


CLASSES = (SAM2SPLAT_PG_review_row, SAM2SPLAT_PG_review)


def attach() -> None:
    """Add the list to Blender's window manager, after the classes are registered."""
    setattr(bpy.types.WindowManager, _NAME, properties.pointer(SAM2SPLAT_PG_review))


def detach() -> None:
    """Remove the list from Blender's window manager."""
    delattr(bpy.types.WindowManager, _NAME)


def of_window(manager: bpy.types.WindowManager | None) -> SAM2SPLAT_PG_review:
    """Return the list of ``context.window_manager``."""
    shown: SAM2SPLAT_PG_review = getattr(present(manager), _NAME)
    return shown
