# SPDX-License-Identifier: GPL-3.0-or-later
"""Open the add-on's preferences and use them with the mouse. Played inside Blender."""

from __future__ import annotations

import json
import sys

import bpy

from tools.window.session import Play, Until, Window


def scenario(window: Window) -> Play:
    preferences = window.addon("context.preferences")
    module = preferences.ADDON_PACKAGE
    # One build is installed and another is chosen, so the preferences show both.
    folder = preferences.packages_folder()
    folder.mkdir(parents=True, exist_ok=True)
    stamp = {"python": "{}.{}".format(*sys.version_info), "done": {}, "torch": "cu126"}
    (folder / "sam2_splat_packages.json").write_text(json.dumps(stamp))
    bpy.context.preferences.addons[module].preferences.torch_build = "cu130"
    bpy.context.preferences.system.use_online_access = True
    bpy.ops.preferences.addon_show(module=module)
    yield Until(lambda: len(bpy.context.window_manager.windows) == 2, "the preferences open")
    yield from window.drawn()
    yield from window.picture("preferences")
    area = next(area for area in window.front.screen.areas if area.type == "PREFERENCES")
    page = next(region for region in area.regions if region.type == "WINDOW")
    for _ in range(10):
        window.send("WHEELDOWNMOUSE", "PRESS", window.middle(page))
    yield from window.drawn()
    yield from window.button("clear_cache", within=page, across=0.85)

    # Its first button opens the workspace in Blender's main window, not in that of the preferences.
    for _ in range(10):
        window.send("WHEELUPMOUSE", "PRESS", window.middle(page))
    yield from window.drawn()
    yield from window.push("open_workspace", within=page, across=0.25)
    main = bpy.context.window_manager.windows[0]
    yield Until(lambda: main.workspace.name == "Masking", "the Masking workspace opens")
