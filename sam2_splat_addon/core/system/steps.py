# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in small steps: a generator that yields between them and returns what came of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")


def at_once(steps: Generator[Any, None, T]) -> T:
    """All steps one after the other, for few frames or in background."""
    looking = quietly(steps)
    while True:
        try:
            next(looking)
        except StopIteration as ended:
            result: T = ended.value
            return result


def quietly(steps: Generator[Any, None, T]) -> Generator[None, None, T]:
    """The same steps without what they yield."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: T = ended.value
            return result
        yield None
