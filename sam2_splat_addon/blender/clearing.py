# SPDX-License-Identifier: GPL-3.0-or-later
"""Clears objects so that Ctrl+Z brings them back, mattes on disk included; imports bpy and core.

Which objects are cleared is a property of the clip, which Blender undoes; :func:`reconcile` then
makes the store say the same. Mattes of cleared objects lie aside until the object gets new ones.
"""

from __future__ import annotations

from collections.abc import Collection

import bpy
import msgspec

from ..core.errors import SplatError
from . import mask_layers, shown_mattes
from .footage_clip import known_store


def clear_objects(clip: bpy.types.MovieClip, object_ids: Collection[int]) -> None:
    """Remove mask layers and mattes of some objects; the clicks stay. Raises StoreError."""
    settings = clip.sam2_splat
    for entry in settings.objects:
        if entry.object_id in object_ids and settings.mask is not None:
            mask_layers.remove_object_layer(settings.mask, entry.name)
    _remember(clip, {*_cleared(clip), *object_ids})
    reconcile(clip)


def reconcile(clip: bpy.types.MovieClip) -> None:
    """Make the store follow the clip: after a clear, an undo, a redo, or a propagation.

    Raises StoreError.
    """
    store = known_store(clip)
    if store is None:
        return
    cleared, aside = _cleared(clip), set(store.aside())
    if not cleared and not aside:
        return
    for object_id in aside - cleared:
        store.put_back(object_id)
    for object_id in cleared:
        if not store.frames(object_id):
            continue
        if object_id in aside:
            # Propagated since: that is what counts now.
            store.drop_aside(object_id)
            cleared = cleared - {object_id}
        else:
            store.set_aside(object_id)
    if cleared != _cleared(clip):
        _remember(clip, cleared)
    shown_mattes.forget(clip.session_uid)


def reconcile_all() -> None:
    """Reconcile every clip; for handlers, which can't report and print what goes wrong."""
    for clip in bpy.data.movieclips:
        try:
            reconcile(clip)
        except SplatError as error:
            print(f"SAM2 Splat: {error}")


def _cleared(clip: bpy.types.MovieClip) -> set[int]:
    text = clip.sam2_splat_cleared
    return msgspec.json.decode(text, type=set[int]) if text else set()


def _remember(clip: bpy.types.MovieClip, object_ids: set[int]) -> None:
    text = msgspec.json.encode(sorted(object_ids)).decode() if object_ids else ""
    clip.sam2_splat_cleared = text


def attach() -> None:
    """Hang the property onto clips."""
    bpy.types.MovieClip.sam2_splat_cleared = bpy.props.StringProperty(
        description="Objects whose mattes are set aside, as JSON"
    )


def detach() -> None:
    """Take the property off again."""
    del bpy.types.MovieClip.sam2_splat_cleared
