# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the add-on with Blender's search, from a 3D Viewport. Played inside Blender."""

from __future__ import annotations

import time

import bpy

from tests.window.scenarios.file_browser import browser, closed, part, typed
from tests.window.scenarios.found import AS_STARTED, layout, shows_first_photo, workspaces
from tools.window.session import Play, Until, Window

__all__ = ["AS_STARTED"]


def pause(seconds: float) -> Until:
    """Wait until Blender has opened a menu. No script can ask whether it has."""
    end = time.monotonic() + seconds
    return Until(lambda: time.monotonic() > end, "time passes")


def search(window: Window, text: str, picture: str = "") -> Play:
    """Press F3, type a text, and press Enter."""
    yield from window.press("F3")
    yield pause(1.0)
    yield from window.type(text)
    yield pause(1.0)
    if picture:
        yield from window.picture(picture)
    yield from window.press("RET")


def scenario(window: Window) -> Play:
    photos = window.folder / "photos"
    before, workspaces_before = layout(), workspaces()
    yield from search(window, "load photos", "load_photos")
    yield Until(lambda: len(bpy.context.window_manager.windows) == 2, "it is found")
    yield Until(lambda: browser(window).spaces.active.params is not None, "it has a folder")
    yield from typed(window, photos)
    yield from window.push("file.execute", within=part(window, "EXECUTE"), across=0.93)
    yield closed(window)
    yield Until(lambda: window.area.type == "CLIP_EDITOR", "the Masking workspace opens")
    yield from shows_first_photo(window, photos)
    yield from window.picture("loaded")
    assert layout() == before, "the user's workspace has changed"
    assert workspaces() == sorted([*workspaces_before, "Masking"])

    yield from window.click(304, 444)
    yield Until(window.has_mask, "the preview shows a mask", 120)
    running = window.addon("context.task_runner")
    for text in ("propagate", "bake"):
        yield from search(window, text, text)
        yield Until(lambda: running.current() is not None, f"{text} is found")
        yield from window.idle()
    window.note(output=window.clip.sam2_splat.output_folder)
