# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker process from outside: it starts, talks, ends in every way, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from sam2_splat_addon.client.packages.environment import WorkerEnvironment
from sam2_splat_addon.client.worker.process import WorkerProcess
from sam2_splat_addon.core.errors import ProtocolError, SplatError, WorkerError
from sam2_splat_addon.core.protocol import (
    PROTOCOL_VERSION,
    CancelRequest,
    Event,
    Failed,
    Finished,
    FrameDone,
    Log,
    PropagateRequest,
    Ready,
    Stopped,
)

Ask = Callable[..., PropagateRequest]
ROOT = Path(__file__).resolve().parents[3]
LAST = (Finished, Failed, Stopped)
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture
def worker(environment: WorkerEnvironment, unruly_addon: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, addon_folder=unruly_addon)
    yield worker
    worker.kill()


def events_until(
    worker: WorkerProcess, kinds: type | tuple[type, ...], timeout: float = 30.0
) -> list[Event]:
    """Return all events up to the first of these kinds, which is the last in the list."""
    events: list[Event] = []
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        event = worker.next_event(0.1)
        if event is not None:
            events.append(event)
        if isinstance(event, kinds):
            return events
    raise AssertionError(f"no {kinds}: {events}")


def answer_of(worker: WorkerProcess) -> Event:
    return events_until(worker, LAST)[-1]


def failure_of(worker: WorkerProcess, timeout: float = 30.0) -> SplatError:
    end = time.monotonic() + timeout
    with pytest.raises(SplatError) as caught:
        while time.monotonic() < end:
            worker.next_event(0.1)
    return caught.value


def lines(events: list[Event], level: str) -> list[str]:
    return [event.text for event in events if isinstance(event, Log) and event.level == level]


def altered(addon: Path, folder: Path, file: str, old: str, new: str) -> Path:
    """Make a copy of the add-on with another text in one file."""
    copy = folder / "sam2_splat"
    shutil.copytree(addon, copy)
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new), encoding="utf-8")
    return copy


def process_is_there(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process_id}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def gone_within(seconds: float, process_id: int) -> bool:
    end = time.monotonic() + seconds
    while process_is_there(process_id):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_the_first_event_is_ready_with_our_version_and_the_packages(worker: WorkerProcess) -> None:
    event = worker.next_event(30)
    assert isinstance(event, Ready)
    assert event.protocol == PROTOCOL_VERSION
    assert event.process_id == worker.process_id
    assert worker.is_ready
    assert worker.is_alive
    assert worker.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "sam2", "numpy"} <= set(worker.versions)


def test_asking_for_events_does_not_wait_unless_asked_to(worker: WorkerProcess) -> None:
    # Even the interpreter takes longer to start than this loop.
    assert [worker.next_event() for _ in range(3)] == [None] * 3


def test_requests_sent_before_ready_are_answered_in_order(worker: WorkerProcess, ask: Ask) -> None:
    worker.send(ask("well", frames=3))
    worker.send(ask("well", frames=4))
    answers = [answer_of(worker) for _ in range(2)]
    assert [a.summary for a in answers if isinstance(a, Finished)] == ["3 frames", "4 frames"]


def test_the_worker_never_runs_the_add_ons_own_init_and_has_one_name(
    worker: WorkerProcess, ask: Ask
) -> None:
    worker.send(ask("paths"))
    modules = lines(events_until(worker, LAST), "info")[1]
    assert "sam2_splat_addon.core.protocol" in modules
    assert "sam2_splat.core" not in modules


def test_site_folders_win_over_the_pythons_own_packages_and_yield_to_the_standard_library(
    unruly_addon: Path, tmp_path: Path, ask: Ask
) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    for folder in (first, second):
        (folder / "linked").mkdir(parents=True)
        (folder / "more.pth").write_text("linked\n")
    (first / "json.py").write_text("raise ImportError('a backport hides the standard library')")
    environment = WorkerEnvironment(Path(sys.executable), (first, second))
    worker = WorkerProcess(environment, addon_folder=unruly_addon)
    try:
        worker.send(ask("paths"))
        paths = lines(events_until(worker, LAST), "info")[0].splitlines()
    finally:
        worker.kill()
    own = next(i for i, entry in enumerate(paths) if entry.endswith("site-packages"))
    library = next(i for i, entry in enumerate(paths) if Path(entry, "json").is_dir())
    folders = [first, first / "linked", second, second / "linked"]
    at = [paths.index(str(folder)) for folder in folders]
    assert library < at[0]
    assert at == sorted(at)
    assert at[-1] < own


