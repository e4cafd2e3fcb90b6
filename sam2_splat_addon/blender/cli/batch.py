# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's door to the command `sam2-splat`: ``blender --command sam2_splat`` and ``tools/batch.py``.

`client/command` makes the job and runs it. Here is what only Blender can do: a clip of the open file
becomes a job, and what a job has made is shown in a clip, which ``--save`` keeps. Exit codes are those
of `client/command/main.py`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import bpy
from msgspec.structs import replace

from ...client.command import main as command_line
from ...client.command.main import JOB_COMMANDS, done, parsed, require_use, to_code
from ...client.command.options import add_save, job_of, parser, way_of
from ...client.command.places import require_writable
from ...client.command.run_job import JobResult, Prepared
from ...client.command.watch import Terminal, Watch
from ...client.command.workplace import Workplace
from ...core.capture_job import CaptureJob, read_job
from ...core.errors import FootageError, StoreError
from ...core.settings import Device
from ...core.system.safe_read import is_there, open_plain
from ...core.system.terminal import Interrupts, say
from ..clip import markers, opening
from ..context import preferences, properties, worker_session
from ..context.active_clip import active_clip
from ..context.present import present
from ..context.task_runner import run_to_end
from ..tasks.export_task import ExportTask
from ..tasks.load_task import LoadTask
from .show_result import show

_LOOK = 0.2  # s between two looks at Ctrl+C
_BLENDERS_PATH = 1024  # bytes, including the zero at the end
# First bytes of .blend files: not compressed, compressed with Zstandard, and with gzip before Blender 3.0.
_BLEND_BEGINS = (b"BLENDER", b"\x28\xb5\x2f\xfd", b"\x1f\x8b")


@dataclass(frozen=True)
class BatchResult:
    """The result of a run: the clip, object id -> name, frame -> photo, and the cost.

    ``torch`` is the worker's version with its build (``2.13.0+cpu``). The peak depends on it.
    ``damaged`` holds the names of photos that were left out of propagation or bake.
    """

    clip: bpy.types.MovieClip
    names: dict[int, str]
    sources: dict[int, Path]
    seconds_per_frame: float
    worker_peak_mb: float
    torch: str
    damaged: tuple[str, ...] = ()


def main(arguments: Sequence[str], program: str = "sam2_splat") -> int:
    """Do one command and return the exit code. Without a command's name it is `run`."""
    words = list(arguments)
    command = words.pop(0) if words and words[0] in JOB_COMMANDS else "run"
    if words and words[0] in command_line.OTHER_COMMANDS:
        return command_line.main(arguments)
    options = parsed(options_parser(f"{program} {command}"), words)
    if isinstance(options, int):
        return options
    if options.save and not _may_be_file(options.save.absolute()):
        say(f"{program}: --save {options.save} can't be made", error=True)
        return 2
    interrupts = Interrupts()
    if bpy.app.background:
        interrupts.listen()
    return to_code(lambda watch: _run(command, options, watch)[0], options, interrupts)


def options_parser(program: str = "sam2_splat run") -> argparse.ArgumentParser:
    """Return the parser of a command on one job, with the option that only Blender has."""
    own = parser(program)
    add_save(own)
    return own


def run(options: argparse.Namespace, watch: Watch | None = None) -> BatchResult:
    """Do what the options of `options_parser` say, and show it. Raises SplatError and KeyboardInterrupt."""
    result, clip = _run("run", options, watch or Terminal(Interrupts()))
    assert isinstance(result, JobResult) and clip is not None  # only `check` has none
    return BatchResult(
        clip,
        {object_id: name for name, object_id in markers.sync_objects(clip).items()},
        {frame.frame: frame.path for frame in result.footage.frames},
        result.seconds_per_frame,
        result.worker_peak_mb,
        result.torch,
        result.damaged,
    )


