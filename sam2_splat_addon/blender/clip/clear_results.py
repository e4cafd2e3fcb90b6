# SPDX-License-Identifier: GPL-3.0-or-later
"""Clears objects so that Ctrl+Z brings them back, mattes on disk included.

Which objects are cleared is a property of the clip, which Blender undoes; the store then follows.
Mattes of cleared objects lie aside until the object gets new ones. Opening a file moves nothing: what
it says waits until the user presses something that needs it.
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
    """Where the mattes were that the user cleared in this session.

    An undo moves mattes of this folder alone, since the place that a file names may be anybody's.
    """

    outlives_removal: ClassVar[bool] = True
    folder: Path | None = None

    def undone(self, clip: bpy.types.MovieClip) -> None:
        """Let the store follow; nobody can be told what goes wrong, so it is printed."""
        store = known_store(clip)
        if store is None or self.folder != store.folder:
            return
        try:
            _follow(clip, store)
        except SplatError as error:
            console.log.warning(str(error))


def clear_objects(clip: bpy.types.MovieClip, object_ids: Collection[int]) -> None:
    """Remove mask layers and mattes of some objects; the clicks stay. Raises SplatError."""
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
    """Make the store follow the clip, as a file may find it otherwise than it was saved with.

    For what the user presses. Raises SplatError where mattes would have to be moved that are not
    known as the clip's.
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
    """Take note that these objects have new mattes, which count from now on. Raises StoreError."""
    renewed = {object_id for object_id in object_ids if store.frames(object_id)}
    for object_id in renewed.intersection(store.aside()):
        store.drop_aside(object_id)
    if renewed & _cleared(clip):
        _remember(clip, _cleared(clip) - renewed)


def _follow(clip: bpy.types.MovieClip, store: MatteStore) -> None:
    """Set aside what the clip says is cleared, and put back what it doesn't."""
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
    changes.mattes_changed(clip.session_uid)


def _cleared(clip: bpy.types.MovieClip) -> set[int]:
    return decoded(text_of(clip, _CLEARED), set[int], set())


def _remember(clip: bpy.types.MovieClip, object_ids: set[int]) -> None:
    text = msgspec.json.encode(sorted(object_ids)).decode() if object_ids else ""
    setattr(clip, _CLEARED, text)


def _property() -> Any:
    return bpy.props.StringProperty(description="Objects whose mattes are set aside, as JSON")


def attach() -> None:
    """Hang the property onto clips."""
    setattr(bpy.types.MovieClip, _CLEARED, _property())


def detach() -> None:
    """Take the property off again."""
    delattr(bpy.types.MovieClip, _CLEARED)
