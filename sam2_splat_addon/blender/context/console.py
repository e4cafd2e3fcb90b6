# SPDX-License-Identifier: GPL-3.0-or-later
"""What the add-on prints, whatever its readers can take, and Ctrl+C there; imports core only.

A run is not ended by its words: by a pipe that nobody reads any more, by letters that a terminal has
none for, or by a name that would give the terminal commands.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
from types import FrameType
from typing import Any, Final, TextIO

from ...core.printable import shown

CANCELLED: Final = 130
"""The exit code of a run that was cancelled with Ctrl+C, as a shell gives it."""

NAME: Final = "SAM2 Splat"


def say(text: str, *, error: bool = False) -> None:
    """Print one line; its names are shown as `core.printable.shown` does."""
    write(f"{shown(text)}\n", error=error)


def say_lines(text: str, *, error: bool = False) -> None:
    """Print a text of several lines, such as an error with a program's last lines."""
    write("".join(f"{shown(line)}\n" for line in text.split("\n")), error=error)


class _ConsoleHandler(logging.Handler):
    """Prints what is logged, each line after the add-on's name."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message, which may have several lines."""
        say_lines(f"{NAME}: {record.getMessage()}")


log: Final = logging.getLogger("sam2_splat")
"""The add-on's log. It goes to Blender's console; the preferences say from which level on."""
log.propagate = False
log.addHandler(_ConsoleHandler())
log.setLevel(logging.INFO)


def level_of(name: str) -> int:
    """The level of a line from the SAM 2 process: `Log.level` as the standard library has it."""
    return logging.WARNING if name == "warning" else logging.INFO


def write(text: str, *, error: bool = False) -> None:
    """Print a text as it is, and at once."""
    stream: TextIO | None = sys.stderr if error else sys.stdout
    if stream is None:  # a program without a console, on Windows
        return
    try:
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):
        _fall_silent(stream)


def _fall_silent(stream: TextIO) -> None:
    """Lead what is printed from now on to nowhere, what Blender itself prints as well."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


class Interrupts:
    """Ctrl+C for the time of a run, and after it: once cancels, twice ends at once.

    Python's own way, an exception at whatever line it is, would break what Blender is at, and a second
    one what the first has begun to tidy up.

    Attributes
    ----------
    wanted
        Whether Ctrl+C was pressed.
    code
        The exit code that a further Ctrl+C ends the process with.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.code = CANCELLED

    def listen(self) -> None:
        """Take Ctrl+C from here on, to the end of the process; where that is possible."""
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, self._pressed)
            # Python takes its handlers off when it ends, and Blender goes on a little.
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)

    def check(self, *_: Any) -> None:
        """Raise KeyboardInterrupt once Ctrl+C was pressed; called where a run can be stopped."""
        if self.wanted:
            raise KeyboardInterrupt

    def over(self, code: int) -> None:
        """The run is over with that exit code, and nothing is left to be cancelled."""
        self.wanted, self.code = True, code

    def _pressed(self, _: int, __: FrameType | None) -> None:
        if self.wanted:
            # Files are whole or absent, and the worker ends with this process.
            os._exit(self.code)
        self.wanted = True
