# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to the worker, as a simple state machine.

The caller decides when it moves on. In a window a timer calls :meth:`Job.poll`; code without a window
calls :meth:`Job.wait`. The state changes only during these calls.
"""

from __future__ import annotations

import collections
import enum
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...core.errors import SplatError
from ...core.protocol import (
    CancelRequest,
    Event,
    Failed,
    Finished,
    FrameDone,
    JobRequest,
    Log,
    Progress,
    Ready,
    Stopped,
)
from .process import WorkerProcess
from .worker_pool import WorkerPool

SILENCE = 30.0  # s without an event from a busy worker, after which the user is told
CANCEL_GRACE = 0.35  # s for a worker to stop by itself; with its end this makes half a second
_TIMEOUT = 0.2  # s between two looks of a waiting caller
_KEPT_LOG_LINES = 1000


class JobState(enum.Enum):
    """The state of a job."""

    STARTING = "starting"
    """The worker starts; the request has not been sent yet."""
    RUNNING = "running"
    FINISHING = "finishing"
    """The user cancelled; the worker is about to stop."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class JobProgress:
    """The progress of a job, for a status bar.

    Attributes
    ----------
    fraction
        0 to 1.
    stage
        As in :class:`Progress`; empty before the first event.
    frame, object_name
        The last finished step; 0 and empty while unknown.
    seconds_per_frame, seconds_left
        0 while unknown.
    peak_memory_mb
        The most memory that the worker has used so far.
    sentence
        All of this as a sentence.
    """

    fraction: float = 0.0
    stage: str = ""
    frame: int = 0
    object_name: str = ""
    seconds_per_frame: float = 0.0
    seconds_left: float = 0.0
    peak_memory_mb: float = 0.0
    sentence: str = ""


