# SPDX-License-Identifier: GPL-3.0-or-later
"""Live previews from the warm worker, beside its jobs; imports core only.

A preview always gives way: it waits while a job has the worker, and one that a job interrupts is
asked again when the job is over. Nothing here waits for the worker.
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
from .worker_pool import WorkerKeeper

_KEPT_LOG_LINES = 200


class Preview:
    """Asks for previews, the newest only, and hands out their answers.

    Nothing is started before the first :meth:`ask`. No method raises what goes wrong with the
    worker: that is ``error``, until the next :meth:`ask`.

    Parameters
    ----------
    keeper
        Shares the worker.
    """

    def __init__(self, keeper: WorkerKeeper) -> None:
        self.error: SplatError | None = None
        """Why the newest request has no answer, when it failed."""
        self.trace = ""
        """The worker's traceback when ``error`` was not foreseen, for a bug report."""
        self._keeper = keeper
        self._worker: WorkerProcess | None = None  # who was asked last
        self._tickets = 0
        self._next: PreviewRequest | None = None  # not sent yet
        self._asked: PreviewRequest | None = None  # the newest that was sent, without an answer
        self._answers: list[PreviewDone] = []
        self._log: collections.deque[Log] = collections.deque(maxlen=_KEPT_LOG_LINES)

    @property
    def busy(self) -> bool:
        """Whether an answer to the newest request is still to come."""
        return self._next is not None or self._asked is not None

    @property
    def waiting(self) -> bool:
        """Whether the newest request waits for a job to end."""
        return self.busy and self._keeper.is_lent

    @property
    def silence(self) -> float:
        """Seconds that the worker has said nothing while an answer is awaited from it, else 0."""
        return self._worker.silent_for if self._worker is not None and self._asked else 0.0

    def ask(self, request: PreviewRequest) -> int:
        """Ask for a preview in place of every earlier one that has no answer yet.

        A request without prompts on its frame makes the worker ready for the first click on it.

        Returns
        -------
        int
            The ticket that the answer will have; each is higher than the one before.
        """
        self._tickets += 1
        self._next = msgspec.structs.replace(request, ticket=self._tickets)
        self.error, self.trace = None, ""
        self._step()
        return self._tickets

    def poll(self) -> list[PreviewDone]:
        """The answers that came since the last call, oldest first; look at ``error`` too."""
        self._step()
        answers, self._answers = self._answers, []
        return answers

    def log_lines(self) -> list[Log]:
        """What the worker logged and printed while no job had it, at most the last 200 lines."""
        lines = list(self._log)
        self._log.clear()
        return lines

    def close(self) -> None:
        """Forget every request and answer; the worker stays as it is. Asking again is possible."""
        if self._asked is not None and self._worker is not None and not self._keeper.is_lent:
            self._worker.send(CancelRequest())
        self._next = self._asked = None
        self._answers = []

    def _step(self) -> None:
        """Take in what the worker has said and send what is due."""
        try:
            self._take_answers()
            if not self._keeper.is_lent:
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
        if self._asked is None or event.ticket != self._asked.ticket:
            return  # an older one, whose place the newest has taken
        if isinstance(event, PreviewDropped):
            self._ask_again()
        else:
            self._asked = None
        if isinstance(event, PreviewFailed):
            self.error, self.trace = event.failure.to_error(), event.failure.trace

    def _look_after_worker(self) -> None:
        """Read the worker's other events, as no job does so now; raises SplatError."""
        if self._asked is not None and self._worker is not None and self._worker.was_killed:
            self._ask_again()  # by a job or a shutdown: the request is not to blame
        if self._next is not None and self._asked is None:
            self._worker = self._keeper.share()
        if not self.busy and self._worker is not None and not self._worker.is_alive:
            self._worker = None  # nobody waits for it; the next request starts another
        while self._worker is not None and (event := self._worker.next_event()) is not None:
            if isinstance(event, Log):
                self._log.append(event)

    def _ask_again(self) -> None:
        self._next, self._asked = self._next or self._asked, None

    def _send(self) -> None:
        if self._next is not None and self._worker is not None and self._worker.is_ready:
            self._worker.send(self._next)
            self._asked, self._next = self._next, None
