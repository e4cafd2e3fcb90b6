# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one long task at a time, from the window's timer or without a window.

A task is a plain object with ``step``, ``cancel`` and ``abort`` (see :class:`Task`). A button and a
script run the same task. In a window a timer calls ``step`` with a short deadline. Without a window
``step`` is called until the task ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import bpy

from ...core.errors import EnvironmentSetupError, SplatError
from ..translations.catalogue import translated, translated_report
from . import editors, last_error, session_state
from .active_clip import active_clip
from .last_error import PanelName
from .present import present
from .session_state import SessionPart

# Time between two ticks of the window's timer, and the time that the task may use of it, s.
_TICK = 0.05
_SHARE = 0.02
# How long a step without a window may wait for the worker, s.
_TIMEOUT = 0.2


# What an operator may return to Blender.
Result = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]


class Task(Protocol):
    """A piece of work in steps.

    Attributes
    ----------
    title
        What the task does, for the panel, such as "Propagating".
    fraction
        How much is done, How much is done, 0 to 1.
    sentence
        How far the task is: frame, seconds per frame, time left.
    summary
        One sentence for the user after the task has ended.
    cancelled
        Whether the task ended because ``cancel`` was called.
    """

    title: str
    fraction: float
    sentence: str
    summary: str
    cancelled: bool

    def step(self, deadline: float) -> bool:
        """Work until ``deadline`` (monotonic seconds), or until all is done. Return True at the end.

        Raises SplatError if the task fails.
        """

    def cancel(self) -> None:
        """Ask the task to end soon. ``step`` is still called until it returns True. Results so far stay."""

    def abort(self) -> None:
        """End at once, and leave Blender's data alone, because the file is being closed."""


@dataclass
class _Running(SessionPart):
    """The running task, and the panel whose button began it."""

    task: Task | None = None
    panel: PanelName | None = None


def current() -> Task | None:
    """Return the running task, for panels and polls."""
    return session_state.part(_Running).task


def panel() -> PanelName | None:
    """Return the panel whose button began the running task, if there is one."""
    running = session_state.part(_Running)
    return running.panel if running.task is not None else None


def _begin(task: Task, panel: PanelName | None = None) -> None:
    running = current()
    if running is not None:
        task.abort()
        raise SplatError(f"{running.title} is still running.", "Wait for it or cancel it first.")
    running_now = session_state.part(_Running)
    running_now.task, running_now.panel = task, panel


def _end() -> None:
    session_state.part(_Running).task = None


def cancel_current() -> None:
    """Ask the running task to end soon."""
    running = current()
    if running is not None:
        running.cancel()


def abort_current() -> None:
    """End the running task at once, when the file is closed or the add-on is disabled."""
    running = current()
    if running is not None:
        running.abort()
        _end()


def run_to_end(task: Task, on_step: Callable[[Task], None] | None = None) -> None:
    """Run a task to its end, as scripts do. Raises SplatError.

    Ctrl+C cancels the task and keeps what is finished. Then KeyboardInterrupt is raised again.
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
    """Show a typed error as one report of Blender, and keep it for the operator's panel."""
    # What is wrong with the packages is said in one place, above all panels.
    is_setup = isinstance(error, EnvironmentSetupError)
    last_error.remember(error, "install" if is_setup else _panel_of(operator), _clip_of(operator))
    operator.report({"ERROR"}, translated_report(str(error)))
    return {"CANCELLED"}


def _panel_of(operator: Any) -> PanelName:
    """Return the panel that has an operator's button. Most that run no task are for corrections."""
    return cast(PanelName, getattr(operator, "panel", "review"))


def _clip_of(operator: Any) -> int | None:
    """Return the session uid of the clip that an operator works on, also after the user chose another."""
    clip = active_clip(bpy.context)
    return cast("int | None", getattr(operator, "_uid", clip.session_uid if clip else None))


class TaskOperator:
    """Mixin for operators that run a task. A subclass only has to make the task, in ``start``.

    Its ``panel`` names the panel that has its button, and shows its progress and its error.
    """

    panel = "propagate"
    _timer: bpy.types.Timer | None = None

    def start(self, context: bpy.types.Context) -> Task:
        raise NotImplementedError

    def finished(self, context: bpy.types.Context, task: Task) -> None:
        """Do what only a window needs, after the task has ended or was cancelled."""

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
        self._uid = _clip_of(self)
        try:
            _begin(self.start(context), _panel_of(self))
        except SplatError as error:
            return report_error(self, error)
        manager = present(context.window_manager)
        self._timer = manager.event_timer_add(_TICK, window=context.window)
        manager.modal_handler_add(self._operator())
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        task = current()
        if task is None:  # it was aborted, because another file was loaded
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
            said = f"{translated(task.sentence)}   {translated('(Esc to cancel)')}"
            present(context.workspace).status_text_set(said)
            return {"PASS_THROUGH"}
        self._leave(context)
        return self._close(context, task)

    def cancel(self, context: bpy.types.Context) -> None:
        """End the task. Blender calls this when it closes the window or the file during the task."""
        abort_current()
        self._remove_timer(context)

    def _close(self, context: bpy.types.Context, task: Task) -> Result:
        last_error.forget(_panel_of(self), _clip_of(self))
        self.finished(context, task)
        self._operator().report(
            {"WARNING" if task.cancelled else "INFO"}, translated_report(task.summary)
        )
        if not bpy.app.background:
            # Without this the user's next Ctrl+Z would also undo what the task changed.
            bpy.ops.ed.undo_push(message=task.title)
        return {"CANCELLED"} if task.cancelled else {"FINISHED"}

    def _operator(self) -> bpy.types.Operator:
        """Return self, typed as the operator that it is mixed into."""
        return cast(bpy.types.Operator, self)

    def _leave(self, context: bpy.types.Context) -> None:
        _end()
        self._remove_timer(context)
        present(context.workspace).status_text_set(None)
        editors.redraw()

    def _remove_timer(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            present(context.window_manager).event_timer_remove(self._timer)
            self._timer = None
