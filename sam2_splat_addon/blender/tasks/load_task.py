# SPDX-License-Identifier: GPL-3.0-or-later
"""Load photos without blocking the window."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import bpy

from ...client.worker.job import Job, JobState
from ...core.footage.raw_photos import RawPhotosUnknown
from ...core.footage.scan import Footage
from ...core.settings import RawSource
from ...core.system.background_task import BackgroundTask
from ..clip import copies, loading, raw_photos, shown
from ..clip.footage import Place
from ..clip.loading import Opened
from ..context import changes, preferences, properties
from ..context.active_clip import require_clip_by_uid


class LoadTask:
    """Look at photos and link them in a thread, then open them as a clip.

    Parameters
    ----------
    path
        A folder of photos, or one of its photos.
    into
        Session uid of the clip whose photos were moved here. None means any clip.
    with_subfolders
        As in `core.footage.scan.scan`. None means as the clip of these photos was loaded before.

    See :class:`sam2_splat_addon.blender.context.task_runner.Task` for the attributes that panels read.

    Attributes
    ----------
    clip_name
        Name of the clip, when it is there.
    """

    title = "Loading"

    def __init__(
        self, path: Path, into: int | None = None, *, with_subfolders: bool | None = None
    ) -> None:
        self.fraction = 0.0
        self.sentence = "Looking at the photos"
        self.summary = ""
        self.cancelled = False
        self.clip_name = ""
        self._into = into
        self._opening: Generator[None, None, Opened] | None = None
        self._looked_for_copies = False
        self._job: Job | None = None
        self._first = Path()  # set when the copies are begun
        self._raw: RawSource = "developed"
        if with_subfolders is None:
            with_subfolders = loading.had_subfolders(path, into)
        self._cache = preferences.cache_folder()
        self._place = Place(path, with_subfolders, self._cache)
        self._look: Job | None = None
        self._has_looked = False
        self._background = self._read()

    def _read(self) -> BackgroundTask[tuple[Footage, Path]]:
        place, cache = self._place, self._cache
        return BackgroundTask(lambda report: loading.read_and_stage(place, cache, report))

    def step(self, deadline: float) -> bool:
        """Look whether the thread is done. Without a window, wait for it until the deadline."""
        if self.cancelled:
            self.summary = "Cancelled. Nothing was loaded"
            return True
        if self._opening is None:
            if not (self._is_read(deadline) and self._has_copies(deadline)):
                return False
            into = require_clip_by_uid(self._into) if self._into is not None else None
            footage, _ = self._background.result()
            self._opening = loading.open_staged(footage, self._first, into)
        self.fraction, self.sentence = 1.0, "Moving clicks and masks with their photos"
        while True:
            try:
                next(self._opening)
            except StopIteration as ended:
                self._finish(*ended.value)
                return True
            if time.monotonic() >= deadline:
                return False

    def _is_read(self, deadline: float) -> bool:
        """Whether all headers are read. The worker looks at RAW photos that are not known yet."""
        if self._look is not None:
            if not self._is_over(self._look, deadline):
                return False
            look, self._look = self._look, None
            raw_photos.take(look)
            if self.cancelled:
                return False
            self._background = self._read()
        timeout = deadline - time.monotonic() if bpy.app.background else 0.0
        if not self._background.poll(timeout):
            done, total = self._background.done, self._background.total
            self.fraction = done / total if total else 0.0
            self.sentence = f"Looking at the photos, {done} of {total}"
            return False
        try:
            self._background.result()
        except RawPhotosUnknown as unknown:
            if self._has_looked:
                raise  # a photo changes all the time
            self._has_looked = True
            self._look = raw_photos.job_for(unknown.paths, self._cache)
            return False
        return True

    def _is_over(self, job: Job, deadline: float) -> bool:
        """Move a job on. Whether it has ended; the task ends with it if it was cancelled."""
        state = job.poll(deadline, wait=bpy.app.background)
        self.fraction, self.sentence = job.progress.fraction, job.progress.sentence
        self.cancelled = self.cancelled or state is JobState.CANCELLED
        return state.is_over

    def _has_copies(self, deadline: float) -> bool:
        """Whether Blender can show the photos, or the copies that the worker makes of them."""
        footage, first = self._background.result()
        if not self._looked_for_copies:
            self._looked_for_copies = True
            self._raw = loading.raw_source(footage, self._into)
            self._job, self._first = copies.begun(footage, first, self._raw)
        if self._job is None:
            return True
        if not self._is_over(self._job, deadline):
            return False
        self._first = copies.take(self._job, footage, first, self._raw)
        return not self.cancelled

    def _finish(self, clip: bpy.types.MovieClip, news: str) -> None:
        settings = properties.of_clip(clip)
        self.clip_name, self.fraction = clip.name, 1.0
        width, height = clip.size
        left_out = settings.unreadable_count
        self.summary = f"{clip.name}: {settings.frame_count} photos of {width}x{height} px" + (
            f". {left_out} can't be read and were left out" if left_out else ""
        )
        if not settings.shows_upright and not shown.stored_sizes(clip).are_as_stored:
            self.summary += (
                ". Some lie on their side. When SAM 2 is installed and works, load them again to see them"
                " upright"
            )
        if news:
            self.summary += f". {news}"
            changes.photos_changed(clip.session_uid)

    def cancel(self) -> None:
        """Load nothing."""
        self.abort()
        self.cancelled = True

    def abort(self) -> None:
        """Let the thread end."""
        self._background.cancel()
        for job in (self._look, self._job):
            if job is not None:
                job.abort()
        if self._opening is not None:
            self._opening.close()
