# SPDX-License-Identifier: GPL-3.0-or-later
"""A job: all that is to be done with one capture, in one JSON file.

Everything that works on a capture without Blender's window makes a :class:`CaptureJob` first, and
`client/command/run_job.py` runs it: the command `sam2-splat`, ``blender --command sam2_splat`` and
``tools/batch.py``. *Export Job* in Blender writes one. docs/job.md describes the file.
"""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from .errors import JobError, SplatError
from .printable import is_text, number
from .prompts import PromptSet
from .protocol import EditedMatte
from .settings import (
    MANY,
    BakeSettings,
    Device,
    ModelSettings,
    Role,
    RunSettings,
    VideoSettings,
)
from .system.atomic_file import write_atomic
from .system.safe_read import UNREADABLE, read_plain, reason, require_plain_file
from .targets import DEFAULT

JOB_VERSION: Final = 1
JOB_ENDING: Final = ".s2s.json"
"""The end of the name of a job file, by which `sam2-splat batch` finds jobs in a folder."""

_MAX_BYTES: Final = 1 << 28
_DOCUMENTED: Final = "Correct the file: docs/job.md shows the format."

JobStep = Literal["cameras", "subject", "propagate", "compare", "agree", "review", "bake"]
STEPS: Final[tuple[JobStep, ...]] = get_args(JobStep)
"""All steps, in the order in which they are done."""

# Attributes of a job that are paths.
_PATHS: Final = (
    *("photos", "photos_folder", "store", "checkpoint", "cameras", "output", "output_in"),
    "report",
)


class CaptureJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to do with one capture.

    A path is absolute, or relative to the folder of the job's file. Empty means the default.

    Attributes
    ----------
    photos
        Folder of photos, one of its photos, or a video.
    subfolders
        Whether photos in subfolders count too. They count in any case if the folder itself has none.
    first_photo
        Name of the photo that is frame 1, if it is not the first one.
    photo_names
        Names of all photos, frame 1 first, as they were when prompts were made. If they are others now,
        the job is refused: prompts go by frame. Empty checks nothing.
    photos_folder
        Where the photos of a video get a folder. Empty is beside the video.
    steps
        What to do, in the order of `STEPS`. ``cameras`` finds the cameras of the photos. ``subject``
        proposes clicks in place of prompts. It, ``compare`` and ``agree`` need cameras.
    prompts
        Where the subjects are, as in docs/prompts.md.
    drawn
        Masks that were drawn by hand, in px of the photo.
    drawn_prompt
        Whether the frames around a drawn mask follow it.
    found_masks
        Take the masks that lie beside the photos as prompts of the first subject, which is ``white`` or
        ``black`` in them.
    roles
        Name of a subject -> what a bake does with it. A subject that is not named is kept.
    unbaked
        Names of subjects that take no part in a bake.
    approved
        Id of a subject -> frames in which the user found nothing wrong, for the review.
    model, run, bake, video
        The settings, as `core/settings.py` declares them.
    guess_panorama
        Whether photos that are twice as wide as high are panoramas, even if ``run`` does not say so.
    targets
        Trainers to bake for; ``sam2-splat info --trainers`` lists them.
    checkpoint
        Your own weights for the model.
    device, threads
        Where SAM 2 runs, and on how many threads; 0 is all.
    store
        Folder of the masks. Empty is beside the photos.
    cameras
        File or folder of the photos' cameras. Empty looks beside and above the photos.
    output
        A new folder for the baked images. Empty is the next version, such as ``postshot_v001``.
    output_in
        Folder in which that version is made. Empty is the folder of the photos.
    report
        Folder for the review. Empty is ``sam2_splat_review`` beside the photos.
    strict
        Stop at the first damaged photo, instead of leaving it out.
    """

    version: int = JOB_VERSION
    photos: str = ""
    subfolders: bool = False
    first_photo: str = ""
    photo_names: tuple[str, ...] = ()
    photos_folder: str = ""
    steps: tuple[JobStep, ...] = ("propagate", "bake")
    prompts: PromptSet = PromptSet(())
    drawn: tuple[EditedMatte, ...] = ()
    drawn_prompt: bool = True
    found_masks: Literal["", "white", "black"] = ""
    roles: dict[str, Role] = {}
    unbaked: tuple[str, ...] = ()
    approved: dict[int, tuple[int, ...]] = {}
    model: ModelSettings = ModelSettings()
    run: RunSettings = RunSettings()
    bake: BakeSettings = BakeSettings()
    video: VideoSettings = VideoSettings()
    guess_panorama: bool = True
    targets: tuple[str, ...] = (DEFAULT,)
    checkpoint: str = ""
    device: Device = "auto"
    threads: Annotated[int, Meta(ge=0, le=MANY)] = 0
    store: str = ""
    cameras: str = ""
    output: str = ""
    output_in: str = ""
    report: str = ""
    strict: bool = False

    def does(self, step: JobStep) -> bool:
        """Whether a step is among those to do."""
        return step in self.steps

    def names(self) -> dict[int, str]:
        """Return the subjects, id -> name."""
        return {entry.id: entry.name for entry in self.prompts.objects}

    def without_relative_paths(self, folder: Path) -> CaptureJob:
        """Return the job with absolute paths; relative ones begin at a folder."""
        return self._with_paths(lambda path: str(folder.absolute() / path))

    def with_paths_from(self, folder: Path) -> CaptureJob:
        """Return the job with relative paths for what lies in a folder, so that it may move along."""

        def shortened(text: str) -> str:
            path = Path(text)
            inside = path.is_absolute() and path.is_relative_to(folder.absolute())
            return path.relative_to(folder.absolute()).as_posix() if inside else text

        return self._with_paths(shortened)

    def _with_paths(self, changed: Any) -> CaptureJob:
        paths = {name: getattr(self, name) for name in _PATHS}
        return replace(self, **{name: changed(path) for name, path in paths.items() if path})


def read_job(path: Path) -> CaptureJob:
    """Read a job file; its paths become absolute. Raises JobError."""
    try:
        if require_plain_file(path).st_size > _MAX_BYTES:
            raise JobError(f"{path} is larger than {_MAX_BYTES >> 20} MB.", _DOCUMENTED)
        data = read_plain(path)
    except (OSError, ValueError) as error:  # ValueError: the path is impossible
        told = getattr(error, "strerror", None) or error
        raise JobError(f"The job {path} can't be read: {told}.", "Check the path.") from error
    return job_from_json(data, f"The job {path}").without_relative_paths(path.absolute().parent)


def job_from_json(data: bytes, source: str = "The job") -> CaptureJob:
    """Decode a job. Raises JobError that names ``source`` and the place of the error."""
    data = data.removeprefix(codecs.BOM_UTF8)  # some Windows editors write it
    try:
        version = msgspec.json.decode(data, type=_VersionOnly).version
        if version != JOB_VERSION:
            raise JobError(
                f"{source} has version {number(version)}, but this SAM2 Splat reads version"
                f" {JOB_VERSION}.",
                "Update SAM2 Splat, or write the job again.",
            )
        return msgspec.json.decode(data, type=CaptureJob)
    except JobError:
        raise
    except SplatError as error:  # of a setting
        raise JobError(f"{source} can't be used: {error.message}", error.fix) from error
    except UNREADABLE as error:
        raise JobError(f"{source} can't be read: {reason(error)}.", _DOCUMENTED) from error


class _VersionOnly(msgspec.Struct):
    version: int = JOB_VERSION


def write_job(path: Path, job: CaptureJob) -> None:
    """Write a job file, whole or not at all, with paths relative to it where it can. Raises JobError."""
    if any(not is_text(name) for name in (str(path), job.photos)):
        raise JobError(f"The name of {path} or of the photos is not valid text.", "Rename it.")
    try:
        write_atomic(path, to_json(job.with_paths_from(path.absolute().parent)))
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise JobError(f"{path} can't be written: {told}.", "Choose another place.") from error


def to_json(job: CaptureJob) -> bytes:
    """Encode as indented UTF-8 JSON; equal jobs give the same bytes."""
    # Decode once more: in Python 300 and 300.0 are equal, but JSON writes them differently.
    floats = msgspec.json.decode(msgspec.json.encode(job), type=CaptureJob)
    return msgspec.json.format(msgspec.json.encode(floats), indent=2) + b"\n"


def schema() -> bytes:
    """Return the JSON Schema of a job file. docs/job.schema.json has the same bytes."""
    found = msgspec.json.schema(CaptureJob)
    for entry in found["$defs"].values():
        entry["description"] = str(entry.get("description", "")).partition("\n")[0]
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


def is_job_name(name: str) -> bool:
    """Whether a file has the name of a job."""
    return name.casefold().endswith(JOB_ENDING)


def name_of(job: CaptureJob) -> str:
    """Return a short name of a job's capture: that of the folder or video of its photos."""
    path = Path(os.path.normpath(job.photos))
    generic = path.name.casefold() in ("photos", "images")
    return path.parent.name if generic and path.parent.name else path.name
