# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the worker make copies of photos that Blender can't show."""

from __future__ import annotations

from pathlib import Path

from ...client.worker.job import Job
from ...core.footage import copies
from ...core.footage.scan import Footage
from ...core.protocol import CopyRequest
from ..context import console, worker_session


def job_for(footage: Footage, shown: Path) -> Job | None:
    """Start making the copies that are missing. None if there is nothing to do.

    Parameters
    ----------
    shown
        The file of frame 1 that Blender will open.

    Raises
    ------
    EnvironmentSetupError
        The worker's packages are missing.
    FootageError
        The cache can't be written.
    """
    if not copies.needs_copies(footage):
        return None
    folder = shown.parent.parent
    indices = copies.missing(footage, folder)
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
            footage.width,
            footage.height,
        ),
    )


def take(job: Job, footage: Footage, shown: Path) -> None:
    """Note that the copies are there. Raises the error of a job that failed."""
    for line in job.log_lines():
        console.log.log(console.level_of(line.level), line.text)
    if job.error is not None:
        raise job.error
    if job.result is not None:
        copies.finish(footage, shown.parent.parent)
