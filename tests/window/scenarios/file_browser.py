# SPDX-License-Identifier: GPL-3.0-or-later
"""Type a folder into Blender's file browser, then choose a photo in it. Played inside Blender."""

from __future__ import annotations

from pathlib import Path

import bpy

from tools.window.session import Play, Until, Window


def browser(window: Window) -> bpy.types.Area:
    """Return the file browser, which has its own window."""
    return next(area for area in window.front.screen.areas if area.type == "FILE_BROWSER")


def part(window: Window, kind: str) -> bpy.types.Region:
    """Return one region of the file browser."""
    return next(region for region in browser(window).regions if region.type == kind)


def shows(window: Window, folder: Path) -> bool:
    """Whether the file browser lists a folder."""
    params = browser(window).spaces.active.params
    return Path(params.directory.decode()) == folder


def opened(window: Window) -> Play:
    """Press Load Photos and wait for the file browser."""
    yield from window.push("load", across=0.15)
    yield Until(lambda: len(bpy.context.window_manager.windows) == 2, "the file browser opens")
    yield from window.drawn()
    yield Until(lambda: browser(window).spaces.active.params is not None, "it has a folder")


def closed(window: Window) -> Until:
    """Wait until the file browser is closed."""
    return Until(lambda: len(bpy.context.window_manager.windows) == 1, "the file browser closes")


def scenario(window: Window) -> Play:
    photos = window.folder / "photos"

    # Escape closes it, and nothing happens.
    yield from opened(window)
    yield from window.picture("browser")
    yield from window.strike("ESC", window.middle(part(window, "WINDOW")))
    yield closed(window)
    assert window.clip is None, "a file browser that was closed with Escape loads something"

    # Type the folder into the line above the list.
    yield from opened(window)
    yield from typed(window, photos)
    yield from window.picture("folder")
    yield from window.push("file.execute", within=part(window, "EXECUTE"), across=0.93)
    yield closed(window)
    yield from window.loaded(photos)
    yield Until(
        lambda: window.space.clip_user.proxy_render_size == "PROXY_25",
        "the editor shows small copies of large photos",
        120,
    )
    window.run("clip.view_all", fit_view=True)
    yield from window.picture("loaded")
    window.note(frames=window.clip.sam2_splat.frame_count)

    # Then choose one of its photos with a double click in the list.
    window.space.clip = None
    # A button under the mouse stays grey in Blender 4.3, as it was while photos were loaded.
    window.send("MOUSEMOVE", "NOTHING", window.middle(window.region("UI")))
    yield from window.drawn()
    yield from opened(window)
    yield from typed(window, photos)
    listed = part(window, "WINDOW")
    place = (listed.x + 60, listed.y + listed.height - 30)
    yield from window.strike("LEFTMOUSE", place)
    params = browser(window).spaces.active.params
    yield Until(lambda: params.filename, "a photo is chosen")
    window.note(chosen=params.filename)
    yield from window.picture("chosen")
    yield from window.strike("RET", place)
    yield closed(window)
    yield from window.loaded(photos)
    window.note(again=window.clip.sam2_splat.frame_count)


def typed(window: Window, folder: Path) -> Play:
    """Type a folder into the file browser's path."""
    place = window.middle(part(window, "UI"))
    window.send("MOUSEMOVE", "NOTHING", place)
    yield from window.drawn()
    yield from window.strike("LEFTMOUSE", place)
    yield from window.strike("A", place, {"ctrl": True})
    yield from window.type(str(folder))
    yield from window.strike("RET", place)
    yield Until(lambda: shows(window, folder), f"the file browser lists {folder.name}")
    # Click on an empty place of the list to leave the text field.
    yield from window.strike("LEFTMOUSE", window.middle(part(window, "WINDOW")))
    yield from window.drawn()
