# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what a job has made in a clip: clicks, settings, mask layers."""

from __future__ import annotations

from typing import Any

import bpy

from ...client.command.run_job import JobResult
from ...core.capture_job import CaptureJob
from ...core.settings import Settings, declared
from ...core.system.steps import at_once
from ..clip import markers
from ..context import properties
from ..tasks.take_run import taken


def show(clip: bpy.types.MovieClip, result: JobResult, *, with_prompts: bool) -> None:
    """Bring a clip up to what a job has done. Raises SplatError.

    Parameters
    ----------
    with_prompts
        Whether the job's prompts replace those of the clip.
    """
    job = result.job
    if with_prompts:
        markers.apply(clip, job.prompts)
    else:
        markers.add(clip, job.prompts)
    apply_settings(clip, job)
    unreadable = {file.name for file in result.footage.unreadable}
    damaged = [name for name in result.damaged if name not in unreadable]
    at_once(taken(clip, result.store, damaged, result.output))


def apply_settings(clip: bpy.types.MovieClip, job: CaptureJob) -> None:
    """Give a clip the settings of a job, and its subjects their roles."""
    settings = properties.of_clip(clip)
    for struct in (job.model, job.run, job.bake):
        for name, value in _values(struct):
            setattr(settings, name, value)
    settings.checkpoint = job.checkpoint
    settings.targets = set(job.targets)
    settings.edits_prompt = job.drawn_prompt
    first, last = job.run.first_frame, job.run.last_frame
    settings.use_range = settings.use_range or (first, last) != (1, settings.frame_count)
    settings.first_frame, settings.last_frame = first, last or settings.frame_count
    markers.sync_objects(clip)
    for entry in settings.objects:
        entry.role = job.roles.get(entry.name, "keep")
        entry.use_in_bake = entry.name not in job.unbaked


def _values(struct: Settings) -> list[tuple[str, Any]]:
    return [(one.name, getattr(struct, one.name)) for one in declared(type(struct))]
