# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a job. This is the one place where it happens, whatever door it came through.

`prepared` finds out all that can be known before a run. `run` asks the SAM 2 process for one step after
the other: propagate, compare in 3D, review, bake.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from msgspec.structs import replace

from ...core.bake_plan import BakeOptions, bake_name, next_output_folder
from ...core.cameras.found import estimate
from ...core.capture_job import CaptureJob
from ...core.errors import (
    BakeError,
    CameraError,
    FootageError,
    JobError,
    PackageError,
    PromptError,
    SplatError,
    StoreError,
)
from ...core.footage.scan import Footage, path_key, shorten
from ...core.footage.staging import folder_in_cache
from ...core.mattes.run_lock import LOCK_NAME, no_run
from ...core.mattes.run_record import last_run
from ...core.mattes.store import MATTES, STORE_NAME, MatteStore
from ...core.printable import counted, shown, with_warnings
from ...core.prompts import FramePrompts, MaskPrompt, ObjectPrompts, PromptSet
from ...core.protocol import (
    AGREE_ROUNDS,
    AgreeRequest,
    BakeRequest,
    FindCamerasRequest,
    FindSubjectRequest,
    FootageFiles,
    FoundMask,
    FrameRange,
    MasksRequest,
    ModelChoice,
    PropagateRequest,
    ReportRequest,
)
from ...core.review.judge import review_object
from ...core.review.report import REPORT_FOLDER
from ...core.settings import RunSettings
from ...core.system.safe_read import is_folder
from ...core.targets import targets_named
from . import capture
from .places import make_parents, require_new_output, require_report, require_room_in
from .steps import Ended, worked
from .watch import Watch
from .workplace import Workplace

FIRST_SUBJECT: Final = "Subject"
"""The name of the subject of found masks, if no prompt names one."""

_FEWEST_POINTS: Final = 3  # of an outline


@dataclass(frozen=True)
class Prepared:
    """A job of which all is known that can be known before it runs.

    Attributes
    ----------
    job
        With a folder of photos, with checked prompts, and with settings for just these photos.
    names
        The subjects, id -> name. If the job has no prompts, they are those of the last run.
    checkpoint
        Path of the model's file; empty for the bundled model.
    """

    job: CaptureJob
    footage: Footage
    names: dict[int, str]
    store: Path
    checkpoint: str

    def facts(self) -> dict[str, object]:
        """Return what a program wants to know after a check."""
        return {
            "photos": len(self.footage),
            "folder": str(self.footage.folder),
            "subjects": list(self.names.values()),
            "masks": str(self.store),
        }


@dataclass(frozen=True)
class JobResult:
    """What a job has made.

    Attributes
    ----------
    job
        As it was prepared, with all prompts that were added.
    names
        The subjects, id -> name.
    output, report
        Folders of the bake and of the review; None without these steps.
    damaged
        Names of photos that were left out because they are damaged.
    look
        Number of frames that the review lists as worth a look.
    worker_peak_mb
        The most memory that the SAM 2 process has used. It depends on ``torch``, its version with its
        build (``2.13.0+cpu``).
    """

    job: CaptureJob
    footage: Footage
    names: dict[int, str]
    store: Path
    output: Path | None
    report: Path | None
    damaged: tuple[str, ...]
    look: int
    seconds_per_frame: float
    worker_peak_mb: float
    torch: str

    def facts(self) -> dict[str, object]:
        """Return what a program wants to know at the end."""
        return {
            "photos": len(self.footage),
            "folder": str(self.footage.folder),
            "subjects": list(self.names.values()),
            "masks": str(self.store),
            "output": str(self.output or ""),
            "report": str(self.report or ""),
            "damaged": list(self.damaged),
            "look": self.look,
            "memory_mb": round(self.worker_peak_mb),
        }


