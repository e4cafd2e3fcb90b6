# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in steps: its result comes back, one step at a time or all at once."""

from __future__ import annotations

from collections.abc import Generator

from sam2_splat_addon.core.system.steps import at_once, ends, quietly


def _three(done: list[int]) -> Generator[str, None, int]:
    for number in range(3):
        done.append(number)
        yield f"step {number}"
    return len(done)


def test_all_steps_at_once_give_the_result() -> None:
    done: list[int] = []
    assert at_once(_three(done)) == 3
    assert done == [0, 1, 2]


def test_a_step_at_a_time_tells_when_none_is_left() -> None:
    done: list[int] = []
    steps = _three(done)
    assert [ends(steps) for _ in range(3)] == [False] * 3
    assert done == [0, 1, 2]
    assert ends(steps) and ends(steps)


def test_quiet_steps_yield_nothing_and_keep_the_result() -> None:
    done: list[int] = []
    steps = quietly(_three(done))
    assert next(steps) is None
    assert done == [0]
    assert [*steps] == [None, None]
    assert done == [0, 1, 2]


def test_quiet_steps_within_others_give_their_result() -> None:
    def outer() -> Generator[None, None, int]:
        found = yield from quietly(_three([]))
        return found + 1

    assert at_once(outer()) == 4
