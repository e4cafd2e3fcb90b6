# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop a link onto Blender's window, agree to what it asks, wait until that installs. Runs inside Blender.

blender --enable-event-simulate -P drag_link.py -- ADDRESS FOLDER
"""

from __future__ import annotations

import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import bpy

_ADDON = "bl_ext.sam2.sam2_splat"
_PATIENCE = 100.0


def steps(address: str, folder: str) -> Iterator[float]:
    """Yield how long to wait before the next step, s."""
    window = bpy.context.window_manager.windows[0]
    yield 2.0  # until the window is drawn
    across, down = window.width // 2, window.height // 2
    command = [
        "/usr/bin/python3",
        "/repository/tools/window/drop.py",
        str(across),
        str(down),
        address,
    ]
    # Blender must be able to answer in between.
    dropper = subprocess.Popen(command)
    while dropper.poll() is None:
        yield 0.1
    assert dropper.returncode == 0, "Blender does not take the link"
    give_up = time.monotonic() + _PATIENCE
    listing = Path(bpy.utils.user_resource("EXTENSIONS"), "sam2", ".blender_ext", "index.json")
    while not listing.exists():
        assert time.monotonic() < give_up, "the repository is not read"
        yield 0.2
    while _ADDON not in bpy.context.preferences.addons:
        assert time.monotonic() < give_up, "it is not installed"
        # Enter takes a dialog away that still waits for the repository.
        yield 5.0
        subprocess.run(["import", "-window", "root", f"{folder}/asked.png"], check=True)
        window.event_simulate("MOUSEMOVE", "NOTHING", x=across, y=down)
        window.event_simulate("RET", "PRESS", x=across, y=down)
        window.event_simulate("RET", "RELEASE", x=across, y=down)
        yield 5.0
    print("INSTALLED", "propagate" in dir(bpy.ops.sam2_splat), flush=True)
    bpy.ops.wm.quit_blender()


# The splash screen would take the keys.
bpy.context.preferences.view.show_splash = False
_play = steps(*sys.argv[sys.argv.index("--") + 1 :])


def tick() -> float | None:
    """Take the next step."""
    try:
        return next(_play)
    except StopIteration:
        return None
    except BaseException:  # noqa: BLE001  # exceptions in a timer are reported nowhere else
        traceback.print_exc()
        bpy.ops.wm.quit_blender()
        return None


bpy.app.timers.register(tick, first_interval=1.0, persistent=True)
