# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the worker look at camera RAW photos, which Blender can't read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...client.worker.job import Job
from ...core.footage.raw_photos import FILE_NAME
from ...core.protocol import LookRequest
from ..context import console, worker_session


def job_for(photos: Sequence[Path], cache: Path) -> Job:
    """Start looking at photos. Raises EnvironmentSetupError if the worker's packages are missing."""
    names = tuple(str(photo) for photo in photos)
    return Job(worker_session.pool(), LookRequest(names, str(cache / FILE_NAME)))


def take(job: Job) -> None:
    """End a job. Raises its error if it failed."""
    for line in job.log_lines():
        console.log.log(console.level_of(line.level), line.text)
    if job.error is not None:
        raise job.error
