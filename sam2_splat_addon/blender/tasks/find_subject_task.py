# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the worker find the subject by the cameras, and propose clicks on it."""

from __future__ import annotations

from pathlib import Path

import bpy
from msgspec.structs import replace

from ...core.errors import PromptError
from ...core.printable import with_warnings
from ...core.prompts import PromptSet
from ...core.protocol import FindSubjectRequest, FootageFiles
from ..clip import markers, matte_run
from ..clip.user_masks import Drawn
from ..context import properties
from ..context.requests import cameras_place, model_choice, run_settings
from .job_task import JobTask, Steps


class FindSubjectTask(JobTask):
    """Propose clicks on the thing that all cameras look at, as ordinary clicks of the subject to click.

    Parameters
    ----------
    clip
        A clip with photos, whose subject to click has no clicks.
    device, threads
        As for a propagation.

    Raises (when made)
    ------------------
    SplatError
        The subject has clicks already, or the checkpoint or the packages are missing.
    """

    title = "Finding the subject"
    finds_damage = False

    def __init__(self, clip: bpy.types.MovieClip, *, device: str, threads: int) -> None:
        super().__init__(clip)
        if not markers.waits_for_clicks(clip):
            raise PromptError(
                "The active subject has clicks already.",
                "Add a subject first, or delete its clicks.",
            )
        self._model = model_choice(properties.of_clip(clip), device=device, threads=threads)
        self.frames: tuple[int, ...] = ()
        """Frames with proposed clicks."""

    def request(self, footage: FootageFiles, edited: Drawn) -> FindSubjectRequest:
        """Return the request."""
        clip = self.clip()
        return FindSubjectRequest(
            footage,
            markers.CAMERA_SUBJECT,
            str(matte_run.store_folder(clip, Path(footage.folder))),
            self._model,
            run_settings(properties.of_clip(clip), len(footage.paths)),
            cameras_place(properties.of_clip(clip)),
        )

    def follow_up(self) -> Steps:
        """Add the clicks, and set the summary."""
        assert self._job is not None  # it has just ended
        result = self._job.result
        if self.cancelled or result is None or result.prompts is None:
            self.summary = "Cancelled. No click was proposed"
            return
        clip = self.clip()
        if not markers.waits_for_clicks(clip):
            self.summary = "There are clicks meanwhile, so none is proposed"
            return
        owner = markers.subject_to_click(clip)
        object_id = markers.sync_objects(clip)[markers.subject_name(owner)]
        (entry,) = result.prompts.objects
        markers.add(clip, PromptSet((replace(entry, id=object_id),)))
        self.frames = tuple(at.frame for at in entry.frames)
        self.fraction = 1.0
        self.summary = with_warnings(result.summary, self.warnings)
        yield None
