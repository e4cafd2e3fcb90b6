# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the whole job from a command line.

Both ``blender --command sam2_splat`` and ``tools/batch.py`` call this. Exit codes: 0 done, 1 unforeseen
error, 2 wrong usage, 3 photos or their cameras, 4 prompts, 5 checkpoint or packages, 6 SAM 2 process,
7 bake or store, 8 done without some damaged photos, 130 cancelled with Ctrl+C.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...core.errors import (
    BakeError,
    CameraError,
    CheckpointError,
    DamagedPhoto,
    EnvironmentSetupError,
    FootageError,
    PackageError,
    PromptError,
    ProtocolError,
    SplatError,
    StoreError,
    WorkerError,
)
from ...core.footage.scan import Footage, path_key, shorten
from ...core.footage.video_photos import read_report
from ...core.footage.video_scores import is_video_name
from ...core.printable import shown
from ...core.prompts import PromptSet, read_json
from ...core.review.report import HTML_NAME
from ...core.settings import BUNDLED, CLIP_SETTINGS, VideoSettings, declared
from ...core.system.links import is_link
from ...core.system.safe_read import is_folder, is_there, open_plain
from ..clip import footage as footage_clip
from ..clip import markers, matte_run, opening
from ..context import preferences, properties
from ..context.active_clip import active_clip
from ..context.console import CANCELLED, Interrupts, say, say_lines, write
from ..context.present import present
from ..context.properties import SAM2SPLAT_PG_clip
from ..context.stored_text import names_of
from ..context.task_runner import Task, run_to_end
from ..tasks.agree_task import AgreeTask
from ..tasks.bake_task import BakeTask, bake_folder
from ..tasks.find_cameras_task import FindCamerasTask, expected
from ..tasks.job_task import JobTask
from ..tasks.load_task import LoadTask
from ..tasks.masks_task import MasksTask
from ..tasks.propagate_task import PropagateTask
from ..tasks.report_task import ReportTask
from ..tasks.video_task import VideoTask
from ..ui.operators import click_targets
from .options import parser

_EXIT_CODES: tuple[tuple[type[SplatError], int], ...] = (
    (FootageError, 3),
    (CameraError, 3),
    (PromptError, 4),
    (CheckpointError, 5),
    (EnvironmentSetupError, 5),
    (PackageError, 5),
    (WorkerError, 6),
    (ProtocolError, 6),
    (BakeError, 7),
    (StoreError, 7),
)
_DAMAGED = 8
_ROUNDS = 3  # of Agree; it ends earlier if nothing gets better
# Content of the file that is written to find out whether a folder is writable.
_TRIED_BYTES = 1 << 12
_REASONS = 5  # photos that were left out, whose reasons are said
_LOOK = 0.2  # s between two looks at Ctrl+C
_TRIED_NAME = ".sam2_splat_tried"
_BLENDERS_PATH = 1024  # bytes, including the zero at the end
# First bytes of .blend files: not compressed, compressed with Zstandard, and with gzip before Blender 3.0.
_BLEND_BEGINS = (b"BLENDER", b"\x28\xb5\x2f\xfd", b"\x1f\x8b")
# Seconds between two progress lines without a terminal, so that logs stay short.
_LOG_INTERVAL = 10.0


def main(arguments: Sequence[str], program: str = "sam2_splat") -> int:
    """Run the job and return the exit code. An error is printed: what is wrong and what to do."""
    try:
        options = parser(program).parse_args(list(arguments))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    if options.output and not options.bake:
        say("sam2_splat: --output needs --bake", error=True)
        return 2
    of_video = (options.video_photos, options.video_format, options.photos_folder)
    if any(of_video) and not (options.footage and _is_video(options.footage)):
        say("sam2_splat: --photos, --photo-format and --photos-folder need a video", error=True)
        return 2
    if options.cameras and not (options.compare or options.agree or options.bake):
        say("sam2_splat: --cameras needs --compare, --agree or --bake", error=True)
        return 2
    if options.find_cameras and options.cameras:
        say("sam2_splat: --find-cameras and --cameras exclude each other", error=True)
        return 2
    if options.save and not _may_be_file(options.save.absolute()):
        say(f"sam2_splat: --save {options.save} can't be made", error=True)
        return 2
    interrupts = Interrupts()
    if bpy.app.background:
        interrupts.listen()
    code = _run_to_code(options, interrupts)
    interrupts.over(code)
    return code