@dataclass(frozen=True)
class Way:
    """How a job is done, which changes nothing in what comes out.

    Attributes
    ----------
    part
        Bake only these frames, first and last, and lay their images ready in the store.
    once
        Do not bake if the same bake is there already.
    half
        Propagate only forwards or only backwards. What is tracked backwards gets a store of its own, so that
        another machine can work on each half. The whole propagation takes it.
    """

    part: tuple[int, int] | None = None
    once: bool = False
    half: Literal["", "forward", "backward"] = ""


WHOLE: Final = Way()
_BACKWARD: Final = "_backward"  # ends the name of the store with the half that is tracked backwards


def prepared(job: CaptureJob, at: Workplace, watch: Watch, way: Way = WHOLE) -> Prepared:
    """Check a job against its photos and this machine. Nothing is written but photos of a video.

    Raises SplatError, and KeyboardInterrupt if the watch wants the end.
    """
    if job.does("cameras") and not at.finds_cameras:
        raise PackageError(
            "Finding cameras needs the package pycolmap, which is not installed.",
            "Press Install pycolmap in Blender's Cameras panel, or run pip install pycolmap.",
        )
    job = capture.with_photos(job, at, watch)
    footage = capture.found(job, at, watch)
    checkpoint = at.checkpoint_of(job.model, job.checkpoint)
    if job.found_masks:
        job = _with_found_masks(job, footage, at, watch)
    store = _store_folder(job, footage, at)
    if way.half:
        job = replace(job, run=replace(job.run, direction=way.half))
    if way.half == "backward":
        store = _backward(store)
    if job.does("subject") and job.prompts.objects:
        raise PromptError(
            "The job has prompts, so it can't find the subject by itself.",
            "Leave out the prompts, or the step that finds the subject.",
        )
    if job.prompts.objects or not _needs_no_prompts(job):
        job = replace(job, prompts=job.prompts.checked(footage.sizes, len(footage)))
    names = {1: FIRST_SUBJECT} if job.does("subject") else job.names() or _names_in(store)
    roles = {shown(name): role for name, role in job.roles.items()}
    job = replace(job, roles=roles, unbaked=tuple(map(shown, job.unbaked)))
    _require_subjects(job, names)
    _require_drawn(job, len(footage))
    job = replace(job, run=_run_settings(job, footage))
    if job.does("cameras") and job.run.panorama:
        raise CameraError(
            "Cameras can't be found for panoramas.",
            "Leave this step out, or bring cameras of another program.",
        )
    if job.does("bake"):
        _ = _bake_options(job, names)
        if job.output and not (way.once and is_folder(Path(job.output))):
            require_new_output(Path(job.output))
        else:
            require_room_in(_output_parent(job, footage))
    if job.does("bake") and way.part and not 1 <= way.part[0] <= way.part[1] <= len(footage):
        raise BakeError(
            f"Frames {way.part[0]} to {way.part[1]} are no part of {counted(len(footage), 'photo')}.",
            f"Name frames from 1 to {len(footage)} with --part.",
        )
    if job.does("review"):
        require_report(_report_folder(job, footage))
    return Prepared(job, footage, names, store, checkpoint)


