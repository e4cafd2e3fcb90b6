# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the bad photo, correct the next, edit a mask and undo the edit. Played inside Blender."""

from __future__ import annotations

import functools
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


def on_strips(window: Window, frame: int) -> list[tuple[float, float]]:
    """Return where a frame's cells are on a picture: in the Clip Editor and in the timeline."""
    tall = bpy.context.window_manager.windows[0].height
    editor = window.region()
    share = (frame - 0.5) / window.clip.sam2_splat.frame_count
    areas = bpy.context.window_manager.windows[0].screen.areas
    timeline = next(area for area in areas if area.ui_type == "TIMELINE")
    region = next(region for region in timeline.regions if region.type == "WINDOW")
    across = region.view2d.view_to_region(frame, 0, clip=False)[0]
    return [
        (editor.x + share * editor.width, tall - editor.y - 3),
        (region.x + across, tall - region.y - 3),
    ]


def scenario(window: Window) -> Play:
    review = window.addon("review.live_review")

    def states() -> dict[int, str]:
        found: Any = review.of_clip(window.clip)
        return dict(found.states()) if found is not None else {}

    yield from window.load(window.folder / "photos")
    yield from window.ctrl_click(*SEAT)
    running, arrivals = window.addon("context.task_runner"), window.addon("review.arrivals")
    yield from window.go_to(5)
    window.run("propagate")
    yield Until(lambda: len(arrivals.states(window.clip, None)) >= 2, "masks come in", 120)
    done = sorted(arrivals.states(window.clip, None))
    yield from window.picture("live")
    later = sorted(arrivals.states(window.clip, None))
    assert running.current() is not None, "the propagation is over already"
    yield from window.idle()
    window.note(done=done, later=later, cells={at: on_strips(window, at) for at in range(1, 7)})
    yield Until(states, "the masks are reviewed", 60)
    window.note(states={str(frame): state for frame, state in states().items()})
    yield from window.picture("reviewed")

    # The keys go through the list in its order, worst first, and back.
    worst_first = [one.frame for one in review.of_clip(window.clip).listed()]
    assert states()[worst_first[0]] != "good"
    window.note(worst_first=worst_first)
    yield from window.go_to(window.clip.sam2_splat.frame_count)
    ways = (("PAGE_DOWN", worst_first), ("PAGE_UP", worst_first[-2::-1]))
    for key, frames in ways:
        for frame in frames:
            yield from window.press(key)
            at = functools.partial(lambda wanted: bpy.context.scene.frame_current == wanted, frame)
            yield Until(at, f"{key} goes to {frame}")

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