def _may_be_file(path: Path) -> bool:
    """Whether a path could be a file: it is not a folder, and its folder exists."""
    return is_there(path.parent) and path.parent.is_dir() and not (is_there(path) and path.is_dir())


def _run_to_code(options: argparse.Namespace, interrupts: Interrupts) -> int:
    try:
        result = run(options, interrupts)
    except KeyboardInterrupt:
        say("Cancelled. The finished frames are kept.", error=True)
        return CANCELLED
    except SplatError as error:
        say_lines(f"Error: {error}", error=True)
        return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)
    if result.damaged:
        named = shorten(result.damaged)
        say(f"Warning: damaged photos were left out: {named}", error=True)
        return _DAMAGED
    return 0


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


def run(options: argparse.Namespace, interrupts: Interrupts | None = None) -> BatchResult:
    """Load, prompt, propagate and bake as the options say.

    Raises SplatError, and KeyboardInterrupt if Ctrl+C was pressed.
    """
    interrupts = interrupts or Interrupts()
    clip = _clip(options, interrupts)
    settings = properties.of_clip(clip)
    settings.mask_prompts = settings.mask_prompts if options.prompts is None else ""
    if options.prompts is not None:
        footage = footage_clip.footage_of(clip)
        prompts = read_json(options.prompts)
        prompts = prompts.checked(footage.sizes, len(footage))
        _require_all_before(prompts, footage)
        markers.apply(clip, prompts)
    if options.found_masks is not None:
        name = markers.subject_name(click_targets.subject_to_click(clip))
        markers.sync_objects(clip)
        masks = MasksTask(clip, name, invert=options.found_masks == "black")
        run_to_end(masks, interrupts.check)
        say(masks.summary)
    _apply_settings(settings, options)
    _apply_roles(clip, options)
    _require_places(clip, options)
    interrupts.check()
    done: list[JobTask] = []
    for task in _tasks(clip, options):
        try:
            run_to_end(task, _ProgressLine(interrupts))
        except (KeyboardInterrupt, SplatError):
            folder = task.output_folder if isinstance(task, BakeTask) else Path()
            if folder != Path() and folder.is_dir():  # it has a name after the bake has begun
                count = len(list(folder.rglob("*.png")))
                say(f"{folder} is not complete. It has {count} images.", error=True)
            raise
        say(task.summary)
        done.append(task)
    if options.save is not None:
        _save(options.save)
    footage = footage_clip.footage_of(clip)
    damaged: set[str] = set()
    if options.bake:  # the images of these are missing too
        damaged = {file.name for file in footage.unreadable if file.is_damaged}
    damaged.update(name for task in done for name in task.damaged)
    return BatchResult(
        clip,
        {object_id: name for name, object_id in markers.sync_objects(clip).items()},
        {frame.frame: frame.path for frame in footage.frames},
        next(task.seconds_per_frame for task in done if isinstance(task, PropagateTask)),
        max(task.worker_peak_mb for task in done),
        _torch_of(clip),
        tuple(sorted(damaged, key=path_key)),
    )


def _torch_of(clip: bpy.types.MovieClip) -> str:
    manifest = matte_run.last_run(clip)
    return "" if manifest is None else manifest.machine.versions.get("torch", "")


def _save(path: Path) -> None:
    """Save the .blend file. Raises StoreError if that fails."""
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(path.absolute()))
    except RuntimeError as error:
        told = " ".join(str(error).removeprefix("Error: ").split())
        raise StoreError(
            f"{path} could not be saved: {told}.", "Free some space there or name another file."
        ) from error
    say(f"Saved {path}")


def _clip(options: argparse.Namespace, interrupts: Interrupts) -> bpy.types.MovieClip:
    if options.footage is not None:
        task = _loading(options, interrupts)
        clip = bpy.data.movieclips[task.clip_name]
        present(bpy.context.scene).active_clip = clip
        width, height = clip.size
        say(f"{clip.name}: {properties.of_clip(clip).frame_count} photos of {width}x{height} px")
        left_out = names_of(properties.of_clip(clip), "unreadable_names")
        if left_out:
            if options.strict:
                _require_all_whole(clip)
            say(f"Can't be read, left out: {shorten(left_out)}", error=True)
            for file in footage_clip.footage_of(clip).unreadable[:_REASONS]:
                say(f"  {file.reason}", error=True)
        return clip
    while not opening.settle(_LOOK):  # wait for the open file's photos on a slow disk
        interrupts.check()
    active = active_clip(bpy.context)
    if active is None:
        raise FootageError("There is no clip.", "Name photos with --footage.")
    return active


