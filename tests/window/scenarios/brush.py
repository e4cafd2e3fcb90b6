# SPDX-License-Identifier: GPL-3.0-or-later
"""Paint and erase on masks with the mouse, before and after a propagation. Played inside Blender."""

from __future__ import annotations

from typing import Any

import bpy

from tools.window.session import Play, Until, Window

SEAT = (304, 444)
# Far from the chair.
ADDED = ((60, 90), (160, 90))
THIN = ((60, 200), (200, 200))
HERE = 3


def scenario(window: Window) -> Play:
    state = bpy.context.window_manager.sam2_splat
    painting = window.addon("clip.painting")
    fill = window.addon("clip.matte_cache").fill
    memory = window.addon("masks.written_layers")
    review = window.addon("review.live_review")

    def shape() -> Any:
        """What the overlay shows of the subject on this photo, (height, width)."""
        name = window.clip.sam2_splat.objects[0].name
        frame = window.addon("context.editors").clip_frame(window.space)
        size = (int(window.clip.size[0]), int(window.clip.size[1]))
        return fill(painting.outlines_now(window.clip, name, frame), *size)

    def corrected() -> list[int]:
        found: Any = review.of_clip(window.clip)
        states = dict(found.states()) if found is not None else {}
        return [frame for frame, word in sorted(states.items()) if word == "corrected"]

    def is_whole() -> bool:
        mask = window.clip.sam2_splat.mask
        written = memory.remembered(mask, mask.layers[0].name) if len(mask.layers) else None
        return written is not None and written.is_whole and bool(written.frames)

    def at(x: float, y: float) -> bool:
        return bool(shape()[y, x])

    yield from window.load(window.folder / "photos")

    # Paint on a photo that has no mask and no subject yet.
    yield from window.point_at(*SEAT)
    yield from window.press("J")
    yield Until(lambda: state.use_brush, "J switches the brush on")
    yield from window.picture("cursor")
    yield from window.drag(*ADDED)
    yield Until(lambda: len(window.clip.sam2_splat.objects) == 1, "there is a subject")
    yield Until(lambda: at(100, 90), "the stroke is in the mask")
    yield from window.picture("first")
    yield from window.press("Z", ctrl=True)
    yield Until(lambda: not window.has_mask(), "one undo takes the stroke back")
    yield from window.press("Z", ctrl=True, shift=True)
    yield Until(lambda: window.has_mask() and at(100, 90), "redo brings it back")
    yield from window.press("Z", ctrl=True)
    yield Until(lambda: not window.has_mask(), "undo takes it back")

    # Click, propagate, and paint on one photo.
    yield from window.press("K")
    assert state.use_tool and not state.use_brush, "both tools are on"
    yield from window.click(*SEAT)
    yield from window.settled_preview()
    yield from window.to_end("propagate")
    yield from window.go_to(HERE)
    yield from window.point_at(*SEAT)
    yield from window.press("J")
    before = shape()
    assert before.any() and not at(100, 90)
    # F: the mouse sets the size, a click keeps it.
    start = yield from window.point_at(*SEAT)
    yield from window.press("F")
    window.send("MOUSEMOVE", "NOTHING", (start[0] - 10, start[1]))
    yield from window.drawn()
    yield from window.picture("size")
    yield from window.strike("LEFTMOUSE", (start[0] - 10, start[1]))
    assert state.brush_px == 15, state.brush_px
    # During the stroke it shows at once.
    place = yield from window.point_at(*ADDED[0])
    window.send("LEFTMOUSE", "PRESS", place)
    place = yield from window.point_at(*ADDED[1])
    yield from window.picture("stroke")
    window.send("LEFTMOUSE", "RELEASE", place)
    yield from window.drawn()
    yield Until(lambda: at(100, 90), "the stroke is in the mask")
    yield Until(lambda: corrected() == [HERE], "the photo is the user's", 60)
    lost = before & ~shape()
    assert lost.mean() < 0.001, "the stroke changed the rest"
    yield from window.picture("painted")
    # A thin line, then Ctrl erases through both.
    state.brush_px = 1
    yield from window.drag(*THIN)
    yield Until(lambda: at(130, 200), "the thin line is in the mask")
    state.brush_px = 4
    yield from window.drag((120, 60), (120, 240), ctrl=True)
    yield Until(lambda: not at(120, 90), "Ctrl erases")
    assert at(90, 90) and at(150, 90) and not at(120, 200) and at(180, 200)
    yield from window.picture("erased")
    yield from window.press("Z", ctrl=True)
    yield Until(lambda: at(120, 90) and at(120, 200), "undo takes back one stroke")
    yield from window.press("Z", ctrl=True, shift=True)
    yield Until(lambda: not at(120, 90), "redo erases again")
    kept = shape()
    # A hole: the eraser by its switch.
    state.brush_px = 6
    state.use_eraser = True
    yield from window.drag((SEAT[0], SEAT[1]), (SEAT[0] + 6, SEAT[1]))
    yield Until(lambda: not at(SEAT[0] + 2, SEAT[1]), "the eraser makes a hole")
    state.use_eraser = False
    kept = shape()
    yield from window.press("RIGHT_ARROW")
    yield Until(is_whole, "the layer is written anew", 60)
    yield from window.drawn()
    assert corrected() == [HERE], corrected()
    assert not at(100, 90), "the stroke shows on the next photo"
    yield from window.press("LEFT_ARROW")
    yield from window.drawn()
    again = shape()
    window.note(kept=float((kept & again).sum() / (kept | again).sum()))
    yield from window.to_end("bake")

    # Propagate learns from it and keeps it.
    yield from window.to_end("propagate")
    yield Until(lambda: corrected() == [HERE], "the user's mask stays", 60)
    again = shape()
    window.note(learnt=float((kept & again).sum() / (kept | again).sum()))
    yield from window.to_end("bake")
    window.run("restore_mask")
    yield Until(lambda: corrected() == [], "back to SAM 2's mask", 60)
    yield from window.drawn()

    # The points that matter.
    yield from window.go_to(HERE + 1)
    shown = shape()
    window.run("edit_points")
    yield Until(lambda: window.space.mode == "MASK", "the editor shows points")
    layer = window.clip.sam2_splat.mask.layers[0]
    size = (int(window.clip.size[0]), int(window.clip.size[1]))
    state_now = window.addon("masks.keys").layer_state(layer)
    few = fill(window.addon("masks.shapes").outlines(state_now, size), *size)
    window.note(
        points=sum(len(spline.points) for spline in layer.splines),
        splines=len(layer.splines),
        thin=float((few & shown).sum() / (few | shown).sum()),
    )
    yield from window.drawn()
    yield from window.picture("points")
    assert corrected() == [], "fewer points are an edit"
    yield from window.press("RIGHT_ARROW")
    yield Until(is_whole, "the layer is written anew", 60)
    assert corrected() == [], "fewer points became an edit"
