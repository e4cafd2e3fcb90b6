# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker process seen from outside: start, send, receive, kill.

Three threads move bytes between pipes and queues. So no call here waits for the worker, unless the
caller wants it. The threads end with the process. The thread that reads events has also started the
process, and must live as long (see `core/system/child_processes.py`). The queues have limits.
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

from ...core.errors import ProtocolError, SplatError, WorkerError
from ...core.protocol import (
    PROTOCOL_VERSION,
    Event,
    Log,
    PreviewDone,
    PreviewDropped,
    PreviewEvent,
    PreviewFailed,
    Ready,
    Request,
    decode_event,
    read_frame,
    write_message,
)
from ...core.system import child_processes
from ...core.system.mailbox import Mailbox
from ..packages.environment import WorkerEnvironment

ADDON_FOLDER = Path(__file__).resolve().parents[2]
START_TIMEOUT = 120.0  # s; more than a cold start from a slow network drive takes
_KEPT_LINES = 200
_SHOWN_LINES = 12
_END_TIMEOUT = 2.0  # s; for pipes to close after their process has ended
# Bytes that may wait in the queue: above the first the worker has to wait, above the second its printed
# lines are left out.
_MOST_BYTES = 64 << 20
_MOST_PRINTED = 4 << 20
_LINE_BYTES = 1 << 16  # read at once if no line ends
_LINE_LETTERS = 2000  # how much of a line is kept

REINSTALL_FIX = "Install SAM 2 again in the add-on's preferences."