class Job:
    """One request, from the moment it gets the worker until it gives it back.

    Making a job starts it. It never raises: every error, even at the start, is in ``error``.

    Parameters
    ----------
    pool
        Lends the worker.
    request
        What to do.
    cancel_grace
        Seconds after a cancel before the worker is killed.
    """

    def __init__(
        self,
        pool: WorkerPool,
        request: JobRequest,
        *,
        cancel_grace: float = CANCEL_GRACE,
    ) -> None:
        self.state = JobState.STARTING
        self.result: Finished | None = None
        self.error: SplatError | None = None
        self.trace = ""
        """The traceback of the worker if ``error`` was unexpected, for a bug report."""
        self._pool = pool
        self._request = request
        self._cancel_grace = cancel_grace
        self._kill_at = 0.0
        self._latest: Progress | None = None
        self._frames: list[FrameDone] = []
        self._log: collections.deque[Log] = collections.deque(maxlen=_KEPT_LOG_LINES)
        self._worker: WorkerProcess | None = None
        try:
            self._worker = pool.acquire()
        except SplatError as error:
            self.error = error
            self.state = JobState.FAILED
        else:
            if self._worker.is_ready:
                self._send()

    def poll(self, deadline: float, *, wait: bool = False) -> JobState:
        """Read the events of the worker until there are no more, or until the deadline.

        Parameters
        ----------
        deadline
            In seconds of ``time.monotonic``. At least one event is read if there is one.
        wait
            Wait for the first event, at most until the deadline, instead of returning at once.
        """
        timeout = deadline - time.monotonic() if wait else 0.0
        while not self.state.is_over:
            if self.state is JobState.FINISHING:
                timeout = min(timeout, self._kill_at - time.monotonic())
            event = self._next_event(timeout)
            if event is not None:
                self._take(event)
            if self.state is JobState.FINISHING and time.monotonic() >= self._kill_at:
                self._end(JobState.CANCELLED, kill=True)
            if event is None or time.monotonic() >= deadline:
                break
            timeout = 0.0
        return self.state

    def wait(self, on_poll: Callable[[Job], None] | None = None) -> JobState:
        """Poll until the job is over, and call ``on_poll`` after each poll.

        An exception, such as Ctrl+C, cancels the job. It is raised again after the job has ended.
        """
        try:
            while not self.poll(time.monotonic() + _TIMEOUT, wait=True).is_over:
                if on_poll is not None:
                    on_poll(self)
        except BaseException:
            self.cancel()
            while not self.poll(time.monotonic() + _TIMEOUT, wait=True).is_over:
                pass
            raise
        if on_poll is not None:
            on_poll(self)
        return self.state

    def cancel(self) -> None:
        """Ask the worker to stop. Later polls see that it stopped, or kill it after the grace.

        Finished frames stay on disk. A job that is over does not change.
        """
        if self.state is JobState.STARTING:
            # The request was never sent: so the worker may go on starting, for the next job.
            self._end(JobState.CANCELLED)
        elif self.state is JobState.RUNNING and self._worker is not None:
            self.state = JobState.FINISHING
            self._kill_at = time.monotonic() + self._cancel_grace
            self._worker.send(CancelRequest())

    def abort(self) -> None:
        """End at once, and kill the worker if it is busy; for the moment when Blender closes the file."""
        if not self.state.is_over:
            self._end(JobState.CANCELLED, kill=self.state is not JobState.STARTING)

    def new_frames(self) -> list[FrameDone]:
        """Return the frames finished since the last call. Each one is on disk."""
        frames, self._frames = self._frames, []
        return frames

    def log_lines(self) -> list[Log]:
        """Return the lines that the worker logged and printed since the last call, at most 1000."""
        lines = list(self._log)
        self._log.clear()
        return lines

    @property
    def progress(self) -> JobProgress:
        """The progress, with a sentence for a status bar."""
        latest = self._latest
        if latest is None:
            return JobProgress(self._fraction(), sentence=self._sentence())
        return JobProgress(
            self._fraction(),
            latest.stage,
            latest.frame,
            latest.object_name,
            latest.seconds_per_frame,
            latest.seconds_left,
            latest.peak_memory_mb,
            self._sentence(),
        )

    @property
    def silence(self) -> float:
        """Seconds without an event from a busy worker; 0 if they are fewer than `SILENCE`."""
        if self._worker is None or self.state is JobState.FINISHING:
            return 0.0
        silence = self._worker.silent_for
        return silence if silence >= SILENCE else 0.0

    def _fraction(self) -> float:
        if self.state is JobState.DONE:
            return 1.0
        latest = self._latest
        if latest is None or latest.stage == "loading" or latest.total <= 0:
            return 0.0
        return min(1.0, latest.done / latest.total)

    def _sentence(self) -> str:
        words = self._state_in_words()
        return f"{describe_silence(self.silence)} ({words})" if self.silence else words

    def _state_in_words(self) -> str:
        match self.state:
            case JobState.STARTING:
                return "Starting the SAM 2 process"
            case JobState.FINISHING:
                return "Cancelling"
            case JobState.DONE if self.result is not None:
                return self.result.summary
            case JobState.FAILED:
                return str(self.error)
            case JobState.CANCELLED:
                return "Cancelled; what was finished is kept"
        return (
            describe(self._latest) if self._latest is not None else "Waiting for the SAM 2 process"
        )

    def _next_event(self, timeout: float) -> Event | None:
        assert self._worker is not None  # only a job that is over has none
        try:
            return self._worker.next_event(timeout)
        except SplatError as error:
            if self.state is JobState.FINISHING:
                self._end(JobState.CANCELLED)
            else:
                self.error = error
                self._end(JobState.FAILED)
            return None

    def _take(self, event: Event) -> None:
        match event:
            case Ready():
                self._send()
            case Progress():
                self._latest = event
            case FrameDone():
                self._frames.append(event)
            case Log():
                self._log.append(event)
            case Finished():
                self.result = event
                self._end(JobState.DONE)
            case Failed():
                self.error = event.to_error()
                self.trace = event.trace
                self._end(JobState.FAILED)
            case Stopped():
                self._end(JobState.CANCELLED)

    def _send(self) -> None:
        assert self._worker is not None
        self.state = JobState.RUNNING
        self._worker.send(self._request)

    def _end(self, state: JobState, *, kill: bool = False) -> None:
        self.state = state
        if self._worker is not None:
            if kill:
                self._worker.kill(wait=False)  # the window must not wait for it
            self._pool.release(self._worker)
            self._worker = None


_STAGES = {
    "loading": "Loading the model",
    "propagating": "Propagating",
    "baking": "Baking",
    "reporting": "Reporting",
    "copying": "Making copies that Blender can show",
    "watching": "Looking at the video",
    "extracting": "Making photos",
    "looking": "Looking at the RAW photos",
    "masks": "Reading masks",
    "comparing": "Comparing masks in 3D",
    "details": "Looking for details",
    "matching": "Comparing photos",
    "placing": "Placing cameras",
    "finding": "Looking for the subject",
    "carrying": "Carrying the clicks of",
}


def describe_silence(seconds: float) -> str:
    """Say in words how long the worker has been silent."""
    return (
        f"The SAM 2 process has said nothing for {duration(seconds)}: a step is long, or it hangs"
    )


def describe(progress: Progress) -> str:
    """Say progress in words: "Propagating chair, frame 12 (11 of 48), 0.42 s per frame, 16 s left"."""
    words = [_STAGES.get(progress.stage, progress.stage.capitalize())]
    if progress.stage == "loading":
        return words[0]
    if progress.object_name:
        words[0] += f" {progress.object_name}"
    if progress.frame:
        words.append(f"frame {progress.frame} ({progress.done} of {progress.total})")
    if progress.seconds_per_frame > 0:
        words.append(f"{progress.seconds_per_frame:.2f} s per frame")
    if progress.seconds_left > 0:
        words.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Write a time span for people: "16 s", "4 min 05 s", "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
