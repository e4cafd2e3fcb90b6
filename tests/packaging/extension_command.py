# SPDX-License-Identifier: GPL-3.0-or-later
"""What `blender --command extension` does, for Blender as a module; run by a Python that has bpy.

Reads commands, a JSON list on each line such as ["install", "--enable", "sam2.sam2_splat"] or
["python", CODE], and says after each how it ended.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

import bpy

# Blender's own modules are found once bpy is there.
addon_utils = importlib.import_module("addon_utils")

ENDED = "EXTENSION COMMAND ENDED WITH "


def do(arguments: list[str]) -> int:
    """Do one command; return its exit code."""
    if arguments[0] == "python":
        exec(arguments[1], {})
        return 0
    command_line = importlib.import_module("bl_pkg.bl_extension_cli")
    return int(command_line.cli_extension_handler(arguments))


if __name__ == "__main__":
    # As --online-mode does.
    bpy.context.preferences.system.use_online_access = True  # type: ignore[union-attr]
    addon_utils.enable("bl_pkg")
    for line in sys.stdin:
        code = do(json.loads(line))
        sys.stderr.flush()
        print(f"\n{ENDED}{code}", flush=True)
    # Blender 4.2 crashes as a module at its exit once an add-on was unregistered.
    os._exit(0)