def run(ready: Prepared, at: Workplace, watch: Watch, way: Way = WHOLE) -> JobResult:
    """Do the steps of a prepared job.

    Raises SplatError, and KeyboardInterrupt if the watch wants the end. What is finished is kept.
    """
    job, footage = ready.job, ready.footage
    done: list[Ended] = []
    speed = 0.0

    def files() -> FootageFiles:
        return capture.files_of(job, footage, at, watch)  # photos may change during a run

    if job.does("cameras"):
        watch.said(f"Finding the cameras takes {camera_estimate(ready)}.")
        done.append(worked(_cameras(ready, files()), "Finding cameras", at, watch))
        watch.said(_summary(done[-1]))
    if job.does("subject"):
        done.append(worked(_subject(ready, files()), "Finding the subject", at, watch))
        watch.said(_summary(done[-1]))
        job = replace(job, prompts=done[-1].result.prompts or job.prompts)
        ready = dataclasses.replace(ready, job=job)
    if job.does("propagate") or job.does("compare") or job.does("agree"):
        other = _backward(ready.store)
        takes_half = not way.half and not job.does("agree") and MATTES.owns(other)
        request = _propagation(ready, files())
        whole = replace(request, known=(str(other),)) if takes_half else request
        # Agree propagates by itself, because a stopped one goes on with prompts that it has added.
        first = AgreeRequest(request, job.cameras, AGREE_ROUNDS) if job.does("agree") else whole
        done.append(worked(first, "Propagating", at, watch))
        if takes_half:
            _drop(other)
        speed = done[-1].seconds_per_frame
        watch.said(_propagated(ready, done[-1]))
        if job.does("compare") and not job.does("agree"):
            asked = AgreeRequest(request, job.cameras)
            done.append(worked(asked, "Comparing in 3D", at, watch))
        if job.does("compare") or job.does("agree"):
            job = replace(job, prompts=done[-1].result.prompts or job.prompts)
            watch.said(_summary(done[-1]))
    report = _report_folder(job, footage) if job.does("review") else None
    if report is not None:
        done.append(worked(_review(ready, files(), report), "Reporting", at, watch))
        watch.said(_summary(done[-1]))
    output = _output_folder(job, footage) if job.does("bake") else None
    if output is not None:
        done.append(_baked(ready, files(), output, way, at, watch))
        output = Path(done[-1].result.output_folder) if way.part is None else None
        watch.said(_summary(done[-1]))
    manifest = last_run(MatteStore(ready.store))
    look = _worth_a_look(ready)
    if look and report is None:
        watch.said(f"{counted(look, 'frame')} worth a look: the review shows them")
    return JobResult(
        job,
        footage,
        ready.names,
        ready.store,
        output,
        report,
        _damaged(ready, done),
        look,
        speed,
        max((step.result.peak_memory_mb for step in done), default=0.0),
        "" if manifest is None else manifest.machine.versions.get("torch", ""),
    )


def _backward(store: Path) -> Path:
    """Return the store of what another machine has tracked backwards."""
    return store.with_name(f"{store.name}{_BACKWARD}")


def _drop(store: Path) -> None:
    """Remove a store of which all is taken. What is not ours stays, and so does its folder."""
    with contextlib.suppress(OSError, StoreError):
        with no_run(store):
            MATTES.remove(store)
            MATTES.give_up(store)
        (store / LOCK_NAME).unlink(missing_ok=True)
        store.rmdir()


def _needs_no_prompts(job: CaptureJob) -> bool:
    """Whether a job only uses masks that are there already, or finds the subject by itself."""
    return job.does("subject") or set(job.steps) <= {"cameras", "review", "bake"}


def _with_found_masks(job: CaptureJob, footage: Footage, at: Workplace, watch: Watch) -> CaptureJob:
    """Take the masks beside the photos as prompts of the first subject."""
    if not footage.masks:
        raise FootageError(
            "There are no masks beside the photos.",
            "Put them into a folder called masks beside the photos, with the photos' names.",
        )
    masks = tuple(
        FoundMask(
            str(path),
            frame,
            footage.frames[frame - 1].name,
            *footage.sizes.of(frame),
            footage.frames[frame - 1].header.orientation,
        )
        for frame, path in sorted(footage.masks.items())
    )
    request = MasksRequest(masks, job.found_masks == "black")
    result = worked(request, "Reading masks", at, watch).result
    first, *others = job.prompts.objects or (ObjectPrompts(1, FIRST_SUBJECT),)
    said = f"{counted(len(result.masks), 'mask')} of {first.name}"
    watch.said(with_warnings(said, result.warnings))
    with_masks = _with_masks(first, result.masks)
    return replace(job, prompts=replace(job.prompts, objects=(with_masks, *others)))


def _with_masks(entry: ObjectPrompts, masks: dict[int, MaskPrompt]) -> ObjectPrompts:
    frames = {at.frame: at for at in entry.frames}
    for frame, mask in masks.items():
        frames[frame] = replace(frames.get(frame, FramePrompts(frame)), mask=mask)
    return replace(entry, frames=tuple(frames[frame] for frame in sorted(frames)))


