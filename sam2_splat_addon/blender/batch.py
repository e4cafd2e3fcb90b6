# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole job from a command line; imports bpy.

Both ``blender --command sam2_splat`` and ``tools/batch.py`` end here. Exit codes: 0 done, 1 an
unforeseen error, 2 wrong usage, 3 footage, 4 prompts, 5 checkpoint or packages, 6 worker, 7 bake or
store, 130 cancelled with Ctrl+C.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..core.errors import (
    BakeError,
    CheckpointError,
    EnvironmentSetupError,
    FootageError,
    PromptError,
    ProtocolError,
    SplatError,
    StoreError,
    WorkerError,
)
from ..core.prompts import read_json
from . import clip_prompts, footage_clip, preferences
from .active_clip import active_clip
from .bake_task import BakeTask
from .job_task import JobTask
from .propagate_task import PropagateTask
from .properties import (
    ALPHA_ITEMS,
    DIRECTION_ITEMS,
    LOOK_ITEMS,
    MEMORY_ITEMS,
    MODEL_ITEMS,
    SIDECAR_ITEMS,
    SPEED_ITEMS,
    SAM2SPLAT_PG_clip,
)
from .report_task import ReportTask
from .running import Task, run_to_end

_EXIT_CODES: tuple[tuple[type[SplatError], int], ...] = (
    (FootageError, 3),
    (PromptError, 4),
    (CheckpointError, 5),
    (EnvironmentSetupError, 5),
    (WorkerError, 6),
    (ProtocolError, 6),
    (BakeError, 7),
    (StoreError, 7),
)
_CANCELLED = 130
# Without a terminal, a progress line every so many seconds, so that logs stay short.
_LOG_INTERVAL = 10.0


def parser(program: str = "sam2_splat") -> argparse.ArgumentParser:
    """The command line; its help is the reference."""
    own = argparse.ArgumentParser(
        prog=program,
        description="Mask a folder of photos with SAM 2 and bake RGBA PNGs for a splat trainer.",
        epilog="Exit codes: 0 done, 2 usage, 3 footage, 4 prompts, 5 checkpoint or packages,"
        " 6 worker, 7 bake or store, 130 cancelled.",
    )
    own.add_argument(
        "--footage",
        type=Path,
        metavar="DIR",
        help="folder of photos; default: the open file's clip",
    )
    own.add_argument(
        "--prompts", type=Path, metavar="FILE", help="prompts as JSON; default: the clip's markers"
    )
    own.add_argument("--model", choices=[item[0] for item in MODEL_ITEMS], help="default: bundled")
    own.add_argument("--checkpoint", type=Path, metavar="FILE", help="a checkpoint of your own")
    own.add_argument(
        "--device",
        choices=[item[0] for item in preferences.DEVICE_ITEMS],
        help="default: the preferences'",
    )
    own.add_argument("--threads", type=int, help="processor threads; default: the preferences'")
    own.add_argument("--frames", metavar="A-B", help="propagate over these frames only, from 1")
    own.add_argument("--direction", choices=[item[0] for item in DIRECTION_ITEMS])
    own.add_argument("--speed", choices=[item[0] for item in SPEED_ITEMS])
    own.add_argument("--memory", choices=[item[0] for item in MEMORY_ITEMS])
    own.add_argument(
        "--both-sides",
        action="store_true",
        default=None,
        help="frames between prompted ones are tracked from both, and the better matte is taken",
    )
    own.add_argument(
        "--second-look",
        choices=[item[0] for item in LOOK_ITEMS],
        nargs="?",
        const="whole",
        help="look at each matte once more, close up: whole (as without a word), its parts too, or"
        " also details",
    )
    own.add_argument(
        "--panorama",
        action=argparse.BooleanOptionalAction,
        help="photos that go all the way round; default: when twice as wide as high",
    )
    own.add_argument("--store", type=Path, metavar="DIR", help="where the mattes are kept")
    own.add_argument("--bake", action="store_true", help="bake PNGs when propagation is done")
    own.add_argument("--output", type=Path, metavar="DIR", help="a new folder for the PNGs")
    own.add_argument("--alpha", choices=[item[0] for item in ALPHA_ITEMS])
    own.add_argument(
        "--refine-edges", action="store_true", default=None, help="edges from the photo's pixels"
    )
    own.add_argument("--invert", action="store_true", default=None)
    own.add_argument("--grow", type=float, metavar="PX", help="negative shrinks")
    own.add_argument("--feather", type=float, metavar="PX")
    own.add_argument("--fill-holes", type=int, metavar="PX", help="holes of fewer pixels")
    own.add_argument("--drop-specks", type=int, metavar="PX", help="parts of fewer pixels")
    own.add_argument(
        "--black-rgb", action="store_true", default=None, help="multiply colour by alpha"
    )
    own.add_argument("--masks", choices=[item[0] for item in SIDECAR_ITEMS], help="mask files too")
    own.add_argument("--exposure", type=float, metavar="STOPS", help="of EXR and float photos")
    own.add_argument(
        "--report", type=Path, metavar="DIR", help="write which frames to look at: CSV and HTML"
    )
    own.add_argument("--save", type=Path, metavar="FILE", help="save the result as a .blend")
    return own


