# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a job of a clip: all that a run without Blender needs of it."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import cast

import bpy

from ...core.capture_job import CaptureJob, write_job
from ...core.footage.scan import Footage
from ...core.mattes.store import STORE_NAME
from ...core.prompts import PromptSet
from ...core.settings import BUNDLED, BakeSettings, Device, ModelSettings, Role
from ...core.system.background_task import BackgroundTask
from ...core.system.steps import ends
from ..clip import markers, matte_run, shown, user_masks
from ..clip.footage import accept, place_of
from ..clip.user_masks import Drawn
from ..context import preferences, properties
from ..context.active_clip import require_clip_by_uid
from ..context.requests import cameras_place, chosen, run_settings
from ..review import live_review
from . import local_edits
from .bake_task import chosen_targets


class ExportTask:
    """Collect a clip's clicks, drawn masks and settings, and write them as a job file.

    Parameters
    ----------
    clip
        The clip. It may have no click yet, if ``file`` is None.
    file
        The file to write. None writes nothing, and the job is only in `job`.

    See :class:`sam2_splat_addon.blender.context.task_runner.Task` for the attributes that panels read.

    Attributes
    ----------
    job
        The job, after the end.

    Raises (when made)
    ------------------
    SplatError
        The clip has no photos, or no click.
    """

    title = "Exporting"

    def __init__(self, clip: bpy.types.MovieClip, file: Path | None = None) -> None:
        self.fraction = 0.0
        self.sentence = "Looking at the photos"
        self.summary = ""
        self.cancelled = False
        self.job: CaptureJob | None = None
        self._uid = clip.session_uid
        self._file = file
        if file is not None:
            markers.collect(clip)  # raises at once if there is no click
        local_edits.work_on(clip)
        place = place_of(clip)
        self._background: BackgroundTask[Footage] = BackgroundTask(place.scanned)
        self._steps = self._run()

    def step(self, deadline: float) -> bool:
        """Work until the deadline. Return True at the end. Raises SplatError."""
        while not self.cancelled:
            if ends(self._steps):
                return True
            if time.monotonic() >= deadline:
                return False
        self.summary = "Cancelled. Nothing was written"
        return True

    def cancel(self) -> None:
        """Write nothing."""
        self.cancelled = True
        self._background.cancel()

    def abort(self) -> None:
        """End at once."""
        self.cancel()
        self._steps.close()

    def _run(self) -> Generator[None, None, None]:
        if not bpy.app.background:
            user_masks.require_keyed(require_clip_by_uid(self._uid))
        while not self._background.poll(0.01):
            yield
        footage = accept(require_clip_by_uid(self._uid), self._background.result())
        looking = user_masks.everything(self._uid)
        while True:
            try:
                done, total = next(looking)
            except StopIteration as ended:
                drawn: Drawn = ended.value
                break
            self.fraction = done / total if total else 0.0
            self.sentence = f"Looking for edited masks, {done} of {total}"
            yield
        clip = require_clip_by_uid(self._uid)
        self.job = job_of(clip, footage, drawn)
        self.fraction = 1.0
        if self._file is not None:
            write_job(self._file, self.job)
            self.summary = f"Wrote the job {self._file.name}"


def job_of(clip: bpy.types.MovieClip, footage: Footage, drawn: Drawn) -> CaptureJob:
    """Return the job of a clip with these photos and drawn masks. Raises SplatError."""
    settings = properties.of_clip(clip)
    ids = markers.sync_objects(clip)
    prompts = sorted(markers.known_prompts(clip), key=lambda entry: entry.id)
    sizes = shown.stored_sizes(clip)
    entries = [entry for entry in settings.objects if entry.name in ids]
    store = matte_run.store_folder(clip, footage.folder)
    own_checkpoint = settings.checkpoint if settings.model != BUNDLED else ""
    with_prompts = {entry.name for entry in prompts}
    return CaptureJob(
        photos=str(footage.folder),
        subfolders=footage.with_subfolders,
        first_photo=settings.first_file,
        photo_names=tuple(frame.name for frame in footage.frames),
        prompts=PromptSet(tuple(prompts), sizes.width, sizes.height),
        drawn=user_masks.as_mattes(clip, drawn),
        drawn_prompt=settings.edits_prompt,
        roles={
            entry.name: cast(Role, entry.role)
            for entry in entries
            if entry.role != "keep" and entry.name in with_prompts
        },
        unbaked=tuple(
            entry.name for entry in entries if not entry.use_in_bake and entry.name in with_prompts
        ),
        approved=live_review.fine_frames_of(clip),
        model=ModelSettings(**chosen(settings, ModelSettings)),
        run=run_settings(settings, len(footage)),
        bake=BakeSettings(**chosen(settings, BakeSettings)),
        guess_panorama=False,
        targets=chosen_targets(settings),
        checkpoint=bpy.path.abspath(own_checkpoint) if own_checkpoint else "",
        device=cast(Device, preferences.device()),
        threads=preferences.threads(),
        cameras=cameras_place(settings),
        store="" if store == footage.folder / STORE_NAME else str(store),
        output_in=bpy.path.abspath(settings.bake_folder) if settings.bake_folder else "",
    )
