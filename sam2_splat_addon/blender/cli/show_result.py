# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what a job has made in a clip: clicks, settings, mask layers."""

from __future__ import annotations

import json
from typing import Any

import bpy

from ...client.command.run_job import JobResult
from ...core.capture_job import CaptureJob
from ...core.mattes.store import MatteStore
from ...core.settings import Settings, declared
from ..clip import clear_results, found_cameras, markers, matte_run
from ..context import changes, properties
from ..review import live_review
from ..tasks.layer_build import LayerBuild


def show(clip: bpy.types.MovieClip, result: JobResult, *, with_prompts: bool) -> None:
    """Bring a clip up to what a job has done. Raises SplatError.

    Parameters
    ----------
    with_prompts
        Whether the job's prompts replace those of the clip.
    """
    job, store = result.job, MatteStore(result.store)
    if with_prompts:
        markers.apply(clip, job.prompts)
    else:
        markers.add(clip, job.prompts)
    apply_settings(clip, job)
    settings = properties.of_clip(clip)
    settings.store_folder = str(result.store)
    settings.outdated_run = ""
    unreadable = {file.name for file in result.footage.unreadable}
    settings.damaged_names = json.dumps([at for at in result.damaged if at not in unreadable])
    found_cameras.read_again(clip)
    matte_run.remember(clip, store)
    changes.mattes_changed(clip.session_uid)
    names = {object_id: name for name, object_id in markers.sync_objects(clip).items()}
    clear_results.propagated(clip, store, names)
    build = LayerBuild(clip, store, names)
    while not build.step():
        pass
    live_review.layers_written(clip, build.edited)
    if result.output is not None:
        settings.output_folder = str(result.output)


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
