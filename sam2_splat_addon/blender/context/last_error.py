# SPDX-License-Identifier: GPL-3.0-or-later
"""The last error, kept for the panel.

Blender's report fades after some seconds. The panel shows the error until something works or the user
closes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import SplatError
from . import session_state
from .session_state import SessionPart


@dataclass(frozen=True)
class Problem:
    """An error as the panel shows it.

    Attributes
    ----------
    kind
        The error's class, from core/errors.py.
    sentence
        What is wrong and what to do.
    """

    kind: type[SplatError]
    sentence: str


@dataclass
class _LastError(SessionPart):
    problem: Problem | None = None


def last() -> Problem | None:
    """Return the last error, if nothing has worked since."""
    return session_state.part(_LastError).problem


def remember(error: SplatError) -> None:
    """Keep an error for the panel."""
    session_state.part(_LastError).problem = Problem(type(error), str(error))


def forget() -> None:
    """Forget the error, because something worked or the user has read it."""
    session_state.part(_LastError).problem = None
