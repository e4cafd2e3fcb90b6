# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the bad photo, correct the next, edit a mask and undo the edit. Played inside Blender."""

from __future__ import annotations

from typing import Any

import bpy

from tools.window.session import Play, Until, Window

SEAT = (304, 444)
# The test has made the photo of this frame grey everywhere.
GREY = 4
EDITED = 3


def points(window: Window) -> list[tuple[float, float]]:
    """Return the places of the mask layer's points."""
    layer = window.clip.sam2_splat.mask.layers[0]
    return [tuple(point.co) for spline in layer.splines for point in spline.points]


def scenario(window: Window) -> Play:
    review = window.addon("review.live_review")

    def states() -> dict[int, str]:
        found: Any = review.of_clip(window.clip)
        return dict(found.states()) if found is not None else {}

    yield from window.load(window.folder / "photos")
    yield from window.ctrl_click(*SEAT)
    yield from window.to_end("propagate")
    yield Until(states, "the masks are reviewed", 60)
    window.note(states={str(frame): state for frame, state in states().items()})
    yield from window.picture("reviewed")

    # The keys go through the list.
    for key, start in (("PAGE_DOWN", 1), ("PAGE_UP", window.clip.sam2_splat.frame_count)):
        yield from window.go_to(start)
        yield from window.press(key)
        yield Until(
            lambda: bpy.context.scene.frame_current not in (1, window.clip.sam2_splat.frame_count),
            f"{key} goes to a frame to look at",
        )
        assert states()[bpy.context.scene.frame_current] != "good"

    # Click again after the grey photo, and propagate again.
    yield from window.go_to(GREY + 1)
    yield from window.ctrl_click(SEAT[0] - 20, SEAT[1])
    yield from window.to_end("propagate")
    yield from window.picture("corrected")

    # Move the whole mask by hand and keep it, so that this frame is the user's own.
    yield from window.go_to(EDITED)
    window.space.mode = "MASK"
    window.space.mask = window.clip.sam2_splat.mask
    yield from window.point_at(300, 450)
    before = points(window)
    yield from window.press("A")
    yield from window.press("G")
    yield from window.point_at(360, 450)
    yield from window.press("RET")
    yield Until(lambda: points(window) != before, "the mask's points move")
    moved = points(window)
    yield from window.to_end("bake")
    problem = window.addon("context.last_error").last("bake", window.clip.session_uid)
    assert "is not kept yet" in problem.sentence, "the edit is left out"
    assert points(window) == moved, "the edit is lost"
    yield from window.press("I")
    window.space.mode = "TRACKING"
    yield Until(lambda: states().get(EDITED) == "corrected", "the edit is seen", 60)
    yield from window.picture("edited")
    window.run("restore_mask")
    yield Until(lambda: states().get(EDITED) == "good", "the edit is taken back", 60)
    yield from window.picture("restored")
