# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the SAM 2 process do one step of a job, and wait for it."""

from __future__ import annotations

from typing import Final, NamedTuple

from ...core.errors import WorkerError
from ...core.protocol import Finished, JobRequest, Log
from ..worker.job import Job, JobState
from .watch import Watch
from .workplace import Workplace

# Seconds in which a cancelled step gives back the lease of its folder. No window waits here.
_CANCEL_GRACE: Final = 5.0


class Ended(NamedTuple):
    """How a step ended, and how long a frame took, s; 0 if unknown."""

    result: Finished
    seconds_per_frame: float


def worked(request: JobRequest, title: str, at: Workplace, watch: Watch) -> Ended:
    """Send a request, follow it to its end, and return how it ended.

    Raises
    ------
    SplatError
        It failed.
    KeyboardInterrupt
        The watch wanted the end. What is finished is kept.
    """

    def look(job: Job) -> None:
        for line in job.log_lines():
            watch.logged(line)
        if not job.state.is_over or job.state is JobState.DONE:
            watch.went_on(title, job.progress)
        if not job.state.is_over:
            watch.check()

    job = Job(at.pool, request, cancel_grace=_CANCEL_GRACE)
    job.wait(look)
    if job.trace:
        watch.logged(Log("warning", job.trace))
    if job.state is JobState.CANCELLED:
        raise KeyboardInterrupt
    if job.result is None:
        watch.check()  # a farm may have ended all processes at once: that is no crash
        raise job.error or WorkerError("The SAM 2 process failed without a message.")
    return Ended(job.result, job.progress.seconds_per_frame)
