# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker process seen from outside: start, send, receive, kill; imports core only.

Three threads move bytes between the pipes and queues, so that no call here ever waits for the
worker unless it is asked to. They end with the process.
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO, NoReturn

from ..core.errors import ProtocolError, SplatError, WorkerError
from ..core.protocol import (
    PROTOCOL_VERSION,
    Event,
    Log,
    PreviewDone,
    PreviewDropped,
    PreviewEvent,
    PreviewFailed,
    Ready,
    Request,
    read_event,
    write_message,
)
from .environment import WorkerEnvironment

ADDON_FOLDER = Path(__file__).resolve().parent.parent
START_TIMEOUT = 120.0  # s; a cold start from a slow network drive, with room to spare
_KEPT_LINES = 200
_SHOWN_LINES = 12
_END_TIMEOUT = 2.0  # s; for pipes to close once their process has ended

REINSTALL_FIX = "Install the worker's packages again in the add-on's preferences."


class WorkerProcess:
    """One running worker.

    Parameters
    ----------
    environment
        The Python and the package folders to run with.
    addon_folder
        The folder that holds ``core`` and ``engine``.
    start_timeout
        Seconds after which a worker that is not ready counts as failed.

    Raises
    ------
    WorkerError
        The process can't be started.
    """

    def __init__(
        self,
        environment: WorkerEnvironment,
        *,
        addon_folder: Path = ADDON_FOLDER,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        self.versions: dict[str, str] = {}
        self._ready = False
        self._failure: SplatError | None = None
        self._closing = threading.Lock()
        self._closed = False
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        # None marks the end of the events, an error the end of their sense.
        self._incoming: queue.SimpleQueue[Event | SplatError | None] = queue.SimpleQueue()
        # Kept apart, so that neither a job nor a preview meets the other's events.
        self._previews: queue.SimpleQueue[PreviewEvent] = queue.SimpleQueue()
        self._outgoing: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._ready_by = time.monotonic() + start_timeout
        self._start_timeout = start_timeout
        self._process = _start(environment, addon_folder)
        self._threads = tuple(
            threading.Thread(target=target, name=f"sam2_splat {target.__name__}", daemon=True)
            for target in (self._write_requests, self._read_events, self._read_lines)
        )
        for thread in self._threads:
            thread.start()
        self._reaper = threading.Thread(target=self._reap, name="sam2_splat reaper", daemon=True)

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether the worker has said that it is up and speaks our version."""
        return self._ready

    @property
    def is_alive(self) -> bool:
        return not self._closed and self._failure is None and self._process.poll() is None

    @property
    def was_killed(self) -> bool:
        """Whether this side ended it while nothing was wrong with it."""
        return self._closed and self._failure is None

    def last_lines(self, count: int = _KEPT_LINES) -> list[str]:
        """The last lines the worker printed, at most 200."""
        return list(self._lines)[-count:]

    def send(self, request: Request) -> None:
        """Hand a request over; returns at once. A worker that is gone shows in the events."""
        self._outgoing.put(request)

    def next_event(self, timeout: float = 0.0) -> Event | None:
        """The next event, or None when none came within ``timeout`` seconds.

        What the worker prints comes as :class:`Log` events of level "output". :class:`Ready` is
        given too, after its version was checked. Answers to previews are not among them.

        Raises
        ------
        ProtocolError
            The worker is of another version, or its events make no sense; it has been killed.
        WorkerError
            The worker ended, or did not get ready in time. The message has its last lines.
        """
        if self._failure is not None:
            raise self._failure
        try:
            event = (
                self._incoming.get(timeout=timeout) if timeout > 0 else self._incoming.get(False)
            )
        except queue.Empty:
            if not self._ready and time.monotonic() > self._ready_by:
                self._fail(self._not_ready())
            return None
        if event is None:
            self._fail(self._ended())
        if isinstance(event, SplatError):
            self._fail(event)
        if not self._ready and not isinstance(event, Log):
            self._check_first(event)
        return event

    def next_preview(self) -> PreviewEvent | None:
        """The next answer to a preview that is there; `next_event` tells when the worker ended."""
        try:
            return self._previews.get(False)
        except queue.Empty:
            return None

    def kill(self, *, wait: bool = True) -> None:
        """End the worker and everything it started; safe to call twice and from any thread.

        With ``wait`` it has ended, and pipes and threads are gone, when this returns. Without, it is
        told to, and the rest follows by itself: a process with much memory takes a moment to die.
        """
        with self._closing:
            if not self._closed:
                self._closed = True
                _kill_tree(self._process)
                self._reaper.start()
        if wait:
            self._reaper.join()

    def _reap(self) -> None:
        # A process stuck in a driver may outlive even SIGKILL for a while; it is not waited for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_TIMEOUT)
        self._outgoing.put(None)
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        for thread, pipe in zip(self._threads, pipes, strict=True):
            thread.join(_END_TIMEOUT)
            # A thread that still reads holds its pipe's lock, and closing would wait for it.
            if pipe is not None and not thread.is_alive():
                with contextlib.suppress(OSError):  # what was left to write has no reader
                    pipe.close()

    def _fail(self, failure: SplatError) -> NoReturn:
        self._failure = failure
        self.kill()
        raise failure

    def _check_first(self, event: Event) -> None:
        if not isinstance(event, Ready):
            self._fail(ProtocolError(f"The worker began with {type(event).__name__}, not Ready."))
        if event.protocol != PROTOCOL_VERSION:
            self._fail(
                ProtocolError(
                    f"The worker speaks version {event.protocol} of the protocol, Blender's side"
                    f" version {PROTOCOL_VERSION}.",
                    "Restart Blender: the add-on was updated while it ran.",
                )
            )
        self._ready = True
        self.versions = dict(event.versions)

    def _not_ready(self) -> WorkerError:
        return WorkerError(
            f"The worker was not ready after {self._start_timeout:.0f} s.{self._quoted_lines()}",
            "Try again; if it stays so, restart the computer or install the worker's packages"
            " again in the add-on's preferences.",
        )

    def _ended(self) -> WorkerError:
        try:
            how = _how_it_ended(self._process.wait(_END_TIMEOUT))
        except subprocess.TimeoutExpired:
            how = "closed its output"
        self._threads[-1].join(_END_TIMEOUT)  # its last lines may still be on their way
        if not self._ready:
            return WorkerError(
                f"The worker could not start: it {how}.{self._quoted_lines()}", REINSTALL_FIX
            )
        return WorkerError(
            f"The worker {how}.{self._quoted_lines()}",
            "What was finished is kept; start again to go on from there.",
        )

    def _quoted_lines(self) -> str:
        lines = self.last_lines(_SHOWN_LINES)
        return "".join(["\nIts last lines:", *(f"\n    {line}" for line in lines)] if lines else [])

    def _write_requests(self) -> None:
        stream = _binary(self._process.stdin)
        while (request := self._outgoing.get()) is not None:
            try:
                write_message(stream, request)
            except OSError:
                return  # the worker is gone; its events end too, and that is reported
            except ProtocolError as error:
                self._incoming.put(error)

    def _read_events(self) -> None:
        stream = _binary(self._process.stdout)
        try:
            while (event := read_event(stream)) is not None:
                if isinstance(event, PreviewDone | PreviewDropped | PreviewFailed):
                    self._previews.put(event)
                else:
                    self._incoming.put(event)
        except ProtocolError as error:
            self._incoming.put(error)
        self._incoming.put(None)

    def _read_lines(self) -> None:
        for raw in _binary(self._process.stderr):
            # A progress bar draws over itself with carriage returns: its last state is the line.
            line = raw.decode("utf-8", "replace").rstrip().rpartition("\r")[2]
            if line:
                self._lines.append(line)
                self._incoming.put(Log("output", line))


def _binary(stream: object) -> BinaryIO:
    assert stream is not None  # Popen was asked for three pipes
    return stream  # type: ignore[return-value]


def _start(environment: WorkerEnvironment, addon_folder: Path) -> subprocess.Popen[bytes]:
    command = [str(environment.python), "-I", "-X", "utf8"]
    command += [str(addon_folder / "engine" / "worker_start.py"), "--addon", str(addon_folder)]
    for folder in environment.site_dirs:
        command += ["--site", str(folder)]
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Not Blender's folder of the moment, which may be removed, nor the add-on's, which
            # Windows could then not update.
            cwd=environment.python.parent,
            creationflags=flags,
            # A group of its own: Ctrl+C in the terminal goes to Blender, which cancels in order.
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerError(
            f"The worker's Python {environment.python} can't be started: {error.strerror}.",
            REINSTALL_FIX,
        ) from error


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Tell the process and its children to end, in a way that they can't refuse."""
    if sys.platform == "win32":
        # In a virtual environment python.exe only launches the real one, as its child.
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            capture_output=True,
            check=False,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for zombies
            os.killpg(process.pid, signal.SIGKILL)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return "was ended by the system (SIGKILL), most likely because memory ran out"
    return f"crashed ({name})"
