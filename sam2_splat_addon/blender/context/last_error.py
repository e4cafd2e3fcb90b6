# SPDX-License-Identifier: GPL-3.0-or-later
"""The last error, kept for the panel.

A report fades after seconds; here the sentence stays until something works or the user closes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import SplatError


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


_last: Problem | None = None


def last() -> Problem | None:
    """What went wrong last, if nothing has gone well since."""
    return _last


def remember(error: SplatError) -> None:
    """Keep an error for the panel."""
    global _last
    _last = Problem(type(error), str(error))


def forget() -> None:
    """Something went well, or the user has read it."""
    global _last
    _last = None
