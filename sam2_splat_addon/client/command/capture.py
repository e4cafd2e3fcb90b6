# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the photos of a job. A video becomes photos first, and RAW photos are looked at."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from ...core.capture_job import CaptureJob
from ...core.errors import DamagedPhoto, FootageError
from ...core.footage.content_hashes import HASHES_NAME, ContentHashes
from ...core.footage.raw_photos import FILE_NAME, RawPhotos, RawPhotosUnknown
from ...core.footage.scan import Footage, from_file, path_key, scan, shorten
from ...core.footage.video_photos import found_photos, photos_key, read_report
from ...core.footage.video_scores import (
    SCORES,
    VideoScores,
    is_video_name,
    read_scores,
    scores_folder,
    scores_path,
)
from ...core.printable import is_text
from ...core.protocol import FootageFiles, LookRequest, VideoPhotosRequest, VideoScoresRequest
from ...core.system.background_task import Report
from ...core.system.safe_read import is_folder
from ..worker.job import JobProgress
from .steps import worked
from .watch import Watch
from .workplace import Workplace

_REASONS = 5  # photos that were left out, whose reasons are said


def is_video(path: Path) -> bool:
    """Whether a path is that of a video, and not of a folder."""
    return is_video_name(path.name) and not is_folder(path)


def with_photos(job: CaptureJob, at: Workplace, watch: Watch) -> CaptureJob:
    """Return the job with a folder of photos in the place of a video. Raises SplatError."""
    if not job.photos:
        raise FootageError("There is no clip.", "Name a job, or photos with --footage.")
    path = Path(job.photos)
    return replace(job, photos=str(_made_of(path, job, at, watch))) if is_video(path) else job


def found(job: CaptureJob, at: Workplace, watch: Watch) -> Footage:
    """Return the photos of a job, frame 1 first, and say which were left out.

    Raises FootageError if they are not those for which the job was written.
    """
    footage = _scanned(job, at, watch)
    watch.said(
        f"{footage.folder.name}: {len(footage)} photos of"
        f" {footage.sizes.upright.width}x{footage.sizes.upright.height} px"
    )
    if footage.unreadable:
        for file in footage.unreadable:
            if job.strict and file.is_damaged:
                raise DamagedPhoto(file.reason, "Copy or export this photo again or remove it.")
        named = shorten([file.name for file in footage.unreadable])
        watch.warned(f"Can't be read, left out: {named}")
        for file in footage.unreadable[:_REASONS]:
            watch.warned(f"  {file.reason}")
    if job.photo_names:
        _require_same(job, footage)
    else:
        _require_all_before(job, footage)
    return footage


def files_of(job: CaptureJob, known: Footage, at: Workplace, watch: Watch) -> FootageFiles:
    """Return the photos as they are now, for the SAM 2 process. This reads photos that are new.

    Raises FootageError if photos came or went since `found`.
    """
    footage = _scanned(job, at, watch)
    if [frame.name for frame in footage.frames] != [frame.name for frame in known.frames]:
        raise FootageError(
            f"Photos in {known.folder} came or went during the run.", "Run the job again."
        )
    hashes = ContentHashes(at.cache / HASHES_NAME)
    return FootageFiles.of(footage, hashes, _report(watch))


def _report(watch: Watch) -> Report:
    """Return a `Report` that tells the watch, and ends with KeyboardInterrupt after Ctrl+C."""

    def report(done: int, total: int) -> None:
        watch.check()
        words = f"Looking at the photos, {done} of {total}" if total else "Looking at the photos"
        watch.went_on("Loading", JobProgress(done / total if total else 0.0, sentence=words))

    return report


