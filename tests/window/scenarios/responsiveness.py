# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long the add-on blocks the window and how soon a click shows. Played inside Blender."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import bpy

from tools.window.session import Play, Until, Window

SEAT, BACK, LEG = (304, 444), (183, 261), (241, 643)
# How long the window rests with the masks shown, s.
IDLE = 4.0


class Steps:
    """Measure the time of every call from Blender to the add-on.

    Attributes
    ----------
    phase
        What the user is doing.
    longest
        Phase -> function -> the longest call: ms of the clock, and ms of processor time.
    """

    def __init__(self, window: Window) -> None:
        self.phase = "load"
        self.longest: dict[str, dict[str, list[float]]] = {}
        self._window = window

    def watch(self) -> None:
        """Measure each timer, draw handler, running task and panel."""
        addon = self._window.addon
        for module, name in (("tasks.live_preview", "_tick"), ("review.live_review", "tick")):
            plain = getattr(addon(module), name)
            bpy.app.timers.unregister(plain)
            timed = self._timed(f"{module} timer", plain)
            setattr(addon(module), name, timed)
            bpy.app.timers.register(timed, persistent=True)
        editor = bpy.types.SpaceClipEditor
        for module in ("overlay.draw", "review.frame_strip"):
            drawer = addon(module)
            drawn = addon("context.session_state").part(drawer.DrawHandle)
            editor.draw_handler_remove(drawn.handle, "WINDOW")
            timed = self._timed(f"{module} drawing", drawer._draw)
            drawn.handle = editor.draw_handler_add(timed, (), "WINDOW", "POST_PIXEL")
        task = addon("context.task_runner").TaskOperator
        modal = self._timed("task", task.modal)
        # Blender counts the parameters of a method and gives it as many arguments.
        task.modal = lambda self, context, event: modal(self, context, event)
        panels: list[Any] = bpy.types.Panel.__subclasses__()
        for panel in panels:
            if panel.__name__.startswith("SAM2SPLAT_"):
                panel.draw = _drawing(self._timed(panel.__name__, panel.draw))

    def _timed(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def timed(*arguments: object) -> object:
            clock, processor = time.perf_counter(), time.thread_time()
            try:
                return plain(*arguments)
            finally:
                took = [time.perf_counter() - clock, time.thread_time() - processor]
                kept = self.longest.setdefault(self.phase, {}).setdefault(name, [0.0, 0.0])
                kept[:] = (max(a, round(b * 1e3, 1)) for a, b in zip(kept, took, strict=True))

        return timed


def _drawing(draw: Callable[..., Any]) -> Callable[[Any, Any], None]:
    return lambda self, context: draw(self, context)


class Answers:
    """Measure when a preview is asked for, answered and drawn."""

    def __init__(self, window: Window) -> None:
        live, self._space = window.addon("tasks.live_preview"), window.space
        self.times: dict[str, float] = {}
        live._ask = self._noted("asked", live._ask)
        live._keep = self._noted("answered", live._keep)
        bpy.types.SpaceClipEditor.draw_handler_add(self._drawn, (), "WINDOW", "POST_PIXEL")

    def begin(self) -> None:
        """Start the time when the mouse is pressed."""
        self.times = {"pressed": time.perf_counter()}

    def done(self) -> bool:
        """Whether the answer is on the screen."""
        return "drawn" in self.times

    def seconds(self) -> list[float]:
        """Return the seconds from the press until the preview was asked for, answered and drawn."""
        began = self.times["pressed"]
        return [round(self.times[step] - began, 3) for step in ("asked", "answered", "drawn")]

    def _noted(self, step: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def noted(*arguments: Any) -> object:
            if step == "asked":  # only the last question counts
                self.times.pop("answered", None)
            # Answers without a matte only say that the worker is ready for the frame.
            if step == "asked" or arguments[0].mattes:
                self.times[step] = time.perf_counter()
            return plain(*arguments)

        return noted

    def _drawn(self) -> None:
        if "answered" in self.times:
            self.times.setdefault("drawn", time.perf_counter())


def scenario(window: Window) -> Play:
    running, live = window.addon("context.task_runner"), window.addon("tasks.live_preview")
    steps, answers = Steps(window), Answers(window)
    steps.watch()
    yield from window.load(window.folder / "photos")
    window.run("object_add", name="chair")

    # The first click waits for the model, the next ones only for their masks.
    steps.phase = "clicking"
    seconds: list[list[float]] = []
    for at in (SEAT, BACK, LEG):
        place = yield from window.point_at(*at)
        answers.begin()
        window.send("LEFTMOUSE", "PRESS", place)
        window.send("LEFTMOUSE", "RELEASE", place)
        yield Until(answers.done, "the click's mask is drawn", 120)
        seconds.append(answers.seconds())
        yield Until(lambda: not live.is_busy(), "the preview rests", 60)
    window.note(seconds=seconds)

    steps.phase = "propagating"
    window.run("propagate")
    for frame in range(window.clip.sam2_splat.frame_count, 0, -1):
        yield from window.go_to(frame)
    yield from window.idle()

    steps.phase = "idle"
    until = time.monotonic() + IDLE
    yield Until(lambda: time.monotonic() > until, "some time goes by")

    steps.phase = "looking"
    for mode in ("color", "matte", "cutout"):
        window.look.overlay_mode = mode
        for frame in range(1, window.clip.sam2_splat.frame_count + 1):
            yield from window.go_to(frame)
    assert running.current() is None
    window.note(longest=steps.longest)