def main(arguments: Sequence[str], program: str = "sam2_splat") -> int:
    """Run the job and return the exit code; errors are printed, one sentence and its remedy."""
    try:
        options = parser(program).parse_args(list(arguments))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    if options.output and not options.bake:
        print("sam2_splat: --output goes with --bake", file=sys.stderr)
        return 2
    try:
        run(options)
    except KeyboardInterrupt:
        print("Cancelled; the frames that were finished are kept.", file=sys.stderr)
        return _CANCELLED
    except SplatError as error:
        print(f"Error: {error}", file=sys.stderr)
        return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)
    return 0


@dataclass(frozen=True)
class BatchResult:
    """What a run came to: the clip, object id -> name, frame -> photo, and what it cost."""

    clip: bpy.types.MovieClip
    names: dict[int, str]
    sources: dict[int, Path]
    seconds_per_frame: float
    worker_peak_mb: float


def run(options: argparse.Namespace) -> BatchResult:
    """Load, prompt, propagate and bake as the options say; raises SplatError."""
    clip = _clip(options)
    settings = clip.sam2_splat
    settings.mask_prompts = settings.mask_prompts if options.prompts is None else ""
    if options.prompts is not None:
        footage = footage_clip.footage_of(clip)
        prompts = read_json(options.prompts)
        clip_prompts.apply(clip, prompts.checked(footage.width, footage.height, len(footage)))
    _apply_settings(settings, options)
    done: list[JobTask] = []
    for task in _tasks(clip, options):
        run_to_end(task, _ProgressLine())
        print(task.summary, flush=True)
        done.append(task)
    if options.save is not None:
        bpy.ops.wm.save_as_mainfile(filepath=str(options.save.absolute()))
        print(f"Saved {options.save}", flush=True)
    return BatchResult(
        clip,
        {object_id: name for name, object_id in clip_prompts.sync_objects(clip).items()},
        {frame.frame: frame.path for frame in footage_clip.footage_of(clip).frames},
        done[0].seconds_per_frame,
        max(task.worker_peak_mb for task in done),
    )


def _clip(options: argparse.Namespace) -> bpy.types.MovieClip:
    if options.footage is not None:
        clip = footage_clip.load(options.footage.absolute())
        bpy.context.scene.active_clip = clip
        width, height = clip.size
        print(
            f"{clip.name}: {clip.sam2_splat.frame_count} photos of {width}x{height} px", flush=True
        )
        return clip
    clip = active_clip(bpy.context)
    if clip is None:
        raise FootageError("There is no clip to work on.", "Name photos with --footage.")
    return clip


def _apply_settings(settings: SAM2SPLAT_PG_clip, options: argparse.Namespace) -> None:
    given = {
        "model": options.model,
        "checkpoint": str(options.checkpoint.absolute()) if options.checkpoint else None,
        "direction": options.direction,
        "speed": options.speed,
        "memory": options.memory,
        "both_sides": options.both_sides,
        "second_look": options.second_look,
        "panorama": options.panorama,
        "store_folder": str(options.store.absolute()) if options.store else None,
        "alpha": options.alpha,
        "refine_edges": options.refine_edges,
        "invert": options.invert,
        "grow_px": options.grow,
        "feather_px": options.feather,
        "fill_holes_px": options.fill_holes,
        "drop_specks_px": options.drop_specks,
        "black_rgb": options.black_rgb,
        "sidecar_masks": options.masks,
        "exposure": options.exposure,
    }
    for name, value in given.items():
        if value is not None:
            setattr(settings, name, value)
    if options.frames:
        first, last = _frame_range(options.frames)
        settings.use_range = True
        settings.first_frame, settings.last_frame = first, last


def _frame_range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    try:
        numbers = int(first), int(last) if dash else int(first)
    except ValueError:
        numbers = 0, 0
    if not 1 <= numbers[0] <= numbers[1]:
        raise FootageError(f"--frames {text} is no range of frames.", "Write it as 1-48.")
    return numbers


def _tasks(clip: bpy.types.MovieClip, options: argparse.Namespace) -> Iterator[JobTask]:
    """Each is made when the one before has ended: the bake needs what propagation leaves."""
    device = options.device or preferences.device()
    threads = preferences.threads() if options.threads is None else options.threads
    yield PropagateTask(clip, device=device, threads=threads)
    if options.report is not None:
        yield ReportTask(clip, options.report.absolute())
    if options.bake:
        output = options.output and options.output.absolute()
        yield BakeTask(clip, device=device, threads=threads, output_folder=output)


class _ProgressLine:
    """Shows a task's progress: one living line in a terminal, a line now and then in a log."""

    def __init__(self) -> None:
        self._living = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._next = 0.0
        self._last = ""

    def __call__(self, task: Task) -> None:
        line = f"{task.title} {task.fraction:4.0%}  {task.sentence}"
        if line == self._last:
            return
        if self._living:
            end = "\n" if task.fraction >= 1.0 else ""
            print(f"\r\x1b[2K{line[:110]}", end=end, file=sys.stderr, flush=True)
        elif time.monotonic() >= self._next or task.fraction >= 1.0:
            print(line, file=sys.stderr, flush=True)
            self._next = time.monotonic() + _LOG_INTERVAL
        self._last = line
