# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one long task at a time, from the window's timer or in background; imports bpy.

A task is a plain object with ``step``, ``cancel`` and ``abort`` (see :class:`Task`). The same task
runs under a button and under a script: the window's timer calls ``step`` with a short deadline,
background calls it until it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import bpy

from ...core.errors import SplatError
from . import editors, last_error, session_state
from .session_state import SessionPart

# The window's timer, s, and how much of each tick the task may use: the rest belongs to Blender.
_TICK = 0.05
_SHARE = 0.02
# How long a background step may wait for the worker, s.
_TIMEOUT = 0.2


# What Blender takes from an operator.
Result = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]


class Task(Protocol):
    """A piece of work in steps.

    Attributes
    ----------
    title
        What it does, for the panel: "Propagating".
    fraction
        0 to 1.
    sentence
        Where it is: frame, seconds per frame, time left.
    summary
        One sentence for the user once it has ended well.
    cancelled
        Whether it ended because ``cancel`` was called.
    """

    title: str
    fraction: float
    sentence: str
    summary: str
    cancelled: bool

    def step(self, deadline: float) -> bool:
        """Work until ``deadline`` (monotonic seconds), or until all is done: True at the end.

        Raises SplatError when the task failed.
        """

    def cancel(self) -> None:
        """Ask it to end soon; ``step`` is still called until it says so. What is finished stays."""

    def abort(self) -> None:
        """End at once, without touching Blender's data: the file is being closed."""


@dataclass
class _Running(SessionPart):
    task: Task | None = None


def current() -> Task | None:
    """The task that runs now; for panels and polls."""
    return session_state.part(_Running).task


def _begin(task: Task) -> None:
    running = current()
    if running is not None:
        task.abort()
        raise SplatError(f"{running.title} is still running.", "Wait for it, or cancel it first.")
    session_state.part(_Running).task = task


def _end() -> None:
    session_state.part(_Running).task = None


def cancel_current() -> None:
    """Ask the running task to end soon."""
    running = current()
    if running is not None:
        running.cancel()


def abort_current() -> None:
    """Drop what runs, when the file is closed or the add-on is disabled."""
    running = current()
    if running is not None:
        running.abort()
        _end()


def run_to_end(task: Task, on_step: Callable[[Task], None] | None = None) -> None:
    """Run a task to its end, as scripts do; raises SplatError.

    Ctrl+C cancels: what is finished stays, then KeyboardInterrupt goes on.
    """
    _begin(task)
    try:
        try:
            while not task.step(time.monotonic() + _TIMEOUT):
                if on_step is not None:
                    on_step(task)
        except KeyboardInterrupt:
            task.cancel()
            while not task.step(time.monotonic() + _TIMEOUT):
                pass
            raise
        if on_step is not None:
            on_step(task)
    except BaseException:
        task.abort()
        raise
    finally:
        _end()


def report_error(operator: Any, error: SplatError) -> Result:
    """Turn a typed error into the one report that Blender shows, and keep it for the panel."""
    last_error.remember(error)
    operator.report({"ERROR"}, str(error))
    return {"CANCELLED"}


class TaskOperator:
    """Mixin for operators that run a task: ``start`` makes it, everything else is here."""

    _timer: bpy.types.Timer | None = None

    def start(self, context: bpy.types.Context) -> Task:
        raise NotImplementedError

    def finished(self, context: bpy.types.Context, task: Task) -> None:
        """Called once the task ended, well or cancelled; for what only a window needs."""

    def execute(self, context: bpy.types.Context) -> Result:
        try:
            task = self.start(context)
            run_to_end(task)
        except SplatError as error:
            return report_error(self, error)
        return self._close(context, task)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        if bpy.app.background:
            return self.execute(context)
        try:
            _begin(self.start(context))
        except SplatError as error:
            return report_error(self, error)
        manager = context.window_manager
        self._timer = manager.event_timer_add(_TICK, window=context.window)
        manager.modal_handler_add(self)  # type: ignore[arg-type]  # mixed into one
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        task = current()
        if task is None:  # aborted from outside: another file was loaded
            self._remove_timer(context)
            return {"CANCELLED"}
        if event.type == "ESC" and event.value == "PRESS":
            task.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        try:
            ended = task.step(time.monotonic() + _SHARE)
        except SplatError as error:
            self._leave(context)
            return report_error(self, error)
        except BaseException:
            task.abort()
            self._leave(context)
            raise
        editors.redraw()
        if not ended:
            context.workspace.status_text_set(f"{task.sentence}   (Esc to cancel)")
            return {"PASS_THROUGH"}
        self._leave(context)
        return self._close(context, task)

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender calls this when it closes the window or the file under a running operator."""
        abort_current()
        self._remove_timer(context)

    def _close(self, context: bpy.types.Context, task: Task) -> Result:
        last_error.forget()
        self.finished(context, task)
        self.report({"WARNING" if task.cancelled else "INFO"}, task.summary)
        if not bpy.app.background:
            # What Python changed from a timer is lost on the user's next Ctrl+Z without this.
            bpy.ops.ed.undo_push(message=task.title)
        return {"CANCELLED"} if task.cancelled else {"FINISHED"}

    def _leave(self, context: bpy.types.Context) -> None:
        _end()
        self._remove_timer(context)
        context.workspace.status_text_set(None)
        editors.redraw()

    def _remove_timer(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
