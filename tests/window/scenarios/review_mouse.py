# SPDX-License-Identifier: GPL-3.0-or-later
"""Go through the list, tick a frame, and go to a frame on the strip, all with the mouse. Played inside
Blender."""

from __future__ import annotations

from typing import Any

import bpy

from tools.window.session import Play, Until, Window

SEAT = (304, 444)
# The test has made the photo of this frame grey everywhere.
GREY = 4
# Middle of the strip's cells, in px above the editor's lower edge.
STRIP = 5


def at_frame(frame: int) -> Until:
    """Wait until the playhead is on a frame."""
    return Until(lambda: bpy.context.scene.frame_current == frame, f"the playhead is on {frame}")


def click_strip(window: Window, frame: int) -> Play:
    """Click on a frame's cell in the strip."""
    region = window.region()
    frames = window.clip.sam2_splat.frame_count
    place = (region.x + int((frame - 0.5) * region.width / frames), region.y + STRIP)
    window.send("MOUSEMOVE", "NOTHING", place)
    yield from window.drawn()
    yield from window.strike("LEFTMOUSE", place)
    yield at_frame(frame)


def scenario(window: Window) -> Play:
    review = window.addon("review.live_review")

    def found() -> Any:
        return review.of_clip(window.clip)

    def listed() -> list[int]:
        return [one.frame for one in found().listed()]

    def states() -> dict[int, str]:
        return dict(found().states()) if found() is not None else {}

    yield from window.load(window.folder / "photos")
    yield from window.ctrl_click(*SEAT)
    yield from window.to_end("propagate")
    frames = window.clip.sam2_splat.frame_count
    yield Until(lambda: len(states()) == frames, "the masks are reviewed", 60)
    assert GREY in listed(), f"the grey photo is not listed: {listed()}"
    window.note(listed=listed())

    # Click on every frame of the strip, with the click tool off and on. The tool makes no click there.
    yield from click_strip(window, 2)
    window.run("tool")
    yield from click_strip(window, frames)
    yield from click_strip(window, 1)
    window.run("tool")
    assert len(window.tracks()) == 1, "a click on the strip made a click on the photo"
    yield from window.picture("strip")

    yield from window.scroll("UI", 12)
    # The right and the left button go through the list, in its order.
    for frame in listed():
        at = yield from window.push("review_step", across=0.7)
        yield at_frame(frame)
    if len(listed()) > 1:
        yield from window.push("review_step", near=at[1], across=0.3)
        yield at_frame(listed()[-2])

    yield from click_strip(window, GREY)
    yield from window.picture("grey")
    # It is below the list, and as large as a button can be.
    yield from window.push("looks_fine")
    yield Until(lambda: states()[GREY] == "fine", "the grey photo looks fine")
    assert GREY not in listed(), "a frame that looks fine is still in the list"
    yield from window.picture("fine")
    # The same button puts it back.
    yield from window.push("looks_fine")
    yield Until(lambda: GREY in listed(), "the grey photo is listed again")

    # The key works on the current frame, not on the frame of the button.
    yield from click_strip(window, 2)
    yield from window.point_at(*SEAT)
    yield from window.press("Y")
    yield Until(lambda: states()[2] == "fine", "the key says that this frame looks fine")
    assert GREY in listed(), "the key takes another frame off the list"
    yield from window.press("Y")
    yield Until(lambda: states()[2] == "good", "the key takes it back")
