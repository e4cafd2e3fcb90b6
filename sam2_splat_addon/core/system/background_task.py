# SPDX-License-Identifier: GPL-3.0-or-later
"""A piece of work in a thread, looked at now and then by a caller with a window to keep alive; core.

For what waits for disks: thousands of headers on a slow one take longer than a window may stand
still. The thread dies with the process and must not touch anything of Blender's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ..errors import Cancelled

T = TypeVar("T")

Report = Callable[[int, int], None]
"""Called with how much is done of how much; raises Cancelled when nobody waits any more."""


class Errand(Generic[T]):
    """Runs a function in a thread, from now on.

    Parameters
    ----------
    work
        What to do; it is given a `Report` to call now and then.

    Attributes
    ----------
    done, total
        What was reported last; 0 while unknown.
    """

    def __init__(self, work: Callable[[Report], T]) -> None:
        self.done = 0
        self.total = 0
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._cancelled = False
        self._thread = threading.Thread(target=self._run, name="errand", daemon=True)
        self._thread.start()

    def poll(self, patience: float = 0.0) -> bool:
        """Whether the work is over; waits for its end for so many seconds at most."""
        if patience > 0.0:
            self._thread.join(patience)
        return not self._thread.is_alive()

    def result(self) -> T:
        """What the work gave, once it is over; raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def cancel(self) -> None:
        """Let the work end with Cancelled at its next report; does not wait."""
        self._cancelled = True

    def _run(self) -> None:
        try:
            self._result.append(self._work(self._report))
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            self._error = error

    def _report(self, done: int, total: int) -> None:
        if self._cancelled:
            raise Cancelled
        self.done, self.total = done, total


def unwatched(done: int, total: int) -> None:
    """A `Report` for callers that wait and show nothing."""
