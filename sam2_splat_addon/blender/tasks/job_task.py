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
from ...core.footage.content_hashes import HASHES_NAME, ContentHashes
from ...core.protocol import FootageFiles, FrameDone, JobRequest
from ...core.system.background_task import BackgroundTask, Report
from ..clip import user_masks
from ..clip.footage import accept, place_of
from ..clip.user_masks import Drawn
from ..context import console, preferences, properties, worker_session
from ..context.active_clip import require_clip_by_uid
from . import local_edits

# A step that waits for a disk or the worker yields this. Other steps have done a piece of work.
WAITS = True

Steps = Generator[bool | None, None, None]

T = TypeVar("T")


class JobTask:
    """Prepare a request, let the worker do it, and use the result, all in small steps.

    Subclasses make the request and use the result. See
    :class:`sam2_splat_addon.blender.context.task_runner.Task` for the attributes that panels read.

    Parameters
    ----------
    clip
        The clip to work on.
    share
        The job's part of the progress bar. `follow_up` has the rest.

    Raises (when made)
    ------------------
    EnvironmentSetupError
        The worker's packages are missing.
    FootageError
        The clip has no photos.
    """

    title = "Working"
    finds_damage = True  # in photos

    def __init__(self, clip: bpy.types.MovieClip, share: float = 1.0) -> None:
        self.fraction = 0.0
        self.sentence = ""
        self.summary = ""
        self.cancelled = False
        self.worker_peak_mb = 0.0
        self.seconds_per_frame = 0.0
        self.warnings: tuple[str, ...] = ()
        self.damaged: tuple[str, ...] = ()
        # An undo makes references to data-blocks invalid, so the clip is looked up when needed.
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
        """Return the request to the worker. Raises SplatError if there is nothing to ask."""
        raise NotImplementedError

    def follow_up(self) -> Steps:
        """Use the result of the job, and set the summary."""
        raise NotImplementedError

    def step(self, deadline: float) -> bool:
        """Work until the deadline. In a window, return at once while waiting for the worker."""
        self._deadline = deadline
        now = time.monotonic()
        while True:
            began = now
            try:
                waits = next(self._steps)
            except StopIteration:
                return True
            now = time.monotonic()
            # Don't start a piece of work that would end too late. The last one tells how long it takes.
            if waits or now + (now - began) >= deadline:
                return False

    def frame_done(self, done: FrameDone) -> None:
        """Note a matte or an image that was written to disk."""

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
        """Seconds in which the worker has said nothing, if it is a long time, else 0."""
        return self._job.silence if self._job is not None else 0.0

    def restart(self) -> None:
        """End a silent worker and ask a new one. Finished frames are not computed again.

        Raises SplatError if no new request is possible.
        """
        if self._job is None or self._asked is None or self._job.state.is_over:
            return
        self._job.abort()
        self._job = Job(self._pool, self.request(*self._asked))

    def clip(self) -> bpy.types.MovieClip:
        """Return the task's clip. Raises FootageError if it was deleted meanwhile."""
        return require_clip_by_uid(self._clip_uid)

    def drawn_so_far(self) -> Generator[bool | None, None, Drawn]:
        """Find everything that the user drew, in steps."""
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
        while not self._poll(self._job):  # the job may have changed, see `restart`
            yield WAITS
        yield from self.follow_up()

    def _prepare(self) -> Generator[bool | None, None, JobRequest]:
        if (
            not bpy.app.background
        ):  # without a window nobody edits, and points may belong to any frame
            user_masks.require_keyed(self.clip())
        place = self._place
        found = yield from self._fetched(place.scanned)
        footage = accept(self.clip(), found)
        hashes = ContentHashes(preferences.cache_folder() / HASHES_NAME)
        # This reads every photo that is new or has changed.
        files = yield from self._fetched(lambda report: FootageFiles.of(footage, hashes, report))
        self._asked = (files, (yield from self.drawn_so_far()))
        return self.request(*self._asked)

    def _fetched(self, work: Callable[[Report], T]) -> Generator[bool | None, None, T]:
        """Do work in a thread that waits for disks. Thousands of photos take seconds."""
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
        """Look at the job once. Only without a window, wait for the worker until the deadline."""
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
            raise job.error or WorkerError("The SAM 2 process failed without a message.")
        self.cancelled = state is JobState.CANCELLED
        if job.result is not None:
            self.warnings, self.damaged = job.result.warnings, job.result.damaged
            if self.finds_damage:
                properties.of_clip(self.clip()).damaged_names = json.dumps(self.damaged)
            self.worker_peak_mb = max(self.worker_peak_mb, job.result.peak_memory_mb)
        return True
