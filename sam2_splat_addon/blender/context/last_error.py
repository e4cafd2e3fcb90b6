# SPDX-License-Identifier: GPL-3.0-or-later
"""The last error of each panel and clip.

Blender's report fades after some seconds. The panel whose button failed shows the error until the button
works, its cause is gone, or the user closes it. An error belongs to its clip. Without one, as when
photos can't be loaded, it belongs to the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ...core.errors import SplatError
from . import clip_state, session_state
from .clip_state import ClipPart
from .session_state import SessionPart

PanelName = Literal["load", "install", "propagate", "review", "bake", "cameras", "queue"]
"""The panels that show errors and progress."""

_WITHOUT_CLIP: tuple[PanelName, ...] = ("load", "install", "queue")


@dataclass
class Problem:
    """An error as a panel shows it.

    Attributes
    ----------
    kind
        The error's class, from core/errors.py.
    sentence
        What is wrong and what to do.
    cause
        What the error depends on, as it was when the panel first showed it. None before that.
    """

    kind: type[SplatError]
    sentence: str
    cause: object = None


@dataclass
class _OfClip(ClipPart):
    problems: dict[PanelName, Problem] = field(default_factory=dict)


@dataclass
class _OfFile(SessionPart):
    of_file: ClassVar[bool] = True
    problems: dict[PanelName, Problem] = field(default_factory=dict)


def last(panel: PanelName, uid: int | None) -> Problem | None:
    """Return a panel's error for the clip with a session uid, if it is still known."""
    return _problems(panel, uid).get(panel)


def all_known() -> list[tuple[PanelName, Problem]]:
    """Return all errors that are still shown somewhere, with their panels."""
    found = list(session_state.part(_OfFile).problems.items())
    for _, of_clip in clip_state.known(_OfClip):
        found.extend(of_clip.problems.items())
    return found


def remember(error: SplatError, panel: PanelName, uid: int | None) -> None:
    """Keep an error for a panel."""
    _problems(panel, uid)[panel] = Problem(type(error), str(error))


def forget(panel: PanelName, uid: int | None) -> None:
    """Forget a panel's error: its button worked, its cause is gone, or the user has read it."""
    _problems(panel, uid).pop(panel, None)


def _problems(panel: PanelName, uid: int | None) -> dict[PanelName, Problem]:
    if uid is None or panel in _WITHOUT_CLIP:
        return session_state.part(_OfFile).problems
    return clip_state.of_uid(uid).part(_OfClip).problems
