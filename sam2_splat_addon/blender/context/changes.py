# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell all parts of a change, and drop what is kept when a clip, a file or the add-on goes."""

from __future__ import annotations

import bpy

from . import clip_state, session_state, task_runner


def mattes_changed(uid: int, object_id: int | None = None, frame: int | None = None) -> None:
    """Say that a clip's store has changed, for the whole clip, one object, or one frame of an object.

    Parameters
    ----------
    uid
        The clip's session uid.
    frame
        Frame of the clip, from 1.
    """
    for part in clip_state.of_uid(uid).parts():
        part.mattes_changed(object_id, frame)


def photos_changed(uid: int) -> None:
    """Say that a clip's frames now show other photos. ``uid`` is its session uid."""
    for part in clip_state.of_uid(uid).parts():
        part.photos_changed()


def edits_changed(uid: int) -> None:
    """Say that the user's edits of masks may have changed. ``uid`` is the clip's session uid."""
    for part in clip_state.of_uid(uid).parts():
        part.edits_changed()


def undone() -> None:
    """Say that Blender has undone or redone a step. It changes mask layers and properties, but no files."""
    clip_state.close_removed()
    for kind in clip_state.told_of_undo():
        for clip in bpy.data.movieclips:
            clip_state.of(clip).part(kind).undone(clip)
    for session_kind in session_state.told_of_undo():
        session_state.part(session_kind).undone()


def clips_may_be_gone() -> None:
    """Drop what is kept for removed clips. Blender has just updated its data."""
    clip_state.close_removed()


def file_closes() -> None:
    """Say that another file is about to be opened. Opening may still fail."""
    task_runner.abort_current()
    session_state.close(only_of_file=True)
    clip_state.close_all(for_good=False)


def file_opened() -> None:
    """Say that another file is open."""
    clip_state.forget_gone()


def add_on_ends() -> None:
    """Drop everything, because the add-on is disabled."""
    task_runner.abort_current()
    session_state.close(only_of_file=False)
    clip_state.close_all(for_good=True)
