# SPDX-License-Identifier: GPL-3.0-or-later
"""Propagate, stop with ESC, and propagate again. Played inside Blender."""

from __future__ import annotations

from pathlib import Path

from tools.window.session import Play, Until, Window

SEAT = (304, 444)


def mattes(window: Window) -> dict[Path, int]:
    """Return the mattes on disk, each with its time."""
    store = window.folder / "photos" / "sam2_splat_mattes"
    return {path: path.stat().st_mtime_ns for path in store.glob("objects/*/*.matte")}


def scenario(window: Window) -> Play:
    yield from window.load(window.folder / "photos")
    yield from window.ctrl_click(*SEAT)
    running = window.addon("context.task_runner")

    window.run("propagate")
    task = running.current()
    yield Until(lambda: len(mattes(window)) >= 2, "the first mattes are there", 120)
    yield from window.press("ESC")
    yield Until(lambda: running.current() is not task, "ESC ends the propagation", 30)
    assert task.cancelled, "the task does not say that it was cancelled"
    kept = mattes(window)
    window.note(kept=len(kept))
    yield from window.picture("cancelled")

    yield from window.to_end("propagate")
    finished = mattes(window)
    window.note(finished=len(finished))
    again = [path.name for path, written in kept.items() if finished[path] != written]
    assert not again, f"{again} were finished and are computed again"
