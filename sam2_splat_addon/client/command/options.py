# SPDX-License-Identifier: GPL-3.0-or-later
"""The command's options, and the job that they make."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from msgspec.structs import replace

from ...core.capture_job import STEPS, CaptureJob, JobStep, read_job
from ...core.printable import as_text, is_text, shown
from ...core.prompts import PromptSet, read_json
from ...core.settings import (
    MANY,
    BakeSettings,
    Declared,
    Device,
    ModelSettings,
    RunSettings,
    Settings,
    VideoSettings,
    declared,
)
from ...core.system.terminal import write
from ...core.targets import TARGETS, TARGETS_BY_NAME
from .capture import is_video
from .run_job import Way

EXIT_CODES: Final = (
    "Exit codes: 0 done, 1 unforeseen, 2 usage, 3 photos or cameras, 4 prompts or job,"
    " 5 checkpoint or packages, 6 SAM 2 process, 7 bake or store,"
    " 8 done, but damaged photos were left out, 130 cancelled, 143 ended with SIGTERM."
)


_ABOUT = "Mask a folder of photos, or a video, with SAM 2 and bake RGBA PNGs for a splat trainer."
_IGNORE = "do not train where this subject is, whatever is behind it"


def parser(program: str = "sam2-splat run", *, about: str = _ABOUT) -> argparse.ArgumentParser:
    """Return the parser of a command that works on one job. Its help text is the reference."""
    own = argparse.ArgumentParser(prog=program, description=about, epilog=EXIT_CODES)
    own.add_argument(
        "job",
        type=_path,
        nargs="?",
        metavar="JOB",
        help="a job file, as Export Job in Blender writes it; options replace what it says",
    )
    _add_options(own)
    return own


_ABOUT_MANY = "Run the jobs of many captures, side by side as memory, cores and cards allow."


def parser_of_many(program: str, about: str = _ABOUT_MANY) -> argparse.ArgumentParser:
    """Return the parser of a command that works on many jobs. Its options hold for each of them."""
    own = argparse.ArgumentParser(
        prog=program,
        description=f"{about} Options replace what the jobs say, in all of them.",
        epilog=EXIT_CODES,
    )
    own.add_argument(
        "places",
        type=_path,
        nargs="+",
        metavar="FOLDER_OR_LIST",
        help="a folder with jobs (*.s2s.json), also in its subfolders; a list with a place on each line; or"
        " a job",
    )
    own.add_argument(
        "--at-once",
        type=_number(int, 1, 1024),
        metavar="N",
        help="captures side by side; default: one on each graphics card, else as many as there are cores"
        " for the --threads of each, which is one if each takes all",
    )
    _add_options(own)
    own.set_defaults(job=None)
    return own


def _add_options(own: argparse.ArgumentParser) -> None:
    """Add the options that say what a job does not, or replace what it says."""
    own.add_argument("--footage", type=_path, metavar="PATH", help="folder of photos, or a video")
    own.add_argument(
        "--subfolders",
        action="store_true",
        help="also take the photos in the subfolders of --footage (default: only if it has none itself)",
    )
    own.add_argument("--prompts", type=_path, metavar="FILE", help="prompts as JSON")
    add_settings(own, VideoSettings)
    own.add_argument(
        "--photos-folder",
        type=_path,
        metavar="DIR",
        help="where the photos of a video get a new folder (default: beside the video)",
    )
    own.add_argument(
        "--found-masks",
        choices=("white", "black"),
        help="also take the masks that lie beside the photos; the subject is white or black in them",
    )
    add_settings(own, ModelSettings)
    own.add_argument(
        "--checkpoint", type=_path, metavar="FILE", help="your own weights for --model (.pt)"
    )
    own.add_argument(
        "--device",
        choices=get_args(Device),
        help="where SAM 2 runs (default: a supported graphics card, else the processor)",
    )
    own.add_argument(
        "--threads",
        type=_number(int, 0, 1024),
        help="processor threads; default: 0, which means all",
    )
    own.add_argument(
        "--frames",
        type=_frame_range,
        metavar="A-B",
        help="propagate over these frames only (the first frame is 1)",
    )
    add_settings(own, RunSettings)
    own.add_argument(
        "--store",
        type=_path,
        metavar="DIR",
        help="folder of the masks, one for each capture (default: beside the photos)",
    )
    own.add_argument(
        "--find-cameras",
        action="store_true",
        help="first find the cameras of the photos with COLMAP, if they have none",
    )
    own.add_argument(
        "--find-subject",
        action="store_true",
        help="in place of prompts, click on the thing that all cameras look at",
    )
    own.add_argument(
        "--compare",
        action="store_true",
        help="compare the masks of all photos in 3D, so that the report names those that the others"
        " contradict; it needs cameras",
    )
    own.add_argument(
        "--agree",
        action="store_true",
        help="also click on photos that the others contradict and track again, as long as masks agree better",
    )
    own.add_argument(
        "--cameras",
        type=_path,
        metavar="PATH",
        help="file or folder of the photos' cameras (default: beside or above the photos)",
    )
    own.add_argument(
        "--half",
        choices=("forward", "backward"),
        help="of a propagation, do only this half, so that two machines can share it; the propagation itself"
        " takes both",
    )
    own.add_argument("--bake", action="store_true", help="bake PNGs after the propagation")
    own.add_argument(
        "--once",
        action="store_true",
        help="do not bake if the same bake of the same masks is there already (default: bake it anew, as the"
        " next version)",
    )
    own.add_argument(
        "--part",
        type=_frame_range,
        metavar="A-B",
        help="of a bake, make only the images of these frames, and lay them ready beside the masks; the bake"
        " itself takes them, so several machines can share it",
    )
    own.add_argument("--output", type=_path, metavar="DIR", help="a new folder for the PNGs")
    own.add_argument(
        "--target",
        action="append",
        choices=list(TARGETS_BY_NAME),
        metavar="NAME",
        help="bake for this trainer; may be given several times (default: postshot)",
    )
    own.add_argument("--list-targets", action=_ListTargets, help="list the trainers and end")
    for role, what in (("remove", "take this subject out of what is kept"), ("ignore", _IGNORE)):
        own.add_argument(
            f"--{role}",
            action="append",
            default=[],
            metavar="SUBJECT",
            help=f"{what}; may be given several times",
        )
    add_settings(own, BakeSettings)
    own.add_argument(
        "--report",
        type=_path,
        metavar="DIR",
        help="write a report of the frames to look at, as CSV and HTML",
    )
    own.add_argument(
        "--strict",
        action="store_true",
        help="stop at the first damaged photo, with exit code 3 (default: leave it out and name it,"
        " with exit code 8)",
    )
    own.add_argument(
        "--allow-damaged",
        action="store_true",
        help="end with exit code 0, not 8, if damaged photos were left out, for farms that take every other"
        " code for a failure",
    )
    own.add_argument(
        "--json",
        action="store_true",
        help="print each event as one line of JSON to standard output",
    )
    own.add_argument(
        "--stop-at-eof",
        action="store_true",
        help="cancel when standard input ends, for programs that start this one",
    )


def add_save(own: argparse.ArgumentParser) -> None:
    """Add the option that only Blender has."""
    own.add_argument("--save", type=_path, metavar="FILE", help="save the result as a .blend")


_OF_ONE: Final = (
    "footage",
    "prompts",
    "store",
    "output",
    "report",
    "photos_folder",
    "part",
    "half",
    "stop_at_eof",
)


class UsageError(Exception):
    """The options make no sense together."""


def misuse_of_many(options: argparse.Namespace) -> str:
    """Say in one sentence which option can't hold for many captures, or nothing."""
    for name in _OF_ONE:
        if getattr(options, name):
            return f"--{name.replace('_', '-')} is for one capture: write it into the jobs"
    return ""


