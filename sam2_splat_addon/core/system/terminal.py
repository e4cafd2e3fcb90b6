# SPDX-License-Identifier: GPL-3.0-or-later
"""Print to the terminal, and hear there that the run must end. Blender's own console is one too.

Printing never ends a run. The reader of a pipe may have gone, and the terminal may lack a letter.
Names are printed so that they can't give the terminal commands.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Final, TextIO

from ..printable import shown

CANCELLED: Final = 130
"""The exit code that a shell gives to a run that was cancelled with Ctrl+C."""

TERMINATED: Final = 143
"""The exit code that a shell gives to a run that was ended with SIGTERM."""

STOPPED: Final = (CANCELLED, TERMINATED)
"""The exit codes of a run that did not end by itself, and that keeps what is finished."""

# Farms, service managers and `kill` send SIGTERM. Windows has no such signal: there Ctrl+Break and the end of
# the console come as SIGBREAK. What ends a process of Windows at once can't be heard.
_END_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name)
)


def say(text: str, *, error: bool = False) -> None:
    """Print one line. Names are shown as by `core.printable.shown`."""
    write(f"{shown(text)}\n", error=error)


def say_lines(text: str, *, error: bool = False) -> None:
    """Print a text of several lines, such as an error with the last lines of a program."""
    write("".join(f"{shown(line)}\n" for line in text.split("\n")), error=error)


def write(text: str, *, error: bool = False) -> None:
    """Print a text as it is, at once."""
    stream: TextIO | None = sys.stderr if error else sys.stdout
    if stream is None:  # on Windows a program may have no console
        return
    try:
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):
        _fall_silent(stream)


def is_living(*, error: bool = True) -> bool:
    """Whether a stream goes to a terminal on which a line can be written again."""
    stream: TextIO | None = sys.stderr if error else sys.stdout
    on_terminal = stream is not None and not stream.closed and stream.isatty()
    return on_terminal and os.environ.get("TERM") != "dumb"


def _fall_silent(stream: TextIO) -> None:
    """Discard all that is printed from now on, also what Blender itself prints."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


class Interrupts:
    """Ctrl+C and SIGTERM during a run and after it. Once cancels it, twice ends the process at once.

    Python itself would raise an exception at any line. It would break what Blender is doing, and a
    second one would break the clean-up after the first.

    Attributes
    ----------
    wanted
        Whether one of them came.
    code
        The exit code of a cancelled run. Another Ctrl+C ends the process with it.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.code = CANCELLED

    def listen(self) -> None:
        """Handle both from now to the end of the process, if that is possible."""
        with contextlib.suppress(ValueError):  # not in the main thread
            for number in (signal.SIGINT, *_END_SIGNALS):
                signal.signal(number, self._came)
            # Python removes its handlers when it ends, and Blender runs a little longer.
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)

    def listen_to_input(self) -> None:
        """Take the end of standard input for Ctrl+C: the program that started this one asks, or has gone."""
        threading.Thread(target=self._read, name="sam2_splat input", daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while sys.stdin is not None and os.read(sys.stdin.fileno(), 1 << 12):
                pass
        self.wanted = True

    def check(self, *_: Any) -> None:
        """Raise KeyboardInterrupt if one of them came. Called where a run can be stopped."""
        if self.wanted:
            raise KeyboardInterrupt

    def over(self, code: int) -> None:
        """Say that the run has ended with an exit code, and that there is nothing left to cancel."""
        self.wanted, self.code = True, code

    def _came(self, number: int, _: FrameType | None) -> None:
        if self.wanted:
            # Safe, because files are whole or absent, and the worker ends with this process.
            os._exit(self.code)
        self.wanted = True
        if number in _END_SIGNALS:
            self.code = TERMINATED
