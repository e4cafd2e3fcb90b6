# SPDX-License-Identifier: GPL-3.0-or-later
"""What *Find Cameras* has found for a clip, kept so that panels need not read a file."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ...core.cameras.found import FoundCameras, folder_beside, read_found
from ..context import clip_state
from ..context.clip_state import ClipPart
from . import matte_run


@dataclass
class _Found(ClipPart):
    """What the file beside the masks says. None for no file."""

    is_read: bool = False
    found: FoundCameras | None = None

    def photos_changed(self) -> None:
        self.is_read = False


def of_clip(clip: bpy.types.MovieClip) -> FoundCameras | None:
    """Return what was found; None for nothing. Quick enough for a redraw."""
    known = clip_state.of(clip).part(_Found)
    if not known.is_read:
        store = matte_run.known_store(clip)
        known.is_read = True
        known.found = read_found(folder_beside(store.folder)) if store is not None else None
    return known.found


def read_again(clip: bpy.types.MovieClip) -> None:
    """Note that there are other cameras now."""
    clip_state.of(clip).part(_Found).is_read = False
