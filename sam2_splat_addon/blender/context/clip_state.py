# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept in memory for each clip, as long as the clip exists.

A module declares what it keeps for a clip as its own class, a `ClipPart`. It gets it with
``of(clip).part(Kind)``. Clips are known by their session uid, because an undo makes references to
data-blocks invalid. `changes.py` tells the parts of changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final, TypeVar

import bpy


class ClipPart:
    """What a module keeps for a clip. It is made on first use, without arguments, and dropped with the clip.

    Attributes
    ----------
    outlives_removal
        Whether the part stays when the clip is removed, until another file is opened. An undo may bring
        the clip back. Set it for what can't be found out again, not for what can be read again.
    """

    outlives_removal: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _kinds.append(cls)

    def mattes_changed(self, object_id: int | None, frame: int | None) -> None:
        """React to a change of the store, for the clip, one object, or one frame of an object."""

    def photos_changed(self) -> None:
        """React to other photos on the clip's frames."""

    def edits_changed(self) -> None:
        """React to edits of masks by the user."""

    def undone(self, clip: bpy.types.MovieClip) -> None:
        """React to an undo or a redo, which changes no file.

        A class that has this method is told of every clip, even one without such a part so far.
        """

    def closes(self) -> None:
        """End what runs, because the clip, the file or the add-on goes."""


_kinds: list[type[ClipPart]] = []
_ROOMS: Final = ("context", "masks", "clip", "overlay", "review", "tasks", "ui")  # lowest first

P = TypeVar("P", bound=ClipPart)


class ClipState:
    """All parts of one clip."""

    def __init__(self) -> None:
        self._parts: dict[type[ClipPart], ClipPart] = {}

    def part(self, kind: type[P]) -> P:
        """Return the part of a class. Make it if there is none."""
        found = self.known(kind)
        if found is None:
            found = self._parts[kind] = kind()
        return found

    def known(self, kind: type[P]) -> P | None:
        """Return the part of a class, if there is one."""
        found = self._parts.get(kind)
        return found if isinstance(found, kind) else None

    def parts(self) -> list[ClipPart]:
        """Return all parts, in the order in which their classes were declared."""
        return [self._parts[kind] for kind in _kinds if kind in self._parts]

    def close(self, *, for_good: bool) -> None:
        """Drop the parts. Unless ``for_good``, keep those with ``outlives_removal``."""
        for kind, one in reversed(list(self._parts.items())):
            if for_good or not kind.outlives_removal:
                del self._parts[kind]
                one.closes()


_states: dict[int, ClipState] = {}


def of(clip: bpy.types.MovieClip) -> ClipState:
    """Return what is kept for a clip."""
    return of_uid(clip.session_uid)


def of_uid(uid: int) -> ClipState:
    """Return what is kept for the clip with a session uid."""
    if uid not in _states:
        close_removed()
        _states[uid] = ClipState()
    return _states[uid]


def known(kind: type[P]) -> Iterator[tuple[int, P]]:
    """Yield all parts of a class, each with its clip's session uid."""
    for uid, state in list(_states.items()):
        found = state.known(kind)
        if found is not None:
            yield uid, found


def told_of_undo() -> list[type[ClipPart]]:
    """Return the classes with a method `undone`: room after room, then in the order of declaration."""
    kinds = [kind for kind in _kinds if kind.undone is not ClipPart.undone]
    # Rooms build on those before them. The order of imports differs from program to program.
    return sorted(kinds, key=lambda kind: _ROOMS.index(kind.__module__.split(".")[-2]))


def close_removed() -> None:
    """Drop what is kept for removed clips, but keep parts with ``outlives_removal``."""
    present = {clip.session_uid for clip in bpy.data.movieclips} if _states else set()
    for uid in _states.keys() - present:
        _states[uid].close(for_good=False)


def close_all(*, for_good: bool) -> None:
    """Drop what is kept for all clips. Unless ``for_good``, keep parts with ``outlives_removal``."""
    for state in _states.values():
        state.close(for_good=for_good)
    if for_good:
        _states.clear()


def forget_gone() -> None:
    """Drop all that is kept for clips of another file, after this file was opened."""
    present = {clip.session_uid for clip in bpy.data.movieclips}
    for uid in _states.keys() - present:
        _states.pop(uid).close(for_good=True)