def _run(
    command: str, options: argparse.Namespace, watch: Watch
) -> tuple[JobResult | Prepared, bpy.types.MovieClip | None]:
    steps, _ = JOB_COMMANDS[command]
    clip = _clip_in_file(options, watch)
    base = _of_file(options) if clip is None else _exported(clip, watch)
    job = job_of(options, steps, base)
    require_use(options, job)
    if options.save is not None:
        _require_save(options.save.absolute())
    at = Workplace(
        worker_session.pool(),
        preferences.cache_folder(),
        preferences.model_folder(),
        worker_session.finds_cameras(),
    )
    result = done(command, job, at, watch, way_of(options))
    if isinstance(result, Prepared):
        return result, clip
    given = options.prompts is not None or bool(options.found_masks) or options.find_subject
    with_prompts = clip is None or given
    clip = clip or _loaded(result.footage.folder, job, watch)
    show(clip, result, with_prompts=with_prompts)
    if options.save is not None:
        _save(options.save)
        watch.said(f"Saved {options.save}")
    return result, clip


def _of_file(options: argparse.Namespace) -> CaptureJob:
    """Return the job file that options name, or an empty job with this Blender's preferences."""
    if options.job:
        return read_job(options.job)
    device = cast(Device, preferences.device())
    return CaptureJob(steps=("propagate",), device=device, threads=preferences.threads())


def _exported(clip: bpy.types.MovieClip, watch: Watch) -> CaptureJob:
    task = ExportTask(clip)
    run_to_end(task, lambda _: watch.check())
    assert task.job is not None  # it ended without an error
    return replace(task.job, steps=("propagate",))


def _clip_in_file(options: argparse.Namespace, watch: Watch) -> bpy.types.MovieClip | None:
    """Return the clip of this file that the options mean: the active one, or that of the photos.

    None if a job file is named, or if these photos have no clip yet. Raises FootageError if nothing is
    named and there is no clip.
    """
    if options.job:
        return None
    if options.footage is None:
        while not opening.settle(_LOOK):  # wait for the open file's photos on a slow disk
            watch.check()
        active = active_clip(bpy.context)
        if active is None:
            raise FootageError("There is no clip.", "Name photos with --footage.")
        return active
    path = options.footage.absolute()
    for clip in bpy.data.movieclips:
        folder = properties.of_clip(clip).footage_folder
        if folder and Path(bpy.path.abspath(folder)) in (path, path.parent):
            return _reloaded(path, options, watch)
    return None


def _reloaded(path: Path, options: argparse.Namespace, watch: Watch) -> bpy.types.MovieClip:
    """Load photos again that this file knows, so that clicks go along if photos came or went."""
    task = LoadTask(path, with_subfolders=options.subfolders or None)
    run_to_end(task, lambda _: watch.check())
    return _made_active(bpy.data.movieclips[task.clip_name])


def _loaded(folder: Path, job: CaptureJob, watch: Watch) -> bpy.types.MovieClip:
    """Open the photos of a job as a clip."""
    task = LoadTask(folder, with_subfolders=job.subfolders or None)
    run_to_end(task, lambda _: watch.check())
    return _made_active(bpy.data.movieclips[task.clip_name])


def _made_active(clip: bpy.types.MovieClip) -> bpy.types.MovieClip:
    present(bpy.context.scene).active_clip = clip
    return clip


def _may_be_file(path: Path) -> bool:
    """Whether a path could be a file: it is not a folder, and its folder exists."""
    return is_there(path.parent) and path.parent.is_dir() and not (is_there(path) and path.is_dir())


def _require_save(path: Path) -> None:
    """Raise StoreError for a problem with ``--save`` that would only appear after the run."""
    if len(os.fsencode(path)) >= _BLENDERS_PATH:
        raise StoreError(f"{path} is too long for Blender.", "Name a shorter path with --save.")
    _require_no_other_file(path)
    require_writable(path, path.with_name(f"{path.name}@"), "--save")  # Blender's temporary


def _require_no_other_file(path: Path) -> None:
    """Raise StoreError if saving would replace a file that is not a .blend file, such as a photo."""
    try:
        with open_plain(path) as file:
            begin = file.read(len(_BLEND_BEGINS[0]))
    except (OSError, ValueError):
        return  # there is no such file, or `require_writable` will find out
    if begin and not begin.startswith(_BLEND_BEGINS):
        raise StoreError(
            f"{path} exists and is not a .blend file. --save would replace it.",
            "Name another file with --save.",
        )


def _save(path: Path) -> None:
    """Save the .blend file. Raises StoreError if that fails."""
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(path.absolute()))
    except RuntimeError as error:
        words = " ".join(str(error).removeprefix("Error: ").split())
        raise StoreError(
            f"{path} could not be saved: {words}.", "Free some space there or name another file."
        ) from error
