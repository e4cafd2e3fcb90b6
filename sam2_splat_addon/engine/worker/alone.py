# SPDX-License-Identifier: GPL-3.0-or-later
"""Let another worker do one request, in a process of its own that ends with it.

A library that ends its process on an error then takes nothing along, and Cancel ends it at once,
whatever it does.
"""

from __future__ import annotations

import collections
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from ...core.errors import Cancelled, ProtocolError, WorkerError
from ...core.protocol import (
    Event,
    Failed,
    Finished,
    JobRequest,
    Log,
    Ready,
    Stopped,
    read_event,
    write_message,
)
from ...core.system import child_processes

_LOOK: Final = 0.1  # s between two looks at Cancel
_JOIN: Final = 5.0  # s
_KEPT_LINES: Final = 12
_LINE_BYTES: Final = 1 << 14


def answer_alone(
    request: JobRequest, send: Callable[[Event], None], cancelled: Callable[[], bool]
) -> Finished | Failed | Stopped:
    """Start a worker as this one was started, let it answer, and return the last event.

    Raises
    ------
    Cancelled
        ``cancelled`` returned True. The process was ended.
    WorkerError
        It can't be started, or ended without an answer.
    """
    # The last --host counts: the new process ends with this one.
    command = [sys.executable, *sys.orig_argv[1:], "--host", str(os.getpid())]
    try:
        process = child_processes.start(command, cwd=Path(sys.executable).parent)
    except OSError as problem:
        raise WorkerError(
            f"A process could not be started: {problem.strerror or problem}.", "Try again."
        ) from problem
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
    readers = [
        threading.Thread(target=_read_events, args=(process.stdout, events), daemon=True),
        threading.Thread(target=_read_lines, args=(process.stderr, lines), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        write_message(process.stdin, request)  # type: ignore[arg-type]
        while True:
            if cancelled():
                raise Cancelled
            try:
                event = events.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if event is None:
                break
            if isinstance(event, Finished | Failed | Stopped):
                return event
            if not isinstance(event, Ready):
                send(event)
    except OSError:
        pass  # it has ended: its last lines say why
    finally:
        child_processes.kill_tree(process)
        process.wait()
        for reader in readers:  # the pipes have ended, so they end too
            reader.join(_JOIN)
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
    for line in lines:
        send(Log("output", line))
    raise WorkerError(
        "The process that finds the cameras ended unexpectedly.",
        "Try again: it goes on where it stopped. If this happens again, report it.",
    ).quoting(list(lines)[-3:])


def _read_events(stream: IO[bytes], events: queue.SimpleQueue[Event | None]) -> None:
    try:
        while (event := read_event(stream)) is not None:  # type: ignore[arg-type]
            events.put(event)
    except (OSError, ValueError, ProtocolError):
        pass  # the process is being ended
    finally:
        events.put(None)


def _read_lines(stream: IO[bytes], lines: collections.deque[str]) -> None:
    try:
        while line := stream.readline(_LINE_BYTES):
            lines.append(line.decode("utf-8", "replace").rstrip())
    except (OSError, ValueError):
        pass
