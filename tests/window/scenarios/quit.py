# SPDX-License-Identifier: GPL-3.0-or-later
"""Quit Blender while SAM 2 works. Played inside Blender."""

from __future__ import annotations

from tools.window.session import Play, Until, Window

SEAT = (304, 444)


def scenario(window: Window) -> Play:
    running = window.addon("context.task_runner")
    yield from window.load(window.folder / "photos")
    yield from window.ctrl_click(*SEAT)
    window.run("propagate")
    yield Until(lambda: running.current().fraction > 0.1, "frames come in", 120)
    yield from window.quit()
