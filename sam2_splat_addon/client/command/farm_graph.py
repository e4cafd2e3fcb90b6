# SPDX-License-Identifier: GPL-3.0-or-later
"""What a farm does with many captures: which task comes after which, and what an exit code means.

Nothing here knows Ray. A capture is a few commands of `sam2-splat`, one after the other::

    check -> run -> bake --part 1-30, bake --part 31-60, ... -> bake

Before `run`, two machines may track one half each: `propagate --half forward` and `--half backward`.

`Farm` hands tasks to a `Cluster` as it has room for them, and looks at how they end. All that a capture
has so far is in its folder of masks, so a lost task costs only what it did not write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, Literal, Protocol

from ...core.capture_job import CaptureJob, JobStep
from ...core.printable import counted
from ...core.system.terminal import CANCELLED, STOPPED
from .many import Capture

Kind = Literal["check", "half", "run", "part", "finish"]
After = Literal["done", "again", "failed", "stopped"]

MOST_TRIES: Final = 3
CHUNK: Final = 32
"""The most photos of one part of a bake."""

HALF: Final = 24
"""The fewest photos before and after a prompted one for which two machines are worth their start."""

_DONE: Final = (0, 8)
_INPUT: Final = (2, 3, 4)
ENVIRONMENT: Final = 5
BEGUN: Final = "begun"
"""The first event of a task: ``node`` is where it runs. Only the farm itself hears of it."""

_PLACES: Final = 7
# Seconds to wait after code 7: a folder that is in use, or a disk that is full, needs a while.
_LATER: Final = (5.0, 20.0)


@dataclass(frozen=True)
class Task:
    """One command of one capture.

    Attributes
    ----------
    capture
        Its place in the list of captures.
    words
        The command and its options, without the job.
    steps
        The steps of the job for this command. None are those of the job.
    """

    capture: int
    kind: Kind
    words: tuple[str, ...]
    steps: tuple[JobStep, ...] | None = None

    @property
    def is_light(self) -> bool:
        """Whether it needs no graphics card, and little of anything else."""
        return self.kind == "check"


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes
    ----------
    code
        The exit code of the command; None if it was lost with its process or its node.
    node
        Where it ran; empty if unknown.
    facts
        The last event of the command; see docs/command-line.md.
    problem
        Why it failed, and what to do.
    seconds
        How long the command took.
    """

    code: int | None
    node: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    seconds: float = 0.0


def after(outcome: Outcome, tries: int, *, wants_end: bool = False) -> After:
    """Say what follows on a task's end.

    Parameters
    ----------
    tries
        How often it was tried, this time included. Tries on nodes that lack something don't count.
    wants_end
        Whether the user has cancelled it.
    """
    code = outcome.code
    if wants_end:
        return "done" if code in _DONE else "stopped"
    if code in _DONE:
        return "done"
    if code in _INPUT:
        return "failed"
    if code == ENVIRONMENT:
        return "again"
    return "again" if tries < MOST_TRIES else "failed"


