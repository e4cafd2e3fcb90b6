# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the running Blender: the worker, the task, what lies on the graphics card.

As in `clip_state.py`, a module declares what it keeps as a class of its own, a `SessionPart`, and asks
for it with ``part(Kind)``. Who is told of what, and when, stands in `changes.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar


class SessionPart:
    """What a module keeps as long as Blender runs: made on first use, without arguments.

    Attributes
    ----------
    of_file
        Whether it is dropped when another file is opened.
    """

    of_file: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _kinds.append(cls)

    def undone(self) -> None:
        """Blender has undone or redone a step; clips were told before.

        Kinds that have this method are told although nobody has asked for them.
        """

    def closes(self) -> None:
        """The file or the add-on goes: end what runs."""


_kinds: list[type[SessionPart]] = []
_parts: dict[type[SessionPart], SessionPart] = {}

P = TypeVar("P", bound=SessionPart)


def part(kind: type[P]) -> P:
    """A module's part, made where there is none."""
    found = _parts.get(kind)
    if not isinstance(found, kind):
        found = _parts[kind] = kind()
    return found


def known(kind: type[P]) -> P | None:
    """A module's part, if there is one."""
    found = _parts.get(kind)
    return found if isinstance(found, kind) else None


def drop(kind: type[SessionPart]) -> None:
    """End what a part is at, and begin anew with the next use."""
    found = _parts.pop(kind, None)
    if found is not None:
        found.closes()


def told_of_undo() -> list[type[SessionPart]]:
    """The kinds that have a method `undone`, those of the lower rooms first."""
    return [kind for kind in _kinds if kind.undone is not SessionPart.undone]


def close(*, only_of_file: bool) -> None:
    """Drop the parts, those of the upper rooms first."""
    for kind in reversed(_kinds):
        if kind.of_file or not only_of_file:
            drop(kind)