def _loading(options: argparse.Namespace, interrupts: Interrupts) -> LoadTask | VideoTask:
    """Load photos, or those of a video, which are made first. Return the task after its end."""
    path = options.footage.absolute()
    if not _is_video(path):
        task = LoadTask(path, with_subfolders=options.subfolders or None)
        run_to_end(task, interrupts.check)
        return task
    given = {one.name: getattr(options, one.name) for one in declared(VideoSettings)}
    settings = VideoSettings(**{name: value for name, value in given.items() if value is not None})
    parent = options.photos_folder and options.photos_folder.absolute()
    looked = VideoTask(path, settings, parent, until="scores")
    run_to_end(looked, _ProgressLine(interrupts))
    if options.strict and looked.scores is not None and looked.scores.damaged:
        raise DamagedPhoto(
            f"{looked.scores.damaged} frames of {path.name} can't be decoded.",
            "Copy the video again from the camera, or leave out --strict.",
        )
    made = VideoTask(path, settings, parent)
    run_to_end(made, _ProgressLine(interrupts))
    say(made.summary)
    report = read_report(made.folder) if made.folder is not None else None
    if report is not None:
        say(report.summary)
    for fact in made.facts:
        say(fact, error=True)
    return made


def _is_video(path: Path) -> bool:
    return is_video_name(path.name) and not is_folder(path)


def _require_all_whole(clip: bpy.types.MovieClip) -> None:
    """Raise DamagedPhoto for the first damaged photo that was left out while loading."""
    for file in footage_clip.footage_of(clip).unreadable:
        if file.is_damaged:
            raise DamagedPhoto(file.reason, "Copy or export this photo again or remove it.")


def _require_all_before(prompts: PromptSet, footage: Footage) -> None:
    """Raise FootageError if a photo that was left out makes the frame numbers of a file doubtful."""
    last = max(at.frame for entry in prompts.objects for at in entry.frames)
    there = path_key(footage.frames[last - 1].name)
    before = [
        file.name for file in footage.unreadable if file.is_file and path_key(file.name) < there
    ]
    if before:
        raise FootageError(
            f"{shorten(before)} can't be read. So the prompts on later frames might be on the wrong"
            " photos.",
            "Replace it with a good copy. If the frames were counted without it, move it to another folder.",
        )


def _require_places(clip: bpy.types.MovieClip, options: argparse.Namespace) -> None:
    """Raise StoreError or BakeError for a problem that would only appear after the run."""
    if options.bake:
        _require_room_for_images(clip, options)
    if options.save is not None:
        path = options.save.absolute()
        if len(os.fsencode(path)) >= _BLENDERS_PATH:
            raise StoreError(f"{path} is too long for Blender.", "Name a shorter path with --save.")
        _require_no_other_file(path)
        _require_writable(path, path.with_name(f"{path.name}@"), "--save")  # Blender's temporary
    if options.report is not None:
        folder = options.report.absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as problem:
            raise StoreError(
                f"The report can't be written to {folder}: {_told(problem)}.",
                "Name another folder with --report.",
            ) from problem
        _require_writable(folder / HTML_NAME, folder / _TRIED_NAME, "--report")


def _require_no_other_file(path: Path) -> None:
    """Raise StoreError if saving would replace a file that is not a .blend file, such as a photo."""
    try:
        with open_plain(path) as file:
            begin = file.read(len(_BLEND_BEGINS[0]))
    except (OSError, ValueError):
        return  # there is no such file, or `_require_writable` will find out
    if begin and not begin.startswith(_BLEND_BEGINS):
        raise StoreError(
            f"{path} exists and is not a .blend file. --save would replace it.",
            "Name another file with --save.",
        )


def _require_writable(path: Path, beside: Path, option: str) -> None:
    """Raise StoreError if a file can't be written. Try it by writing another file beside it."""
    try:
        if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if is_link(beside):  # writing would make or change the link's target
            raise FileExistsError(errno.EEXIST, f"{beside.name} is a link")
        taken = beside.exists()
        with beside.open("ab") as file:
            if not taken:
                file.write(bytes(_TRIED_BYTES))
        if not taken:
            beside.unlink()
    except (OSError, ValueError) as problem:
        raise StoreError(
            f"{path} can't be written: {_told(problem)}.", f"Name another place with {option}."
        ) from problem


