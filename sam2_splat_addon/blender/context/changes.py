# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told of a change, and when what is kept goes: the one place where that is said."""

from __future__ import annotations

import bpy

from . import clip_state, session_state, task_runner


def mattes_changed(uid: int, object_id: int | None = None, frame: int | None = None) -> None:
    """A clip's store has something else now: for the clip, for one object, or on one frame of it.

    Parameters
    ----------
    uid
        The clip's session uid.
    frame
        Of the clip, from 1.
    """
    for part in clip_state.of_uid(uid).parts():
        part.mattes_changed(object_id, frame)


def photos_changed(uid: int) -> None:
    """The frames of the clip of a session uid show other photos now."""
    for part in clip_state.of_uid(uid).parts():
        part.photos_changed()


def edits_changed(uid: int) -> None:
    """What the user drew on the clip of a session uid may be something else now."""
    for part in clip_state.of_uid(uid).parts():
        part.edits_changed()


def undone() -> None:
    """Blender has undone or redone a step: mask layers and properties are others, files are not."""
    clip_state.close_removed()
    for kind in clip_state.told_of_undo():
        for clip in bpy.data.movieclips:
            clip_state.of(clip).part(kind).undone(clip)
    for session_kind in session_state.told_of_undo():
        session_state.part(session_kind).undone()


def clips_may_be_gone() -> None:
    """Blender has brought its data up to date: what was kept of removed clips goes."""
    clip_state.close_removed()


def file_closes() -> None:
    """Another file is about to be opened, which may still fail."""
    task_runner.abort_current()
    session_state.close(only_of_file=True)
    clip_state.close_all(for_good=False)


def file_opened() -> None:
    """Another file is open."""
    clip_state.forget_gone()


def add_on_ends() -> None:
    """The add-on is disabled: nothing is left."""
    task_runner.abort_current()
    session_state.close(only_of_file=False)
    clip_state.close_all(for_good=True)
