# SPDX-License-Identifier: GPL-3.0-or-later
"""The last error, kept for the panel.

A report fades after seconds; here the sentence stays until something works or the user closes it.
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
        Which of core/errors.py it is.
    sentence
        What is wrong and what to do.
    """

    kind: type[SplatError]
    sentence: str


@dataclass
class _LastError(SessionPart):
    problem: Problem | None = None


def last() -> Problem | None:
    """What went wrong last, if nothing has gone well since."""
    return session_state.part(_LastError).problem


def remember(error: SplatError) -> None:
    """Keep an error for the panel."""
    session_state.part(_LastError).problem = Problem(type(error), str(error))


def forget() -> None:
    """Something went well, or the user has read it."""
    session_state.part(_LastError).problem = None
