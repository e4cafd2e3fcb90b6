# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the chosen frames of a video as photos, into a folder that gets its name when it is complete."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import simplejpeg

from ...core.errors import Cancelled, FootageError
from ...core.footage import video_photos
from ...core.footage.video_choice import choose
from ...core.footage.video_photos import UNFINISHED, VideoPhoto, VideoReport
from ...core.footage.video_scores import VideoScores, read_scores
from ...core.protocol import FrameDone, Progress, VideoPhotosRequest
from ...core.system.atomic_file import (
    FolderSync,
    sweep_temporaries,
    sync_folder,
    write_atomic,
)
from ...core.system.process_memory import total_memory
from ..images import jpeg_exif, video_colors
from ..images.png import write_rgb
from ..images.video import Frame, Video
from ..images.video_exif import Camera, camera_of, exif_of
from .video_scores import check_of, small_copy

_QUALITY: Final = 95
_SEEK_AFTER: Final = 10.0  # s to the next photo, above which frames between are skipped
_NEAR: Final = 3.0  # s that a search by time stamp may decode too much before it counts as failed
_BYTES: Final = 30  # held for one pixel of a photo, at most
_MAX_THREADS: Final = 8


@dataclass(frozen=True)
class Written:
    """The folder of photos, its report, and whether it was there before."""

    folder: Path
    report: VideoReport
    is_new: bool = True


def write_photos(
    request: VideoPhotosRequest,
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    on_frame_done: Callable[[FrameDone], None] = lambda _: None,
) -> Written:
    """Choose frames and write them. Photos that an earlier try has finished are not written again.

    Raises
    ------
    Cancelled
        The user cancelled. Finished photos are kept for the next try.
    FootageError
        The scores are missing, the video has changed, or a photo can't be written.
    """
    video, parent = Path(request.video), Path(request.parent)
    scores = read_scores(Path(request.scores))
    if scores is None:
        raise FootageError(f"What was found out about {video.name} is gone.", "Load it again.")
    key = video_photos.photos_key(bytes.fromhex(request.digest), request.wanted, request.kind)
    there = video_photos.found_photos(parent, video, key)
    known = video_photos.read_report(there) if there is not None else None
    if there is not None and known is not None:
        return Written(there, known, is_new=False)
    choice = choose(scores, request.wanted)
    report = video_photos.report_of(scores, choice, video, key, request.kind)
    folder = video_photos.unfinished_folder(parent, video, key)
    try:
        UNFINISHED.claim(folder)
        sweep_temporaries(folder, below=False)
        wanted = dict(zip(choice.chosen.tolist(), report.photos, strict=True))
        _write_all(request, scores, wanted, folder, on_progress, cancelled, on_frame_done)
        write_atomic(folder / video_photos.FRAMES_NAME, video_photos.frames_table(scores, choice))
        data = msgspec.json.format(msgspec.json.encode(report))
        write_atomic(folder / video_photos.REPORT_NAME, data + b"\n")
        there = video_photos.found_photos(parent, video, key)
        if there is not None:  # another Blender was faster
            UNFINISHED.remove(folder)
            UNFINISHED.give_up(folder)
            folder.rmdir()
            return Written(there, report, is_new=False)
        target = video_photos.free_folder(parent, video)
        folder.rename(target)
        sync_folder(parent)
    except (OSError, FootageError) as problem:
        there = video_photos.found_photos(parent, video, key)
        if there is not None:  # another Blender made the same photos meanwhile, and took the folder
            return Written(there, report, is_new=False)
        if isinstance(problem, FootageError):
            raise
        raise FootageError(
            f"Photos of {video.name} can't be written to {parent}: {problem.strerror or problem}.",
            "Choose another folder for the photos, on a disk with free space.",
        ) from problem
    return Written(target, report)


