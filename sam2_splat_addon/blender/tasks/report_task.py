# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the worker write the review into a folder."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...core.printable import with_warnings
from ...core.protocol import FootageFiles, ReportRequest
from ...core.review.report import HTML_NAME, REPORT_FOLDER
from ..clip import clear_results, markers, matte_run, user_masks
from ..clip.user_masks import Drawn
from ..context import properties
from ..review import live_review
from .job_task import JobTask, Steps


def written_page(clip: bpy.types.MovieClip) -> Path | None:
    """Return the page that Write Report has written beside a clip's photos. None if there is none."""
    folder = properties.of_clip(clip).footage_folder
    page = Path(bpy.path.abspath(folder)) / REPORT_FOLDER / HTML_NAME if folder else None
    return page if page is not None and page.is_file() else None


class ReportTask(JobTask):
    """Write ``review.csv`` and ``review.html``.

    Parameters
    ----------
    clip
        A clip after propagation.
    folder
        The folder. None means ``sam2_splat_review`` beside the photos. Old files there are replaced.

    Raises (when made)
    ------------------
    SplatError
        The clip has no photos, or the packages are missing.
    """

    title = "Reporting"

    def __init__(self, clip: bpy.types.MovieClip, folder: Path | None = None) -> None:
        super().__init__(clip)
        self._wanted_folder = folder

    def request(self, footage: FootageFiles, edited: Drawn) -> ReportRequest:
        """Return the request for all objects of the clip."""
        clip, photos = self.clip(), Path(footage.folder)
        names = {object_id: name for name, object_id in markers.sync_objects(clip).items()}
        store = matte_run.own_store(clip, photos)
        clear_results.reconcile(clip)
        return ReportRequest(
            footage=footage,
            store=str(store.folder),
            output_folder=str(self._wanted_folder or photos / REPORT_FOLDER),
            names=names,
            edited=user_masks.as_mattes(clip, edited),
            fine=live_review.fine_frames_of(clip),
        )

    def follow_up(self) -> Steps:
        """Set the summary."""
        assert self._job is not None  # it has just ended
        if self.cancelled:
            self.summary = "Cancelled. No report was written"
            return
        assert self._job.result is not None
        self.fraction = 1.0
        self.summary = with_warnings(self._job.result.summary, self.warnings)
        yield None
