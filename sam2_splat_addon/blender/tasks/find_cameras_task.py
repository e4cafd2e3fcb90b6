# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the worker find the cameras of the photos."""

from __future__ import annotations

import os
from pathlib import Path

import bpy

from ...core.cameras.found import estimate
from ...core.errors import CameraError, PackageError
from ...core.printable import with_warnings
from ...core.protocol import FindCamerasRequest, FootageFiles
from ..clip import found_cameras, matte_run, user_masks
from ..clip.user_masks import Drawn
from ..context import properties, worker_session
from .job_task import JobTask, Steps


def expected(clip: bpy.types.MovieClip, threads: int) -> str:
    """Say about how long the search takes for a clip's photos on this computer."""
    return estimate(properties.of_clip(clip).frame_count, threads or os.cpu_count() or 1)


class FindCamerasTask(JobTask):
    """Find the cameras, and write them beside the masks.

    Parameters
    ----------
    clip
        A clip with photos.
    threads
        Number of threads; 0 is all processors.

    Raises (when made)
    ------------------
    PackageError
        pycolmap is missing.
    CameraError
        The photos are panoramas.
    SplatError
        The clip has no photos, or the packages are missing.
    """

    title = "Finding cameras"

    def __init__(self, clip: bpy.types.MovieClip, *, threads: int) -> None:
        super().__init__(clip)
        if not worker_session.finds_cameras():
            raise PackageError(
                "Find Cameras needs the package pycolmap, which is not installed.",
                "Press Install pycolmap in the Cameras panel.",
            )
        if properties.of_clip(clip).panorama:
            raise CameraError(
                "Find Cameras can't work with panoramas.",
                "Switch Panorama off, or bring cameras of another program.",
            )
        self._threads = threads

    def request(self, footage: FootageFiles, edited: Drawn) -> FindCamerasRequest:
        """Return the request."""
        clip = self.clip()
        return FindCamerasRequest(
            footage,
            str(matte_run.store_folder(clip, Path(footage.folder))),
            user_masks.as_mattes(clip, edited),
            self._threads,
            properties.of_clip(clip).raw_photos,
        )

    def follow_up(self) -> Steps:
        """Set the summary."""
        assert self._job is not None  # it has just ended
        found_cameras.read_again(self.clip())
        if self.cancelled:
            self.summary = "Cancelled. Find Cameras goes on here the next time"
            return
        assert self._job.result is not None
        self.fraction = 1.0
        self.summary = with_warnings(self._job.result.summary, self.warnings)
        yield None
