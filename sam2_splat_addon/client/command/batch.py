# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `sam2-splat batch`: many captures, one table of progress, and a list at the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from ...core.errors import SplatError
from ...core.printable import counted, shown
from ...core.system.terminal import STOPPED, Interrupts, is_living, say, write
from . import workplace
from .many import Capture, Captures, captures_in, room_for, variables_for
from .options import UsageError, job_of, misuse_of_many, parser_of_many

PROGRAM: Final = "sam2-splat batch"

_TICK: Final = 0.1  # s
_REDRAW: Final = 0.25  # s
_LOG_INTERVAL: Final = 30.0  # s
_BAR: Final = 10  # letters
_MOST_NAME: Final = 32  # letters
_USAGE: Final = 2


def prepared_captures(options: Any) -> list[Capture]:
    """Return the captures that the options name, each with what the options change in its job.

    Raises SplatError, and UsageError for an option that can't hold for many captures.
    """
    wrong = misuse_of_many(options)
    if wrong:
        raise UsageError(wrong)
    captures = captures_in(options.places)
    for capture in captures:
        capture.job = job_of(options, None, capture.job)
    return captures


def run_all(options: Any, interrupts: Interrupts) -> int:
    """Run the captures that the options name, and return the exit code. Raises SplatError."""
    captures = prepared_captures(options)
    room = room_for([capture.job for capture in captures], options.at_once)
    found = workplace.environment()
    variables = variables_for(found, workplace.cache_folder(), workplace.model_folder())
    every = Captures(captures, room, variables, ["--once"] * options.once)
    table = table_of(every, is_json=options.json)
    table.begin(room.at_once)
    try:
        while not every.poll():
            table.look()
            if interrupts.wanted:
                every.cancel()
            time.sleep(_TICK)
    finally:
        every.abort()
    code = every.exit_code(allow_damaged=options.allow_damaged)
    if code in STOPPED and interrupts.wanted:
        code = interrupts.code
    table.end(code)
    return code


def parsed_options(arguments: Sequence[str]) -> Any:
    """Return the options of the command. Raises SystemExit as argparse does."""
    return parser_of_many(PROGRAM).parse_args(list(arguments))


class Many(Protocol):
    """Many captures, whoever runs them."""

    captures: tuple[Capture, ...]


class Table(Protocol):
    """Who shows how the captures go."""

    def begin(self, at_once: int) -> None: ...
    def look(self) -> None: ...
    def end(self, code: int) -> None: ...


def table_of(every: Many, *, is_json: bool) -> Table:
    """Return who shows captures: to a program, on a terminal, or in a log."""
    if is_json:
        return _Events(every)
    return _Living(every) if is_living() else _Log(every)


class _Log:
    """A line when a capture begins and when it ends, and now and then one for those that run."""

    def __init__(self, every: Many) -> None:
        self._every = every
        self._states = {id(capture): capture.state for capture in every.captures}
        self._next = 0.0

    def begin(self, at_once: int) -> None:
        """Say how many there are."""
        say(f"{counted(len(self._every.captures), 'capture')}, up to {at_once} at once")

    def look(self) -> None:
        """Tell what has changed."""
        for capture in self._every.captures:
            if capture.state != self._states[id(capture)]:
                self._states[id(capture)] = capture.state
                words = "begins" if capture.state == "running" else capture.verdict()
                say(f"{capture.name}: {words}")
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LOG_INTERVAL
            for capture in self._every.captures:
                if capture.state == "running":
                    say(f"  {_line(capture, _width(self._every))}", error=True)

    def end(self, code: int) -> None:
        """Print the list of all."""
        _say_list(self._every)


