# SPDX-License-Identifier: GPL-3.0-or-later
"""Undo, delete the clip and open a new file, all while SAM 2 works. Played inside Blender."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import bpy

from tools.window.session import Play, Until, Window

SEAT = (304, 444)


def forget(window: Window) -> None:
    """Delete the mattes, because with them the next run would have nothing to do."""
    shutil.rmtree(window.folder / "photos" / "sam2_splat_mattes")


def mattes(window: Window) -> Iterator[Path]:
    """Yield the mattes on disk."""
    return (window.folder / "photos" / "sam2_splat_mattes").glob("objects/*/*.matte")


def started(window: Window) -> Play:
    """Load, click and propagate until mattes come in."""
    yield from window.load(window.folder / "photos")
    yield from window.ctrl_click(*SEAT)
    window.run("propagate")
    running = window.addon("context.task_runner")
    yield Until(lambda: running.current().fraction > 0.1, "frames come in", 120)


def scenario(window: Window) -> Play:
    running = window.addon("context.task_runner")

    yield from started(window)
    yield from window.press("Z", ctrl=True)
    yield from window.idle()
    assert not window.tracks(), "Ctrl+Z does not take back the click"
    yield from window.picture("after_undo")

    # Undo and redo at once: the click is back, and its masks are found.
    forget(window)
    yield from started(window)
    yield from window.press("Z", ctrl=True)
    yield Until(lambda: not window.tracks(), "Ctrl+Z takes back the click")
    yield from window.press("Z", ctrl=True, shift=True)
    yield Until(lambda: len(window.tracks()) == 1, "Ctrl+Shift+Z brings the click back")
    yield from window.idle()
    yield from window.to_end("propagate")
    assert len(list(mattes(window))) == window.clip.sam2_splat.frame_count
    yield from window.picture("after_redo")

    forget(window)
    yield from started(window)
    bpy.data.movieclips.remove(window.clip)
    yield from window.idle()
    yield from window.picture("clip_deleted")
    # Its report stays under the mouse and gets clicks there.
    yield from window.press("ESC")

    forget(window)
    yield from started(window)
    # File > New > General, with the keys.
    bpy.context.preferences.view.use_save_prompt = False
    yield from window.press("N", ctrl=True)
    yield from window.picture("file_new")
    # The new file has no Clip Editor to wait for.
    window.send("G", "PRESS", window.middle())
    window.send("G", "RELEASE", window.middle())
    yield Until(lambda: not bpy.data.movieclips, "the new file is there")
    yield Until(lambda: running.current() is None, "the new file ends the task")
    yield from window.open()
    yield from window.load(window.folder / "photos")
    window.note(frames=window.clip.sam2_splat.frame_count)
    yield from window.picture("new_file")
