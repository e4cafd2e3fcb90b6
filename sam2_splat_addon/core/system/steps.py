# SPDX-License-Identifier: GPL-3.0-or-later
"""Do work in small steps: a generator yields between the steps and returns the result."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")


def at_once(steps: Generator[Any, None, T]) -> T:
    """Do all steps one after the other, and return the result; for few frames or without a window."""
    looking = quietly(steps)
    while True:
        try:
            next(looking)
        except StopIteration as ended:
            result: T = ended.value
            return result


def ends(steps: Generator[Any, None, Any]) -> bool:
    """Do one step. Return whether there was none left."""
    try:
        next(steps)
    except StopIteration:
        return True
    return False


def quietly(steps: Generator[Any, None, T]) -> Generator[None, None, T]:
    """Do the same steps, but yield None after each."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: T = ended.value
            return result
        yield None