class WorkerProcess:
    """One running worker.

    Parameters
    ----------
    environment
        The Python and the package folders of the worker.
    addon_folder
        The folder with ``core`` and ``engine``.
    start_timeout
        Seconds after which a worker that is not ready has failed.

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
        # None marks the end of the events. An error means that no further event can be read.
        self._incoming: Mailbox[Event | SplatError | None] = Mailbox(_MOST_BYTES)
        # A queue of its own: jobs and previews must not see each other's events.
        self._previews: queue.SimpleQueue[PreviewEvent] = queue.SimpleQueue()
        self._outgoing: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._ready_by = time.monotonic() + start_timeout
        self._start_timeout = start_timeout
        self._heard = time.monotonic()
        self._events_ended = False
        started: queue.SimpleQueue[subprocess.Popen[bytes] | SplatError] = queue.SimpleQueue()

        def start_and_read() -> None:
            try:
                self._process = _start(environment, addon_folder)
            except SplatError as error:
                started.put(error)
                return
            started.put(self._process)
            self._read_events()

        self._threads = tuple(
            threading.Thread(target=target, name=f"sam2_splat {name}", daemon=True)
            for target, name in (
                (self._write_requests, "requests"),
                (start_and_read, "events"),
                (self._read_lines, "lines"),
            )
        )
        self._threads[1].start()
        begun = started.get()
        if isinstance(begun, SplatError):
            raise begun
        self._threads[0].start()
        self._threads[2].start()
        self._reaper = threading.Thread(target=self._reap, name="sam2_splat reaper", daemon=True)

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether the worker has said that it is ready, and its version is ours."""
        return self._ready

    @property
    def is_alive(self) -> bool:
        # The system is not asked: this would free the process id, which `kill` still needs.
        return not self._closed and self._failure is None and not self._events_ended

    @property
    def silent_for(self) -> float:
        """Seconds since the worker sent or printed something, or got a request."""
        return time.monotonic() - self._heard

    @property
    def was_killed(self) -> bool:
        """Whether this side ended it although it had no error."""
        return self._closed and self._failure is None

    def last_lines(self, count: int = _KEPT_LINES) -> list[str]:
        """Return the last lines that the worker printed, at most 200."""
        return list(self._lines)[-count:]

    def send(self, request: Request) -> None:
        """Send a request; returns at once. If the worker is gone, the events will show it."""
        self._heard = time.monotonic()
        self._outgoing.put(request)

    def next_event(self, timeout: float = 0.0) -> Event | None:
        """Return the next event, or None if none came within ``timeout`` seconds.

        Printed lines of the worker are :class:`Log` events with level "output". :class:`Ready` is given
        too, after its version was checked. Answers to previews are not among them.

        Raises
        ------
        ProtocolError
            The worker has another version, or its events can't be read. It has been killed.
        WorkerError
            The worker ended, or was not ready in time. The message has its last lines.
        """
        if self._failure is not None:
            raise self._failure
        try:
            event = self._incoming.get(timeout)
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
        """Return the next answer to a preview, or None; `next_event` tells if the worker ended."""
        try:
            return self._previews.get(False)
        except queue.Empty:
            return None

    def kill(self, *, wait: bool = True) -> None:
        """End the worker and all that it started. May be called twice, and from any thread.

        With ``wait`` this returns after the process, pipes and threads have ended. Without, it returns
        at once, and the rest follows in a thread: a process with much memory needs a moment to end.
        """
        with self._closing:
            if not self._closed:
                self._closed = True
                child_processes.kill_tree(self._process)
                self._incoming.close()
                self._reaper.start()
        if wait:
            self._reaper.join()

    def _reap(self) -> None:
        # A process that waits in a driver may survive even SIGKILL for a while: do not wait for it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_TIMEOUT)
        self._outgoing.put(None)
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        for thread, pipe in zip(self._threads, pipes, strict=True):
            thread.join(_END_TIMEOUT)
            # A thread that still reads holds the lock of its pipe: closing the pipe would wait for it.
            if pipe is not None and not thread.is_alive():
                with contextlib.suppress(OSError):  # unwritten bytes have no reader any more
                    pipe.close()

    def _fail(self, failure: SplatError) -> NoReturn:
        self._failure = failure
        self.kill()
        raise failure

    def _check_first(self, event: Event) -> None:
        if not isinstance(event, Ready):
            self._fail(
                ProtocolError(
                    f"The SAM 2 process began with {type(event).__name__}, not Ready.",
                    REINSTALL_FIX,
                )
            )
        if event.protocol != PROTOCOL_VERSION:
            self._fail(
                ProtocolError(
                    f"The SAM 2 process has version {event.protocol} of the protocol, but Blender has"
                    f" version {PROTOCOL_VERSION}.",
                    "Restart Blender: the add-on was updated while it ran.",
                )
            )
        self._ready = True
        self.versions = dict(event.versions)

    def _not_ready(self) -> WorkerError:
        return WorkerError(
            f"The SAM 2 process was not ready after {self._start_timeout:.0f} s.",
            "Try again; if that does not help, restart the computer, or install SAM 2 again in the"
            " add-on's preferences.",
        ).quoting(self.last_lines(_SHOWN_LINES))

    def _ended(self) -> WorkerError:
        had_ended = _ends_within(self._process, _END_TIMEOUT)
        self.kill()  # and all that it has started
        code = self._process.returncode
        how = _how_it_ended(code) if had_ended and code is not None else "closed its output"
        lines = self.last_lines(_SHOWN_LINES)
        if not self._ready:
            return WorkerError(
                f"The SAM 2 process could not start: it {how}.", REINSTALL_FIX
            ).quoting(lines)
        return WorkerError(
            f"The SAM 2 process {how}.",
            "Start again: what was finished is kept, and it goes on there.",
        ).quoting(lines)

    def _write_requests(self) -> None:
        stream = _binary(self._process.stdin)
        while (request := self._outgoing.get()) is not None:
            try:
                write_message(stream, request)
            except (OSError, ValueError):
                return  # the worker is gone: its events end too, and `next_event` reports it
            except ProtocolError as error:
                self._incoming.put_last(error)
            except Exception as error:  # noqa: BLE001 - after any error, nobody may wait for ever
                self._incoming.put_last(_unforeseen("written to", error))
                return

    def _read_events(self) -> None:
        stream = _binary(self._process.stdout)
        try:
            while (data := read_frame(stream)) is not None:
                self._heard = time.monotonic()
                event = decode_event(data)
                if isinstance(event, PreviewDone | PreviewDropped | PreviewFailed):
                    self._previews.put(event)
                else:
                    self._incoming.put(event, len(data))
        except ProtocolError as error:
            self._incoming.put_last(error)
        except Exception as error:  # noqa: BLE001 - after any error, nobody may wait for ever
            self._incoming.put_last(_unforeseen("read from", error))
        finally:
            self._events_ended = True
            self._incoming.put_last(None)

    def _read_lines(self) -> None:
        stream = _binary(self._process.stderr)
        left_out = 0
        try:
            while raw := stream.readline(_LINE_BYTES):
                self._heard = time.monotonic()
                # A progress bar overwrites itself with carriage returns: keep only its last state.
                line = raw.decode("utf-8", "replace").rstrip().rpartition("\r")[2]
                if not line:
                    continue
                line = line[:_LINE_LETTERS]
                self._lines.append(line)
                if left_out and self._print(f"({left_out} lines were left out)"):
                    left_out = 0
                left_out += not self._print(line)
        except Exception as error:  # noqa: BLE001 - the user must hear of any error
            self._print(f"The output of the SAM 2 process can't be read any more: {error!r}.")

    def _print(self, line: str) -> bool:
        return self._incoming.offer(Log("output", line), 4 * len(line), _MOST_PRINTED)


def _unforeseen(what: str, error: Exception) -> WorkerError:
    return WorkerError(
        f"The SAM 2 process can't be {what} any more: {error!r}.",
        "Start again: what was finished is kept, and it goes on there.",
    )


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process ends in that time. Where possible, its process id stays reserved."""
    if sys.platform != "linux":  # on Windows a handle reserves the id anyway
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
        except ChildProcessError:  # waited for elsewhere
            return True
        time.sleep(0.005)
    return False


def _binary(stream: object) -> BinaryIO:
    assert stream is not None  # Popen was asked for three pipes
    return stream  # type: ignore[return-value]


def _start(environment: WorkerEnvironment, addon_folder: Path) -> subprocess.Popen[bytes]:
    command = [str(environment.python), "-I", "-X", "utf8"]
    command += [str(addon_folder / "engine" / "worker" / "entry.py"), "--addon", str(addon_folder)]
    command += ["--host", str(os.getpid())]
    for folder in environment.site_dirs:
        command += ["--site", str(folder)]
    try:
        # Not Blender's working folder, which may be removed. Not the add-on's folder: Windows could then
        # not update the add-on.
        return child_processes.start(command, cwd=environment.python.parent)
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise WorkerError(
            f"The Python of the SAM 2 process, {environment.python}, can't be started: {told}.",
            REINSTALL_FIX,
        ) from error


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
