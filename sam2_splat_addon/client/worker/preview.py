# SPDX-License-Identifier: GPL-3.0-or-later
"""Live previews from the running worker, between its jobs.

A job always comes first. A preview waits while a job has the worker. A preview that a job interrupts
is asked again after the job. Nothing here waits for the worker.
"""

from __future__ import annotations

import collections

import msgspec

from ...core.errors import SplatError
from ...core.protocol import (
    CancelRequest,
    Log,
    PreviewDone,
    PreviewDropped,
    PreviewEvent,
    PreviewFailed,
    PreviewRequest,
)
from .process import WorkerProcess
from .worker_pool import WorkerPool

_KEPT_LOG_LINES = 200


class Preview:
    """Ask for previews, only the newest one, and hand out the answers.

    The worker is not started before the first :meth:`ask`. No method raises errors of the worker: they
    are in ``error`` until the next :meth:`ask`.

    Parameters
    ----------
    pool
        Gives access to the worker.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self.error: SplatError | None = None
        """The error of the newest request, if it failed."""
        self.is_warm = False
        """Whether the running worker has answered already, so its model is loaded."""
        self.trace = ""
        """The traceback of the worker if ``error`` was unexpected, for a bug report."""
        self._pool = pool
        self._worker: WorkerProcess | None = None  # the one that was asked last
        self._tickets = 0
        self._next: PreviewRequest | None = None  # not sent yet
        self._asked: PreviewRequest | None = None  # the newest that was sent and has no answer yet
        self._answers: list[PreviewDone] = []
        self._log: collections.deque[Log] = collections.deque(maxlen=_KEPT_LOG_LINES)

    @property
    def busy(self) -> bool:
        """Whether the newest request has no answer yet."""
        return self._next is not None or self._asked is not None

    @property
    def waiting(self) -> bool:
        """Whether the newest request waits for a job to end."""
        return self.busy and self._pool.is_acquired

    @property
    def silence(self) -> float:
        """Seconds without an event while the worker owes an answer; else 0."""
        return self._worker.silent_for if self._worker is not None and self._asked else 0.0

    def ask(self, request: PreviewRequest) -> int:
        """Ask for a preview. It replaces every earlier one that has no answer yet.

        A request without prompts on its frame prepares the worker for the first click there.

        Returns
        -------
        int
            The ticket of the answer; each ticket is higher than the one before.
        """
        self._tickets += 1
        self._next = msgspec.structs.replace(request, ticket=self._tickets)
        self.error, self.trace = None, ""
        self._step()
        return self._tickets

    def poll(self) -> list[PreviewDone]:
        """Return the answers since the last call, oldest first; look at ``error`` too.

        After an answer with ``more``, another one with the same ticket follows.
        """
        self._step()
        answers, self._answers = self._answers, []
        return answers

    def log_lines(self) -> list[Log]:
        """Return the lines that the worker logged and printed without a job, at most the last 200."""
        lines = list(self._log)
        self._log.clear()
        return lines

    def close(self) -> None:
        """Forget all requests and answers. The worker stays, and you may ask again."""
        if self._asked is not None and self._worker is not None and not self._pool.is_acquired:
            self._worker.send(CancelRequest())
        self._next = self._asked = None
        self._answers = []

    def _step(self) -> None:
        """Read the events of the worker, and send the next request if possible."""
        try:
            self._take_answers()
            if not self._pool.is_acquired:
                self._look_after_worker()
                self._send()
        except SplatError as error:
            self.error = error
            self._next = self._asked = None

    def _take_answers(self) -> None:
        while self._worker is not None and (event := self._worker.next_preview()) is not None:
            self._take(event)

    def _take(self, event: PreviewEvent) -> None:
        if isinstance(event, PreviewDone):
            self._answers.append(event)
            self.is_warm = True
        if self._asked is None or event.ticket != self._asked.ticket:
            return  # an older one: the newest has replaced it
        if isinstance(event, PreviewDropped):
            self._ask_again()
        elif not (isinstance(event, PreviewDone) and event.more):
            self._asked = None
        if isinstance(event, PreviewFailed):
            self.error, self.trace = event.failure.to_error(), event.failure.trace

    def _look_after_worker(self) -> None:
        """Read the other events of the worker while no job does it; raises SplatError."""
        if self._asked is not None and self._worker is not None and self._worker.was_killed:
            self._ask_again()  # a job or a shutdown killed it, not this request
        if self._next is not None and self._asked is None:
            before, self._worker = self._worker, self._pool.peek()
            self.is_warm = self.is_warm and self._worker is before
        if not self.busy and self._worker is not None and not self._worker.is_alive:
            self._worker = None  # nobody waits for it, and the next request starts another
        while self._worker is not None and (event := self._worker.next_event()) is not None:
            if isinstance(event, Log):
                self._log.append(event)

    def _ask_again(self) -> None:
        self._next, self._asked = self._next or self._asked, None

    def _send(self) -> None:
        if self._next is not None and self._worker is not None and self._worker.is_ready:
            self._worker.send(self._next)
            self._asked, self._next = self._next, None
