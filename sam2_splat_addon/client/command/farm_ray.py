# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the tasks of a farm on Ray. What travels through Ray are paths, numbers and lines of text.

A task of Ray starts the command `sam2-splat` as a process of its own on its node, and follows it. So a
cancel, a kill and the memory are those of the command. If the task's process dies, the command's input
ends, and so does the command. Captures, exit codes and tries are the business of `farm_graph`.
"""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from ...core.capture_job import CaptureJob, read_job
from ...core.errors import EnvironmentSetupError, JobError, SplatError
from ...core.system.terminal import CANCELLED
from . import workplace
from .farm_graph import BEGUN, ENVIRONMENT, Outcome, Task
from .many import Capture, CaptureProcess, variables_for

NAMESPACE: Final = "sam2_splat"

_BOARD: Final = "farm_"  # the names of boards begin with it
_NODE: Final = "ray.io/node-id"  # a label that Ray gives to each node
_TICK: Final = 0.05  # s
_TELL: Final = 1.0  # s between two lines of progress of a task
_GRACE: Final = 25.0  # s for a cancelled command
_ANSWER: Final = 120.0  # s for the first answer of a cluster, which starts a process for it
_LOOK: Final = 2.0  # s between two looks at the nodes
_LOCAL_STORE: Final = 80 << 20  # bytes: ids need next to nothing
_PASSED: Final = ("said", "warning", "error")

# Ray would tell its makers how it is used, and would start tasks through uv if the driver was.
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def the_ray() -> Any:
    """Return Ray. Raises EnvironmentSetupError where it is not installed."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if _has_token():  # then Ray's own commands start clusters that ask for it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise EnvironmentSetupError(
            "A farm needs the package ray, which is not installed.",
            'Run pip install "sam2-splat[engine,farm]", on each computer of the farm.',
        ) from error
    return ray


def _has_token() -> bool:
    """Whether this computer has the token that a cluster of Ray may ask for."""
    named = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    try:
        return any(map(os.environ.get, named)) or (Path.home() / ".ray" / "auth_token").is_file()
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return False


def connect(address: str, *, may_start: bool) -> Any:
    """Connect to a cluster and return Ray.

    Parameters
    ----------
    address
        As ``ray start --head`` prints it. Empty looks for one on this computer, and in ``RAY_ADDRESS``.
    may_start
        Whether to make a cluster of this computer alone if there is none.

    Raises
    ------
    EnvironmentSetupError
        Ray is not installed, or there is no such cluster.
    """
    ray = the_ray()
    quiet = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address=address or "auto", **quiet)
    except ray.exceptions.AuthenticationError as error:
        raise EnvironmentSetupError(
            "The Ray cluster asks for a token that this computer does not have.",
            "Copy ~/.ray/auth_token from the head, or set RAY_AUTH_TOKEN.",
        ) from error
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        if address or not may_start:
            where = f"at {address}" if address else "on this computer"
            raise EnvironmentSetupError(
                f"There is no Ray cluster {where}: {_first_line(error)}",
                "Start one with ray start --head, and name its address with --address.",
            ) from error
        try:
            ray.init(
                address="local", include_dashboard=False, object_store_memory=_LOCAL_STORE, **quiet
            )
        except Exception as problem:  # whatever it is, it is no error of ours
            raise EnvironmentSetupError(
                f"Ray can't be started: {_first_line(problem)}", "Look at Ray's own log."
            ) from problem
    return ray


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


@dataclass(frozen=True)
class Needs:
    """What a task that is not light takes of a node.

    Attributes
    ----------
    threads
        Processors.
    gpus
        Graphics cards, whole ones or a share of one.
    resources
        Resources of the user's own, such as ``gpu_slot``.
    """

    threads: int
    gpus: float = 0.0
    resources: tuple[str, ...] = ()

    def of(self, task: Task) -> dict[str, float]:
        """Return what a task takes, by Ray's names."""
        if task.is_light:
            return {"CPU": 1.0}
        own = dict.fromkeys(self.resources, 1.0)
        return {"CPU": float(self.threads), **({"GPU": self.gpus} if self.gpus else {}), **own}


def alive_nodes(ray: Any) -> list[dict[str, Any]]:
    """Return what Ray says of each node that is alive."""
    return [node for node in ray.nodes() if node["Alive"]]


