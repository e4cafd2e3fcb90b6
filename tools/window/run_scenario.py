# SPDX-License-Identifier: GPL-3.0-or-later
"""Play a scenario in Blender's window, step by step. Runs inside Blender.

blender --enable-event-simulate -P run_scenario.py -- SCENARIO.py FOLDER
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.window.session import Play, Until, Window

# Time between two looks at the condition, s; in between Blender handles events and draws.
_LOOK = 0.03


def run_scenario(
    scenario: Callable[[Window], Play], folder: Path, *, as_started: bool = False
) -> None:
    """Play a scenario from Blender's timer, then end Blender: with 0 if all conditions came true.

    It begins with a large Clip Editor, or ``as_started``, with what Blender shows at its start.
    """
    window = Window(folder)
    # The splash screen would take the first click; later it is too late to switch it off.
    preferences = bpy.context.preferences
    assert preferences is not None
    preferences.view.show_splash = False

    def whole() -> Play:
        yield from window.begin() if as_started else window.open()
        yield from scenario(window)

    steps = whole()
    waiting: Until | None = None
    give_up = 0.0

    def tick() -> float:
        nonlocal waiting, give_up
        try:
            if waiting is not None and not waiting.holds():
                assert time.monotonic() < give_up, f"waited in vain until {waiting.what}"
                return _LOOK
            waiting = next(steps)
            give_up = time.monotonic() + waiting.seconds
        except StopIteration:
            _leave(window, 0)
        except BaseException:  # noqa: BLE001  # exceptions in a timer are reported nowhere else
            traceback.print_exc()
            subprocess.run(["import", "-window", "root", str(folder / "failed.png")], check=False)
            _leave(window, 1)
        return _LOOK

    bpy.app.timers.register(tick, first_interval=0.5, persistent=True)


def _leave(window: Window, code: int) -> None:
    """End Blender and its worker at once: its exit handlers are not part of the scenario."""
    window.leave_seen()
    window.addon("context.worker_session").shut_down()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _scenario(path: Path) -> tuple[Callable[[Window], Play], bool]:
    """Return a scenario, and whether it begins with what Blender shows at its start."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scenario: Callable[[Window], Play] = module.scenario
    return scenario, getattr(module, "AS_STARTED", False)


if __name__ == "__main__":
    what, where = sys.argv[sys.argv.index("--") + 1 :]
    found, begins_as_started = _scenario(Path(what))
    run_scenario(found, Path(where), as_started=begins_as_started)
