# SPDX-License-Identifier: GPL-3.0-or-later
"""Exclude without Alt, lines, numbers, a preview under the mouse, before and after. Played inside Blender."""

from __future__ import annotations

from typing import Any

import bpy

from tools.window.session import Play, Until, Window

SEAT, BACK, FLOOR, WALL = (304, 444), (183, 261), (100, 800), (60, 60)


def clicks(window: Window) -> list[str]:
    """Return the names of all clicks. An exclude click begins with `-`, a box with `box`."""
    prompts = window.addon("clip.markers")
    return [track.name for entry in prompts.subjects(window.clip) for track in entry.tracks]


def excluding(window: Window) -> int:
    return sum(name.startswith("-") for name in clicks(window))


def scenario(window: Window) -> Play:
    state = bpy.context.window_manager.sam2_splat
    hover, draw = window.addon("clip.hover"), window.addon("overlay.draw")
    live = window.addon("tasks.live_preview")

    def shown() -> Any:
        """The matte that the overlay shows of the first subject, or None."""
        return next((matte for matte, _ in draw._shown(window.clip, 1)), None)

    def inside() -> float:
        matte = shown()
        return float((matte.values > 0).mean()) if matte is not None else 0.0

    yield from window.load(window.folder / "photos")
    if not state.use_tool:
        yield from window.point_at(*SEAT)
        yield from window.press("K")
    yield Until(lambda: state.use_tool, "the tool is on")

    # Hold U: the mask under the mouse, before any click.
    yield from window.picture("bare")
    place = yield from window.point_at(*SEAT)
    window.send("U", "PRESS", place)
    yield Until(lambda: inside() > 0.02, "the preview under the mouse shows", 120)
    assert not clicks(window), "the preview made a click"
    yield from window.picture("hover")
    first = shown()
    # Many moves: one question at a time, and the last place is answered.
    asked: list[Any] = []
    worker: Any = window.addon("context.worker_session")
    preview = worker.preview()
    ask = preview.ask

    def counted(request: Any) -> int:
        assert not preview.busy, "questions queue up"
        asked.append(request)
        return int(ask(request))

    preview.ask = counted
    last_place = (SEAT[0] - 115, SEAT[1] - 161)
    end = yield from window.point_at(*last_place)
    for step in range(24):
        share = (step + 1) / 24
        x, y = (round(a + (b - a) * share) for a, b in zip(place, end, strict=True))
        window.send("MOUSEMOVE", "NOTHING", (x, y))
    yield from window.drawn()
    yield Until(lambda: shown() is not None and shown() is not first, "the mask follows", 60)
    yield Until(lambda: not live.is_busy(), "the last place is answered", 60)
    assert asked, "nothing was asked"
    last = asked[-1].prompts.objects[0].frames[0].points[-1]
    assert abs(last.x - last_place[0]) < 3 and abs(last.y - last_place[1]) < 3, last
    window.note(moves=24, asked=len(asked))
    del preview.ask
    # A click makes it, and the mask stays when the key is let go.
    place = yield from window.point_at(*SEAT)
    yield from window.strike("LEFTMOUSE", place)
    yield Until(lambda: len(clicks(window)) == 1, "a click makes it")
    window.send("U", "RELEASE", place)
    yield Until(lambda: not hover.is_on(), "U is let go")
    yield from window.settled_preview()
    one_click = shown()

    # V: a click excludes without Alt, and a drag is a line.
    yield from window.press("V")
    assert state.use_exclude
    yield from window.picture("excluding")
    yield from window.click(*FLOOR)
    yield Until(lambda: excluding(window) == 1, "a click excludes")
    yield from window.drag((60, 820), (260, 860))
    yield Until(lambda: excluding(window) > 2, "a line makes several clicks")
    made = len(clicks(window))
    assert made <= 7, clicks(window)
    yield from window.press("Z", ctrl=True)
    yield Until(lambda: len(clicks(window)) == 2, "one undo takes the line back")
    yield from window.press("Z", ctrl=True, shift=True)
    yield Until(lambda: len(clicks(window)) == made, "redo makes it again")
    yield from window.press("V")
    assert not state.use_exclude

    # Shift+drag: a line that includes.
    yield from window.point_at(*BACK)
    before = [name for name in clicks(window) if not name.startswith("-")]
    start = yield from window.point_at(170, 190)
    window.send("LEFTMOUSE", "PRESS", start, {"shift": True})
    yield from window.drawn()
    for y in (215, 240, 265, 290):
        start = yield from window.point_at(176, y)
    yield from window.picture("line")
    window.send("LEFTMOUSE", "RELEASE", start, {"shift": True})
    yield from window.drawn()
    after = [name for name in clicks(window) if not name.startswith("-")]
    assert len(after) >= len(before) + 2 and not any(n.startswith("box") for n in after), after
    yield from window.settled_preview()
    corrected = shown()
    assert corrected is not one_click

    # Hold O: the mask before the last correction.
    place = yield from window.point_at(*SEAT)
    window.send("O", "PRESS", place)
    yield Until(lambda: shown() is not None and shown() is not corrected, "O shows the mask before")
    yield from window.picture("before")
    window.send("O", "RELEASE", place)
    yield Until(lambda: shown() is corrected, "O is let go")
    yield from window.picture("after")

    # Numbers choose subjects.
    window.run("object_add", name="wall")
    objects = window.clip.tracking.objects
    names = [entry.name for entry in window.addon("clip.markers").subjects(window.clip)]
    yield from window.press("ONE")
    yield Until(lambda: objects.active.name == names[0], "1 chooses the first subject")
    yield from window.press("TWO")
    yield Until(lambda: objects.active.name == "wall", "2 chooses the second subject")
    yield from window.press("THREE")
    assert objects.active.name == "wall"
    count = len(clicks(window))
    yield from window.click(*WALL)
    yield Until(lambda: len(clicks(window)) == count + 1, "a click goes to the second subject")
    assert len(objects["wall"].tracks) == 1

    # Shift+Z hides our masks, and Blender's own key its overlays.
    yield from window.press("Z", shift=True)
    yield Until(lambda: not window.look.show_overlay, "Shift+Z hides the masks")
    yield from window.press("Z", shift=True)
    yield from window.press("Z", shift=True, alt=True)
    assert window.look.show_overlay, "Shift+Alt+Z is not ours"
    overlays: Any = getattr(window.space, "overlay", None)
    if overlays is not None:
        yield Until(lambda: not overlays.show_overlays, "Shift+Alt+Z is Blender's own")
