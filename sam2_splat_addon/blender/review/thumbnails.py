# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures of masks for the list of frames to look at: where on the photo the mask lies.

A picture has the mask in its subject's colour, on the shape of the photo, with a border in that colour.
It is made from the matte alone, when its line is drawn, in a few milliseconds. To read the photo itself
would block the window longer than the picture is worth: the line is one click from the photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import bpy
import bpy.utils.previews
import numpy as np
from numpy.typing import NDArray

from ...core.errors import StoreError
from ...core.mattes.store import Logits
from ..clip import shown
from ..clip.matte_run import current_store
from ..context import session_state
from ..context.session_state import SessionPart

# Side of a picture and width of its border, px, and brightness of the photo's ground on it.
SIDE, BORDER = 48, 2
_GROUND = 0.10
_KEPT = 400  # pictures


# Clip, object, frame and colour.
_Place = tuple[int, int, int, tuple[float, ...]]


@dataclass
class _Pictures(SessionPart):
    """Blender's collection of our pictures, by the revision of the review that they belong to."""

    of_file: ClassVar[bool] = True
    collection: Any = None
    revision: int = 0
    icons: dict[_Place, int] = field(default_factory=dict)

    def closes(self) -> None:
        """Give the pictures back to Blender."""
        if self.collection is not None:
            bpy.utils.previews.remove(self.collection)
        self.collection = None
        self.icons.clear()


def icon(
    clip: bpy.types.MovieClip, object_id: int, frame: int, color: Sequence[float], revision: int
) -> int:
    """Return Blender's number of the picture of a mask. 0 if there is no matte."""
    pictures = session_state.part(_Pictures)
    if pictures.revision != revision or len(pictures.icons) >= _KEPT:
        pictures.closes()
        pictures.revision = revision
    at = (clip.session_uid, object_id, frame, tuple(color))
    if at not in pictures.icons:
        pictures.icons[at] = _made(pictures, clip, at)
    return pictures.icons[at]


def _made(pictures: _Pictures, clip: bpy.types.MovieClip, at: _Place) -> int:
    store = current_store(clip)
    _, object_id, frame, color = at
    try:
        if store is None or not store.has(object_id, frame):
            return 0
        logits = store.read(object_id, frame).logits
    except StoreError:
        return 0  # the review says it
    if pictures.collection is None:
        pictures.collection = bpy.utils.previews.new()
    made = pictures.collection.new(f"{at}")
    made.image_size = (SIDE, SIDE)
    look = shown.of(clip, frame)
    pixels = picture(look.mask_to_shown(logits), look.photo.upright, color)
    made.image_pixels_float.foreach_set(pixels.ravel())
    return int(made.icon_id)


def picture(logits: Logits, size: tuple[int, int], color: Sequence[float]) -> NDArray[np.float32]:
    """Return a picture of a matte as RGBA, (SIDE, SIDE, 4), the lowest row first, as Blender wants it.

    Parameters
    ----------
    logits
        (h, w), positive inside, as the photo is shown.
    size
        Of the shown photo, px. The picture keeps its proportions, and is transparent around it.
    color
        Of the subject, display values.
    """
    scale = SIDE / max(size)
    width, height = (max(1, round(length * scale)) for length in size)
    rows = ((np.arange(height) + 0.5) / height * logits.shape[0]).astype(int)
    columns = ((np.arange(width) + 0.5) / width * logits.shape[1]).astype(int)
    inside = (logits > 0)[rows[:, None], columns[None, :]]
    made = np.zeros((SIDE, SIDE, 4), dtype=np.float32)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    place = made[top : top + height, left : left + width]
    place[...] = (_GROUND, _GROUND, _GROUND, 1.0)
    place[:BORDER], place[-BORDER:] = (*color[:3], 1.0), (*color[:3], 1.0)
    place[:, :BORDER], place[:, -BORDER:] = (*color[:3], 1.0), (*color[:3], 1.0)
    place[inside] = (*color[:3], 1.0)
    return made[::-1]