def _scanned(job: CaptureJob, at: Workplace, watch: Watch) -> Footage:
    has_looked = False
    while True:
        raw = RawPhotos(at.cache / FILE_NAME)
        try:
            footage = scan(
                Path(job.photos), _report(watch), with_subfolders=job.subfolders, raw=raw.of
            )
            return from_file(footage, job.first_photo) if job.first_photo else footage
        except RawPhotosUnknown as unknown:
            if has_looked:
                raise  # a photo changes all the time
            has_looked = True
            names = tuple(str(path) for path in unknown.paths)
            worked(LookRequest(names, str(at.cache / FILE_NAME)), "Loading", at, watch)


def _require_same(job: CaptureJob, footage: Footage) -> None:
    """Raise FootageError if the photos' names are not those of the job, in the same order."""
    names = tuple(frame.name for frame in footage.frames)
    if names == job.photo_names:
        return
    pairs = enumerate(zip(job.photo_names, names, strict=False), start=1)
    other = next((frame for frame, (before, now) in pairs if before != now), None)
    if len(names) != len(job.photo_names):
        what = (
            f"The job is for {len(job.photo_names)} photos, but {footage.folder} has {len(names)}."
        )
    else:
        what = f"The job has another photo on frame {other} than {footage.folder}."
    raise FootageError(
        what, "Put back the photos of the job, or load these in Blender and export the job again."
    )


def _require_all_before(job: CaptureJob, footage: Footage) -> None:
    """Raise FootageError if a photo that was left out makes the frame numbers of prompts doubtful."""
    frames = [at.frame for entry in job.prompts.objects for at in entry.frames]
    last = max(frames, default=0)
    if not 1 <= last <= len(footage):
        return  # `PromptSet.checked` says what is wrong
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


def _made_of(video: Path, job: CaptureJob, at: Workplace, watch: Watch) -> Path:
    """Return the folder of photos of a video. What is there already is not made again."""
    if not is_text(str(video)):
        raise FootageError("The name of the video is not valid text.", "Rename it.")
    digest = _digest(video, at, watch)
    file = scores_path(at.cache, digest)
    scores = read_scores(file) or _looked(video, file, at, watch)
    if job.strict and scores.damaged:
        raise DamagedPhoto(
            f"{scores.damaged} frames of {video.name} can't be decoded.",
            "Copy the video again from the camera, or leave out --strict.",
        )
    parent = Path(job.photos_folder) if job.photos_folder else video.parent
    wanted, kind = job.video.video_photos, job.video.video_format
    folder, facts = found_photos(parent, video, photos_key(digest, wanted, kind)), scores.facts
    if folder is not None:
        watch.said(f"The photos in {folder.name} were made before")
    else:
        request = VideoPhotosRequest(str(video), str(file), digest.hex(), str(parent), wanted, kind)
        result = worked(request, "Making Photos", at, watch).result
        folder, facts = Path(result.output_folder), result.warnings
        watch.said(result.summary.removesuffix("."))
    report = read_report(folder)
    if report is not None:
        watch.said(report.summary)
    for fact in facts:
        watch.warned(fact)
    return folder


def _digest(video: Path, at: Workplace, watch: Watch) -> bytes:
    hashes = ContentHashes(at.cache / HASHES_NAME)
    watch.went_on("Making Photos", JobProgress(sentence="Reading the video"))
    try:
        return hashes.of(video)
    except OSError as problem:
        raise FootageError(
            f"{video.name} can't be read: {problem.strerror or problem}.",
            "Choose a video that you may read.",
        ) from problem
    finally:
        hashes.keep()


def _looked(video: Path, file: Path, at: Workplace, watch: Watch) -> VideoScores:
    """Let the SAM 2 process measure all frames of a video."""
    try:
        SCORES.claim(scores_folder(at.cache))
    except OSError as problem:
        raise FootageError(
            f"{file.parent} can't be written: {problem.strerror or problem}.", SCORES.fix
        ) from problem
    worked(VideoScoresRequest(str(video), str(file)), "Making Photos", at, watch)
    scores = read_scores(file)
    if scores is None:
        raise FootageError(f"What was found out about {video.name} is gone.", "Load it again.")
    return scores
