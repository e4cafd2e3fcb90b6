# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences, opened and used with the mouse; played inside Blender."""

from __future__ import annotations

import bpy

from tools.window.driver import Play, Until, Window


def scenario(window: Window) -> Play:
    module = window.addon("preferences").ADDON_PACKAGE
    bpy.ops.preferences.addon_show(module=module)
    yield Until(lambda: len(bpy.context.window_manager.windows) == 2, "the preferences open")
    yield from window.drawn()
    yield from window.picture("preferences")
    area = next(area for area in window.front.screen.areas if area.type == "PREFERENCES")
    page = next(region for region in area.regions if region.type == "WINDOW")
    yield from window.button("clear_cache", within=page, across=0.85)