def misuse(options: argparse.Namespace, job: CaptureJob) -> str:
    """Say in one sentence which options are of no use for the job that they make, or nothing."""
    of_video = (options.video_photos, options.video_format, options.photos_folder)
    if any(of_video) and not (job.photos and is_video(Path(job.photos))):
        return "--photos, --photo-format and --photos-folder need a video"
    if options.allow_damaged and options.strict:
        return "--allow-damaged and --strict exclude each other"
    if options.part and not set(job.steps) <= {"bake"}:
        return "--part is for the command bake"
    if options.half and set(job.steps) != {"propagate"}:
        return "--half is for the command propagate"
    if options.output and not job.does("bake"):
        return "--output needs --bake"
    if job.does("cameras") and job.cameras:
        return "--find-cameras and --cameras exclude each other"
    if job.does("subject") and (job.prompts.objects or job.found_masks):
        return "--find-subject goes without prompts and --found-masks"
    if options.cameras and set(job.steps) <= {"cameras", "review"}:
        return "--cameras needs a propagation, --find-subject, --compare, --agree or --bake"
    return ""


def job_of(
    options: argparse.Namespace, steps: Sequence[JobStep] | None, base: CaptureJob | None = None
) -> CaptureJob:
    """Return the job that the options ask for.

    Parameters
    ----------
    steps
        What the command does. None is what the job says, and without a job a propagation.
    base
        What holds where no option says otherwise. None is the job file that the options name, if they do.

    Raises
    ------
    JobError
        The job file can't be read.
    PromptError
        The file of prompts can't be read.
    """
    if base is None:
        base = read_job(options.job) if options.job else CaptureJob(steps=("propagate",))
    kept: dict[str, Any] = {}
    if options.prompts is not None:
        kept |= _with_prompts(base, read_json(options.prompts))
    paths = {
        "photos": options.footage,
        **{name: getattr(options, name) for name in ("photos_folder", "store", "checkpoint")},
        **{name: getattr(options, name) for name in ("cameras", "output", "report")},
    }
    kept |= {name: str(path.absolute()) for name, path in paths.items() if path}
    kept |= {name: True for name in ("subfolders", "strict") if getattr(options, name)}
    plain = {
        "device": options.device,
        "threads": options.threads,
        "found_masks": options.found_masks,
        "targets": options.target and tuple(options.target),
    }
    kept |= {name: value for name, value in plain.items() if value is not None}
    if options.footage is not None and base.photos != kept["photos"]:
        kept |= {"first_photo": "", "photo_names": ()}
    if options.panorama is not None:
        kept["guess_panorama"] = False
    for name, kind in _KINDS.items():
        given = {one.name: getattr(options, one.name) for one in declared(kind)}
        given = {one: value for one, value in given.items() if value is not None}
        if kind is RunSettings and options.frames:
            given["first_frame"], given["last_frame"] = options.frames
        kept[name] = replace(getattr(base, name), **given)
    named = {name: role for role in ("remove", "ignore") for name in getattr(options, role)}
    kept["roles"] = {**base.roles, **named}
    kept["steps"] = _steps(options, base.steps if steps is None else steps)
    return replace(base, **kept)


