# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the whole job with the steps at the top of the sidebar, on a small screen. Played inside Blender."""

from __future__ import annotations

from pathlib import Path

import bpy

from tools.window.session import Play, Until, Window

SEAT = (304, 444)


def presets() -> list[Path]:
    """Return the user's own presets of Propagate."""
    scripts = Path(bpy.utils.user_resource("SCRIPTS"))
    return list(scripts.glob("presets/sam2_splat/propagate/*.py"))


def scenario(window: Window) -> Play:
    running = window.addon("context.task_runner")
    yield from window.load(window.folder / "photos")
    yield from window.picture("loaded")
    assert not bpy.ops.sam2_splat.propagate.poll()

    # The second button of the row. The others are beside it, at the same height.
    at = yield from window.button("tool", across=0.3)
    top = at[1]
    yield from window.click(*SEAT)
    yield Until(lambda: window.clip.tracking.objects.active.name == "Subject", "a subject is there")
    yield from window.picture("clicked")
    # With one subject the large buttons of both panels are in sight too, without scrolling.
    for name in ("propagate", "bake"):
        below = yield from window.button(name, near=window.region("UI").y)
        assert below[1] < top - 100, f"{name} is only in the row of steps"

    yield from window.push("propagate", near=top)
    yield Until(lambda: running.current() is not None, "the row propagates")
    task = running.current()
    yield Until(lambda: task.fraction > 0.1, "frames come in", 120)
    yield from window.picture("propagating")
    yield from window.idle()

    at = yield from window.push("bake", near=top, across=0.75)
    assert at[1] > top - 20, "Bake is not in the row of steps"
    yield Until(lambda: running.current() is not None, "the row bakes")
    yield from window.idle()
    yield from window.picture("baked")

    # The user's own preset, saved by Blender's own operator.
    window.clip.sam2_splat.speed = "fast"
    with bpy.context.temp_override(area=window.area, region=window.region("UI")):
        bpy.ops.sam2_splat.propagate_preset("EXEC_DEFAULT", name="Mine")  # as Blender's menu does
    yield Until(presets, "the preset is saved")
    window.clip.sam2_splat.speed = "quality"
    saved = presets()[0]
    window.run(
        "script.execute_preset",
        filepath=str(saved),
        menu_idname="SAM2SPLAT_PT_propagate_presets",
    )
    window.note(saved={"speed": window.clip.sam2_splat.speed, "preset": saved.read_text()})
