# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of frames to look at, as the sidebar shows it (``WindowManager``).

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

from dataclasses import dataclass

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)
from bpy.types import Context, PropertyGroup

from ..clip import markers
from ..context import session_state
from ..context.active_clip import active_clip
from ..context.editors import to_scene
from ..context.session_state import SessionPart


@dataclass
class _Filling(SessionPart):
    """Whether the list is being filled: its active row then changes without the user's doing."""

    is_on: bool = False


def go_to(context: Context, clip: bpy.types.MovieClip, frame: int, object_id: int) -> None:
    """Bring the playhead to a frame of the clip, and make an object the one that clicks go to."""
    scene_frame = to_scene(clip, frame)
    # Not frame_set, which leaves a window's Clip Editor where it is.
    context.scene.frame_current = scene_frame
    space = context.space_data
    if bpy.app.background and isinstance(space, bpy.types.SpaceClipEditor):
        space.clip_user.frame_current = scene_frame
    objects = clip.tracking.objects
    for entry in markers.subjects(clip):
        known = clip.sam2_splat.objects.get(markers.subject_name(entry))
        if known is not None and known.object_id == object_id and objects.active != entry:
            objects.active = entry


class SAM2SPLAT_PG_review_row(PropertyGroup):
    """A frame worth a look; its name is the object's."""

    object_id: IntProperty()
    frame: IntProperty()
    badness: FloatProperty()
    summary: StringProperty()


def _clicked(self: "SAM2SPLAT_PG_review", context: Context) -> None:
    clip = active_clip(context)
    if (
        clip is None
        or session_state.part(_Filling).is_on
        or not 0 <= self.active_index < len(self.rows)
    ):
        return
    row = self.rows[self.active_index]
    go_to(context, clip, row.frame, row.object_id)


class SAM2SPLAT_PG_review(PropertyGroup):
    """The list, its active row and what it is narrowed to."""

    rows: CollectionProperty(type=SAM2SPLAT_PG_review_row)
    active_index: IntProperty(
        name="Frame to Look At", description="Click to go to that frame", update=_clicked
    )
    only_active: BoolProperty(
        name="Active Object Only",
        description="List and show the frames of the active object alone",
        default=False,
    )
    shown_for: StringProperty()

    def place(self) -> tuple[int, int]:
        """The active row's (object id, frame); zeros when there is none."""
        if not 0 <= self.active_index < len(self.rows):
            return 0, 0
        row = self.rows[self.active_index]
        return row.object_id, row.frame

    def keep_place(self, place: tuple[int, int]) -> None:
        """Make the row of an (object id, frame) the active one, without going there."""
        places = [(row.object_id, row.frame) for row in self.rows]
        if place in places:
            index = places.index(place)
        else:
            index = min(self.active_index, max(len(places) - 1, 0))
        filling = session_state.part(_Filling)
        filling.is_on = True
        try:
            self.active_index = index
        finally:
            filling.is_on = False


CLASSES = (SAM2SPLAT_PG_review_row, SAM2SPLAT_PG_review)


def attach() -> None:
    """Hang the list onto Blender's window manager, once the classes are registered."""
    bpy.types.WindowManager.sam2_splat_review = PointerProperty(type=SAM2SPLAT_PG_review)


def detach() -> None:
    """Take it off again."""
    del bpy.types.WindowManager.sam2_splat_review
