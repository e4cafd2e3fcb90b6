# SPDX-License-Identifier: GPL-3.0-or-later
"""Replace engine/jobs/propagate.py in a copy of the add-on, and do what a worker must not do.

``request.model.name`` says what happens after the second frame.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import BakeError, Cancelled
from ...core.mattes.store import MatteRecord, MatteScores, MatteStore
from ...core.protocol import FrameDone, Log, Progress, PropagateRequest

SCORES = MatteScores(1.0, 0.5, 0.25)


@dataclass(frozen=True)
class PropagateReport:
    """The part of the real engine's report that the worker reads."""

    summary: str
    frames: int
    warnings: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def run(
    request: PropagateRequest,
    *,
    on_progress: Callable[[Progress], None],
    on_frame_done: Callable[[FrameDone], None],
    on_log: Callable[[Log], None],
    cancelled: Callable[[], bool],
) -> PropagateReport:
    behaviour = request.model.name
    store = MatteStore.open(Path(request.store), create=True)
    total = request.settings.last_frame
    for frame in range(1, total + 1):
        if cancelled() and behaviour != "deaf":
            raise Cancelled
        logits = np.full((4, 4), frame, np.float16)
        store.write(MatteRecord(1, frame, 8, 8, logits, SCORES))
        on_frame_done(FrameDone(frame, 1, SCORES))
        on_progress(
            Progress("propagating", frame, total, frame, "chair", 0.5, 0.5 * (total - frame))
        )
        if frame == 2:
            _misbehave(behaviour, request, on_log)
        if behaviour in ("slow", "deaf"):
            time.sleep(0.01)
    return PropagateReport(f"{total} frames", total)


def _misbehave(behaviour: str, request: PropagateRequest, on_log: Callable[[Log], None]) -> None:
    match behaviour:
        case "killed":
            print("about to run out of memory", file=sys.stderr)
            os.kill(os.getpid(), signal.SIGKILL)
        case "crash":
            importlib.import_module("ctypes").string_at(0)
        case "exit":
            print("a driver that ends the process", file=sys.stderr)
            os._exit(7)
        case "bug":
            {}["missing"]
        case "typed":
            raise BakeError("The folder is read-only.", "Choose another.")
        case "hungry":
            raise MemoryError
        case "greedy":
            _ = bytearray(1 << 62)
        case "allocator":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        case "lacking":
            importlib.import_module("torch_that_is_not_there")
        case "chatty":
            _chat()
            on_log(Log("warning", "said in order"))
        case "thirsty":
            assert sys.stdin.read() == ""
            assert subprocess.run([sys.executable, "-c", "input()"], check=False).returncode == 1
        case "paths":
            on_log(Log("info", "\n".join(sys.path)))
            on_log(Log("info", str(sorted(m for m in sys.modules if "sam2_splat" in m))))
        case "count":
            on_log(Log("info", f"{len(request.prompts.objects)} objects"))
        case "printing":
            for _ in range(300):
                os.write(2, b"no end of line " * 65536)  # 1 MB
            os.write(2, b"\nthe last line\n")
        case "talking":
            for _ in range(3000):
                on_log(Log("info", "x" * 100_000))
        case "silent":
            time.sleep(60)
        case "unwritable":
            raise BakeError(f"{os.fsdecode(bytes([255]))} is no name.")
        case "unloggable":
            on_log(Log("info", os.fsdecode(bytes([255]))))
        case "family" | "family apart":
            child: Any = subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(60)"],
                start_new_session=behaviour == "family apart",
            )
            on_log(Log("info", f"child {child.pid}"))
            time.sleep(60)


def _chat() -> None:
    print("a library's print")
    os.write(1, b"a library's printf\n")
    sys.stdout.write("\rbar  10%\rbar  50%\rbar 100%\n")
    subprocess.run([sys.executable, "-c", "print('a child that prints')"], check=True)
    os.write(2, b"not \xff utf-8\n")
    for number in range(500):
        print("line", number)
