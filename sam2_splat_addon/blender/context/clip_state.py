# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of each clip as long as it is there: the owner of all that is kept for a clip.

A module declares what it keeps of a clip as a class of its own, a `ClipPart`, and asks for it with
``of(clip).part(Kind)``. Clips go by their session uid: references to data-blocks don't outlive an undo.
Who is told of what, and when, stands in `changes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

import bpy


class ClipPart:
    """What a module keeps of a clip: made on first use, without arguments, and dropped with the clip.

    Attributes
    ----------
    outlives_removal
        Whether it stays when the clip is removed, until another file is opened: an undo may bring the
        clip back. For what was done, which can't be found out again; not for what can be read again.
    """

    outlives_removal: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _kinds.append(cls)

    def mattes_changed(self, object_id: int | None, frame: int | None) -> None:
        """The store has something else now: for the clip, for one object of it, or on one frame."""

    def photos_changed(self) -> None:
        """The clip's frames show other photos now."""

    def edits_changed(self) -> None:
        """What the user drew may be something else now."""

    def undone(self, clip: bpy.types.MovieClip) -> None:
        """Blender has undone or redone a step, which changes no file.

        Kinds that have this method are told of every clip, those that nobody has asked about included.
        """

    def closes(self) -> None:
        """The clip, the file or the add-on goes: end what runs."""


_kinds: list[type[ClipPart]] = []

P = TypeVar("P", bound=ClipPart)


class ClipState:
    """All that is known of one clip, a part a module."""

    def __init__(self) -> None:
        self._parts: dict[type[ClipPart], ClipPart] = {}

    def part(self, kind: type[P]) -> P:
        """A module's part, made where there is none."""
        found = self.known(kind)
        if found is None:
            found = self._parts[kind] = kind()
        return found

    def known(self, kind: type[P]) -> P | None:
        """A module's part, if there is one."""
        found = self._parts.get(kind)
        return found if isinstance(found, kind) else None

    def parts(self) -> list[ClipPart]:
        """All parts, those of the lower rooms first."""
        return [self._parts[kind] for kind in _kinds if kind in self._parts]

    def close(self, *, for_good: bool) -> None:
        """Drop the parts; unless for good, those stay that outlive the clip's removal."""
        for kind, one in reversed(list(self._parts.items())):
            if for_good or not kind.outlives_removal:
                del self._parts[kind]
                one.closes()


_states: dict[int, ClipState] = {}


def of(clip: bpy.types.MovieClip) -> ClipState:
    """What is known of a clip."""
    return of_uid(clip.session_uid)


def of_uid(uid: int) -> ClipState:
    """What is known of the clip of a session uid."""
    if uid not in _states:
        close_removed()
        _states[uid] = ClipState()
    return _states[uid]


def known(kind: type[P]) -> Iterator[tuple[int, P]]:
    """The parts that there are of a kind, each with its clip's session uid."""
    for uid, state in list(_states.items()):
        found = state.known(kind)
        if found is not None:
            yield uid, found


def told_of_undo() -> list[type[ClipPart]]:
    """The kinds that have a method `undone`, those of the lower rooms first."""
    return [kind for kind in _kinds if kind.undone is not ClipPart.undone]


def close_removed() -> None:
    """Drop what is kept of clips that are gone, as far as an undo does not bring it back."""
    present = {clip.session_uid for clip in bpy.data.movieclips} if _states else set()
    for uid in _states.keys() - present:
        _states[uid].close(for_good=False)


def close_all(*, for_good: bool) -> None:
    """Drop what is kept of all clips; unless for good, what outlives the removal of a clip stays."""
    for state in _states.values():
        state.close(for_good=for_good)
    if for_good:
        _states.clear()


def forget_gone() -> None:
    """Drop all that is kept of clips that are not in this file: it is another one by now."""
    present = {clip.session_uid for clip in bpy.data.movieclips}
    for uid in _states.keys() - present:
        _states.pop(uid).close(for_good=True)