class _Living:
    """A table that is drawn again and again in the same place."""

    def __init__(self, every: Many) -> None:
        self._every = every
        self._drawn = 0  # lines
        self._next = 0.0

    def begin(self, at_once: int) -> None:
        """Say how many there are."""
        say(f"{counted(len(self._every.captures), 'capture')}, up to {at_once} at once")

    def look(self) -> None:
        """Draw the table."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REDRAW
        size = shutil.get_terminal_size()
        rows = self._rows(max(1, size.lines - 2))
        text = f"\x1b[{self._drawn}F" if self._drawn else ""
        text += "".join(f"\x1b[2K{row[: size.columns - 1]}\n" for row in rows)
        write(f"{text}\x1b[J", error=True)
        self._drawn = len(rows)

    def _rows(self, most: int) -> list[str]:
        """Return the lines of the table: those that run first, if not all have room."""
        every = self._every.captures
        over = sum(capture.is_over for capture in every)
        width = _width(self._every)
        shown_ones = list(every)
        if len(every) + 1 > most:
            running = [capture for capture in every if capture.state == "running"]
            waiting = [capture for capture in every if capture.state == "waiting"]
            ended = [capture for capture in every if capture.is_over]
            shown_ones = [*running, *waiting, *reversed(ended)][: most - 1]
        lines = [_line(capture, width) for capture in shown_ones]
        return [*lines, f"{over} of {len(every)} done"]

    def end(self, code: int) -> None:
        """Replace the table by the list of all."""
        if self._drawn:
            write(f"\x1b[{self._drawn}F\x1b[J", error=True)
        _say_list(self._every)


class _Events:
    """Each event of each capture as one line of JSON, with the name of its capture."""

    def __init__(self, every: Many) -> None:
        self._every = every

    def begin(self, at_once: int) -> None:
        """Say which captures there are."""
        names = [capture.name for capture in self._every.captures]
        _write_event({"event": "captures", "names": names, "at_once": at_once})

    def look(self) -> None:
        """Pass on what is new."""
        for capture in self._every.captures:
            events, capture.events = capture.events, []
            for event in events:
                _write_event({"capture": capture.name, **event})

    def end(self, code: int) -> None:
        """Say how each one has ended."""
        self.look()
        ended = [
            {
                "name": capture.name,
                "job": str(capture.file),
                "state": capture.state,
                "code": capture.code,
                "look": capture.look,
                "text": capture.verdict(),
            }
            for capture in self._every.captures
        ]
        _write_event({"event": "ended", "code": code, "captures": ended})


def _write_event(event: dict[str, Any]) -> None:
    write(msgspec.json.encode(event).decode() + "\n")


def _width(every: Many) -> int:
    return min(_MOST_NAME, max(len(capture.name) for capture in every.captures))


def _line(capture: Capture, width: int) -> str:
    """Return a capture's line in the table."""
    name = shown(capture.name)[:width]
    if capture.state == "running":
        filled = round(_BAR * capture.fraction)
        bar = "#" * filled + "." * (_BAR - filled)
        return f"{name:{width}}  [{bar}] {capture.fraction:4.0%}  {shown(capture.text)}"
    return f"{name:{width}}  {shown(capture.verdict())}"


def _say_list(every: Many) -> None:
    """Say how each capture has ended: those that need a look first."""
    width = _width(every)
    ordered = sorted(every.captures, key=_urgency)
    for capture in ordered:
        say(f"{capture.name[:width]:{width}}  {capture.verdict()}")
    fine = sum(_urgency(capture) == _FINE for capture in ordered)
    say(f"{fine} of {len(ordered)} need no look")


_FINE: Final = 2


def _urgency(capture: Capture) -> int:
    """0 if it failed, 1 if it needs a look, 2 if all is well."""
    if capture.state != "done":
        return 0
    return 1 if capture.look or capture.facts.get("damaged") else _FINE


def batch(arguments: Sequence[str], on_error: Callable[[SplatError], int]) -> int:
    """Do the command and return the exit code.

    Parameters
    ----------
    on_error
        Prints a SplatError and returns its exit code.
    """
    try:
        options = parsed_options(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else _USAGE
    interrupts = Interrupts()
    interrupts.listen()
    try:
        code = run_all(options, interrupts)
    except UsageError as wrong:
        say(f"{PROGRAM}: {wrong}", error=True)
        code = _USAGE
    except SplatError as error:
        code = on_error(error)
    interrupts.over(code)
    return code
