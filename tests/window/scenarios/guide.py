# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the steps of docs/guide.md, and take a picture of each. Played inside Blender."""

from __future__ import annotations

import functools
from typing import Any

from tools.window.session import Play, Until, Window

# On the chair's seat, back and leg, in px of the photo.
CLICKS = ((304, 444), (183, 261), (241, 643))
# On the last photo, where somebody has just walked past: seat, back, and the floor between them.
ON_CHAIR = ((375, 430), (360, 172))
BESIDE = ((360, 318),)


def scenario(window: Window) -> Play:
    running, review = window.addon("context.task_runner"), window.addon("review.live_review")
    yield from window.picture("1_empty")
    yield from window.load(window.folder / "photos")
    yield from window.picture("2_loaded")

    window.clip.tracking.objects.active.name = "chair"
    for number, at in enumerate(CLICKS, start=1):
        yield from window.click(*at)
        clicked = functools.partial(lambda wanted: len(window.tracks()) == wanted, number)
        yield Until(clicked, f"click {number} is there")
    yield from window.settled_preview()
    yield from window.picture("3_clicked")

    window.run("propagate")
    yield Until(lambda: running.current().fraction > 0.4, "frames come in", 300)
    yield from window.picture("4_propagating")
    yield from window.idle()

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
    yield from window.go_to(3)
    window.look.overlay_mode = "cutout"
    yield from window.picture("7_cutout")
    window.look.overlay_mode = "color"

    yield from window.to_end("bake")
    yield from window.scroll("UI", 40)
    yield from window.picture("8_baked")
