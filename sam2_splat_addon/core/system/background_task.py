# SPDX-License-Identifier: GPL-3.0-or-later
"""Run work in a thread, while the caller keeps a window alive and looks at it now and then.

For work that waits for disks: thousands of headers on a slow disk would freeze a window. The thread
must not touch any data of Blender. It ends with the process; an executor of `concurrent.futures` would
keep a closed Blender alive until its work is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from ..errors import Cancelled

T = TypeVar("T")

Report = Callable[[int, int], None]
"""Called with the steps done and the steps in total; raises Cancelled after a cancel."""


class BackgroundTask(Generic[T]):
    """Run a function in a thread. Making the object starts it.

    Parameters
    ----------
    work
        The function. It gets a `Report`, and must call it now and then.

    Attributes
    ----------
    done, total
        The last report; 0 while unknown.
    """

    def __init__(self, work: Callable[[Report], T]) -> None:
        self.done = 0
        self.total = 0
        self._work = work
        self._outcome: Future[T] = Future()
        self._cancelled = False
        threading.Thread(target=self._run, name="sam2_splat background", daemon=True).start()

    def poll(self, timeout: float = 0.0) -> bool:
        """Whether the work is over; waits for its end for so many seconds at most."""
        if timeout > 0.0:
            wait([self._outcome], timeout)
        return self._outcome.done()

    def result(self) -> T:
        """Wait for the end, and return the result; raises what the work raised."""
        return self._outcome.result()

    def cancel(self) -> None:
        """End the work with Cancelled at its next report; does not wait."""
        self._cancelled = True

    def _run(self) -> None:
        try:
            result = self._work(self._report)
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            self._outcome.set_exception(error)
        else:
            self._outcome.set_result(result)

    def _report(self, done: int, total: int) -> None:
        if self._cancelled:
            raise Cancelled
        self.done, self.total = done, total


def unwatched(done: int, total: int) -> None:
    """Do nothing: a `Report` for callers that show no progress."""
