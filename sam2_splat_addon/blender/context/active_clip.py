# SPDX-License-Identifier: GPL-3.0-or-later
"""The clip that an operator or a panel works on."""

from __future__ import annotations

import bpy

from ...core.errors import FootageError
from .editors import clip_editor_of
from .present import present


def active_clip(context: bpy.types.Context) -> bpy.types.MovieClip | None:
    """Return the current editor's clip, else the scene's clip, else the only clip."""
    editor = clip_editor_of(context)
    if editor is not None and editor.clip is not None:
        return editor.clip
    if context.scene is not None and present(context.scene).active_clip is not None:
        return present(context.scene).active_clip
    clips = bpy.data.movieclips
    return clips[0] if len(clips) == 1 else None


def require_clip(context: bpy.types.Context) -> bpy.types.MovieClip:
    """Return the active clip. Raises FootageError if there is none."""
    clip = active_clip(context)
    if clip is None:
        raise FootageError("There is no clip.", "Load photos first.")
    return clip


def is_linked(clip: bpy.types.MovieClip) -> bool:
    """Whether a clip is in another .blend file. It then can't be changed here."""
    # Blender's stub wrongly says that every data-block has a library.
    library: bpy.types.Library | None = clip.library
    return library is not None


def clip_by_uid(uid: int) -> bpy.types.MovieClip | None:
    """Return a clip by its session uid. An undo between two steps makes references invalid."""
    return next((clip for clip in bpy.data.movieclips if clip.session_uid == uid), None)


def require_clip_by_uid(uid: int) -> bpy.types.MovieClip:
    """Find a clip again after an undo or a long wait, which may have made the old reference invalid.

    Raises FootageError if the clip was deleted meanwhile.
    """
    clip = clip_by_uid(uid)
    if clip is not None:
        return clip
    raise FootageError(
        "The clip was deleted while its frames were computed.",
        "Load the photos again. Finished masks are kept and used again.",
    )
