# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's main loop: read requests, run them one by one, write events.

The first request that needs torch and sam2 imports them. So the worker is ready in a fraction of a
second, and a missing package becomes an answer instead of a crash.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from ...core.errors import Cancelled, EnvironmentSetupError, ProtocolError, SplatError, WorkerError
from ...core.footage.damaged_photos import left_out
from ...core.mattes.store import MatteStore
from ...core.printable import counted
from ...core.prompts import PromptSet
from ...core.protocol import (
    PROTOCOL_VERSION,
    AgreeRequest,
    BakeRequest,
    CancelRequest,
    CopyRequest,
    Event,
    Failed,
    FindCamerasRequest,
    FindSubjectRequest,
    Finished,
    FrameDone,
    JobRequest,
    Log,
    LookRequest,
    MasksRequest,
    PreviewDone,
    PreviewDropped,
    PreviewEvent,
    PreviewFailed,
    PreviewMatte,
    PreviewRequest,
    Progress,
    PropagateRequest,
    Ready,
    ReportRequest,
    Stopped,
    VideoPhotosRequest,
    VideoScoresRequest,
    read_request,
    write_message,
)
from ...core.system.process_memory import peak_memory_mb
from .alone import answer_alone

if TYPE_CHECKING:  # at run time the first propagation imports it, with torch
    from ..jobs.propagate import PropagateReport

_REPORTED_PACKAGES = ("torch", "sam2", "numpy", "msgspec", "pillow", "opencv-python-headless")

# Messages of torch's and OpenCV's allocators. They raise a RuntimeError, not a MemoryError.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "insufficient memory")

Job = JobRequest | PreviewRequest


class _Outbox:
    """Write events, from any thread. End the process when nobody reads them any more."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        with self._lock:
            try:
                try:
                    write_message(self._stream, event)
                except ProtocolError as error:  # nothing of it was written
                    write_message(self._stream, _in_place_of(event, error))
            except OSError:
                os._exit(1)


def _in_place_of(event: Event, error: ProtocolError) -> Event:
    """Return what to send if an event can't be written. An answer stays an answer."""
    if isinstance(event, PreviewDone | PreviewFailed):
        return PreviewFailed(event.ticket, Failed.from_error(error))
    if isinstance(event, Finished | Failed):
        return Failed.from_error(error)
    return Log("warning", str(error))


