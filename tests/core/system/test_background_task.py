# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a thread: its result, its error, its progress, and its cancel."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sam2_splat_addon.core.errors import Cancelled, FootageError
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.system.background_task import BackgroundTask, Report

PATIENCE = 30.0  # s


def test_the_result_comes_from_another_thread() -> None:
    background = BackgroundTask(lambda report: threading.get_ident())
    assert background.poll(PATIENCE)
    assert background.result() != threading.get_ident()


def test_what_the_work_raises_is_raised_where_the_result_is_asked_for(tmp_path: Path) -> None:
    background = BackgroundTask(lambda report: scan(tmp_path, report))
    assert background.poll(PATIENCE)
    with pytest.raises(FootageError, match="no photos"):
        background.result()


def test_it_says_how_far_it_is_and_ends_when_it_is_cancelled() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(report: Report) -> None:
        report(3, 10)
        begun.set()
        go_on.wait(PATIENCE)
        report(4, 10)

    background = BackgroundTask(work)
    assert begun.wait(PATIENCE)
    assert (background.done, background.total) == (3, 10)
    assert not background.poll()
    background.cancel()
    go_on.set()
    assert background.poll(PATIENCE)
    with pytest.raises(Cancelled):
        background.result()
    assert background.done == 3
