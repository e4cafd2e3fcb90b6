# SPDX-License-Identifier: GPL-3.0-or-later
"""How a clip shows its photos: the map between the clip's pixels and each photo's stored pixels.

Blender ignores EXIF orientation. So if a photo is not stored upright, the clip shows upright copies. All
that Blender's side does, it does in pixels that are shown: markers, masks, the overlay, the brush.
Prompts, mattes and drawn masks that go to the worker, into the store or into a file are in stored
pixels. They are converted where they cross, with the map from here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import bpy
import msgspec

from ...core.footage.scan import Footage
from ...core.footage.sizes import PhotoSizes
from ...core.geometry.shown_photo import ShownPhoto
from ...core.system.safe_read import UNREADABLE
from ..context import properties
from ..context.stored_text import text_of

ShownAt = Callable[[int], ShownPhoto]
"""Gives how a frame of the clip is shown. It does not use Blender, so a thread may call it."""


def remember(clip: bpy.types.MovieClip, footage: Footage, *, is_upright: bool) -> None:
    """Store the sizes and turns of a clip's photos in it.

    Parameters
    ----------
    is_upright
        Whether the clip shows upright copies. False if it shows the photos themselves.
    """
    settings = properties.of_clip(clip)
    settings.photo_sizes = msgspec.json.encode(footage.sizes).decode()
    settings.shows_upright = is_upright


def known_sizes(clip: bpy.types.MovieClip) -> PhotoSizes | None:
    """Return the stored sizes and the turns of a clip's photos. None if the clip does not know them."""
    return _decoded(text_of(properties.of_clip(clip), "photo_sizes"))


@lru_cache(maxsize=4)
def _decoded(text: str) -> PhotoSizes | None:
    try:
        found = msgspec.json.decode(text, type=PhotoSizes) if text else None
    except UNREADABLE:
        return None
    return found if found is not None and found.are_possible else None


def stored_sizes(clip: bpy.types.MovieClip) -> PhotoSizes:
    """Return the stored sizes and the turns of a clip's photos, as far as they are known."""
    return known_sizes(clip) or PhotoSizes(int(clip.size[0]), int(clip.size[1]))


def of(clip: bpy.types.MovieClip, frame: int) -> ShownPhoto:
    """Return how a clip shows the photo on a frame. Quick enough for every redraw."""
    return reader(clip)(frame)


def reader(clip: bpy.types.MovieClip) -> ShownAt:
    """Return the map of all frames, for a thread or for many frames."""
    size = (int(clip.size[0]), int(clip.size[1]))
    return _map(stored_sizes(clip), size, is_upright=properties.of_clip(clip).shows_upright)


def planned(footage: Footage, *, is_upright: bool) -> ShownAt:
    """Return how a clip will show photos, before it is made. Otherwise as `reader`."""
    usual = footage.sizes.upright if is_upright else footage.sizes
    return _map(footage.sizes, (usual.width, usual.height), is_upright=is_upright)


def _map(sizes: PhotoSizes, frame_size: tuple[int, int], *, is_upright: bool) -> ShownAt:
    if not is_upright:
        sizes = PhotoSizes(sizes.width, sizes.height, sizes.odd)
    return lambda frame: ShownPhoto(sizes.shape(frame), frame_size)