def _write_all(
    request: VideoPhotosRequest,
    scores: VideoScores,
    wanted: dict[int, VideoPhoto],
    folder: Path,
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    on_frame_done: Callable[[FrameDone], None],
) -> None:
    missing = [index for index, photo in wanted.items() if not (folder / photo.file).is_file()]
    done, folders = len(wanted) - len(missing), FolderSync()
    frame_bytes = scores.width * scores.height * _BYTES
    threads = min(os.cpu_count() or 1, _MAX_THREADS, total_memory() // 4 // max(1, frame_bytes))
    threads = max(1, threads)
    waiting: list[Future[VideoPhoto]] = []
    began, before = time.monotonic(), done

    def finish(most: int) -> None:
        nonlocal done
        while len(waiting) > most:
            photo = waiting.pop(0).result()
            done += 1
            on_frame_done(FrameDone(photo.frame, 0))
            left = (len(wanted) - done) * (time.monotonic() - began) / (done - before)
            on_progress(Progress("extracting", done, len(wanted), photo.frame, "", 0.0, left))

    on_progress(Progress("extracting", done, len(wanted)))
    with Video(Path(request.video)) as video, ThreadPoolExecutor(threads, "photos") as pool:
        camera = camera_of(video.metadata)
        for index, frame in _found(video, scores, missing, cancelled):
            finish(threads)
            waiting.append(
                pool.submit(_write, request, wanted[index], frame, video, camera, folder, folders)
            )
        finish(0)
    folders.flush()


def _write(
    request: VideoPhotosRequest,
    photo: VideoPhoto,
    frame: Frame,
    video: Video,
    camera: Camera,
    folder: Path,
    folders: FolderSync,
) -> VideoPhoto:
    look = video_colors.look_of(frame.picture, video.stretch)
    pixels = video_colors.photo(frame.picture, look, deep=request.kind == "png")
    exif = exif_of(camera, Path(request.video).name, photo.frame, photo.seconds)
    path = folder / photo.file
    if request.kind == "png":
        write_rgb(path, pixels, exif=exif, folders=folders)
    else:
        data = simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorsubsampling="444")
        write_atomic(path, jpeg_exif.with_exif(data, exif), folders=folders)
    return photo


def _found(
    video: Video, scores: VideoScores, missing: list[int], cancelled: Callable[[], bool]
) -> Iterator[tuple[int, Frame]]:
    """Yield the missing frames. Skip long stretches between them where the file allows it.

    A frame is taken only if it has the check sum that it had when it was measured. If one is not found
    by its time stamp, all frames are decoded from the start.
    """
    left = list(missing)
    if _can_search(scores):
        for index, frame in _searched(video, scores, missing, cancelled):
            left.remove(index)
            yield index, frame
    if not left:
        return
    by_stamp = {(int(scores.stamps[i]), int(scores.checks[i])): i for i in left}
    with Video(video.path) as again:
        for frame in again.frames():
            if cancelled():
                raise Cancelled
            if not by_stamp:
                return
            look = video_colors.look_of(frame.picture, video.stretch)
            found = (frame.stamp, check_of(small_copy(frame, look)))
            if found in by_stamp:
                yield by_stamp.pop(found), frame
    if by_stamp:
        number = int(scores.numbers[min(by_stamp.values())])
        raise FootageError(
            f"Frame {number} of {video.path.name} is not the same as when the video was looked at.",
            "Load the video again.",
        )


def _can_search(scores: VideoScores) -> bool:
    """Whether each frame has a time stamp of its own."""
    stamps = scores.stamps
    return (
        len(stamps) > 1
        and bool((stamps[1:] > stamps[:-1]).all())
        and bool((stamps != scores.numbers).any())
    )


def _searched(
    video: Video, scores: VideoScores, missing: list[int], cancelled: Callable[[], bool]
) -> Iterator[tuple[int, Frame]]:
    """Yield frames that are found by their time stamps, as long as this works."""
    frames = video.frames()
    at = float("-inf")  # s of the frame before
    for index in missing:
        seconds, stamp = float(scores.seconds[index]), int(scores.stamps[index])
        if seconds - max(at, 0.0) > _SEEK_AFTER:
            frames = video.frames(stamp)
        for frame in frames:
            if cancelled():
                raise Cancelled
            if frame.stamp >= stamp:
                break
        else:
            return
        look = video_colors.look_of(frame.picture, video.stretch)
        if frame.stamp != stamp or check_of(small_copy(frame, look)) != int(scores.checks[index]):
            return
        at = seconds
        yield index, frame
