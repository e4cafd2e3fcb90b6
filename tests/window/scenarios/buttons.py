# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the sidebar's buttons and click on them with the mouse. Played inside Blender."""

from __future__ import annotations

from tools.window.session import Play, Until, Window

SEAT = (304, 444)


def scenario(window: Window) -> Play:
    running = window.addon("context.task_runner")
    yield from window.load(window.folder / "photos")
    yield from window.ctrl_click(*SEAT)

    at = yield from window.push("propagate")
    yield Until(lambda: running.current() is not None, "the button propagates")
    task = running.current()
    yield Until(lambda: task.fraction > 0.1, "frames come in", 120)
    # Cancel is beside the bar, in the row of steps.
    yield from window.push("cancel", near=at[1], across=0.64)
    yield Until(lambda: running.current() is not task, "the button cancels", 30)
    assert task.cancelled, "the task does not say that it was cancelled"
    yield from window.picture("cancelled")

    yield from window.push("propagate", near=at[1])
    yield Until(lambda: running.current() is not None, "the button propagates again")
    yield from window.idle()

    yield from window.scroll("UI", 40)
    yield from window.push("bake", near=window.region("UI").y)
    yield Until(lambda: running.current() is not None, "the button bakes")
    yield from window.idle()
    window.note(output=window.clip.sam2_splat.output_folder)
    yield from window.picture("baked")
