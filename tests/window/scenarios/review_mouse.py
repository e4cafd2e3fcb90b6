# SPDX-License-Identifier: GPL-3.0-or-later
"""Go through what is listed, say that it looks fine, go to a frame on the strip, with the mouse;
played inside Blender."""

from __future__ import annotations

from typing import Any

import bpy

from tools.window.session import Play, Until, Window

SEAT = (304, 444)
# The test has made the photo of this frame grey all over.
GREY = 4
# Px above the editor's lower edge, in the middle of the strip's cells.
STRIP = 13


def at_frame(frame: int) -> Until:
    """The playhead is there."""
    return Until(lambda: bpy.context.scene.frame_current == frame, f"the playhead is on {frame}")


def click_strip(window: Window, frame: int) -> Play:
    """Click on a frame's cell of the strip."""
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
        return sorted({one.frame for one in found().listed()})

    def states() -> dict[int, str]:
        return dict(found().states()) if found() is not None else {}

    yield from window.load(window.folder / "photos")
    yield from window.ctrl_click(*SEAT)
    yield from window.to_end("propagate")
    frames = window.clip.sam2_splat.frame_count
    yield Until(lambda: len(states()) == frames, "the masks are reviewed", 60)
    assert GREY in listed(), f"the grey photo is not listed: {listed()}"
    window.note(listed=listed())

    # Every frame of the strip, with the click tool off and on: it makes no click there.
    yield from click_strip(window, 2)
    window.run("tool")
    yield from click_strip(window, frames)
    yield from click_strip(window, 1)
    window.run("tool")
    assert len(window.tracks()) == 1, "a click on the strip made a click on the photo"
    yield from window.picture("strip")

    yield from window.scroll("UI", 12)
    # The buttons on the right and on the left go through what is listed, in the frames' order.
    for frame in listed():
        at = yield from window.push("review_step", across=0.7)
        yield at_frame(frame)
    if len(listed()) > 1:
        yield from window.push("review_step", near=at[1], across=0.3)
        yield at_frame(listed()[-2])

    yield from click_strip(window, GREY)
    yield from window.picture("grey")
    # Below the list, as large as a button gets.
    yield from window.push("looks_fine")
    yield Until(lambda: states()[GREY] == "fine", "the grey photo looks fine")
    assert GREY not in listed(), "what looks fine is listed still"
    yield from window.picture("fine")
    # Taken back by the same button.
    yield from window.push("looks_fine")
    yield Until(lambda: GREY in listed(), "the grey photo is listed again")

    # The key is for the frame at hand, whatever the button was pressed for.
    yield from click_strip(window, 2)
    yield from window.point_at(*SEAT)
    yield from window.press("Y")
    yield Until(lambda: states()[2] == "fine", "the key says that this frame looks fine")
    assert GREY in listed(), "the key takes another frame off the list"
    yield from window.press("Y")
    yield Until(lambda: states()[2] == "good", "the key takes it back")
