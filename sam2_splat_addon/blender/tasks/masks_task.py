# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the worker read the masks that lie beside the photos, and make them a subject's masks."""

from __future__ import annotations

from collections.abc import Generator

import bpy

from ...core.errors import FootageError
from ...core.footage.scan import Footage
from ...core.printable import counted, with_warnings
from ...core.protocol import FoundMask, JobRequest, MasksRequest
from ...core.system.background_task import Report
from ..clip import mask_prompts
from ..clip.footage import accept
from ..context import properties
from .job_task import JobTask, Steps


class MasksTask(JobTask):
    """Make the masks beside the photos a subject's first masks, as mask prompts.

    Parameters
    ----------
    clip
        A clip with photos.
    subject
        Name of the subject. Its masks on other photos, and its clicks, stay.
    invert
        Whether black is the subject in these masks.

    Raises (when made)
    ------------------
    SplatError
        The clip has no photos, or the packages are missing.
    """

    title = "Reading masks"
    finds_damage = False

    def __init__(self, clip: bpy.types.MovieClip, subject: str, *, invert: bool = False) -> None:
        super().__init__(clip)
        self._subject = subject
        self._invert = invert

    def _prepare(self) -> Generator[bool | None, None, JobRequest]:
        place = self._place

        def looked(report: Report) -> Footage:
            footage = place.scanned(report)
            _ = footage.masks  # here, because it waits for a disk
            return footage

        found = yield from self._fetched(looked)
        footage = accept(self.clip(), found)
        if not footage.masks:
            raise FootageError(
                "There are no masks beside the photos.",
                "Put them into a folder called masks beside the photos, with the photos' names.",
            )
        return MasksRequest(
            tuple(
                FoundMask(
                    str(path),
                    frame,
                    footage.frames[frame - 1].name,
                    *footage.sizes.of(frame),
                    footage.frames[frame - 1].header.orientation,
                )
                for frame, path in sorted(footage.masks.items())
            ),
            self._invert,
        )

    def follow_up(self) -> Steps:
        """Give the subject its masks, and set the summary."""
        assert self._job is not None  # it has just ended
        if self.cancelled:
            self.summary = "Cancelled. No mask was taken"
            return
        assert self._job.result is not None
        clip, masks = self.clip(), self._job.result.masks
        entry = properties.of_clip(clip).objects.get(self._subject)
        if entry is None:
            raise FootageError(
                f"The subject {self._subject} is gone.",
                "Choose a subject, and read the masks again.",
            )
        mask_prompts.set_many(clip, entry.object_id, masks)
        self.fraction = 1.0
        said = f"{counted(len(masks), 'mask')} of {self._subject}. Propagate to carry them on"
        self.summary = with_warnings(said, self.warnings)
        yield None