def _told(problem: OSError | ValueError) -> str:
    return getattr(problem, "strerror", None) or str(problem)


def _require_room_for_images(clip: bpy.types.MovieClip, options: argparse.Namespace) -> None:
    """Raise BakeError for a problem that would only appear after the propagation."""
    if options.output is None:
        folder = bake_folder(clip, footage_clip.place_of(clip).path)
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise BakeError(
                f"The folder {folder} can't be written to.",
                "Name another folder for the PNGs with --output.",
            )
        return
    if is_there(options.output):
        raise BakeError(
            f"{options.output} exists already. A bake never overwrites files.",
            "Name a folder that does not exist yet.",
        )
    try:
        options.output.absolute().mkdir(parents=True)
        options.output.absolute().rmdir()
    except (OSError, ValueError) as problem:
        raise BakeError(
            f"{options.output} can't be made: {_told(problem)}.", "Name another folder."
        ) from problem


def _apply_settings(settings: SAM2SPLAT_PG_clip, options: argparse.Namespace) -> None:
    given = {
        "checkpoint": str(options.checkpoint.absolute()) if options.checkpoint else None,
        "store_folder": str(options.store.absolute()) if options.store else None,
    }
    for kind in CLIP_SETTINGS:
        given.update((one.name, getattr(options, one.name)) for one in declared(kind))
    for name, value in given.items():
        if value is not None:
            setattr(settings, name, value)
    if options.checkpoint is not None and settings.model == BUNDLED:
        raise CheckpointError(
            f"{options.checkpoint} would not be used, because the model is the bundled one.",
            "Name the checkpoint's model with --model.",
        )
    if options.target:
        settings.targets = set(options.target)
    if options.frames:
        settings.use_range = True
        settings.first_frame, settings.last_frame = options.frames


def _apply_roles(clip: bpy.types.MovieClip, options: argparse.Namespace) -> None:
    """Give the named subjects their roles. Raises PromptError for an unknown name."""
    names = markers.sync_objects(clip)
    for role in ("remove", "ignore"):
        for name in getattr(options, role):
            if name not in names:
                raise PromptError(
                    f"There is no subject called {name!r}.",
                    f"The subjects are {', '.join(names)}." if names else "Name one with prompts.",
                )
            properties.of_clip(clip).objects[name].role = role


def _tasks(clip: bpy.types.MovieClip, options: argparse.Namespace) -> Iterator[JobTask]:
    """Yield the tasks. Each is made after the one before has ended, because the bake needs the mattes."""
    device = options.device or preferences.device()
    threads = preferences.threads() if options.threads is None else options.threads
    cameras = str(options.cameras.absolute()) if options.cameras else ""
    if options.find_cameras:
        say(f"Finding the cameras takes {expected(clip, threads)}.")
        yield FindCamerasTask(clip, threads=threads)
    yield PropagateTask(clip, device=device, threads=threads, strict=options.strict)
    if options.compare or options.agree:
        yield AgreeTask(
            clip,
            device=device,
            threads=threads,
            strict=options.strict,
            cameras=cameras,
            rounds=_ROUNDS if options.agree else 0,
        )
    if options.report is not None:
        yield ReportTask(clip, options.report.absolute())
    if options.bake:
        output = options.output and options.output.absolute()
        yield BakeTask(
            clip,
            device=device,
            threads=threads,
            output_folder=output,
            strict=options.strict,
            cameras=options.cameras and options.cameras.absolute(),
        )


class _ProgressLine:
    """Print a task's progress: one line that changes in a terminal, a line now and then in a log."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        terminal = sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
        self._living = terminal and os.environ.get("TERM") != "dumb"
        self._next = 0.0
        self._last = ""

    def __call__(self, task: Task) -> None:
        self._interrupts.check()
        line = shown(f"{task.title} {task.fraction:4.0%}  {task.sentence}")
        if line == self._last:
            return
        if self._living:
            end = "\n" if task.fraction >= 1.0 else ""
            write(f"\r\x1b[2K{line[:110]}{end}", error=True)
        elif time.monotonic() >= self._next or task.fraction >= 1.0:
            say(line, error=True)
            self._next = time.monotonic() + _LOG_INTERVAL
        self._last = line