def parts_of(photos: int, chunk: int) -> list[tuple[int, int]]:
    """Return ranges of frames, first and last, of about the same size and not more than a chunk."""
    count = -(-photos // chunk)
    ends = [photos * number // count for number in range(count + 1)]
    return [(before + 1, end) for before, end in pairwise(ends)]


def has_halves(job: CaptureJob, photos: int) -> bool:
    """Whether the halves of a propagation need nothing of each other, and are worth two machines.

    The way back attends to frames that the way forward has corrected. So each subject may have prompts on
    one photo alone. Nothing may add prompts on the way: cameras, masks, or the model itself.
    """
    if job.run.direction != "both" or job.run.carry_clicks != "off" or job.found_masks:
        return False
    if not {"propagate"} <= set(job.steps) <= {"propagate", "review", "bake"}:
        return False
    if (job.drawn and job.drawn_prompt) or not job.prompts.objects:
        return False
    last = min(job.run.last_frame or photos, photos)
    return all(
        len(entry.frames) == 1
        and entry.frames[0].frame - job.run.first_frame >= HALF
        and last - entry.frames[0].frame >= HALF
        for entry in job.prompts.objects
    )


class Graph:
    """The tasks of one capture.

    Parameters
    ----------
    capture
        Its place in the list of captures.
    job
        What is to be done with it.
    chunk
        The most photos of one part of its bake. A bake of fewer photos is one task with the rest.
    halves
        Whether two machines may share its propagation.
    """

    def __init__(
        self, capture: int, job: CaptureJob, chunk: int = CHUNK, *, halves: bool = False
    ) -> None:
        self._capture, self._job, self._chunk = capture, job, chunk
        self._steps, self._halves = job.steps, halves
        self._count: int | None = None  # of photos
        self._open = {self._task("check", "check")}
        self._done: set[Task] = set()

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not self._open

    @property
    def share_done(self) -> float:
        """Return how much is done of what is known, 0 to 1."""
        return len(self._done) / max(1, len(self._done) + len(self._open))

    @property
    def count(self) -> int:
        """Return the number of tasks that are known."""
        return len(self._done) + len(self._open)

    def open(self) -> Iterator[Task]:
        """Yield the tasks that may run now."""
        yield from sorted(self._open, key=lambda task: task.words)

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Take the end of a task, which went well, and open what comes after it."""
        self._open.remove(task)
        self._done.add(task)
        photos = outcome.facts.get("photos")
        count = self._count = photos if isinstance(photos, int) else self._count
        if task.kind == "check":
            if self._halves and count is not None and has_halves(self._job, count):
                self._open |= {self._half("forward"), self._half("backward")}
            else:
                self._open |= self._first(count)
        elif task.kind == "half" and not self._open:
            self._open |= self._first(count)
        elif task.kind == "run":
            self._open |= self._bake(task, count)
        elif task.kind == "part" and not self._open:
            self._open.add(self._finish())

    def _half(self, which: str) -> Task:
        return self._task("half", "propagate", "--half", which, steps=("propagate",))

    def _first(self, count: int | None) -> set[Task]:
        """Return what follows on the check. Without a number of photos the bake waits for the run."""
        others = tuple(step for step in self._steps if step != "bake")
        bakes = "bake" in self._steps
        if bakes and not others:
            return self._parts(count) or {self._finish()}
        if bakes and (count is None or count > self._chunk):
            return {self._task("run", "run", "--once", steps=others)}
        return {self._task("run", "run", "--once")}

    def _bake(self, ran: Task, count: int | None) -> set[Task]:
        if ran.steps is None or "bake" not in self._steps:
            return set()
        return self._parts(count) or {self._finish()}

    def _parts(self, count: int | None) -> set[Task]:
        if count is None or count <= self._chunk:
            return set()
        return {
            self._task("part", "bake", "--once", "--part", f"{first}-{last}", steps=("bake",))
            for first, last in parts_of(count, self._chunk)
        }

    def _finish(self) -> Task:
        return self._task("finish", "bake", "--once", steps=("bake",))

    def _task(self, kind: Kind, *words: str, steps: tuple[JobStep, ...] | None = None) -> Task:
        return Task(self._capture, kind, words, steps)


class Cluster(Protocol):
    """Machines that do tasks."""

    def slots(self) -> int:
        """Return how many tasks that are not light have room now."""

    def nodes(self, task: Task) -> Collection[str]:
        """Return the nodes that are alive and could do a task if they had nothing else to do."""

    def submit(self, task: Task, avoided: Collection[str]) -> int:
        """Hand over a task, which begins when a node has room, and return its number."""

    def ended(self) -> dict[int, Outcome]:
        """Return the tasks that have ended since the last call."""

    def told(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Return what tasks have told since the last call: number, name of the node, event."""

    def cancel(self, number: int) -> None:
        """Let a task end soon. It is among the ended ones later."""

    def name_of(self, node: str) -> str:
        """Return the name of a node for people."""


@dataclass
class _Flight:
    """A task that was handed over."""

    task: Task
    avoided: frozenset[str]
    begun: bool = False
    taken_back: bool = False
    node: str = ""
    fraction: float = 0.0


@dataclass
class _Tries:
    """What happened to a task so far."""

    count: int = 0
    failed_on: set[str] = field(default_factory=set)
    not_before: float = 0.0


class Farm:
    """Many captures on a cluster, from the first task to the last.

    Parameters
    ----------
    captures
        In the order in which they are begun. Their attributes follow the tasks.
    chunk
        See `Graph`.
    at_once
        The most captures that are worked on at the same time; None leaves it to the cluster.
    halves
        Whether two machines may share a propagation. That pays only where more machines than captures are.
    now
        A clock, s.
    """

    def __init__(
        self,
        captures: Sequence[Capture],
        cluster: Cluster,
        chunk: int = CHUNK,
        at_once: int | None = None,
        *,
        halves: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.captures = tuple(captures)
        self._cluster, self._at_once, self._now = cluster, at_once, now
        self._graphs = [
            Graph(number, capture.job, chunk, halves=halves)
            for number, capture in enumerate(self.captures)
        ]
        self._flights: dict[int, _Flight] = {}
        self._tries: dict[Task, _Tries] = {}
        self._lacking: set[str] = set()
        self._lack = Outcome(ENVIRONMENT)
        self._unwanted: set[int] = set()

    @property
    def is_over(self) -> bool:
        """Whether all captures have ended, and nothing runs any more."""
        return not self._flights and all(capture.is_over for capture in self.captures)

    def poll(self) -> bool:
        """Hear what is new, and hand over what has room. Return whether all is over. Never waits."""
        for number, node, event in self._cluster.told():
            self._hear(number, node, event)
        for number, outcome in self._cluster.ended().items():
            flight = self._flights.pop(number)
            capture = self.captures[flight.task.capture]
            if not capture.is_over and not (flight.taken_back and outcome.code in STOPPED):
                self._end(flight, outcome)
        self._end_unwanted()
        self._free_stuck()
        self._hand_over()
        return self.is_over

    def cancel(self, names: Collection[str] | None = None) -> None:
        """Let captures end soon; None is all. `poll` is still called. Finished work is kept."""
        for index, capture in enumerate(self.captures):
            if not capture.is_over and (names is None or capture.name in names):
                self._unwanted.add(index)
        for number, flight in self._flights.items():
            if flight.task.capture in self._unwanted:
                self._cluster.cancel(number)

    def _end_unwanted(self) -> None:
        """End cancelled captures of which nothing runs any more."""
        busy = {flight.task.capture for flight in self._flights.values()}
        for index in self._unwanted - busy:
            if not self.captures[index].is_over:
                self._fail(index, Outcome(CANCELLED), stopped=True)

    def _hear(self, number: int, node: str, event: dict[str, Any]) -> None:
        flight = self._flights.get(number)
        if flight is None:
            return
        capture = self.captures[flight.task.capture]
        flight.begun = True
        if event.get("event") == BEGUN:
            flight.node = str(event.get("node", ""))
        else:
            capture.events.append({"task": " ".join(flight.task.words), "node": node, **event})
        if event.get("event") == "progress":
            flight.fraction = float(event.get("fraction", 0.0))
            capture.text = f"{event.get('text') or event.get('step', '')} ({node})"
        elif not capture.text:
            capture.text = f"{flight.task.kind} ({node})"
        self._show(flight.task.capture)

    def _show(self, index: int) -> None:
        graph = self._graphs[index]
        running = sum(at.fraction for at in self._flights.values() if at.task.capture == index)
        self.captures[index].fraction = min(1.0, graph.share_done + running / max(1, graph.count))

    def _end(self, flight: _Flight, outcome: Outcome) -> None:
        task, capture = flight.task, self.captures[flight.task.capture]
        if not outcome.node:  # it was lost before it could say where
            outcome = replace(outcome, node=flight.node)
        capture.events.append(
            {
                "event": "task",
                "task": " ".join(task.words),
                "node": self._cluster.name_of(outcome.node),
                "code": outcome.code,
                "seconds": round(outcome.seconds, 2),
            }
        )
        tries = self._tries.setdefault(task, _Tries())
        if outcome.code == ENVIRONMENT and outcome.node:
            self._lacking.add(outcome.node)
            self._lack = outcome
        else:
            tries.count += 1
        if outcome.node:
            tries.failed_on.add(outcome.node)
        wants_end = task.capture in self._unwanted
        what = after(outcome, tries.count, wants_end=wants_end)
        # The run itself waits until the lease of a dead computer lapses; the check never does.
        if task.kind == "check" and outcome.code == _PLACES and not wants_end:
            what = "done"
        if what == "again" and not self._open_nodes(task):
            what = "failed"  # every node lacks something
        if what == "done":
            self._take(task, capture, outcome)
        elif what == "again":
            late = _LATER[min(tries.count, len(_LATER)) - 1] if outcome.code == _PLACES else 0.0
            tries.not_before = self._now() + late
            where = self._cluster.name_of(outcome.node)
            why = outcome.problem or "it was lost"
            text = f"{' '.join(task.words)} did not end well on {where}: {why} It is tried again."
            capture.events.append({"event": "warning", "text": text})
            capture.text = "Waiting for another try"
        else:
            self._fail(task.capture, outcome, stopped=what == "stopped")

    def _take(self, task: Task, capture: Capture, outcome: Outcome) -> None:
        damaged = [*capture.facts.get("damaged", ()), *outcome.facts.get("damaged", ())]
        output = outcome.facts.get("output") or capture.facts.get("output", "")
        capture.facts = {**capture.facts, **outcome.facts}
        capture.facts |= {"damaged": sorted(set(damaged)), "output": output}
        self._tries.pop(task, None)
        graph = self._graphs[task.capture]
        graph.ended(task, outcome)
        self._show(task.capture)
        if graph.is_done:
            capture.state, capture.fraction = "done", 1.0
            capture.code = _DONE[1] if capture.facts["damaged"] else _DONE[0]

    def _fail(self, index: int, outcome: Outcome, *, stopped: bool) -> None:
        """End a capture, and what else is done for it."""
        capture = self.captures[index]
        if not capture.is_over:
            capture.state = "cancelled" if stopped else "failed"
            code = 1 if outcome.code is None else outcome.code
            capture.code = CANCELLED if stopped and code not in STOPPED else code
            capture.problem = outcome.problem or (
                f"It was lost {counted(MOST_TRIES, 'time')}: its process or its node ended."
                " Look at the memory of the nodes."
            )
        for number, flight in self._flights.items():
            if flight.task.capture == index:
                self._cluster.cancel(number)

    def _open_nodes(self, task: Task) -> set[str]:
        return set(self._cluster.nodes(task)) - self._lacking

    def _avoided(self, task: Task) -> frozenset[str]:
        """Return the nodes on which a task should not run: others, if there are any."""
        failed_on = self._tries[task].failed_on if task in self._tries else set[str]()
        if self._open_nodes(task) - failed_on:
            return frozenset(self._lacking | failed_on)
        return frozenset(self._lacking)

    def _free_stuck(self) -> None:
        """Take back tasks that wait for nodes that are gone; they are handed over anew."""
        for number, flight in self._flights.items():
            is_free = not flight.begun and flight.avoided > self._lacking
            if is_free and set(self._cluster.nodes(flight.task)) <= flight.avoided:
                flight.avoided, flight.taken_back = frozenset(self._lacking), True
                self._cluster.cancel(number)

    def _hand_over(self) -> None:
        heavy = sum(not flight.task.is_light for flight in self._flights.values())
        light = len(self._flights) - heavy
        room = 2 * self._cluster.slots()
        active = {
            flight.task.capture for flight in self._flights.values() if not flight.task.is_light
        }
        for task in self._waiting():
            if self.captures[task.capture].is_over:
                continue
            if task.is_light:
                if light >= max(4, room):
                    continue
                light += 1
            else:
                is_new = task.capture not in active
                if heavy >= max(1, room) or (
                    self._at_once is not None and is_new and len(active) >= self._at_once
                ):
                    continue
                heavy += 1
                active.add(task.capture)
            if self._lacking and not self._open_nodes(task) and self._cluster.nodes(task):
                self._fail(task.capture, self._lack, stopped=False)
                continue
            avoided = self._avoided(task)
            number = self._cluster.submit(task, avoided)
            self._flights[number] = _Flight(task, avoided)
            if self.captures[task.capture].state == "waiting":
                self.captures[task.capture].state = "running"
                self.captures[task.capture].text = "Waiting for a node"

    def _waiting(self) -> list[Task]:
        """Return the tasks that may begin: checks first, then what finishes captures soonest."""
        flying = {flight.task for flight in self._flights.values()}
        now = self._now()
        found = [
            task
            for graph, capture in zip(self._graphs, self.captures, strict=True)
            if not capture.is_over
            for task in graph.open()
            if task not in flying
            and task.capture not in self._unwanted
            and (task not in self._tries or self._tries[task].not_before <= now)
        ]
        order: dict[Kind, int] = {"check": 0, "finish": 1, "part": 2, "half": 3, "run": 3}
        return sorted(found, key=lambda task: order[task.kind])
