# SPDX-License-Identifier: GPL-3.0-or-later
"""Clear objects so that Ctrl+Z brings them back, also their mattes on disk.

A property of the clip names the cleared objects. Blender undoes it, and then the store follows. Mattes
of a cleared object are set aside until the object gets new ones. Opening a file moves nothing. The
store follows only when the user presses a button that needs it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import bpy
import msgspec

from ...core.errors import SplatError
from ...core.mattes.store import MatteStore
from ..context import changes, clip_state, console, properties
from ..context.clip_state import ClipPart
from ..context.stored_text import decoded, text_of
from ..masks import layers
from . import matte_run
from .matte_run import known_store

_CLEARED = "sam2_splat_cleared"


@dataclass
class _Cleared(ClipPart):
    """The folder of the mattes that the user has cleared in this session.

    An undo moves mattes of this folder only, because a file may name anybody's folder.
    """

    outlives_removal: ClassVar[bool] = True
    folder: Path | None = None

    def undone(self, clip: bpy.types.MovieClip) -> None:
        """Let the store follow. An undo can't report errors, so they are printed."""
        store = known_store(clip)
        if store is None or self.folder != store.folder:
            return
        try:
            _follow(clip, store)
        except SplatError as error:
            console.log.warning(str(error))


def clear_objects(clip: bpy.types.MovieClip, object_ids: Collection[int]) -> None:
    """Remove the mask layers and mattes of some objects, and keep the clicks. Raises SplatError."""
    store = matte_run.proven_store(clip)
    settings = properties.of_clip(clip)
    for entry in settings.objects:
        if entry.object_id in object_ids and settings.mask is not None:
            layers.remove_object_layer(settings.mask, entry.name)
    _remember(clip, {*_cleared(clip), *object_ids})
    if store is not None:
        clip_state.of(clip).part(_Cleared).folder = store.folder
        _follow(clip, store)


def reconcile(clip: bpy.types.MovieClip) -> None:
    """Let the store follow the clip. The store may have changed since the file was saved.

    Call it only when the user presses a button. Raises SplatError if it would have to move mattes
    that may not be the clip's.
    """
    store = known_store(clip)
    if store is None:
        return
    cleared, aside = _cleared(clip), set(store.aside())
    if aside - cleared or any(store.frames(object_id) for object_id in cleared):
        proven = matte_run.proven_store(clip)
        if proven is not None:
            _follow(clip, proven)


def propagated(clip: bpy.types.MovieClip, store: MatteStore, object_ids: Collection[int]) -> None:
    """Note that these objects have new mattes, so they are no longer cleared. Raises StoreError."""
    renewed = {object_id for object_id in object_ids if store.frames(object_id)}
    for object_id in renewed.intersection(store.aside()):
        store.drop_aside(object_id)
    if renewed & _cleared(clip):
        _remember(clip, _cleared(clip) - renewed)


def _follow(clip: bpy.types.MovieClip, store: MatteStore) -> None:
    """Set aside the mattes of objects that are cleared in the clip, and put back all others."""
    cleared, aside = _cleared(clip), set(store.aside())
    if not cleared and not aside:
        return
    for object_id in aside - cleared:
        store.put_back(object_id)
    for object_id in cleared:
        if not store.frames(object_id):
            continue
        if object_id in aside:
            # Propagated since, so the new mattes count.
            store.drop_aside(object_id)
            cleared = cleared - {object_id}
        else:
            store.set_aside(object_id)
    if cleared != _cleared(clip):
        _remember(clip, cleared)
    changes.mattes_changed(clip.session_uid)


def _cleared(clip: bpy.types.MovieClip) -> set[int]:
    return decoded(text_of(clip, _CLEARED), set[int], set())


def _remember(clip: bpy.types.MovieClip, object_ids: set[int]) -> None:
    text = msgspec.json.encode(sorted(object_ids)).decode() if object_ids else ""
    setattr(clip, _CLEARED, text)


def _property() -> Any:
    return bpy.props.StringProperty(description="Subjects whose masks are set aside, as JSON")


def attach() -> None:
    """Add the property to clips."""
    setattr(bpy.types.MovieClip, _CLEARED, _property())


def detach() -> None:
    """Remove the property from clips."""
    delattr(bpy.types.MovieClip, _CLEARED)
