# SPDX-License-Identifier: GPL-3.0-or-later
"""The review written into a folder by the worker; imports bpy, core and client."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..core.protocol import FootageFiles, ReportRequest
from ..core.review_report import HTML_NAME
from . import bake_task, clip_prompts
from .footage_clip import footage_of, store_folder
from .job_task import JobTask

_FOLDER_NAME = "sam2_splat_review"


def written_page(clip: bpy.types.MovieClip) -> Path | None:
    """The page that the button wrote beside a clip's photos; None when there is none."""
    folder = clip.sam2_splat.footage_folder
    page = Path(bpy.path.abspath(folder)) / _FOLDER_NAME / HTML_NAME if folder else None
    return page if page is not None and page.is_file() else None


class ReportTask(JobTask):
    """Writes ``review.csv`` and ``review.html``.

    Parameters
    ----------
    clip
        A propagated clip.
    folder
        Where to; None is ``sam2_splat_review`` beside the photos. What is there is replaced.

    Raises (when made)
    ------------------
    SplatError
        Footage gone.
    """

    title = "Reporting"

    def __init__(self, clip: bpy.types.MovieClip, folder: Path | None = None) -> None:
        footage = footage_of(clip)
        self.folder = folder or footage.folder / _FOLDER_NAME
        names = {object_id: name for name, object_id in clip_prompts.sync_objects(clip).items()}
        request = ReportRequest(
            footage=FootageFiles.of(footage),
            store=str(store_folder(clip, footage)),
            output_folder=str(self.folder),
            names=names,
            edited=bake_task.edited_mattes(clip),
        )
        super().__init__(clip, request)

    def step(self, deadline: float) -> bool:
        if not super().step(deadline):
            return False
        if self.cancelled:
            self.summary = "Cancelled; no report was written"
            return True
        assert self._job.result is not None
        self.fraction = 1.0
        self.summary = self._job.result.summary
        return True