def chosen_needs(
    ray: Any, jobs: Sequence[CaptureJob], gpus: float | None, resources: Sequence[str]
) -> Needs:
    """Return what each task needs, for jobs on a cluster.

    The number of threads can change the last bits of masks, so it is the same wherever a task runs: what
    the jobs say, or else what the smallest node has for each of its tasks.

    Raises
    ------
    EnvironmentSetupError
        No node has what a task needs.
    """
    nodes = [node["Resources"] for node in alive_nodes(ray)]
    cards = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
    wants_card = any(job.device in ("auto", "cuda") for job in jobs)
    share = (1.0 if cards and wants_card else 0.0) if gpus is None else gpus
    own = dict.fromkeys(resources, 1.0)
    fit = [
        node
        for node in nodes
        if node.get("CPU", 0.0) >= 1.0
        and node.get("GPU", 0.0) >= share
        and all(node.get(name, 0.0) >= 1.0 for name in own)
    ]
    if not fit:
        asked = (
            ", ".join([*([f"{share:g} graphics cards"] if share else []), *own]) or "a processor"
        )
        raise EnvironmentSetupError(
            f"No node of the Ray cluster has {asked}.",
            "Start one that has (ray start --num-gpus, --resources), or change --gpus and --resource.",
        )
    most = max(int(node["CPU"]) for node in fit)
    told = max((job.threads for job in jobs), default=0)
    if not told:
        told = min(int(node["CPU"] // max(1.0, _at_once(node, share, own))) for node in fit)
    return Needs(max(1, min(told, most)), share, tuple(own))


def _at_once(node: Mapping[str, float], share: float, own: Collection[str]) -> float:
    """Return how many tasks cards and own resources of a node allow."""
    bounds = [node.get("GPU", 0.0) / share] if share else []
    return min([*bounds, *(node.get(name, 0.0) for name in own)], default=1.0)


class RayCluster:
    """A `farm_graph.Cluster` of Ray's nodes.

    Parameters
    ----------
    ray
        Ray, connected.
    captures
        All captures, with the jobs that the options have changed.
    needs
        What a task needs.

    Raises
    ------
    EnvironmentSetupError
        The cluster refuses this computer, or lacks our code.
    """

    def __init__(self, ray: Any, captures: Sequence[Capture], needs: Needs) -> None:
        self._ray, self._captures, self._needs = ray, captures, needs
        self._work = ray.remote(max_retries=0)(work)
        name = f"{_BOARD}{platform.node()}_{os.getpid()}"
        board = ray.remote(num_cpus=0, max_restarts=0)(Board)
        self.board = board.options(name=name).remote()
        try:
            ray.get(self.board.rows.remote(), timeout=_ANSWER)
        except ray.exceptions.RayError as error:
            raise EnvironmentSetupError(
                f"The Ray cluster does not answer this computer: {_first_line(error)}",
                "Set RAY_AUTH_MODE to the same on all computers, token or disabled. Install the same version"
                " of SAM2 Splat on all of them.",
            ) from error
        self._refs: dict[Any, int] = {}
        self._next = 0
        self._known: list[dict[str, Any]] = []
        self._look_at = 0.0
        self._changed = [changes_of(capture) for capture in captures]
        self.asked: list[list[str]] = []
        """What others ask to cancel: names of captures; an empty list means all."""

    def slots(self) -> int:
        """Return how many tasks that are not light have room at once."""
        wanted = self._needs.of(Task(0, "run", ()))
        return sum(
            int(min(node["Resources"].get(name, 0.0) / much for name, much in wanted.items()))
            for node in self._nodes()
        )

    def nodes(self, task: Task) -> list[str]:
        """Return the nodes that are alive and have what a task takes."""
        wanted = self._needs.of(task)
        return [
            str(node["NodeID"])
            for node in self._nodes()
            if all(node["Resources"].get(name, 0.0) >= much for name, much in wanted.items())
        ]

    def submit(self, task: Task, avoided: Collection[str]) -> int:
        """Give a task to Ray."""
        self._next += 1
        wanted = self._needs.of(task)
        options: dict[str, Any] = {
            "num_cpus": wanted.pop("CPU"),
            "num_gpus": wanted.pop("GPU", 0.0),
            "resources": wanted,
            "name": f"sam2-splat {' '.join(task.words)}",
        }
        if avoided:
            options["label_selector"] = {_NODE: f"!in({','.join(sorted(avoided))})"}
        capture = self._captures[task.capture]
        changes = dict(self._changed[task.capture])
        if task.steps is not None:
            changes["steps"] = task.steps
        ref = self._work.options(**options).remote(
            str(capture.file), msgspec.json.encode(changes), task.words, self.board, self._next
        )
        self._refs[ref] = self._next
        return self._next

    def ended(self) -> dict[int, Outcome]:
        """Return the tasks that have ended since the last call."""
        if not self._refs:
            return {}
        refs, _ = self._ray.wait(list(self._refs), num_returns=len(self._refs), timeout=0)
        return {self._refs.pop(ref): self._outcome(ref) for ref in refs}

    def _outcome(self, ref: Any) -> Outcome:
        errors = self._ray.exceptions
        try:
            return msgspec.json.decode(self._ray.get(ref), type=Outcome)
        except errors.TaskCancelledError:
            return Outcome(CANCELLED)
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", None)
            code = ENVIRONMENT if isinstance(cause, ImportError) else None
            return Outcome(code, problem=_first_line(cause or error))
        except errors.RayError as error:
            self._look_at = 0.0  # a node may be gone
            return Outcome(None, problem=_first_line(error))

    def told(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Return what tasks have told since the last call."""
        try:
            news, asked = self._ray.get(self.board.news.remote(), timeout=30.0)
        except self._ray.exceptions.RayError:  # its node is gone: only progress is lost
            return []
        self.asked += asked
        return [(number, node, msgspec.json.decode(event)) for number, node, event in news]

    def show(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write how all captures are onto the board, for `farm status`."""
        self.board.show.remote(msgspec.json.encode(rows))

    def cancel(self, number: int) -> None:
        """Let a task end soon."""
        for ref, known in self._refs.items():
            if known == number:
                self._ray.cancel(ref)

    def name_of(self, node: str) -> str:
        """Return the host of a node."""
        found = (at for at in self._ray.nodes() if at["NodeID"] == node)
        return next((str(at["NodeManagerHostname"]) for at in found), "a node")

    def _nodes(self) -> list[dict[str, Any]]:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK
            self._known = alive_nodes(self._ray)
        return self._known


def changes_of(capture: Capture) -> dict[str, Any]:
    """Return what the options have changed in a capture's job: name of the field -> value."""
    before = msgspec.to_builtins(read_job(capture.file))
    now = msgspec.to_builtins(capture.job)
    return {name: value for name, value in now.items() if before.get(name) != value}


class Board:
    """Where tasks tell how far they are, and others ask how it goes. An actor of Ray."""

    def __init__(self) -> None:
        self._news: list[tuple[int, str, bytes]] = []
        self._rows = b"[]"
        self._asked: list[list[str]] = []

    def tell(self, number: int, node: str, event: bytes) -> None:
        """Take an event of a task."""
        self._news.append((number, node, event))

    def news(self) -> tuple[list[tuple[int, str, bytes]], list[list[str]]]:
        """Give what is new to the driver."""
        news, self._news = self._news, []
        asked, self._asked = self._asked, []
        return news, asked

    def show(self, rows: bytes) -> None:
        """Take how all captures are."""
        self._rows = rows

    def rows(self) -> bytes:
        """Give how all captures are."""
        return self._rows

    def ask(self, names: list[str]) -> None:
        """Take the wish to cancel captures."""
        self._asked.append(names)


def boards(ray: Any) -> Iterator[tuple[str, Any]]:
    """Yield the board of each farm run that is going on, by name."""
    for name in sorted(ray.util.list_named_actors()):
        if name.startswith(_BOARD):
            with contextlib.suppress(ValueError):  # it ended just now
                yield name.removeprefix(_BOARD), ray.get_actor(name)


def work(file: str, changes: bytes, words: Sequence[str], board: Any, number: int) -> bytes:
    """Run one command on this node, and return how it ended, as JSON of an `Outcome`. A task of Ray."""
    ray = the_ray()
    node, host = ray.get_runtime_context().get_node_id(), platform.node()

    def tell(event: Mapping[str, Any]) -> None:
        board.tell.remote(number, host, msgspec.json.encode(event))

    tell({"event": BEGUN, "node": node})
    began = time.monotonic()
    try:
        outcome = _done(Path(file), changes, words, tell)
    except SplatError as error:
        code = ENVIRONMENT if isinstance(error, EnvironmentSetupError) else 4
        code = code if isinstance(error, EnvironmentSetupError | JobError) else 1
        outcome = Outcome(code, problem=str(error))
    seconds = time.monotonic() - began
    return msgspec.json.encode(Outcome(outcome.code, node, outcome.facts, outcome.problem, seconds))


def _done(file: Path, changes: bytes, words: Sequence[str], tell: Any) -> Outcome:
    """Run one command to its end. KeyboardInterrupt, by which Ray cancels, ends it and keeps its work."""
    job = read_job(file)
    whole = msgspec.to_builtins(job) | msgspec.json.decode(changes)
    capture = Capture(file, msgspec.convert(whole, CaptureJob, strict=False))
    at = workplace.environment(), workplace.cache_folder(), workplace.model_folder()
    with tempfile.TemporaryDirectory(prefix="sam2_splat_") as place:
        process = CaptureProcess(capture, variables_for(*at), None, Path(place), tuple(words))
        give_up, next_at = float("inf"), 0.0
        try:
            while not capture.is_over:
                try:
                    process.poll()
                    events, capture.events = capture.events, []
                    for event in events:
                        is_due = event.get("event") == "progress" and time.monotonic() >= next_at
                        if is_due:
                            next_at = time.monotonic() + _TELL
                        if is_due or event.get("event") in _PASSED:
                            tell(event)
                    if time.monotonic() > give_up:
                        process.kill()
                    time.sleep(_TICK)
                except KeyboardInterrupt:
                    process.cancel()
                    give_up = time.monotonic() + _GRACE
        finally:
            process.kill()
    return Outcome(capture.code, facts=capture.facts, problem=capture.problem)
