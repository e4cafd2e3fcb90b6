# SPDX-License-Identifier: GPL-3.0-or-later
"""Make all Debians of the window tests, now or while other tests run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tools.window.debian import RELEASES, make
from tools.window.machine import NoWindowError


def make_all(minutes: float, say: Callable[[str], None] = print) -> list[str]:
    """Make every Debian that is not ready, one after the other.

    Parameters
    ----------
    minutes
        The limit for all of them; what is not ready then is left out.
    say
        Called with a line about each step.

    Returns
    -------
    list[str]
        A sentence for each Blender that is left out.
    """
    deadline = time.monotonic() + 60.0 * minutes
    left_out = []
    for release in RELEASES:
        try:
            make(release, deadline, say)
        except NoWindowError as problem:
            left_out.append(f"Without Blender {release.blender} in a window. {problem}")
    return left_out


class Prefetch:
    """Make them in a thread. All that it starts ends with this process, for any reason.

    Parameters
    ----------
    minutes
        As above.
    """

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self._lines: list[str] = []
        self._left_out: list[str] = []
        self._thread = threading.Thread(target=self._make, daemon=True)
        self._thread.start()

    def finish(self) -> list[str]:
        """Wait for the end and print what was done; returns a sentence for each one that is left out."""
        self._thread.join()
        for line in self._lines:
            print(line, flush=True)
        return self._left_out

    def _make(self) -> None:
        self._left_out = make_all(self._minutes, self._lines.append)