def _store_folder(job: CaptureJob, footage: Footage, at: Workplace) -> Path:
    """Return the folder of the masks: beside the photos, or in the cache if that is read-only."""
    if job.store:
        return Path(job.store)
    if os.access(footage.folder, os.W_OK):
        return footage.folder / STORE_NAME
    return folder_in_cache(footage.folder, at.cache) / STORE_NAME


def _names_in(store: Path) -> dict[int, str]:
    """Return the subjects of the last run in a store. Raises StoreError if its record is damaged."""
    manifest = last_run(MatteStore(store))
    prompts = PromptSet(()) if manifest is None else manifest.prompts
    return {entry.id: entry.name for entry in prompts.objects}


def _require_subjects(job: CaptureJob, names: dict[int, str]) -> None:
    """Raise PromptError if the job says something of a subject that does not exist."""
    for name in (*job.roles, *job.unbaked):
        if name not in names.values():
            raise PromptError(
                f"There is no subject called {name!r}.",
                f"The subjects are {', '.join(names.values())}."
                if names
                else "Name one with prompts.",
            )


def _require_drawn(job: CaptureJob, count: int) -> None:
    """Raise JobError if a drawn mask is on no photo, or has an outline without an area."""
    for mask in job.drawn:
        if not 1 <= mask.frame <= count:
            raise JobError(
                f"The job has a drawn mask on frame {mask.frame}, but the photos are frames 1 to {count}.",
                "Load the photos in Blender and export the job again.",
            )
        for outline in mask.outlines:
            if len(outline) % 2 or len(outline) < 2 * _FEWEST_POINTS:
                raise JobError(
                    f"An outline on frame {mask.frame} has {len(outline)} numbers: it needs x and y of"
                    f" {_FEWEST_POINTS} points or more.",
                    "Export the job again.",
                )


def _run_settings(job: CaptureJob, footage: Footage) -> RunSettings:
    """Return the settings of the run for just these photos. Raises PromptError for an empty range."""
    first, count = job.run.first_frame, len(footage)
    last = min(job.run.last_frame or count, count)
    if not 1 <= first <= last:
        raise PromptError(
            f"The range {first} to {job.run.last_frame or count} has no photo. Photos are on frames 1 to"
            f" {count}.",
            "Change First and Last in the options.",
        )
    width, height = footage.sizes.upright.width, footage.sizes.upright.height
    panorama = job.run.panorama or (job.guess_panorama and width == 2 * height)
    return replace(job.run, first_frame=first, last_frame=last, panorama=panorama)


def _propagation(ready: Prepared, files: FootageFiles) -> PropagateRequest:
    job = ready.job
    return PropagateRequest(
        footage=files,
        prompts=job.prompts,
        store=str(ready.store),
        model=ModelChoice(job.model.model, ready.checkpoint, job.device, job.threads),
        settings=job.run,
        edited=job.drawn if job.drawn_prompt else (),
        strict=job.strict,
        cameras=job.cameras,
    )


def camera_estimate(ready: Prepared) -> str:
    """Say about how long the search for cameras takes on this machine."""
    return estimate(len(ready.footage), ready.job.threads or os.cpu_count() or 1)


def _cameras(ready: Prepared, files: FootageFiles) -> FindCamerasRequest:
    job = ready.job
    return FindCamerasRequest(files, str(ready.store), job.drawn, job.threads, job.run.raw_photos)


def _subject(ready: Prepared, files: FootageFiles) -> FindSubjectRequest:
    job = ready.job
    model = ModelChoice(job.model.model, ready.checkpoint, job.device, job.threads)
    return FindSubjectRequest(files, FIRST_SUBJECT, str(ready.store), model, job.run, job.cameras)


