# SPDX-License-Identifier: GPL-3.0-or-later
"""From Blender's factory start to PNGs as a new user, counting the actions. Played inside Blender."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import bpy

from tests.window.scenarios.file_browser import closed, opened, part, typed
from tools.window.editor import manager
from tools.window.session import Play, Until, Window

AS_STARTED = True
SEAT = (304, 444)
# Where the top bar has the button, in px from the right edge of the window and from its upper edge.
OFFER = (425, 14)


def workspaces() -> list[str]:
    """Return the names of all workspaces."""
    return sorted(one.name for one in bpy.data.workspaces)


def layout() -> list[tuple[str, int, int, int, int]]:
    """Return the areas of Blender's first workspace."""
    areas = bpy.data.workspaces["Layout"].screens[0].areas
    return [(one.ui_type, one.x, one.y, one.width, one.height) for one in areas]


def tab(window: Window) -> str:
    """Return the tab in front in the sidebar, once the add-on has shown all."""
    if window.addon("ui.first_look").is_busy():
        return ""  # Blender 4.3 crashes if the sidebar was not drawn yet
    sidebar: Any = window.region("UI")
    return str(sidebar.active_panel_category)


def shows_first_photo(window: Window, photos: Path) -> Play:
    """Wait until the editor shows the first photo of a folder as a whole, ready for a click."""
    yield from window.loaded(photos)
    yield Until(lambda: tab(window) == "SAM2 Splat", "the add-on's tab is in front")
    yield from window.drawn()
    seen: Any = window._photo_on_screen()
    editor, sidebar = window._box(window.region()), window._box(window.region("UI"))
    left, top, right, bottom = seen
    assert editor[0] <= left < right <= sidebar[0], "the photo is not beside the sidebar"
    assert editor[1] - 1 <= top < bottom <= editor[3] + 1, "the photo is cut off"
    share = max((right - left) / (sidebar[0] - editor[0]), (bottom - top) / (editor[3] - editor[1]))
    assert share > 0.8, "the photo is not fitted"
    scene: Any = bpy.context.scene
    assert (scene.frame_current, scene.frame_start) == (1, 1)
    assert scene.frame_end == len([path for path in photos.iterdir() if path.is_file()])
    state: Any = manager()
    assert state.sam2_splat.use_tool, "the click tool is off"
    names = [entry.name for entry in window.addon("clip.markers").subjects(window.clip)]
    assert names == ["Subject"], names
    assert window.space.mode == "TRACKING"


def scenario(window: Window) -> Play:
    photos = window.folder / "photos"
    before, workspaces_before = layout(), workspaces()
    actions: list[str] = []
    yield from window.picture("start")

    actions.append("click on Mask Photos in the top bar")
    wide, high = manager().windows[0].width, manager().windows[0].height
    at = (wide - OFFER[0], high - OFFER[1])
    window.send("MOUSEMOVE", "NOTHING", at)
    yield from window.drawn()
    yield from window.strike("LEFTMOUSE", at)
    yield Until(lambda: window.area.type == "CLIP_EDITOR", "the Masking workspace opens")
    yield Until(lambda: tab(window) == "SAM2 Splat", "the add-on's tab is in front")
    yield from window.picture("workspace")

    actions.append("click on Load Photos")
    yield from opened(window)
    actions.append("choose the folder")
    yield from typed(window, photos)
    actions.append("click on the file browser's button")
    yield from window.push("file.execute", within=part(window, "EXECUTE"), across=0.93)
    yield closed(window)
    yield from shows_first_photo(window, photos)
    yield from window.picture("loaded")

    actions.append("click on the subject")
    yield from window.click(*SEAT)
    clicked = time.monotonic()
    yield Until(window.has_mask, "the preview shows a mask", 120)
    window.note(first_click=round(time.monotonic() - clicked, 2))
    yield from window.picture("clicked")

    actions.append("click on Propagate")
    at = yield from window.push("propagate")
    yield from window.idle()
    actions.append("click on Bake PNGs")
    yield from window.push("bake", near=at[1], across=0.75)
    yield from window.idle()
    yield from window.picture("baked")
    window.note(actions=actions, output=window.clip.sam2_splat.output_folder)

    # Nothing of the user's was changed, and nothing is made twice.
    assert layout() == before, "the user's workspace has changed"
    assert workspaces() == sorted([*workspaces_before, "Masking"])
    manager().windows[0].workspace = bpy.data.workspaces["Layout"]
    yield Until(lambda: window.area.type == "VIEW_3D", "the first workspace is back")
    yield from window.press("Z", ctrl=True)
    window.run("open_workspace")
    yield Until(lambda: window.area.type == "CLIP_EDITOR", "the Masking workspace opens again")
    assert workspaces() == sorted([*workspaces_before, "Masking"]), workspaces()
