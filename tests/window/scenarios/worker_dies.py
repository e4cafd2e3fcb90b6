# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill the worker during a run, and let the next run go on. Played inside Blender."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tools.window.session import Play, Until, Window

SEAT = (304, 444)


def workers() -> list[int]:
    """Return the process ids of this Blender's workers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if b"engine/worker/entry.py" in command:
            found.append(int(entry.name))
    return found


def scenario(window: Window) -> Play:
    running, problems = window.addon("context.task_runner"), window.addon("context.last_error")
    yield from window.load(window.folder / "photos")

    # Without a click there is nothing to propagate. The button is grey, and its tooltip says so.
    try:
        window.run("propagate")
    except RuntimeError as refused:
        window.note(refused=str(refused))
    yield from window.picture("refused")

    yield from window.ctrl_click(*SEAT)
    window.run("propagate")
    yield Until(lambda: running.current().fraction > 0.15, "frames come in", 120)
    for process in workers():
        os.kill(process, signal.SIGKILL)
    yield Until(lambda: running.current() is None, "the death of the worker is noticed", 30)
    problem = problems.last("propagate", window.clip.session_uid)
    assert problem is not None, "the panel says nothing of the worker's death"
    window.note(died=problem.sentence)
    yield from window.picture("died")

    yield from window.to_end("propagate")
    store = window.folder / "photos" / "sam2_splat_mattes"
    window.note(finished=len(list(store.glob("objects/*/*.matte"))))
    yield from window.picture("went_on")
