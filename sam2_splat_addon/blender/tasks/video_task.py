# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the worker look at a video and make photos of it, then load them."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import bpy

from ...client.worker.job import Job, JobState
from ...core.errors import FootageError, WorkerError
from ...core.footage.content_hashes import HASHES_NAME, ContentHashes
from ...core.footage.video_photos import found_photos, photos_key
from ...core.footage.video_scores import (
    SCORES,
    VideoScores,
    read_scores,
    scores_folder,
    scores_path,
)
from ...core.printable import is_text
from ...core.protocol import VideoPhotosRequest, VideoRequest, VideoScoresRequest
from ...core.settings import VideoSettings
from ...core.system.background_task import BackgroundTask, Report
from ...core.system.steps import ends
from ..context import console, preferences, worker_session
from .job_task import WAITS, Steps
from .load_task import LoadTask

Until = Literal["scores", "photos", "clip"]
JobSteps = Generator[bool | None, None, Job]


class VideoTask:
    """Make photos of a video in a folder beside it, and load them.

    What an earlier task has done is not done again: the scores of a video are in the cache, and its folder
    of photos is found by its report.

    Parameters
    ----------
    video
        The file.
    settings
        How many photos, and of which kind.
    parent
        Where the new folder goes. None means beside the video.
    until
        Where to end: when the scores are known, when the photos are there, or when they are loaded.

    See :class:`sam2_splat_addon.blender.context.task_runner.Task` for the attributes that panels read.

    Attributes
    ----------
    scores
        Known when the video was looked at.
    folder
        The folder of photos, when it is complete.
    facts
        What the user must know of the video.
    clip_name
        Name of the clip, when it is loaded.

    Raises (when made)
    ------------------
    EnvironmentSetupError
        The worker's packages are missing.
    FootageError
        The name of the video is not valid text.
    """

    title = "Making Photos"

    def __init__(
        self,
        video: Path,
        settings: VideoSettings,
        parent: Path | None = None,
        until: Until = "clip",
    ) -> None:
        if not is_text(str(video)):
            raise FootageError("The name of the video is not valid text.", "Rename it.")
        self.fraction = 0.0
        self.sentence = "Reading the video"
        self.summary = ""
        self.cancelled = False
        self.scores: VideoScores | None = None
        self.folder: Path | None = None
        self.facts: tuple[str, ...] = ()
        self.clip_name = ""
        self.video = video
        self._settings = settings
        self._parent = parent or video.parent
        self._until = until
        self._pool = worker_session.pool()
        self._cache = preferences.cache_folder()
        self._deadline = 0.0
        self._background: BackgroundTask[bytes] | None = None
        self._job: Job | None = None
        self._loading: LoadTask | None = None
        self._steps = self._run()

    def step(self, deadline: float) -> bool:
        """Move on until the deadline. In a window, return at once while waiting."""
        self._deadline = deadline
        return ends(self._steps)

    def cancel(self) -> None:
        """End soon. Finished photos are kept for the next time."""
        if self._loading is not None:
            self._loading.cancel()
        elif self._job is not None:
            self._job.cancel()
        else:
            self.cancelled = True
        if self._background is not None:
            self._background.cancel()

    def abort(self) -> None:
        """End at once."""
        for part in (self._loading, self._job):
            if part is not None:
                part.abort()
        if self._background is not None:
            self._background.cancel()
        self._steps.close()

    def _run(self) -> Steps:
        self._background = BackgroundTask(self._digest)
        while not self.cancelled and not self._background.poll(self._patience()):
            yield WAITS
        if self.cancelled:
            self.summary = "Cancelled. No photo was made"
            return
        digest = self._background.result()
        scores = scores_path(self._cache, digest)
        self.scores = read_scores(scores)
        if self.scores is None:
            yield from self._looked(scores)
        if self.cancelled or self.scores is None:
            return
        self.facts = self.scores.facts
        self.fraction = 1.0
        if self._until == "scores":
            self.summary = f"Looked at {len(self.scores)} frames of {self.video.name}"
            return
        yield from self._made(digest, scores)
        if self.cancelled or self._until == "photos" or self.folder is None:
            return
        self._loading = LoadTask(self.folder)
        while not self._loading.step(self._deadline):
            self.fraction, self.sentence = self._loading.fraction, self._loading.sentence
            yield WAITS
        self.cancelled, self.clip_name = self._loading.cancelled, self._loading.clip_name
        self.summary = self._loading.summary if self.cancelled else self.summary

    def _digest(self, report: Report) -> bytes:
        hashes = ContentHashes(self._cache / HASHES_NAME)
        report(0, 0)
        try:
            return hashes.of(self.video)
        except OSError as problem:
            raise FootageError(
                f"{self.video.name} can't be read: {problem.strerror or problem}.",
                "Choose a video that you may read.",
            ) from problem
        finally:
            hashes.keep()

    def _looked(self, scores: Path) -> Steps:
        """Let the worker measure all frames."""
        try:
            SCORES.claim(scores_folder(self._cache))
        except OSError as problem:
            raise FootageError(
                f"{scores.parent} can't be written: {problem.strerror or problem}.", SCORES.fix
            ) from problem
        yield from self._worked(VideoScoresRequest(str(self.video), str(scores)))
        if self.cancelled:
            self.summary = "Cancelled. No photo was made"
            return
        self.scores = read_scores(scores)
        if self.scores is None:
            raise FootageError(
                f"What was found out about {self.video.name} is gone.", "Load it again."
            )

    def _made(self, digest: bytes, scores: Path) -> Steps:
        """Let the worker write the photos, unless they are there."""
        wanted, kind = self._settings.video_photos, self._settings.video_format
        there = found_photos(self._parent, self.video, photos_key(digest, wanted, kind))
        if there is not None:
            self.folder = there
            self.summary = f"The photos in {there.name} were made before"
            return
        job = yield from self._worked(
            VideoPhotosRequest(
                str(self.video), str(scores), digest.hex(), str(self._parent), wanted, kind
            )
        )
        if self.cancelled or job.result is None:
            self.summary = "Cancelled. Finished photos are kept for the next time"
            return
        self.folder = Path(job.result.output_folder)
        self.facts = job.result.warnings
        self.summary = job.result.summary.removesuffix(".")

    def _worked(self, request: VideoRequest) -> JobSteps:
        job = self._job = Job(self._pool, request)
        while True:
            state = job.poll(self._deadline, wait=bpy.app.background)
            self.fraction, self.sentence = job.progress.fraction, job.progress.sentence
            for line in job.log_lines():
                console.log.log(console.level_of(line.level), line.text)
            if state.is_over:
                break
            yield WAITS
        self._job = None
        if job.trace:
            console.log.warning(job.trace)
        if state is JobState.FAILED:
            raise job.error or WorkerError("The SAM 2 process failed without a message.")
        self.cancelled = state is JobState.CANCELLED
        return job

    def _patience(self) -> float:
        return max(0.0, self._deadline - time.monotonic()) if bpy.app.background else 0.0
