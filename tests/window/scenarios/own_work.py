# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete and draw contours on one photo, click in Mask mode, undo past a run. Played inside Blender."""

from __future__ import annotations

import functools
from typing import Any

import bpy

from tools.window.session import Play, Until, Window

SEAT = (304, 444)
HERE = 3
# Far enough from the chair, so that no click adds a point to its outline.
CORNERS = ((30, 30), (110, 30), (110, 110), (30, 110))


def layer_of(window: Window) -> Any:
    return window.clip.sam2_splat.mask.layers[0]


def shape(window: Window) -> Any:
    """Return what the layer encloses now in the window, (height, width)."""
    size = (int(window.clip.size[0]), int(window.clip.size[1]))
    state = window.addon("masks.keys").layer_state(layer_of(window))
    outlines = window.addon("masks.shapes").outlines(state, size)
    return window.addon("clip.matte_cache").fill(outlines, *size)


def alike(one: Any, other: Any) -> bool:
    """Whether two shapes are the same, even with other points on their outlines."""
    return bool((one & other).sum() > 0.97 * (one | other).sum())


def scenario(window: Window) -> Play:
    manager = bpy.context.window_manager.sam2_splat
    memory = window.addon("masks.written_layers")
    review = window.addon("review.live_review")

    def states() -> dict[int, str]:
        found: Any = review.of_clip(window.clip)
        return dict(found.states()) if found is not None else {}

    def corrected() -> list[int]:
        return [frame for frame, state in sorted(states().items()) if state == "corrected"]

    def is_whole() -> bool:
        mask = window.clip.sam2_splat.mask
        if mask is None or not len(mask.layers):
            return False
        written = memory.remembered(mask, mask.layers[0].name)
        return written is not None and written.is_whole and bool(written.frames)

    def step(key: str, frame: int) -> Play:
        """Go to another photo as a user does, and wait until its mask is right."""
        yield from window.press(key)
        yield Until(
            lambda: bpy.context.scene.frame_current == frame, f"{key} goes to frame {frame}"
        )
        yield Until(is_whole, "the layer is written anew", 60)
        yield from window.drawn()

    def mask_mode() -> Play:
        window.space.mode = "MASK"
        window.space.mask = window.clip.sam2_splat.mask
        yield from window.drawn()

    yield from window.load(window.folder / "photos")
    yield from window.ctrl_click(*SEAT)
    bpy.ops.ed.undo_push(message="clicked")
    yield from window.to_end("propagate")
    yield Until(states, "the masks are reviewed", 60)
    yield from window.to_end("bake")
    yield from window.point_at(*SEAT)
    before: dict[int, Any] = {}
    for frame in range(1, window.clip.sam2_splat.frame_count + 1):
        yield from window.go_to(frame)
        before[frame] = shape(window)

    # Delete all contours on one photo.
    yield from window.go_to(HERE)
    yield from mask_mode()
    yield from window.press("A")
    yield from window.press("X")
    yield from window.press("RET")
    yield Until(lambda: not len(layer_of(window).splines), "X deletes the contours")
    yield Until(lambda: corrected() == [HERE], "one photo is edited", 60)
    yield from window.picture("deleted")
    yield from step("RIGHT_ARROW", HERE + 1)
    assert alike(shape(window), before[HERE + 1]), "the next photo's mask is another"
    assert corrected() == [HERE], corrected()
    yield from window.picture("next")
    yield from window.press("LEFT_ARROW")
    yield Until(lambda: bpy.context.scene.frame_current == HERE, "the playhead goes back")
    yield from window.drawn()
    assert not shape(window).any(), "the deletion does not stay"

    # Undo the changes of frame, which are one step, then the deletion.
    for _ in range(2):
        yield from window.press("Z", ctrl=True)
    yield Until(
        lambda: bpy.context.scene.frame_current == HERE and corrected() == [],
        "undo takes it back",
        60,
    )
    yield Until(is_whole, "the layer is whole", 60)
    yield Until(lambda: alike(shape(window), before[HERE]), "the mask is back")

    # Draw a contour on the same photo, with Blender's own Ctrl+click.
    yield from mask_mode()
    yield from window.press("A", alt=True)
    count = len(layer_of(window).splines)
    for number, corner in enumerate(CORNERS, start=1):
        yield from window.click(*corner, ctrl=True)

        def drawn(wanted: int) -> bool:
            splines = layer_of(window).splines
            return len(splines) == count + 1 and len(splines[-1].points) == wanted

        yield Until(functools.partial(drawn, number), f"Ctrl+click makes point {number}")
    yield from window.press("C", alt=True)
    yield Until(lambda: layer_of(window).splines[-1].use_cyclic, "Alt+C closes it")
    yield from window.press("I")
    yield Until(lambda: corrected() == [HERE], "one photo is edited", 60)
    yield from window.picture("drawn")
    yield from step("RIGHT_ARROW", HERE + 1)
    assert alike(shape(window), before[HERE + 1]), "the next photo's mask is another"

    # Remove a contour from that photo.
    yield from mask_mode()
    yield from window.press("A")
    yield from window.press("X", shift=True)
    yield Until(lambda: not shape(window).any(), "the contours are removed")
    yield Until(lambda: corrected() == [HERE, HERE + 1], "it is an edit of that photo", 60)

    # In Mask mode the click tool is off and says so. Its key goes back to clicks.
    manager.use_tool = True
    yield from window.picture("mask_mode")
    made = len(window.tracks())
    yield from window.click(500, 80)
    assert len(window.tracks()) == made, "in Mask mode a click is a click of the tool"
    yield from window.press("K")
    yield Until(
        lambda: window.space.mode == "TRACKING" and manager.use_tool, "K goes back to clicks"
    )
    yield from window.picture("clicks")
    yield from window.go_to(1)
    yield from window.click(SEAT[0] - 20, SEAT[1])
    yield Until(lambda: len(window.tracks()) == made + 1, "a click of the tool makes a click")
    yield from window.press("Z", ctrl=True)
    yield Until(lambda: len(window.tracks()) == made, "undo takes the click back")
    yield from window.to_end("bake")

    # Make another run and undo past it. The layers show the present mattes.
    yield from window.ctrl_click(SEAT[0] - 100, SEAT[1] - 150)
    yield from window.to_end("propagate")
    yield Until(lambda: corrected() == [HERE, HERE + 1], "drawn masks stay", 60)
    yield from window.go_to(5)
    ran = shape(window)
    yield from window.press("Z", ctrl=True)
    yield Until(is_whole, "the layer is there", 60)
    window.note(frame_after_undo=bpy.context.scene.frame_current)
    # Undo gives back the frame of its step too.
    yield from window.go_to(5)
    yield Until(lambda: alike(shape(window), ran), "the mask is that of the mattes", 60)
    window.note(corrected=corrected())
    yield from window.to_end("bake")
    yield from window.picture("after_undo")
