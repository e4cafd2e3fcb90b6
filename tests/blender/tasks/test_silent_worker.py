# SPDX-License-Identifier: GPL-3.0-or-later
"""A silent worker is noticed, and a new worker goes on where it stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

pytestmark = [
    pytest.mark.usefixtures("addon"),
    pytest.mark.skipif(sys.platform == "win32", reason="stops a process with a signal"),
]
MakePhotos = Callable[..., Path]


class Drawn:
    """A stand-in for a panel's layout that notes what is drawn."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def label(self, *, text: str = "", **_: object) -> None:
        self.words.append(text)

    def operator(self, name: str, **_: object) -> Any:
        self.words.append(name)
        return self

    def _inside(self, **_: object) -> Any:
        return self

    column = row = box = progress = _inside


def test_a_silent_worker_is_said_so_with_a_button_that_starts_another(
    make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import loading
    from sam2_splat_addon.blender.context import task_runner, worker_session
    from sam2_splat_addon.blender.tasks.propagate_task import PropagateTask
    from sam2_splat_addon.blender.ui import widgets
    from tests.blender.ui.test_operators import click

    monkeypatch.setattr("sam2_splat_addon.client.worker.job.SILENCE", 1.0)
    clip = loading.load(make_photos(count=12))
    click(clip, "square", 1, 50.5, 90.5)
    task = PropagateTask(clip, device="cpu", threads=1)
    stopped: list[int] = []
    drawn: list[str] = []

    def look(_: task_runner.Task) -> None:
        job = task._job
        if not stopped and job is not None and task.fraction > 0.1 and job._worker is not None:
            stopped.append(job._worker.process_id)
            assert not task.silence
            os.kill(stopped[0], signal.SIGSTOP)
        elif stopped and task.silence:
            assert job is not None
            if job._worker is not None and job._worker.process_id == stopped[0]:
                layout: Any = Drawn()
                assert widgets.draw_progress(layout, "propagate")
                drawn.extend(layout.words)
                assert bpy.ops.sam2_splat.restart_worker() == {"FINISHED"}

    try:
        task_runner.run_to_end(task, look)
    finally:
        worker_session.shut_down()
        if stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stopped[0], signal.SIGKILL)
    assert "has said nothing" in " ".join(drawn)
    assert {"sam2_splat.cancel", "sam2_splat.restart_worker"} <= set(drawn)
    assert not task.cancelled
    assert len(list(Path(clip.sam2_splat.store_folder).glob("objects/*/*.matte"))) == 12


def test_nothing_is_restarted_while_the_worker_speaks(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import loading
    from sam2_splat_addon.blender.context import task_runner, worker_session
    from sam2_splat_addon.blender.tasks.propagate_task import PropagateTask
    from tests.blender.ui.test_operators import click

    clip = loading.load(make_photos(count=2))
    click(clip, "square", 1, 50.5, 90.5)
    polled: list[bool] = []
    task = PropagateTask(clip, device="cpu", threads=1)
    task_runner.run_to_end(task, lambda _: polled.append(bpy.ops.sam2_splat.restart_worker.poll()))
    worker_session.shut_down()
    assert polled
    assert not any(polled)
    assert bpy.ops.sam2_splat.restart_worker.poll()


def test_silence_over_a_live_preview_is_told_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    from sam2_splat_addon.blender.context import worker_session
    from sam2_splat_addon.blender.tasks import live_preview

    class Silent:
        silence = 29.0

    monkeypatch.setattr(worker_session, "asked_preview", Silent)
    monkeypatch.setattr(live_preview, "is_busy", lambda: True)
    assert live_preview.problem() == ""
    Silent.silence = 31.0
    assert "has said nothing for 31 s" in live_preview.problem()
    monkeypatch.setattr(live_preview, "is_busy", lambda: False)
    assert live_preview.problem() == ""
