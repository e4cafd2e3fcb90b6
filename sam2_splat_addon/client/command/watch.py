# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell people and programs how a job goes: sentences on a terminal, or a line of JSON for each event."""

from __future__ import annotations

import shutil
import time
from typing import Any, Final, Protocol

import msgspec

from ...core.errors import SplatError
from ...core.printable import shown
from ...core.protocol import Log
from ...core.system.terminal import Interrupts, is_living, say, say_lines, write
from ..worker.job import JobProgress

# Seconds between two progress lines without a terminal, so that logs stay short.
_LOG_INTERVAL: Final = 10.0
_JSON_INTERVAL: Final = 0.25
_BAR: Final = 20  # letters


class Watch(Protocol):
    """Who follows a job."""

    def said(self, text: str) -> None:
        """Hear what was done, in one sentence."""

    def warned(self, text: str) -> None:
        """Hear what the user should look at."""

    def logged(self, line: Log) -> None:
        """Hear a line of the SAM 2 process."""

    def failed(self, error: SplatError) -> None:
        """Hear why the job ended."""

    def went_on(self, title: str, progress: JobProgress) -> None:
        """Hear how far a step is. Called several times a second."""

    def ended(self, code: int, **facts: Any) -> None:
        """Hear the exit code, and what came out. The last call."""

    def check(self) -> None:
        """Raise KeyboardInterrupt if the job must end."""


class Terminal:
    """Print sentences, and one line that changes, or in a log a line now and then.

    Parameters
    ----------
    interrupts
        Knows of Ctrl+C.
    is_quiet
        Whether to leave out the lines of the SAM 2 process.
    """

    def __init__(self, interrupts: Interrupts, *, is_quiet: bool = False) -> None:
        self._interrupts = interrupts
        self._is_quiet = is_quiet
        self._living = is_living()
        self._next = 0.0
        self._last = ""
        self._is_open = False  # the changing line has no end yet

    def said(self, text: str) -> None:
        """Print a sentence."""
        self._close()
        say(text)

    def warned(self, text: str) -> None:
        """Print a sentence to standard error."""
        self._close()
        say(text, error=True)

    def logged(self, line: Log) -> None:
        """Print a line with our name before it."""
        if not self._is_quiet or line.level == "warning":
            self._close()
            say_lines(f"SAM2 Splat: {line.text}")

    def failed(self, error: SplatError) -> None:
        """Print what is wrong and what to do."""
        self._close()
        say_lines(f"Error: {error}", error=True)

    def went_on(self, title: str, progress: JobProgress) -> None:
        """Print the changing line."""
        line = shown(f"{title} {progress.fraction:4.0%}  {progress.sentence}")
        if line == self._last:
            return
        self._last = line
        if self._living:
            filled = round(_BAR * progress.fraction)
            bar = "#" * filled + "." * (_BAR - filled)
            width = max(20, shutil.get_terminal_size().columns - 1)
            write(f"\r\x1b[2K{f'[{bar}] {line}'[:width]}", error=True)
            self._is_open = True
        elif time.monotonic() >= self._next or progress.fraction >= 1.0:
            say(line, error=True)
            self._next = time.monotonic() + _LOG_INTERVAL

    def ended(self, code: int, **facts: Any) -> None:
        """End the changing line."""
        self._close()

    def check(self) -> None:
        """Raise KeyboardInterrupt after Ctrl+C."""
        self._interrupts.check()

    def _close(self) -> None:
        if self._is_open:
            write("\n", error=True)
            self._is_open = False


class JsonLines:
    """Print each event as one line of JSON to standard output. docs/command-line.md lists them."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._next = 0.0
        self._title = ""

    def said(self, text: str) -> None:
        """Print a sentence."""
        self._write("said", text=text)

    def warned(self, text: str) -> None:
        """Print a warning."""
        self._write("warning", text=text)

    def logged(self, line: Log) -> None:
        """Print a line of the SAM 2 process."""
        self._write("log", level=line.level, text=line.text)

    def failed(self, error: SplatError) -> None:
        """Print an error."""
        self._write("error", kind=type(error).__name__, message=error.message, fix=error.fix)

    def went_on(self, title: str, progress: JobProgress) -> None:
        """Print how far a step is, not more often than a program wants to know."""
        now = time.monotonic()
        if title == self._title and now < self._next and progress.fraction < 1.0:
            return
        self._title, self._next = title, now + _JSON_INTERVAL
        self._write(
            "progress",
            step=title,
            fraction=round(progress.fraction, 4),
            frame=progress.frame,
            subject=progress.object_name,
            seconds_per_frame=round(progress.seconds_per_frame, 4),
            seconds_left=round(progress.seconds_left, 1),
            memory_mb=round(progress.peak_memory_mb),
            text=progress.sentence,
        )

    def ended(self, code: int, **facts: Any) -> None:
        """Print the exit code and what came out."""
        self._write("ended", code=code, **facts)

    def check(self) -> None:
        """Raise KeyboardInterrupt after Ctrl+C."""
        self._interrupts.check()

    def _write(self, event: str, **facts: Any) -> None:
        write(msgspec.json.encode({"event": event, **facts}).decode() + "\n")
