# SPDX-License-Identifier: GPL-3.0-or-later
"""Propagate the clip's clicks to its mask layers."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...core.errors import PromptError
from ...core.mattes.store import MatteStore
from ...core.mattes.unfinished_run import void_keys
from ...core.printable import with_warnings
from ...core.protocol import FootageFiles, FrameDone, FrameRange, PropagateRequest
from ...core.settings import RunSettings
from ..clip import clear_results, markers, matte_run, user_masks
from ..clip.user_masks import Drawn
from ..context import changes, properties
from ..context.editors import to_scene
from ..context.present import present
from ..context.requests import cameras_place, model_choice, run_settings
from ..review import live_review
from .job_task import WAITS, JobTask, Steps
from .layer_build import LayerBuild

# The worker's part of the progress bar. The mask layers have the rest.
_JOB_SHARE = 0.9


class PropagateTask(JobTask):
    """Collect prompts, let the worker propagate, and make the mask layers.

    Parameters
    ----------
    span
        ``all`` frames of the range, ``forward`` or ``backward`` from ``here``, or the ``frame``
        itself. The mattes of other frames stay as they are.
    here
        A frame of the clip.
    strict
        Fail at the first damaged photo, instead of leaving it out.

    Raises (when made)
    ------------------
    SplatError
        There are no prompts, or the checkpoint or the packages are missing.
    """

    title = "Propagating"

    def __init__(
        self,
        clip: bpy.types.MovieClip,
        *,
        device: str,
        threads: int,
        span: str = "all",
        here: int = 1,
        strict: bool = False,
    ) -> None:
        super().__init__(clip, _JOB_SHARE)
        self._strict = strict
        markers.collect(clip)  # raises at once if there is no click
        self._model = model_choice(properties.of_clip(clip), device=device, threads=threads)
        self._span, self._here = span, here
        self._names: dict[int, str] = {}
        self._store = Path()  # set by the request
        self._has_written = False
        self._of_before = 0  # number of frames that a cancelled run has not changed
        self._build: LayerBuild | None = None

    def request(self, footage: FootageFiles, edited: Drawn) -> PropagateRequest:
        """Return the request: the present clicks, and the drawn masks that count as prompts."""
        clip = self.clip()
        settings, count = properties.of_clip(clip), len(footage.paths)
        prompts = markers.collect(clip).checked(footage.sizes, count)
        self._names = {entry.id: entry.name for entry in prompts.objects}
        run = run_settings(settings, count)
        self._store = matte_run.store_folder(clip, Path(footage.folder))
        if settings.outdated_run == footage.fingerprint:
            # Photos that were gone are back, and the mattes belong to them.
            settings.outdated_run = ""
        return PropagateRequest(
            footage=footage,
            prompts=prompts,
            store=str(self._store),
            model=self._model,
            settings=run,
            update=_update(self._span, self._here, run),
            edited=user_masks.as_mattes(clip, edited) if settings.edits_prompt else (),
            strict=self._strict,
            cameras=cameras_place(settings),
        )

    def follow_up(self) -> Steps:
        """Make the mask layers. If the job was cancelled, make them from the mattes so far."""
        # An undo may have removed the folder of the mattes from the clip.
        settings = properties.of_clip(self.clip())
        settings.store_folder = settings.store_folder or str(self._store)
        if self._has_written or not self.cancelled:  # else the store may still hold another run
            matte_run.remember(self.clip(), MatteStore(self._store))
        changes.mattes_changed(self._clip_uid)
        if matte_run.is_outdated(self.clip()):
            # It was cancelled before the worker removed the mattes of the old photos.
            self.summary = "Cancelled before anything was done"
            return
        store = MatteStore(self._store)
        clear_results.propagated(self.clip(), store, self._names)
        if self.cancelled:
            left = yield from self._fetched(lambda _: void_keys(store))
            self._of_before = len({frame for frames in left.values() for frame in frames})
        self._build = LayerBuild(self.clip(), store, self._names)
        while not self._build.step():
            self.fraction = _JOB_SHARE + (1.0 - _JOB_SHARE) * self._build.fraction
            self.sentence = f"Mask layers, frame {self._build.frame}"
            yield WAITS if self._build.waits else None
        live_review.layers_written(self.clip(), self._build.edited)
        self.fraction = 1.0
        self.sentence = self.summary = self._summary()

    def frame_done(self, done: FrameDone) -> None:
        """Note a new matte, so that the next redraw shows it."""
        if not self._has_written:  # from here on the run is this clip's, even if it fails
            self._has_written = True
            matte_run.remember(self.clip(), MatteStore(self._store))
        changes.mattes_changed(self._clip_uid, done.object_id, done.frame)
        scene = present(bpy.context.scene)
        if properties.of_scene(scene).follow and not bpy.app.background:
            scene.frame_current = to_scene(self.clip(), done.frame)

    def _summary(self) -> str:
        assert self._build is not None
        count = self._build.frame_count
        if self.cancelled and self._of_before:
            return (
                f"Cancelled. {count - self._of_before} of {count} frames are finished. The others still show"
                " old masks, and a bake leaves them out. Propagate again to go on"
            )
        if self.cancelled:
            return f"Cancelled. {count} frames are finished and shown. Propagate again to go on"
        what = ", ".join(self._names.values())
        speed = f" at {self.seconds_per_frame:.2f} s a frame" if self.seconds_per_frame else ""
        return with_warnings(f"Propagated {what} over {count} frames{speed}", self.warnings)


def _update(span: str, here: int, run: RunSettings) -> FrameRange | None:
    """Return the frames to update, None for all. Raises PromptError if there are none."""
    if span == "all":
        return None
    first = run.first_frame if span == "backward" else max(here, run.first_frame)
    last = run.last_frame if span == "forward" else min(here, run.last_frame)
    if first > last:
        raise PromptError(
            f"Frame {here} is outside the frames {run.first_frame} to {run.last_frame}.",
            "Move the playhead or propagate all frames.",
        )
    return FrameRange(first, last)
