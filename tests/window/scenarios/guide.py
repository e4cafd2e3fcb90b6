# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the steps of docs/guide.md, and take a picture of each. Played inside Blender."""

from __future__ import annotations

import functools
from typing import Any

import bpy

from tools.window.session import Play, Until, Window

# On the chair's seat, back and leg, in px of the photo.
CLICKS = ((304, 444), (183, 261), (241, 643))
# On the last photo, where somebody has just walked past: seat, back, and the floor between them.
ON_CHAIR = ((375, 430), (360, 172))
BESIDE = ((360, 318),)


def scenario(window: Window) -> Play:
    running, review = window.addon("context.task_runner"), window.addon("review.live_review")
    properties = window.addon("context.properties")
    shots: list[tuple[str, int]] = []

    def film(name: str, milliseconds: int) -> Play:
        """Take a picture for the moving picture of the README."""
        shots.append((f"film_{name}", milliseconds))
        yield from window.picture(f"film_{name}")

    yield from window.picture("1_empty")
    yield from window.load(window.folder / "photos")
    yield from window.picture("2_loaded")
    yield from film("loaded", 1200)

    window.clip.tracking.objects.active.name = "chair"
    for number, at in enumerate(CLICKS, start=1):
        yield from window.click(*at)
        clicked = functools.partial(lambda wanted: len(window.tracks()) == wanted, number)
        yield Until(clicked, f"click {number} is there")
        yield from window.settled_preview()
        yield from film(f"click_{number}", 900)
    yield from window.picture("3_clicked")

    properties.of_scene(bpy.context.scene).follow = True
    window.run("propagate")
    task = running.current()
    for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        # The task may end between two looks.
        come = functools.partial(lambda wanted: task.fraction > wanted, share)
        yield Until(come, "frames come in", 300)
        yield from film(f"propagating_{share:.1f}", 250)
        if share == 0.4:
            yield from window.picture("4_propagating")
    yield from window.idle()
    properties.of_scene(bpy.context.scene).follow = False

    def found() -> Any:
        return review.of_clip(window.clip)

    yield Until(lambda: found() is not None and found().states(), "the masks are reviewed", 60)
    listed = found().listed()
    worst = listed[0].frame if listed else 1
    yield from window.go_to(worst)
    # Show all that the panel says about the frame.
    yield from window.scroll("UI", 10)
    yield from window.picture("5_review")
    yield from window.scroll("UI", -10)
    window.note(worst=worst, listed=len(listed))

    yield from window.go_to(24)
    for at in ON_CHAIR:
        yield from window.click(*at)
    for at in BESIDE:
        yield from window.click(*at, alt=True)
    yield from window.settled_preview()
    yield from window.picture("6_corrected")

    yield from window.to_end("propagate")
    yield Until(found, "the masks are reviewed", 60)
    window.look.overlay_mode = "cutout"
    for frame in (24, 17, 10, 3):
        yield from window.go_to(frame)
        yield from film(f"cutout_{frame:02d}", 700)
        # Nobody has edited a mask, so none may look like an edit.
        assert "corrected" not in found().states().values(), f"edited on frame {frame}"
    yield from window.picture("7_cutout")
    window.look.overlay_mode = "color"

    yield from window.to_end("bake")
    baked = [*(window.folder / "photos" / "postshot_v001").glob("*.png")]
    assert len(baked) == window.clip.sam2_splat.frame_count, "photos are not baked"
    yield from window.scroll("UI", 40)
    yield from window.picture("8_baked")
    yield from film("baked", 2000)
    window.note(film=shots)
