# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks on the add-on, for `tools/attack.py` and, a few of each, for the tests.

An attack is a function that tries something many times and says what it found::

    @attack("kill the worker while it propagates", count=100)
    def kill_worker(count: int, folder: Path, seed: int) -> Outcome: ...

A new module of attacks is imported by `tools/attack.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """What an attack found.

    Attributes
    ----------
    tried
        How often it was tried.
    faults
        A sentence for each.
    skipped
        Why it could not be tried here; empty where it was.
    note
        What else is worth knowing.
    """

    tried: int = 0
    faults: list[str] = field(default_factory=list)
    skipped: str = ""
    note: str = ""


Try = Callable[[int, Path, int], Outcome]
"""Tries so often, in a scratch folder, with a seed."""


@dataclass(frozen=True)
class Attack:
    """An attack and how often the tool tries it.

    Attributes
    ----------
    group
        A word to choose it by, such as ``kills``.
    """

    name: str
    group: str
    count: int
    run: Try


ATTACKS: list[Attack] = []


def attack(name: str, *, group: str, count: int) -> Callable[[Try], Try]:
    """Register an attack."""

    def register(run: Try) -> Try:
        ATTACKS.append(Attack(name, group, count, run))
        return run

    return register
