# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks on the add-on, for `tools/attack.py`; the tests run a few of each.

An attack is a function that tries something many times and reports what it found::

    @attack("kill the worker while it propagates", count=100)
    def kill_worker(count: int, folder: Path, seed: int) -> Outcome: ...

Import a new module of attacks in `tools/attack.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """The result of an attack.

    Attributes
    ----------
    tried
        The number of tries.
    faults
        One sentence for each fault.
    skipped
        Why it could not be tried here; empty if it was.
    note
        Other facts.
    """

    tried: int = 0
    faults: list[str] = field(default_factory=list)
    skipped: str = ""
    note: str = ""


Try = Callable[[int, Path, int], Outcome]
"""A function that makes ``count`` tries in a scratch folder, with a seed."""


@dataclass(frozen=True)
class Attack:
    """An attack, with its default number of tries.

    Attributes
    ----------
    group
        A word that chooses it, such as ``kills``.
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
