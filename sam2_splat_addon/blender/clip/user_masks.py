# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what the user drew in a clip's mask layers, a few frames a step."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.errors import EditError
from ...core.footage.scan import shorten
from ...core.protocol import EditedMatte
from ..context import properties
from ..context.active_clip import clip_by_uid
from ..context.present import present
from ..masks import edit_search, layers, written_layers
from . import markers, shown

Drawn = dict[str, dict[int, list[NDArray[np.float64]]]]
"""Object -> frame of the clip -> closed outlines, (n, 2) shown px each."""


def search(
    uid: int,
    names: Collection[str] | None = None,
    among: Mapping[str, Collection[int]] | None = None,
) -> Generator[tuple[int, int], None, dict[str, set[int]]]:
    """Find the frames of a clip whose masks were edited, by object. See `edit_search.search`.

    Parameters
    ----------
    uid
        The clip's session uid.
    names
        The objects to look at. None means all.
    among
        Object -> the clip's frames to look at. An object that is not named is looked at on all frames.
    """
    clip = clip_by_uid(uid)
    mask = properties.of_clip(clip).mask if clip is not None else None
    if clip is None or mask is None:
        return {}
    if names is None:
        names = [entry.name for entry in properties.of_clip(clip).objects]
    wanted: dict[str, Collection[int] | None] = {
        name: [at + frames_before(clip, mask, name) for at in among[name]]
        if among and name in among
        else None
        for name in names
        if name in mask.layers
    }
    found = yield from edit_search.search(mask.session_uid, wanted)
    clip = clip_by_uid(uid)
    mask = properties.of_clip(clip).mask if clip is not None else None
    if clip is None or mask is None:
        return {}
    last = properties.of_clip(clip).frame_count
    in_clip = {
        name: {at - frames_before(clip, mask, name) for at in frames}
        for name, frames in found.items()
    }
    return {name: {at for at in frames if 1 <= at <= last} for name, frames in in_clip.items()}


def require_keyed(clip: bpy.types.MovieClip) -> None:
    """Raise EditError if the window shows an edit that has no key. It would be lost."""
    mask, frame = properties.of_clip(clip).mask, present(bpy.context.scene).frame_current
    if mask is None:
        return
    names = edit_search.unkeyed(
        mask, [entry.name for entry in properties.of_clip(clip).objects], frame
    )
    if names:
        raise EditError(
            f"The mask of {shorten(names)} was changed on this frame, and is not kept yet.",
            "Press I with the mouse over the photo in Mask mode to keep it. Go to another frame and back to"
            " drop it. With Auto Keying on, edits are kept by themselves.",
        )


def outlines(
    uid: int, frames: Mapping[str, Collection[int]]
) -> Generator[tuple[int, int], None, Drawn]:
    """Read the outlines of objects' layers on some frames of a clip, one frame a step."""
    found: Drawn = {}
    total = sum(len(at) for at in frames.values())
    for name in frames:
        found[name] = {}
        for frame in sorted(frames[name]):
            clip = clip_by_uid(uid)
            mask = properties.of_clip(clip).mask if clip is not None else None
            if clip is None or mask is None:
                return found
            size = (int(clip.size[0]), int(clip.size[1]))
            scene_frame = frame + frames_before(clip, mask, name)
            found[name][frame] = layers.read_object_layer(mask, name, scene_frame, size)
            yield sum(map(len, found.values())), total
    return found


def everything(
    uid: int, names: Collection[str] | None = None
) -> Generator[tuple[int, int], None, Drawn]:
    """Find all that was drawn on a clip, or for some objects: `search`, then `outlines`."""
    return (yield from outlines(uid, (yield from search(uid, names))))


def frames_before(clip: bpy.types.MovieClip, mask: bpy.types.Mask, name: str) -> int:
    """Return the number of scene frames before the clip's first one when the layer was written.

    If the clip was moved since, its masks are on the old frames until they are made again.
    """
    written = written_layers.remembered(mask, name)
    return (written.start if written is not None else int(clip.frame_start)) - 1


def as_mattes(clip: bpy.types.MovieClip, drawn: Drawn) -> tuple[EditedMatte, ...]:
    """Convert drawn outlines to the worker's form, in stored px and in a fixed order."""
    ids, shown_at = markers.sync_objects(clip), shown.reader(clip)

    def stored(frame: int, shapes: list[NDArray[np.float64]]) -> tuple[tuple[float, ...], ...]:
        at = shown_at(frame)
        return tuple(tuple(at.points_to_stored(one).ravel().tolist()) for one in shapes)

    return tuple(
        EditedMatte(ids[name], frame, stored(frame, shapes))
        for name in ids
        for frame, shapes in sorted(drawn.get(name, {}).items())
    )