class _Inbox:
    """Read requests in a separate thread, so that a cancel arrives while a job runs."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._jobs: queue.SimpleQueue[tuple[Job, threading.Event]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unanswered: list[tuple[Job, threading.Event]] = []
        threading.Thread(target=self._read, name="requests", daemon=True).start()

    def next(self) -> tuple[Job, threading.Event]:
        """Wait for the next request. Returns it and the event that says it is cancelled."""
        return self._jobs.get()

    def answered(self, cancelled: threading.Event) -> None:
        """Forget a request. A cancel that comes now is too late for it."""
        with self._lock:
            self._unanswered = [entry for entry in self._unanswered if entry[1] is not cancelled]

    def _read(self) -> None:
        while True:
            try:
                request = read_request(self._stream)
            except BaseException:  # noqa: BLE001 - without this thread nothing would end the worker
                # Nothing else on this stream can be trusted. The client shows these lines.
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(2)
            if request is None:
                # The client closed the pipe, or died. Nobody waits for a result, so end at once,
                # whatever the main thread does. Files are whole or absent, so nothing is lost.
                os._exit(0)
            with self._lock:
                for job, cancelled in self._unanswered:
                    # A preview is dropped for any newer request.
                    if isinstance(request, CancelRequest) or isinstance(job, PreviewRequest):
                        cancelled.set()
                if not isinstance(request, CancelRequest):
                    cancelled = threading.Event()
                    self._unanswered.append((request, cancelled))
                    self._jobs.put((request, cancelled))


def serve(requests: BinaryIO, events: BinaryIO) -> None:
    """Send Ready, then answer requests until their stream ends. Never returns."""
    outbox = _Outbox(events)
    outbox.send(Ready(PROTOCOL_VERSION, os.getpid(), _versions()))
    inbox = _Inbox(requests)
    while True:
        job, cancelled = inbox.next()
        answer: Event
        if isinstance(job, PreviewRequest):
            answer = _answer_preview(job, outbox.send, cancelled.is_set)
        else:
            answer = _answer(job, outbox.send, cancelled.is_set)
        inbox.answered(cancelled)
        outbox.send(answer)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _REPORTED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _answer(
    job: JobRequest,
    send: Callable[[Event], None],
    cancelled: Callable[[], bool],
) -> Finished | Failed | Stopped:
    """Run one job to its end and return how it ended."""
    frames: set[int] = set()

    def send_frame_done(event: FrameDone) -> None:
        frames.add(event.frame)
        send(event)

    try:
        if cancelled():
            return Stopped()
        if isinstance(job, PropagateRequest):
            return _propagate(job, send, send_frame_done, cancelled)
        if isinstance(job, ReportRequest):
            return _report(job, send, cancelled)
        if isinstance(job, CopyRequest):
            return _copy(job, send, cancelled)
        if isinstance(job, LookRequest):
            return _look(job, send, cancelled)
        if isinstance(job, VideoScoresRequest):
            return _score_video(job, send, cancelled)
        if isinstance(job, VideoPhotosRequest):
            return _photos_of_video(job, send, send_frame_done, cancelled)
        if isinstance(job, MasksRequest):
            return _masks(job, send, cancelled)
        if isinstance(job, AgreeRequest):
            return _agree(job, send, send_frame_done, cancelled)
        if isinstance(job, FindCamerasRequest):
            return _find_cameras(job, send, cancelled)
        if isinstance(job, FindSubjectRequest):
            return _find_subject(job, send, cancelled)
        return _bake(job, send, send_frame_done, cancelled)
    except Cancelled:
        return Stopped(len(frames))
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets it as an answer
        return _failed(error)


def _answer_preview(
    job: PreviewRequest, send: Callable[[Event], None], dropped: Callable[[], bool]
) -> PreviewEvent:
    """Run one preview and return how it ended. It is dropped if a newer request has come."""
    began = time.monotonic()

    def send_first(matte: PreviewMatte) -> None:
        send(PreviewDone(job.ticket, job.frame, (matte,), time.monotonic() - began, more=True))

    try:
        if dropped():
            return PreviewDropped(job.ticket)
        from ..jobs import preview

        mattes = preview.run(job, dropped, on_first=send_first)
        return PreviewDone(job.ticket, job.frame, mattes, time.monotonic() - began)
    except Cancelled:
        return PreviewDropped(job.ticket)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets it as an answer
        return PreviewFailed(job.ticket, _failed(error))


def _failed(error: Exception) -> Failed:
    """Return the error in the form that the client gets. Called while the exception is handled."""
    if isinstance(error, SplatError):
        return Failed.from_error(error)
    if isinstance(error, ModuleNotFoundError):
        return Failed(
            EnvironmentSetupError.__name__,
            f"The SAM 2 process lacks the package {error.name}.",
            "Install its packages again in the add-on's preferences.",
            traceback.format_exc(),
        )
    return _unforeseen(error)


def _unforeseen(error: Exception) -> Failed:
    trace = traceback.format_exc()
    told = str(error).lower()
    if type(error).__name__ == "OutOfMemoryError" or "cuda out of memory" in told:
        message = "The graphics card ran out of memory."
    elif isinstance(error, MemoryError) or any(sign in told for sign in _OUT_OF_MEMORY):
        message = "The machine ran out of memory."
    else:
        message = f"The SAM 2 process met an unexpected error: {type(error).__name__}:"
        message += f" {' '.join(str(error).split())}."
        fix = "Please report it, together with the lines in Blender's console."
        return Failed(type(error).__name__, message, fix, trace)
    fix = "Close other programs, or choose a smaller model or another device."
    return Failed(WorkerError.__name__, message, fix, trace)


def _propagate(
    request: PropagateRequest,
    send: Callable[[Event], None],
    send_frame_done: Callable[[FrameDone], None],
    cancelled: Callable[[], bool],
) -> Finished:
    send(Progress("loading", 0, 1))
    from ..jobs import propagate

    began = time.monotonic()
    if request.settings.carry_clicks != "off":
        from ..jobs import carry_clicks

        request = carry_clicks.prepared(request, on_progress=send, on_log=send, cancelled=cancelled)
    report = propagate.run(
        request,
        on_progress=send,
        on_frame_done=send_frame_done,
        on_log=send,
        cancelled=cancelled,
    )
    return _tracked(report, began)


def _tracked(report: PropagateReport, began: float, prompts: PromptSet | None = None) -> Finished:
    """Say how a job that tracks ended. `began` is a time of `time.monotonic`, s."""
    return Finished(
        report.summary,
        frames=report.frames,
        seconds=time.monotonic() - began,
        peak_memory_mb=peak_memory_mb(),
        warnings=report.warnings,
        damaged=report.damaged,
        prompts=prompts,
    )


def _bake(
    request: BakeRequest,
    send: Callable[[Event], None],
    send_frame_done: Callable[[FrameDone], None],
    cancelled: Callable[[], bool],
) -> Finished:
    from ..jobs import bake

    began = time.monotonic()
    # MatteStore.open would require a store, but masks that the user drew need none.
    store = MatteStore(Path(request.store))
    report = bake.bake(request, store, send, cancelled, on_frame_done=send_frame_done)
    images = counted(len(report.frames), "image")
    summary = f"Baked {images} into {report.folder}."
    if report.was_there:
        summary = f"Nothing to do: the same bake is in {report.folder}."
    elif request.part is not None:
        summary = f"{images} of frames {request.part.first} to {request.part.last} lie ready."
    return Finished(
        summary,
        str(report.folder),
        len(report.frames),
        time.monotonic() - began,
        peak_memory_mb(),
        report.warnings(),
        tuple(photo.name for photo in report.damaged_photos),
    )


def _agree(
    request: AgreeRequest,
    send: Callable[[Event], None],
    send_frame_done: Callable[[FrameDone], None],
    cancelled: Callable[[], bool],
) -> Finished:
    send(Progress("loading", 0, 1))
    from ..jobs import agree

    began = time.monotonic()
    report = agree.run(
        request,
        on_progress=send,
        on_frame_done=send_frame_done,
        on_log=send,
        cancelled=cancelled,
    )
    return _tracked(report, began, report.prompts)


def _find_cameras(
    request: FindCamerasRequest, send: Callable[[Event], None], cancelled: Callable[[], bool]
) -> Finished | Failed | Stopped:
    if not request.alone:
        return answer_alone(msgspec.structs.replace(request, alone=True), send, cancelled)
    from ..jobs import find_cameras

    began = time.monotonic()
    report = find_cameras.run(request, on_progress=send, on_log=send, cancelled=cancelled)
    return Finished(
        report.summary,
        str(report.folder),
        report.found.placed if report.found is not None else 0,
        time.monotonic() - began,
        peak_memory_mb(),
        report.warnings,
        report.damaged,
    )


def _find_subject(
    request: FindSubjectRequest, send: Callable[[Event], None], cancelled: Callable[[], bool]
) -> Finished:
    send(Progress("loading", 0, 1))
    from ..jobs import find_subject

    began = time.monotonic()
    report = find_subject.run(request, send, send, cancelled)
    return Finished(
        report.summary,
        frames=len(report.prompts.objects[0].frames),
        seconds=time.monotonic() - began,
        peak_memory_mb=peak_memory_mb(),
        warnings=report.warnings,
        prompts=report.prompts,
    )


def _copy(
    request: CopyRequest, send: Callable[[Event], None], cancelled: Callable[[], bool]
) -> Finished:
    from ..jobs import copies

    began = time.monotonic()
    damaged = copies.write_copies(request, send, cancelled)
    return Finished(
        f"Copies that Blender can show: {len(request.copies)}.",
        frames=len(request.copies),
        seconds=time.monotonic() - began,
        peak_memory_mb=peak_memory_mb(),
        damaged=damaged,
    )


def _score_video(
    request: VideoScoresRequest, send: Callable[[Event], None], cancelled: Callable[[], bool]
) -> Finished:
    from ..jobs import video_scores

    began = time.monotonic()
    scores = video_scores.score_video(request, send, cancelled)
    return Finished(
        f"Looked at {len(scores)} frames of {Path(request.video).name}.",
        frames=len(scores),
        seconds=time.monotonic() - began,
        peak_memory_mb=peak_memory_mb(),
        warnings=scores.facts,
    )


def _photos_of_video(
    request: VideoPhotosRequest,
    send: Callable[[Event], None],
    send_frame_done: Callable[[FrameDone], None],
    cancelled: Callable[[], bool],
) -> Finished:
    from ..jobs import video_photos

    began = time.monotonic()
    written = video_photos.write_photos(request, send, cancelled, send_frame_done)
    return Finished(
        f"Made {counted(len(written.report.photos), 'photo')} in {written.folder.name}.",
        str(written.folder),
        len(written.report.photos),
        time.monotonic() - began,
        peak_memory_mb(),
        written.report.facts,
    )


def _look(
    request: LookRequest, send: Callable[[Event], None], cancelled: Callable[[], bool]
) -> Finished:
    from ..jobs import look

    began = time.monotonic()
    look.look(request, send, cancelled)
    return Finished(
        f"Photos looked at: {len(request.photos)}.",
        frames=len(request.photos),
        seconds=time.monotonic() - began,
        peak_memory_mb=peak_memory_mb(),
    )


def _masks(
    request: MasksRequest, send: Callable[[Event], None], cancelled: Callable[[], bool]
) -> Finished:
    from ..jobs import found_masks

    began = time.monotonic()
    masks, warnings = found_masks.read_masks(request, send, cancelled)
    return Finished(
        "",  # who asked tells what became of them
        frames=len(masks),
        seconds=time.monotonic() - began,
        peak_memory_mb=peak_memory_mb(),
        warnings=warnings,
        masks=masks,
    )


def _report(
    request: ReportRequest, send: Callable[[Event], None], cancelled: Callable[[], bool]
) -> Finished:
    from ..jobs import report

    began = time.monotonic()
    written = report.write_report(request, send, cancelled)
    worth = "1 is" if written.listed == 1 else f"{written.listed} are"
    return Finished(
        f"Reviewed {written.mattes} masks, {worth} worth a look: {written.folder}.",
        str(written.folder),
        written.mattes,
        time.monotonic() - began,
        peak_memory_mb(),
        (left_out(written.damaged),) if written.damaged else (),
        tuple(photo.name for photo in written.damaged),
    )
