# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's log. It goes to Blender's console, and its last lines into a report for help."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

from ...core.printable import shown
from ...core.system.terminal import say_lines

NAME: Final = "SAM2 Splat"

_LINES_KEPT: Final = 60  # of the log


class _ConsoleHandler(logging.Handler):
    """Print what is logged, with the add-on's name before each line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message of one or more lines."""
        say_lines(f"{NAME}: {record.getMessage()}")


class _LastLines(logging.Handler):
    """Keep the last lines of the log for a report."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=_LINES_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message of one or more lines."""
        self.lines.extend(shown(line) for line in record.getMessage().split("\n"))


_to_console = _ConsoleHandler()
_last_lines = _LastLines()

log: Final = logging.getLogger("sam2_splat")
"""The add-on's log. It goes to Blender's console, from the level in the preferences on."""
log.propagate = False
log.addHandler(_to_console)
log.addHandler(_last_lines)
log.setLevel(logging.INFO)


def set_level(level: int | str) -> None:
    """Set the level from which on the log is printed."""
    _to_console.setLevel(level)


def last_lines() -> tuple[str, ...]:
    """Return the last lines of the log, oldest first, also those that were not printed."""
    return tuple(_last_lines.lines)


def level_of(name: str) -> int:
    """Return the standard library's number for a `Log.level` of a line from the SAM 2 process."""
    return logging.WARNING if name == "warning" else logging.INFO
