# SPDX-License-Identifier: GPL-3.0-or-later
"""A task whose work is one job of the worker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import bpy

from ...client.worker.job import Job, JobState
from ...core.errors import WorkerError
from ...core.footage.content_hashes import ContentHashes
from ...core.footage.scan import scan
from ...core.protocol import FootageFiles, FrameDone, JobRequest
from ...core.system.background_task import BackgroundTask, Report
from ..clip import user_masks
from ..clip.footage import accept, place_of
from ..clip.user_masks import Drawn
from ..context import console, preferences, properties, worker_session
from ..context.active_clip import require_clip_by_uid
from . import local_edits

# Yielded by a step that waits for a disk or the worker; other steps are done with a piece of work.
WAITS = True
_HASHES_NAME = "photo_hashes"  # in the cache

Steps = Generator[bool | None, None, None]

T = TypeVar("T")


class JobTask:
    """Gets a request together, sees the worker do it, and follows it up, all in small steps.

    Subclasses say what the request is and what follows. See
    :class:`sam2_splat_addon.blender.context.task_runner.Task` for the attributes that panels read.

    Parameters
    ----------
    clip
        What to work on.
    share
        The part of the progress bar that the job has; what follows has the rest.

    Raises (when made)
    ------------------
    EnvironmentSetupError
        The worker's packages are missing.
    FootageError
        The clip has no photos.
    """

    title = "Working"

    def __init__(self, clip: bpy.types.MovieClip, share: float = 1.0) -> None:
        self.fraction = 0.0
        self.sentence = ""
        self.summary = ""
        self.cancelled = False
        self.worker_peak_mb = 0.0
        self.seconds_per_frame = 0.0
        self.warnings: tuple[str, ...] = ()
        self.damaged: tuple[str, ...] = ()
        # References to data-blocks don't outlive an undo, so the clip is looked up when needed.
        self._clip_uid = clip.session_uid
        local_edits.work_on(clip)
        self._place = place_of(clip)
        self._share = share
        self._pool = worker_session.pool()
        self._deadline = 0.0
        self._background: BackgroundTask[Any] | None = None
        self._job: Job | None = None
        self._asked: tuple[FootageFiles, Drawn] | None = None
        self._steps = self._run()

    def request(self, footage: FootageFiles, edited: Drawn) -> JobRequest:
        """What to ask the worker; raises SplatError where nothing can be asked."""
        raise NotImplementedError

    def follow_up(self) -> Steps:
        """What comes after the job, and the summary."""
        raise NotImplementedError

    def step(self, deadline: float) -> bool:
        """Work until the deadline, and while waiting for news return at once in a window."""
        self._deadline = deadline
        now = time.monotonic()
        while True:
            began = now
            try:
                waits = next(self._steps)
            except StopIteration:
                return True
            now = time.monotonic()
            # Not another piece of work that would end late, going by the one before.
            if waits or now + (now - began) >= deadline:
                return False

    def frame_done(self, done: FrameDone) -> None:
        """Called for every matte or image that has come onto disk."""

    def cancel(self) -> None:
        self.cancelled = self.cancelled or self._job is None
        if self._background is not None:
            self._background.cancel()
        if self._job is not None:
            self._job.cancel()

    def abort(self) -> None:
        if self._background is not None:
            self._background.cancel()
        if self._job is not None:
            self._job.abort()
        self._steps.close()

    @property
    def silence(self) -> float:
        """Seconds that the worker has said nothing, once that is long; else 0."""
        return self._job.silence if self._job is not None else 0.0

    def restart(self) -> None:
        """End a worker that says nothing and ask another one; what is finished is not done again.

        Raises SplatError where nothing can be asked any more.
        """
        if self._job is None or self._asked is None or self._job.state.is_over:
            return
        self._job.abort()
        self._job = Job(self._pool, self.request(*self._asked))

    def clip(self) -> bpy.types.MovieClip:
        """The clip the task works on; raises FootageError when it was deleted meanwhile."""
        return require_clip_by_uid(self._clip_uid)

    def drawn_so_far(self) -> Generator[bool | None, None, Drawn]:
        """Everything that the user drew, found in steps."""
        looking = user_masks.everything(self._clip_uid)
        while True:
            try:
                done, total = next(looking)
            except StopIteration as ended:
                found: Drawn = ended.value
                return found
            self.sentence = f"Looking for edited masks, {done} of {total}"
            yield None

    def _run(self) -> Generator[bool | None, None, None]:
        preparing = self._prepare()
        while not self.cancelled:
            try:
                waits = next(preparing)
            except StopIteration as ended:
                request: JobRequest = ended.value
                break
            yield waits
        else:
            preparing.close()
            self.summary = "Cancelled before anything was done"
            return
        self._job = Job(self._pool, request)
        while not self._poll(self._job):  # may be another one each time: see `restart`
            yield WAITS
        yield from self.follow_up()

    def _prepare(self) -> Generator[bool | None, None, JobRequest]:
        if not bpy.app.background:  # where nothing is edited, and points may be of any frame
            user_masks.require_keyed(self.clip())
        place = self._place
        found = yield from self._fetched(lambda report: scan(place, report))
        footage = accept(self.clip(), found)
        hashes = ContentHashes(preferences.cache_folder() / _HASHES_NAME)
        # Reads every photo that is new or has changed.
        files = yield from self._fetched(lambda report: FootageFiles.of(footage, hashes, report))
        self._asked = (files, (yield from self.drawn_so_far()))
        return self.request(*self._asked)

    def _fetched(self, work: Callable[[Report], T]) -> Generator[bool | None, None, T]:
        """What work gives that waits for disks: thousands of photos take seconds."""
        background = BackgroundTask(work)
        self._background = background
        timeout = self._deadline - time.monotonic() if bpy.app.background else 0.0
        while not background.poll(timeout):
            self.sentence = (
                f"Looking at the photos, {background.done} of {background.total}"
                if background.total
                else "Looking at the photos"
            )
            yield WAITS
            timeout = self._deadline - time.monotonic() if bpy.app.background else 0.0
        return background.result()

    def _poll(self, job: Job) -> bool:
        """One look at the job; waits for news until the deadline in background only."""
        state = job.poll(self._deadline, wait=bpy.app.background)
        progress = job.progress
        self.fraction = progress.fraction * self._share
        self.sentence = progress.sentence
        self.worker_peak_mb = max(self.worker_peak_mb, progress.peak_memory_mb)
        self.seconds_per_frame = progress.seconds_per_frame or self.seconds_per_frame
        for done in job.new_frames():
            self.frame_done(done)
        for line in job.log_lines():
            console.log.log(console.level_of(line.level), line.text)
        if not state.is_over:
            return False
        if job.trace:
            console.log.warning(job.trace)
        if state is JobState.FAILED:
            raise job.error or WorkerError("The worker failed without a word.")
        self.cancelled = state is JobState.CANCELLED
        if job.result is not None:
            self.warnings, self.damaged = job.result.warnings, job.result.damaged
            properties.of_clip(self.clip()).damaged_names = json.dumps(self.damaged)
            self.worker_peak_mb = max(self.worker_peak_mb, job.result.peak_memory_mb)
        return True


def with_warnings(summary: str, warnings: tuple[str, ...]) -> str:
    """A summary that ends with what the user should know."""
    return " ".join((summary, *warnings))