def test_nothing_that_is_printed_breaks_the_events_and_all_of_it_is_logged(
    worker: WorkerProcess, ask: Ask
) -> None:
    worker.send(ask("chatty"))
    events = events_until(worker, LAST)
    assert isinstance(events[-1], Finished)
    # Printed lines come through another pipe, and may come later.
    while "line 499" not in lines(events, "output"):
        events += events_until(worker, Log)
    printed = lines(events, "output")
    for line in ("a library's print", "a library's printf", "a child that prints", "bar 100%"):
        assert line in printed
    assert any(line.startswith("not ") and line.endswith("utf-8") for line in printed)
    assert [line for line in printed if line.startswith("line")] == [
        f"line {i}" for i in range(500)
    ]
    assert lines(events, "warning") == ["said in order"]
    assert len(worker.last_lines()) == 200
    assert worker.last_lines(1) == ["line 499"]


def test_nothing_in_the_worker_can_eat_requests(worker: WorkerProcess, ask: Ask) -> None:
    worker.send(ask("thirsty"))
    worker.send(ask("well"))
    assert [type(answer_of(worker)) for _ in range(2)] == [Finished, Finished]


def test_a_request_of_many_megabytes_comes_over(worker: WorkerProcess, ask: Ask) -> None:
    worker.send(ask("count", objects=20_000))
    assert "20000 objects" in lines(events_until(worker, LAST), "info")


@pytest.mark.parametrize(
    ("behaviour", "kind", "told"),
    [
        ("typed", "BakeError", "The folder is read-only."),
        ("bug", "KeyError", "an unexpected error: KeyError: 'missing'"),
        ("lacking", "EnvironmentSetupError", "lacks the package torch_that_is_not_there"),
        ("hungry", "WorkerError", "The machine ran out of memory."),
        ("greedy", "WorkerError", "The machine ran out of memory."),
        ("allocator", "WorkerError", "The machine ran out of memory."),
    ],
)
def test_an_error_in_the_engine_is_an_answer_and_the_worker_goes_on(
    worker: WorkerProcess, ask: Ask, behaviour: str, kind: str, told: str
) -> None:
    worker.send(ask(behaviour))
    failed = answer_of(worker)
    assert isinstance(failed, Failed)
    assert failed.kind == kind
    assert told in failed.message
    assert failed.fix
    assert ("Traceback" in failed.trace) == (behaviour != "typed")
    worker.send(ask("well"))
    assert isinstance(answer_of(worker), Finished)


def test_cancel_stops_what_runs_and_what_waits_but_nothing_sent_after(
    worker: WorkerProcess, ask: Ask
) -> None:
    worker.send(CancelRequest())  # nothing runs: the cancel must not stop later requests
    worker.send(ask("slow", frames=10_000))
    worker.send(ask("well"))
    events_until(worker, FrameDone)
    worker.send(CancelRequest())
    worker.send(ask("well", frames=2))
    stopped, never_began, finished = [answer_of(worker) for _ in range(3)]
    assert isinstance(stopped, Stopped)
    assert stopped.frames > 0
    assert never_began == Stopped(0)
    assert isinstance(finished, Finished)
    assert finished.frames == 2


@posix
@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("killed", ["SIGKILL", "memory", "about to run out of memory"]),
        ("crash", ["SIGSEGV", "unruly_engine.py|propagate.py", "_misbehave"]),
        ("exit", ["exit code 7", "a driver that ends the process"]),
    ],
)
def test_a_worker_that_dies_is_an_error_with_its_last_lines(
    worker: WorkerProcess, ask: Ask, behaviour: str, told: list[str]
) -> None:
    worker.send(ask(behaviour))
    error = failure_of(worker)
    assert type(error) is WorkerError
    for part in told:
        assert re.search(part, error.message), error.message
    assert error.fix
    assert not worker.is_alive
    with pytest.raises(WorkerError):
        worker.next_event()
    worker.send(CancelRequest())  # harmless


