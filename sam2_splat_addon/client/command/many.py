# SPDX-License-Identifier: GPL-3.0-or-later
"""Run many jobs, some side by side, each in a process of its own.

The command `sam2-splat batch` and the queue in Blender's panel both use `Captures`: they call `poll` now
and then, and look at the captures. A capture's process is the command `sam2-splat run JOB --json`. Its
standard input stays open as long as it may work: when it ends, because of a cancel or because this
process has died, the capture ends too and keeps what is finished.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from ...core.capture_job import JOB_ENDING, CaptureJob, is_job_name, name_of, read_job, write_job
from ...core.errors import JobError
from ...core.printable import shown
from ...core.system import child_processes
from ...core.system.process_memory import free_memory
from ...core.system.safe_read import UNREADABLE, is_there, read_plain
from ...core.system.terminal import CANCELLED, STOPPED
from ..packages.environment import SITE_VARIABLE, WorkerEnvironment
from ..packages.torch_build import nvidia_cards
from .workplace import CACHE_VARIABLE, MODELS_VARIABLE

State = Literal["waiting", "running", "done", "failed", "cancelled"]

_ADDON: Final = Path(__file__).resolve().parents[2]
_CARDS: Final = "CUDA_VISIBLE_DEVICES"
_FIRST_GUESS: Final = 3 << 30  # bytes that a capture needs, before one has told
_MEGABYTE: Final = 1_000_000
_GRACE: Final = 20.0  # s for a cancelled capture to end by itself
_KEPT_LINES: Final = 20  # of a process's standard error
_DAMAGED: Final = 8
_MOST_LIST_BYTES: Final = 1 << 24


@dataclass
class Capture:
    """One capture of many.

    Attributes
    ----------
    file
        Its job.
    name
        Short and unlike those of the others, for people.
    fraction, text
        How far its present step is, 0 to 1, and in words.
    code
        Its exit code; None before its end.
    facts
        What it told at its end; see `JobResult.facts`.
    problem
        Why it failed, and what to do.
    events
        What it has told since the last look, for a program.
    """

    file: Path
    job: CaptureJob
    name: str = ""
    state: State = "waiting"
    step: str = ""
    fraction: float = 0.0
    text: str = ""
    code: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def look(self) -> int:
        """Number of photos that are worth a look."""
        return int(self.facts.get("look", 0))

    def verdict(self) -> str:
        """Say in one sentence how it ended, and what needs a look."""
        if self.state == "failed":
            return self.problem or f"Failed with exit code {self.code}"
        if self.state == "cancelled":
            return "Cancelled. What was finished is kept"
        if self.state != "done":
            return self.text or "Waiting"
        words = ["Done"]
        if self.look:
            words.append(f"{self.look} to look at")
        damaged = self.facts.get("damaged", ())
        if damaged:
            words.append(f"{len(damaged)} damaged, left out")
        return ", ".join(words)


@dataclass(frozen=True)
class Room:
    """How many captures run at once.

    Attributes
    ----------
    at_once
        The most of them.
    cards
        Names of graphics cards; each capture gets one of them for itself. Empty leaves the choice to each.
    """

    at_once: int
    cards: tuple[str, ...] = ()


def room_for(jobs: Sequence[CaptureJob], at_once: int | None = None) -> Room:
    """Return how many jobs run at once on this machine: one on each card, else as cores allow.

    Parameters
    ----------
    at_once
        What the user wants; None decides. A job on all threads takes all cores.
    """
    wants_card = any(job.device in ("auto", "cuda") for job in jobs)
    cards = _cards() if wants_card else ()
    if cards:
        return Room(at_once or len(cards), cards)
    cores = os.cpu_count() or 1
    threads = max((job.threads or cores for job in jobs), default=cores)
    return Room(at_once or max(1, cores // threads))


def _cards() -> tuple[str, ...]:
    """Return the cards that this process may use."""
    named = os.environ.get(_CARDS)
    if named is not None:
        return tuple(card.strip() for card in named.split(",") if card.strip() not in ("", "-1"))
    return tuple(str(number) for number in range(len(nvidia_cards())))


class Captures:
    """Many captures, from the first start to the last end.

    Parameters
    ----------
    captures
        In the order in which they are started.
    room
        How many run at once. Also without room in memory one runs.
    variables
        Environment variables of their processes; see `variables_for`.
    words
        Further words for `sam2-splat run`.

    Raises
    ------
    OSError
        There is no place for temporary files.
    """

    def __init__(
        self,
        captures: Sequence[Capture],
        room: Room,
        variables: Mapping[str, str],
        words: Sequence[str] = (),
    ) -> None:
        self.captures = tuple(captures)
        self._room = room
        self._variables = dict(variables)
        self._words = ("run", *words)
        # Jobs with the options of this run; it vanishes with this object.
        self._place = tempfile.TemporaryDirectory(prefix="sam2_splat_")
        self._running: list[CaptureProcess] = []
        self._need = _FIRST_GUESS
        self._cancelled = False

    @property
    def is_over(self) -> bool:
        """Whether all have ended."""
        return all(capture.is_over for capture in self.captures)

    def poll(self) -> bool:
        """Hear what is new, and start what has room. Return whether all have ended. Never waits."""
        for running in list(self._running):
            running.poll()
            if running.capture.is_over:
                self._running.remove(running)
            self._need = max(self._need, running.memory)
        waiting = [capture for capture in self.captures if capture.state == "waiting"]
        while waiting and not self._cancelled and self._has_room():
            capture = waiting.pop(0)
            card = self._free_card()
            place = Path(self._place.name)
            running = CaptureProcess(capture, self._variables, card, place, self._words)
            self._running.append(running)
        return self.is_over

    def cancel(self) -> None:
        """Let all end soon. `poll` is still called until it returns True. Finished frames are kept."""
        self._cancelled = True
        for capture in self.captures:
            if capture.state == "waiting":
                capture.state, capture.code = "cancelled", CANCELLED
        for running in self._running:
            running.cancel()

    def abort(self) -> None:
        """End all at once."""
        self.cancel()
        for running in self._running:
            running.kill()

    def exit_code(self, *, allow_damaged: bool = False) -> int:
        """Return the exit code of all captures; see `exit_code_of`."""
        return exit_code_of(self.captures, allow_damaged=allow_damaged)

    def _has_room(self) -> bool:
        if not self._running:
            return True
        # A capture that has just begun has not taken all its memory yet.
        promised = sum(max(0, self._need - running.memory) for running in self._running)
        return len(self._running) < self._room.at_once and free_memory() - promised >= self._need

    def _free_card(self) -> str | None:
        if not self._room.cards:
            return None
        uses = dict.fromkeys(self._room.cards, 0)
        for running in self._running:
            if running.card is not None:
                uses[running.card] += 1
        return min(uses, key=lambda card: uses[card])


def exit_code_of(captures: Iterable[Capture], *, allow_damaged: bool = False) -> int:
    """Return the exit code of captures together: that of the first one that did not end well.

    Parameters
    ----------
    allow_damaged
        Whether all is well without some damaged photos.
    """
    codes = [capture.code or 0 for capture in captures]
    stopped = next((code for code in codes if code in STOPPED), None)
    if stopped is not None:
        return stopped
    if allow_damaged:
        codes = [0 if code == _DAMAGED else code for code in codes]
    bad = [code for code in codes if code not in (0, _DAMAGED)]
    return next(iter(bad), max(codes, default=0))


class CaptureProcess:
    """A process of the command `sam2-splat` that works on a capture.

    Parameters
    ----------
    capture
        Its attributes follow the process, as `poll` hears of it.
    variables
        See `variables_for`.
    card
        Name of the graphics card that the process sees. None leaves it as it is.
    place
        Folder for the job, with the options of this run.
    words
        The command, such as ``run``, and its options.
    """

    def __init__(
        self,
        capture: Capture,
        variables: Mapping[str, str],
        card: str | None,
        place: Path,
        words: Sequence[str] = ("run",),
    ) -> None:
        self.capture, self.card = capture, card
        self.memory = 0  # bytes
        self._kill_at = 0.0
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._last_lines: list[str] = []
        environment = {**os.environ, **variables, "PYTHONUTF8": "1"}
        if card is not None:
            environment[_CARDS] = card
        file = place / f"{id(capture)}{JOB_ENDING}"
        command = [sys.executable, str(_ADDON), *words, str(file), "--json", "--stop-at-eof"]
        capture.state, capture.text = "running", "Starting"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            write_job(file, capture.job)
            self._process = child_processes.start(
                command, cwd=Path(sys.executable).parent, environment=environment
            )
        except (OSError, ValueError) as error:
            capture.state, capture.code = "failed", 1
            capture.problem = f"{sys.executable} can't be started: {error}"
            return
        except JobError as error:
            capture.state, capture.code, capture.problem = "failed", 1, str(error)
            return
        for read in (self._read_events, self._read_lines):
            threading.Thread(target=read, name="sam2_splat capture", daemon=True).start()

    def poll(self) -> None:
        """Hear what the process has told."""
        while not self.capture.is_over:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                break
            if event is None:
                self._end()
            else:
                self._take(event)
        if self._kill_at and time.monotonic() > self._kill_at and not self.capture.is_over:
            self.kill()

    def cancel(self) -> None:
        """Ask the process to end."""
        if self._process is not None and not self._kill_at:
            self._kill_at = time.monotonic() + _GRACE
            self.capture.text = "Cancelling"
            with contextlib.suppress(OSError):
                assert self._process.stdin is not None
                self._process.stdin.close()

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            child_processes.kill_tree(self._process)

    def _take(self, event: dict[str, Any]) -> None:
        capture = self.capture
        capture.events.append(event)
        match event.get("event"):
            case "progress":
                capture.step = str(event.get("step", ""))
                capture.fraction = float(event.get("fraction", 0.0))
                capture.text = str(event.get("text", ""))
                self.memory = int(event.get("memory_mb", 0)) * _MEGABYTE or self.memory
            case "error":
                words = (str(event.get("message", "")), str(event.get("fix", "")))
                capture.problem = " ".join(word for word in words if word)
            case "ended":
                capture.code = int(event.get("code", 1))
                capture.facts = event

    def _end(self) -> None:
        """Note how the process has ended."""
        assert self._process is not None
        capture = self.capture
        child_processes.kill_tree(self._process)  # and all that it has started
        code = self._process.wait()
        if capture.code is None:  # it crashed, or was killed
            capture.code = CANCELLED if self._kill_at else 1
            last = self._last_lines[-1] if self._last_lines else f"exit code {code}"
            capture.problem = f"It ended without a message: {shown(last)}"
        if capture.code in (0, _DAMAGED):
            capture.state, capture.fraction = "done", 1.0
        else:
            capture.state = "cancelled" if capture.code in STOPPED else "failed"

    def _read_events(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(*UNREADABLE):
                self._events.put(msgspec.json.decode(line, type=dict[str, Any]))
        self._events.put(None)

    def _read_lines(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._last_lines = [*self._last_lines, text][-_KEPT_LINES:]


def variables_for(environment: WorkerEnvironment, cache: Path, models: Path) -> dict[str, str]:
    """Return the variables with which a process finds the same packages, cache and models."""
    return {
        SITE_VARIABLE: os.pathsep.join(map(str, environment.site_dirs)),
        CACHE_VARIABLE: str(cache),
        MODELS_VARIABLE: str(models),
    }


def captures_in(places: Sequence[Path]) -> list[Capture]:
    """Return the jobs of folders, lists and job files, each once, in natural order.

    Parameters
    ----------
    places
        A folder means all jobs (``*.s2s.json``) in it and in its subfolders. A file that ends in ``.json``
        is a job. Any other file is a list: a place on each line, relative to the list; ``#`` begins a
        remark.

    Raises
    ------
    JobError
        A place does not exist, there is no job, or a job can't be read.
    """
    files: list[Path] = []
    for place in places:
        files += _files_at(place.absolute())
    unlike = list(dict.fromkeys(files))
    if not unlike:
        raise JobError(
            "There are no jobs.",
            "Write them with Export Job in Blender: their names end in .s2s.json.",
        )
    captures = [Capture(file, read_job(file)) for file in unlike]
    _name(captures)
    return captures


def _files_at(place: Path, *, in_list: bool = False) -> list[Path]:
    if not is_there(place):
        raise JobError(f"{place} does not exist.", "Name a folder of jobs, a list or a job.")
    if place.is_dir():
        return sorted(path for path in place.rglob("*") if is_job_name(path.name))
    if place.suffix.casefold() == ".json":
        return [place]
    if in_list:
        raise JobError(f"{place} is no job.", "Name folders and jobs in a list.")
    try:
        data = read_plain(place)
        if len(data) > _MOST_LIST_BYTES:
            raise ValueError("it is too large for a list")
        lines = data.decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise JobError(f"The list {place} can't be read: {told}.", "Check the list.") from error
    named = (line.partition("#")[0].strip() for line in lines)
    found: list[Path] = []
    for line in filter(None, named):
        found += _files_at(place.parent / line, in_list=True)
    return found


def _name(captures: Sequence[Capture]) -> None:
    """Give each capture a name that no other one has."""
    taken: set[str] = set()
    for capture in captures:
        name = base = shown(name_of(capture.job)) or capture.file.name
        number = 2
        while name in taken:
            name, number = f"{base} ({number})", number + 1
        taken.add(name)
        capture.name = name
