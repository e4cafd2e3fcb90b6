# SPDX-License-Identifier: GPL-3.0-or-later
"""A task whose work is one job of the worker; imports bpy through its siblings, core and client."""

from __future__ import annotations

import bpy

from ..client.job import Job, JobState
from ..core.errors import WorkerError
from ..core.protocol import FrameDone, JobRequest
from . import worker
from .active_clip import require_clip_by_uid


class JobTask:
    """Polls a job and shows its progress; subclasses say what follows when it is over.

    See :class:`sam2_splat_addon.blender.running.Task` for the attributes that panels read.
    """

    title = "Working"

    def __init__(self, clip: bpy.types.MovieClip, request: JobRequest, share: float = 1.0) -> None:
        self.fraction = 0.0
        self.sentence = ""
        self.summary = ""
        self.cancelled = False
        self.worker_peak_mb = 0.0
        self.seconds_per_frame = 0.0
        self.warnings: tuple[str, ...] = ()
        # References to data-blocks don't outlive an undo, so the clip is looked up when needed.
        self._clip_uid = clip.session_uid
        self._share = share
        self._job = Job(worker.keeper(), request)

    def step(self, deadline: float) -> bool:
        """One look at the job; waits for news until the deadline in background only."""
        state = self._job.poll(deadline, wait=bpy.app.background)
        progress = self._job.progress
        self.fraction = progress.fraction * self._share
        self.sentence = progress.sentence
        self.worker_peak_mb = max(self.worker_peak_mb, progress.peak_memory_mb)
        self.seconds_per_frame = progress.seconds_per_frame or self.seconds_per_frame
        for done in self._job.new_frames():
            self.frame_done(done)
        for line in self._job.log_lines():
            print(f"SAM2 Splat: {line.text}", flush=True)  # Blender's console is the add-on's log
        if not state.is_over:
            return False
        if self._job.trace:
            print(self._job.trace, flush=True)
        if state is JobState.FAILED:
            raise self._job.error or WorkerError("The worker failed without a word.")
        self.cancelled = state is JobState.CANCELLED
        if self._job.result is not None:
            self.warnings = self._job.result.warnings
            self.worker_peak_mb = max(self.worker_peak_mb, self._job.result.peak_memory_mb)
        return True

    def frame_done(self, done: FrameDone) -> None:
        """Called for every matte or image that has come onto disk."""

    def cancel(self) -> None:
        self._job.cancel()

    def abort(self) -> None:
        self._job.abort()

    def clip(self) -> bpy.types.MovieClip:
        """The clip the task works on; raises FootageError when it was deleted meanwhile."""
        return require_clip_by_uid(self._clip_uid)


def with_warnings(summary: str, warnings: tuple[str, ...]) -> str:
    """A summary that ends with what the user should know."""
    return " ".join((summary, *warnings))
