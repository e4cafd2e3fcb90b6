# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras are found in a process of its own: it is cancelled at once, and its end takes nothing along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.protocol import (
    CancelRequest,
    Event,
    Failed,
    FindCamerasRequest,
    Finished,
    FootageFiles,
    LookRequest,
    Progress,
    Stopped,
    read_event,
    write_message,
)

from ..cameras import textured
from ..cameras.textured import Textured

pytest.importorskip("pycolmap")

ADDON = Path(__file__).resolve().parents[3] / "sam2_splat_addon"


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    script = ADDON / "engine" / "worker" / "entry.py"
    command = [sys.executable, "-I", str(script), "--addon", str(ADDON), "--host", str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Textured:
    return textured.make(tmp_path_factory.mktemp("capture") / "photos")


def request_for(capture: Textured, store: Path) -> FindCamerasRequest:
    return FindCamerasRequest(
        FootageFiles.of(scan(capture.folder)), str(store / "mattes"), threads=1
    )


def send(
    worker: subprocess.Popen[bytes], request: FindCamerasRequest | CancelRequest | LookRequest
) -> None:
    assert worker.stdin is not None
    write_message(worker.stdin, request)  # type: ignore[arg-type]


def next_event(worker: subprocess.Popen[bytes]) -> Event:
    assert worker.stdout is not None
    event = read_event(worker.stdout)  # type: ignore[arg-type]
    assert event is not None, "the worker ended"
    return event


def until(worker: subprocess.Popen[bytes], *stages: str) -> Event:
    """Read events up to the first progress of one of these stages, or the last one."""
    while True:
        event = next_event(worker)
        if isinstance(event, Finished | Failed | Stopped):
            return event
        if isinstance(event, Progress) and event.stage in stages:
            return event


def children(process: int) -> list[int]:
    """Return the processes that a process has started, on Linux."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def test_the_worker_finds_cameras_tells_how_far_it_is_and_goes_on_after_cancel(
    worker: subprocess.Popen[bytes], capture: Textured, tmp_path: Path
) -> None:
    send(worker, request_for(capture, tmp_path))
    event = until(worker, "matching")
    assert isinstance(event, Progress)
    assert 0 < event.done < event.total
    assert event.seconds_left > 0
    began = time.monotonic()
    send(worker, CancelRequest())
    assert isinstance(until(worker), Stopped)
    assert time.monotonic() - began < 2.0
    if sys.platform == "linux":
        assert children(worker.pid) == []
    send(worker, request_for(capture, tmp_path))
    event = until(worker)
    assert isinstance(event, Finished)
    assert event.summary == "Found cameras. 8 of 8 photos have a camera."
    assert event.output_folder == str(tmp_path / "mattes_cameras")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_a_process_that_crashes_is_told_and_the_worker_goes_on(
    worker: subprocess.Popen[bytes], capture: Textured, tmp_path: Path
) -> None:
    send(worker, request_for(capture, tmp_path))
    until(worker, "details")
    (child,) = children(worker.pid)
    os.kill(child, signal.SIGABRT)  # as COLMAP ends itself on an error
    event = until(worker)
    assert isinstance(event, Failed)
    assert event.kind == "WorkerError"
    assert "ended unexpectedly" in event.message
    send(worker, LookRequest((), str(tmp_path / "looked")))
    assert isinstance(until(worker), Finished)