def way_of(options: argparse.Namespace) -> Way:
    """Return how the options want a job to be done."""
    return Way(options.part, options.once, options.half or "")


_KINDS: Final[dict[str, type[Settings]]] = {
    "model": ModelSettings,
    "run": RunSettings,
    "bake": BakeSettings,
    "video": VideoSettings,
}


def _steps(options: argparse.Namespace, steps: Sequence[JobStep]) -> tuple[JobStep, ...]:
    asked = {
        "cameras": options.find_cameras,
        "subject": options.find_subject,
        "compare": options.compare,
        "agree": options.agree,
        "review": options.report is not None,
        "bake": options.bake,
    }
    return tuple(step for step in STEPS if step in steps or asked.get(step))


def _with_prompts(base: CaptureJob, prompts: PromptSet) -> dict[str, Any]:
    """Return what changes in a job with other prompts: drawn masks stay with subjects of their name."""
    ids = {shown(entry.name): entry.id for entry in prompts.objects}
    moved = {old: ids[shown(name)] for old, name in base.names().items() if shown(name) in ids}
    return {
        "prompts": prompts,
        "photo_names": (),  # the file says nothing of the photos for which its frames were counted
        "drawn": tuple(
            replace(mask, object_id=moved[mask.object_id])
            for mask in base.drawn
            if mask.object_id in moved
        ),
        "approved": {moved[old]: at for old, at in base.approved.items() if old in moved},
    }


class _ListTargets(argparse.Action):
    """Print the trainers, a line each, and end, as ``--help`` does."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=None, **more)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        width = max(map(len, TARGETS_BY_NAME))
        for target in TARGETS:
            write(f"{target.name:{width}}  {target.text}\n")
        parser.exit()


def add_settings(own: argparse.ArgumentParser, kind: type[Settings]) -> None:
    """Add the option of each setting that a struct declares. An option that is not given is None."""
    for one in declared(kind):
        own.add_argument(
            one.setting.option, dest=one.name, default=None, help=one.setting.help, **_taken(one)
        )


def _taken(one: Declared) -> dict[str, Any]:
    """Return argparse's arguments for the option of a setting."""
    if one.kind is bool:
        return {"action": argparse.BooleanOptionalAction if one.setting.has_no else "store_true"}
    if one.values:
        word = one.setting.without_word
        may_be_bare = {} if word is None else {"nargs": "?", "const": word}
        return {"choices": list(one.values), **may_be_bare}
    metavar = one.setting.unit.upper() or None
    return {"type": _number(one.kind, one.low, one.high), "metavar": metavar}


def _path(text: str) -> Path:
    """Read a path for argparse. It must be text: job files and Blender hold nothing else."""
    if not is_text(text):
        raise argparse.ArgumentTypeError(f"{as_text(text)!r} is no text in UTF-8, so rename it")
    return Path(text)


Number = int | float


def _number(kind: type[Number], low: float, high: float) -> Callable[[str], Number]:
    """Return a function that reads a number within bounds for argparse."""

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no {'whole ' * (kind is int)}number from {low:g} to {high:g}"
            )
        return value

    return read


def _frame_range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    try:
        numbers = int(first), int(last) if dash else int(first)
    except ValueError:
        numbers = 0, 0
    if not 1 <= numbers[0] <= numbers[1] <= MANY:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of frames. Write it as 1-48")
    return numbers
