# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the worker make copies of photos that Blender can't show, or would not show upright."""

from __future__ import annotations

from pathlib import Path

from ...client.worker.job import Job
from ...core.errors import EnvironmentSetupError, WorkerError
from ...core.footage import copies
from ...core.footage.scan import Footage
from ...core.footage.staging import COPIES
from ...core.protocol import CopyRequest
from ...core.settings import RawSource
from ..context import console, worker_session


def shows_copies(shown: Path) -> bool:
    """Whether the file of frame 1 that Blender opens is a copy."""
    return shown.parent.name == COPIES


def without(shown: Path) -> Path:
    """Return the file of frame 1 to open if no copies can be made: a link to the photo itself."""
    return copies.photo_link(shown) if shows_copies(shown) else shown


def begun(footage: Footage, shown: Path, raw: RawSource = "developed") -> tuple[Job | None, Path]:
    """Start making the copies that are missing. Return the job, and the file of frame 1 to open.

    Without the worker's packages, photos that only lie on their side are shown so. Otherwise as
    `job_for`.
    """
    try:
        return job_for(footage, shown, raw), shown
    except EnvironmentSetupError:
        if not copies.are_optional(footage):
            raise
    return None, without(shown)


def job_for(footage: Footage, shown: Path, raw: RawSource) -> Job | None:
    """Start making the copies that are missing. None if there is nothing to do.

    Parameters
    ----------
    shown
        The file of frame 1 that Blender will open.
    raw
        What camera RAW photos give, as in `RunSettings`.

    Raises
    ------
    EnvironmentSetupError
        The worker's packages are missing.
    FootageError
        The cache can't be written.
    """
    if not shows_copies(shown):
        return None
    folder = shown.parent.parent
    indices = copies.missing(footage, folder, raw)
    if not indices:
        return None
    pool = worker_session.pool()
    copies.begin(footage, folder)
    paths = copies.copy_paths(footage, folder)
    return Job(
        pool,
        CopyRequest(
            tuple(str(footage.paths[index]) for index in indices),
            tuple(str(paths[index]) for index in indices),
            tuple(footage.sizes.of(index + 1) for index in indices),
            copies.frame_size(footage),
            raw,
        ),
    )


def take(job: Job, footage: Footage, shown: Path, raw: RawSource = "developed") -> Path:
    """Note that the copies are there. Return the file of frame 1 to open.

    Raises the error of a job that failed. But if only the worker failed, photos that Blender can show
    lying on their side are shown so.
    """
    for line in job.log_lines():
        console.log.log(console.level_of(line.level), line.text)
    if isinstance(job.error, WorkerError) and copies.are_optional(footage):
        console.log.warning(str(job.error))
        return without(shown)
    if job.error is not None:
        raise job.error
    if job.result is not None:
        copies.finish(footage, shown.parent.parent, raw)
    return shown
