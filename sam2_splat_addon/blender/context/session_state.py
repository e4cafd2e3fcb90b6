# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept in memory while Blender runs: the worker, the task, textures on the graphics card.

As in `clip_state.py`, a module declares what it keeps as its own class, a `SessionPart`. It gets it
with ``part(Kind)``. `changes.py` tells the parts of changes.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar


class SessionPart:
    """What a module keeps as long as Blender runs. It is made on first use, without arguments.

    Attributes
    ----------
    of_file
        Whether the part is dropped when another file is opened.
    """

    of_file: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _kinds.append(cls)

    def undone(self) -> None:
        """React to an undo or a redo. The parts of clips were told before.

        A class that has this method is told even without such a part so far.
        """

    def closes(self) -> None:
        """End what runs, because the file or the add-on goes."""


_kinds: list[type[SessionPart]] = []
_parts: dict[type[SessionPart], SessionPart] = {}

P = TypeVar("P", bound=SessionPart)


def part(kind: type[P]) -> P:
    """Return the part of a class. Make it if there is none."""
    found = _parts.get(kind)
    if not isinstance(found, kind):
        found = _parts[kind] = kind()
    return found


def known(kind: type[P]) -> P | None:
    """Return the part of a class, if there is one."""
    found = _parts.get(kind)
    return found if isinstance(found, kind) else None


def drop(kind: type[SessionPart]) -> None:
    """End and drop a part. The next use makes a new one."""
    found = _parts.pop(kind, None)
    if found is not None:
        found.closes()


def told_of_undo() -> list[type[SessionPart]]:
    """Return the classes with a method `undone`, in the order of their declaration."""
    return [kind for kind in _kinds if kind.undone is not SessionPart.undone]


def close(*, only_of_file: bool) -> None:
    """Drop the parts, in reverse order of their classes' declaration."""
    for kind in reversed(_kinds):
        if kind.of_file or not only_of_file:
            drop(kind)