def test_another_protocol_version_is_named_with_what_to_do(
    environment: WorkerEnvironment, unruly_addon: Path, tmp_path: Path
) -> None:
    newer = altered(
        unruly_addon, tmp_path, "core/protocol.py",
        f"PROTOCOL_VERSION = {PROTOCOL_VERSION}", "PROTOCOL_VERSION = 99",
    )  # fmt: skip
    worker = WorkerProcess(environment, addon_folder=newer)
    error = failure_of(worker)
    assert type(error) is ProtocolError
    assert "version 99" in error.message
    assert "Restart Blender" in error.fix
    assert not worker.is_alive


@pytest.mark.parametrize(
    "noise", ["b'hello, this is no protocol'", "b'\\0' * 100", "b'S2SP\\1\\0\\0\\0\\xc1'"]
)
def test_garbage_among_the_events_is_a_protocol_error_and_ends_the_worker(
    environment: WorkerEnvironment, unruly_addon: Path, tmp_path: Path, noise: str
) -> None:
    noisy = altered(
        unruly_addon, tmp_path, "engine/worker/entry.py",
        "    worker.serve(requests", f"    events.write({noise})\n    worker.serve(requests",
    )  # fmt: skip
    worker = WorkerProcess(environment, addon_folder=noisy)
    assert type(failure_of(worker)) is ProtocolError
    assert not process_is_there(worker.process_id)


def test_a_garbled_request_ends_the_worker_with_the_reason(worker: WorkerProcess) -> None:
    assert isinstance(worker.next_event(30), Ready)
    worker.send("no request")  # type: ignore[arg-type]
    error = failure_of(worker)
    assert "exit code 2" in error.message
    assert "A request can't be read" in error.message


def test_a_worker_that_says_nothing_fails_in_time(
    environment: WorkerEnvironment, unruly_addon: Path, tmp_path: Path
) -> None:
    mute = altered(
        unruly_addon, tmp_path, "engine/worker/entry.py",
        "    worker.serve(", "    import time\n    time.sleep(60)\n    worker.serve(",
    )  # fmt: skip
    worker = WorkerProcess(environment, addon_folder=mute, start_timeout=0.5)
    error = failure_of(worker, timeout=10)
    assert "not ready" in error.message
    assert not process_is_there(worker.process_id)


def test_a_python_that_is_not_there_is_an_error_at_once(unruly_addon: Path, tmp_path: Path) -> None:
    missing = tmp_path / "bin" / "python"
    with pytest.raises(WorkerError) as caught:
        WorkerProcess(WorkerEnvironment(missing, ()), addon_folder=unruly_addon)
    assert str(missing) in caught.value.message
    assert caught.value.fix


def test_a_python_without_our_packages_says_which_one_is_missing(
    unruly_addon: Path, tmp_path: Path
) -> None:
    import venv

    venv.create(tmp_path / "bare", symlinks=sys.platform != "win32")
    folder = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    bare = WorkerEnvironment(tmp_path / "bare" / folder, ())
    error = failure_of(WorkerProcess(bare, addon_folder=unruly_addon))
    assert type(error) is WorkerError
    assert "could not start" in error.message
    assert re.search("No module named '(msgspec|numpy)'", error.message)
    assert "preferences" in error.fix


@posix
@pytest.mark.parametrize("kind", ["family", "family apart"])
def test_kill_ends_the_workers_children_too(worker: WorkerProcess, ask: Ask, kind: str) -> None:
    if kind == "family apart" and sys.platform != "linux":
        pytest.skip("only Linux tells what has made a session of its own")
    worker.send(ask(kind))
    said = events_until(worker, Log)[-1]
    assert isinstance(said, Log)
    child = int(said.text.removeprefix("child "))
    assert process_is_there(child)
    worker.kill()
    worker.kill()
    assert not worker.is_alive
    assert gone_within(5, worker.process_id)
    assert gone_within(5, child)


