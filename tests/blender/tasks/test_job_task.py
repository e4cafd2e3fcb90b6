# SPDX-License-Identifier: GPL-3.0-or-later
"""A task's steps leave enough time for the window."""

from __future__ import annotations

from collections.abc import Generator

import pytest

pytestmark = pytest.mark.usefixtures("addon")


@pytest.mark.parametrize(("each", "done"), [(0.002, 5), (0.006, 1), (0.03, 1)])
def test_no_piece_of_work_is_begun_that_would_end_too_late(
    each: float, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece is expected to take as long as the one before: here 10 ms, with pieces of 2, 6 and 30 ms."""
    from sam2_splat_addon.blender.tasks import job_task

    now, begun = [100.0], [0]

    def pieces() -> Generator[bool, None, None]:
        while True:
            begun[0] += 1
            now[0] += each
            yield False

    task = object.__new__(job_task.JobTask)
    task._steps = pieces()
    monkeypatch.setattr(job_task.time, "monotonic", lambda: now[0])
    assert not task.step(100.0101)
    assert begun[0] == done