def _propagated(ready: Prepared, ended: Ended) -> str:
    store, names = MatteStore(ready.store), ready.names
    frames = {frame for object_id in names for frame in store.frames(object_id)}
    seconds = ended.seconds_per_frame
    speed = f" at {seconds:.2f} s a frame" if seconds else ""
    said = f"Propagated {', '.join(names.values())} over {counted(len(frames), 'frame')}{speed}"
    return with_warnings(said, ended.result.warnings)


def _worth_a_look(ready: Prepared) -> int:
    """Return how many frames the review lists, of all subjects together."""
    job, store = ready.job, MatteStore(ready.store)
    drawn = {object_id: set[int]() for object_id in ready.names}
    for mask in job.drawn:
        drawn.setdefault(mask.object_id, set()).add(mask.frame)
    return len(
        {
            review.frame
            for object_id in ready.names
            for review in review_object(
                store, object_id, drawn[object_id], job.approved.get(object_id, ())
            )
            if review.listed
        }
    )


def _summary(ended: Ended) -> str:
    return with_warnings(ended.result.summary, ended.result.warnings)


def _review(ready: Prepared, files: FootageFiles, folder: Path) -> ReportRequest:
    return ReportRequest(
        footage=files,
        store=str(ready.store),
        output_folder=str(folder),
        names=ready.names,
        edited=ready.job.drawn,
        fine=ready.job.approved,
    )


def _report_folder(job: CaptureJob, footage: Footage) -> Path:
    return Path(job.report) if job.report else footage.folder / REPORT_FOLDER


def _output_parent(job: CaptureJob, footage: Footage) -> Path:
    return Path(job.output_in) if job.output_in else footage.folder


def _output_folder(job: CaptureJob, footage: Footage) -> Path:
    if job.output:
        return Path(job.output)
    return next_output_folder(_output_parent(job, footage), bake_name(job.targets))


def _bake_options(job: CaptureJob, names: dict[int, str]) -> BakeOptions:
    used = {object_id: name for object_id, name in names.items() if name not in job.unbaked}
    if names and not used:
        raise BakeError("No subject takes part in the bake.", "Leave one of them in the bake.")
    roles = {object_id: job.roles.get(name, "keep") for object_id, name in used.items()}
    settings = {name: getattr(job.bake, name) for name in job.bake.__struct_fields__}
    return BakeOptions(
        objects=tuple(sorted(used)),
        removed=tuple(sorted(i for i, role in roles.items() if role == "remove")),
        ignored=tuple(sorted(i for i, role in roles.items() if role == "ignore")),
        targets=tuple(target.name for target in targets_named(job.targets)),
        **settings,
    )


def _baked(
    ready: Prepared, files: FootageFiles, folder: Path, way: Way, at: Workplace, watch: Watch
) -> Ended:
    job = ready.job
    request = BakeRequest(
        footage=files,
        store=str(ready.store),
        output_folder=str(folder),
        options=_bake_options(job, ready.names),
        edited=job.drawn,
        threads=job.threads,
        device=job.device,
        strict=job.strict,
        cameras=job.cameras,
        raw_photos=job.run.raw_photos,
        part=None if way.part is None else FrameRange(*way.part),
        once=way.once,
    )
    make_parents(folder)
    try:
        return worked(request, "Baking", at, watch)
    except (KeyboardInterrupt, SplatError):
        if folder.is_dir():
            count = len(list(folder.rglob("*.png")))
            watch.warned(f"{folder} is not complete. It has {counted(count, 'image')}.")
        raise


def _damaged(ready: Prepared, done: Iterable[Ended]) -> tuple[str, ...]:
    found: set[str] = set()
    if ready.job.does("bake"):  # the images of these are missing too
        found = {file.name for file in ready.footage.unreadable if file.is_damaged}
    found.update(name for step in done for name in step.result.damaged)
    return tuple(sorted(found, key=path_key))


def damaged_sentence(result: JobResult) -> str:
    """Say which damaged photos were left out."""
    return f"Warning: damaged photos were left out: {shorten(result.damaged)}"
