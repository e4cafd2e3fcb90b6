# SPDX-License-Identifier: GPL-3.0-or-later
"""Click, Alt+click, drag and X of the click tool, each undone with one Ctrl+Z. Played inside Blender."""

from __future__ import annotations

from typing import Any

import bpy

from tools.window.session import Play, Until, Window

SEAT, BACK, FLOOR = (304, 444), (183, 261), (100, 800)
BOX = ((150, 140), (470, 760))


def clicks(window: Window) -> list[str]:
    """Return the names of all clicks. An exclude click begins with `-`, a box with `box`."""
    prompts = window.addon("clip.markers")
    return [track.name for entry in prompts.subjects(window.clip) for track in entry.tracks]


def grown(window: Window, count: int) -> Until:
    """Wait until there is a number of clicks."""
    return Until(lambda: len(clicks(window)) == count, f"there are {count} clicks")


def scenario(window: Window) -> Play:
    manager = bpy.context.window_manager.sam2_splat
    yield from window.load(window.folder / "photos")

    # While the tool is off, a click is Blender's own and selects.
    assert manager.use_tool, "the tool is off after photos were loaded"
    yield from window.push("tool")
    assert not manager.use_tool, "the button does not switch the tool off"
    yield from window.click(*SEAT)
    yield from window.drawn()
    assert not clicks(window), "a click does something while the tool is off"

    yield from window.push("tool")
    assert manager.use_tool, "the button does not switch the tool on"
    yield from window.click(*SEAT)
    yield grown(window, 1)
    yield Until(window.has_mask, "the preview shows a mask", 120)
    yield from window.picture("one_click")

    yield from window.click(*FLOOR, alt=True)
    yield grown(window, 2)
    assert sum(name.startswith("-") for name in clicks(window)) == 1, clicks(window)
    yield from window.press("Z", ctrl=True)
    yield grown(window, 1)
    assert not clicks(window)[0].startswith("-"), "undo took the wrong click"
    yield from window.press("Z", ctrl=True, shift=True)
    yield grown(window, 2)

    yield from window.drag(*BOX)
    yield grown(window, 3)
    window.note(boxes=boxes(window))
    yield from window.picture("box")

    # X deletes the click under the mouse, here the exclude click.
    yield from window.point_at(*FLOOR)
    yield from window.press("X")
    yield grown(window, 2)
    assert not any(name.startswith("-") for name in clicks(window)), "X took the wrong click"

    yield from window.click(*BACK)
    yield grown(window, 3)
    # Undo all and redo all, one step each: back's click, X, box, exclude, seat's click.
    for count in (2, 3, 2, 1, 0):
        yield from window.press("Z", ctrl=True)
        yield grown(window, count)
    for count in (1, 2, 3, 2, 3):
        yield from window.press("Z", ctrl=True, shift=True)
        yield grown(window, count)
    # A click on a click adds nothing, but selects it.
    yield from window.click(*BACK)
    yield from window.drawn()
    assert len(clicks(window)) == 3, "a click on a click made another"
    # A click is dragged away, and ESC puts it back.
    before = places(window)
    at = yield from window.point_at(*BACK)
    window.send("LEFTMOUSE", "PRESS", at)
    yield from window.drawn()
    for x, y in ((BACK[0] + 60, BACK[1] + 90), (BACK[0] + 120, BACK[1] + 200)):
        at = yield from window.point_at(x, y)
    assert places(window) != before, "a click can't be dragged"
    yield from window.press("ESC")
    assert places(window) == before, "ESC does not give the click back"
    window.send("LEFTMOUSE", "RELEASE", at)
    yield from window.drawn()
    window.space.show_region_toolbar = True
    yield from window.drawn()
    toolbar: Any = window.region("TOOLS")
    toolbar.active_panel_category = "SAM2 Splat"
    yield from window.push("tool", within=toolbar)
    assert not manager.use_tool, "the toolbar's button does not switch the tool off"
    yield from window.picture("tool_off")


def places(window: Window) -> list[tuple[float, float]]:
    """Return the places of all clicks on this frame."""
    prompts = window.addon("clip.markers")
    points = prompts.collect(window.clip).objects[0].frames[0].points
    return [(point.x, point.y) for point in points]


def boxes(window: Window) -> list[list[float]]:
    """Return the boxes on this frame: left, top, right, bottom, in px of the photo."""
    prompts = window.addon("clip.markers")
    found = prompts.collect(window.clip).objects[0].frames[0].box
    return [[found.x0, found.y0, found.x1, found.y1]]