@posix
def test_a_worker_ends_when_its_requests_end_whatever_it_does(
    worker: WorkerProcess, ask: Ask
) -> None:
    worker.send(ask("deaf", frames=10_000))
    events_until(worker, FrameDone)
    stdin = worker._process.stdin
    assert stdin is not None
    stdin.close()
    assert gone_within(5, worker.process_id)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_workers_come_and_go_without_leaving_threads_or_descriptors(
    environment: WorkerEnvironment, unruly_addon: Path, ask: Ask
) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    before = held()
    for behaviour in ("well", "exit", "slow", ""):
        worker = WorkerProcess(environment, addon_folder=unruly_addon)
        if behaviour == "exit":
            worker.send(ask(behaviour))
            failure_of(worker)
        elif behaviour:
            worker.send(ask(behaviour, frames=1000 if behaviour == "slow" else 3))
            events_until(worker, FrameDone)
        worker.kill()
    assert held() == before


@pytest.mark.skipif(sys.platform != "linux", reason="Linux chooses whom to end by this score")
def test_linux_ends_the_worker_before_blender_when_memory_runs_out(worker: WorkerProcess) -> None:
    assert isinstance(worker.next_event(30), Ready)
    assert Path(f"/proc/{worker.process_id}/oom_score_adj").read_text().strip() == "500"


@posix
def test_ctrl_c_in_the_terminal_does_not_reach_the_worker(worker: WorkerProcess) -> None:
    assert isinstance(worker.next_event(30), Ready)
    assert os.getpgid(worker.process_id) != os.getpgid(0)
    assert os.getpgid(worker.process_id) == worker.process_id


def test_a_name_that_is_no_text_is_an_error_and_nothing_waits(
    worker: WorkerProcess, ask: Ask
) -> None:
    worker.send(structs.replace(ask("well"), store=os.fsdecode(b"/stor\xff")))
    error = failure_of(worker, timeout=10)
    assert type(error) is ProtocolError
    assert "PropagateRequest can't be sent: it is not text in UTF-8" in error.message
    assert not process_is_there(worker.process_id)


def test_an_answer_that_can_not_be_written_is_another_answer(
    worker: WorkerProcess, ask: Ask
) -> None:
    worker.send(ask("unloggable"))
    events = events_until(worker, LAST)
    assert isinstance(events[-1], Finished)
    assert any("can't be sent" in line for line in lines(events, "warning"))
    worker.send(ask("unwritable"))
    failed = answer_of(worker)
    assert isinstance(failed, Failed)
    worker.send(ask("well"))
    assert isinstance(answer_of(worker), Finished)


@pytest.mark.parametrize("thread", ["decode_event", "write_message"])
def test_a_fault_in_a_pipes_thread_is_told(
    worker: WorkerProcess, ask: Ask, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a fault of our own")

    monkeypatch.setattr(f"sam2_splat_addon.client.worker.process.{thread}", fail)
    worker.send(ask("well"))
    error = failure_of(worker, timeout=20)
    assert type(error) is WorkerError
    assert "a fault of our own" in error.message
    assert not process_is_there(worker.process_id)


@posix
@pytest.mark.parametrize(
    "data",
    [
        b"\x82\xa4type\xa7preview\xa5photo\xa2\xff\xfe",
        b"\x82\xa4type\xa6cancel\xa1x" + b"\x91" * 5000,
    ],
    ids=["no text", "nested"],
)
def test_a_request_of_any_bytes_ends_the_worker_rather_than_its_ear(
    worker: WorkerProcess, data: bytes
) -> None:
    assert isinstance(worker.next_event(30), Ready)
    stdin = worker._process.stdin
    assert stdin is not None
    stdin.write(struct.pack("<4sI", b"S2SP", len(data)) + data)
    stdin.flush()
    assert "A request can't be read" in failure_of(worker).message


HOST = """
import sys, time
from pathlib import Path
from sam2_splat_addon.client.packages.environment import WorkerEnvironment
from sam2_splat_addon.client.worker.process import WorkerProcess
worker = WorkerProcess(WorkerEnvironment(Path(sys.executable), ()), addon_folder=Path(sys.argv[1]))
assert worker.next_event(60) is not None
print(worker.process_id, flush=True)
time.sleep(60)
"""


@posix
@pytest.mark.parametrize("stopped", [False, True])
def test_a_worker_ends_with_its_host_even_one_that_is_stopped(
    unruly_addon: Path, stopped: bool
) -> None:
    if stopped and sys.platform != "linux":
        pytest.skip("only Linux ends processes that are stopped")
    command = [sys.executable, "-c", HOST, str(unruly_addon)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as host:
        assert host.stdout is not None
        process_id = int(host.stdout.readline())
        try:
            if stopped:
                os.kill(process_id, signal.SIGSTOP)
            host.kill()
            host.wait()
            assert gone_within(5, process_id)
        finally:
            if process_is_there(process_id):
                os.kill(process_id, signal.SIGKILL)


@posix
def test_without_the_systems_help_a_process_looks_for_its_host(tmp_path: Path) -> None:
    child = (
        "import os; from sam2_splat_addon.core.system.parent_death import watch; host = os.getppid();"
        " print(os.getpid(), flush=True); watch(host, 0.05)"
    )
    start = f"subprocess.Popen([sys.executable, '-c', {child!r}])"
    host = f"import subprocess, sys, time; {start}; time.sleep(60)"
    command = [sys.executable, "-c", host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        process_id = int(process.stdout.readline())
        assert process_is_there(process_id)
        process.kill()
        process.wait()
        assert gone_within(5, process_id)


@posix
def test_a_worker_started_in_a_thread_outlives_that_thread(
    environment: WorkerEnvironment, unruly_addon: Path
) -> None:
    made: list[WorkerProcess] = []
    thread = threading.Thread(
        target=lambda: made.append(WorkerProcess(environment, addon_folder=unruly_addon))
    )
    thread.start()
    thread.join()
    (worker,) = made
    try:
        assert isinstance(worker.next_event(30), Ready)
        assert worker.is_alive
    finally:
        worker.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("behaviour", ["printing", "talking"])
def test_a_worker_that_talks_without_end_takes_no_memory_here(
    worker: WorkerProcess, ask: Ask, behaviour: str
) -> None:
    def memory_mb() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    before = memory_mb()
    worker.send(ask(behaviour))
    end = time.monotonic() + 6
    while time.monotonic() < end:  # 300 MB arrive in between, and nobody reads them
        time.sleep(0.1)
        assert memory_mb() < before + 150
    events = events_until(worker, LAST)
    assert isinstance(events[-1], Finished)
    if behaviour == "printing":
        while "the last line" not in worker.last_lines(1):
            worker.next_event(0.1)
    else:  # no event is lost
        assert len(lines(events, "info")) == 3000


@posix
def test_only_a_process_that_was_not_waited_for_is_killed(worker: WorkerProcess) -> None:
    """Another process may have its number by then: here this very process."""
    assert isinstance(worker.next_event(30), Ready)
    os.kill(worker.process_id, signal.SIGKILL)
    end = time.monotonic() + 10
    while worker.is_alive:
        assert time.monotonic() < end
        time.sleep(0.01)
    state = Path(f"/proc/{worker.process_id}/stat")
    if state.exists():  # Linux: the process id stays reserved until `kill` has used it
        assert state.read_text().rpartition(")")[2].split()[0] == "Z"
    worker._process.wait()
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        worker._process.pid = other.pid
        worker.kill()
        time.sleep(0.2)
        assert other.poll() is None
        other.kill()


def test_silence_is_counted_from_the_last_word(worker: WorkerProcess, ask: Ask) -> None:
    assert isinstance(worker.next_event(30), Ready)
    worker.send(ask("silent"))
    events_until(worker, FrameDone)
    assert worker.silent_for < 1.0
    time.sleep(1.5)
    assert worker.silent_for > 1.0
