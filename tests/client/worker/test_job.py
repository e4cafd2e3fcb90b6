# SPDX-License-Identifier: GPL-3.0-or-later
"""A job from its start to each possible end, with a real worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sam2_splat_addon.client.packages.environment import WorkerEnvironment
from sam2_splat_addon.client.worker.job import JobState, describe, duration
from sam2_splat_addon.client.worker.worker_pool import WorkerPool
from sam2_splat_addon.core.errors import BakeError, WorkerError
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.protocol import Progress, PropagateRequest

from ..counted_job import CountedJob

Ask = Callable[..., PropagateRequest]
ROOT = Path(__file__).resolve().parents[3]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def poll_until(job: CountedJob, ready: Callable[[], bool], timeout: float = 30.0) -> None:
    """Poll as the timer of a window does, until the condition is true."""
    end = time.monotonic() + timeout
    while not ready():
        assert time.monotonic() < end, f"{job.state}: {job.progress}"
        job.poll(time.monotonic() + 0.02)
        time.sleep(0.01)


def worker_id(pool: WorkerPool) -> int:
    worker = pool.acquire()
    pool.release(worker)
    return worker.process_id


def test_a_job_runs_to_its_end_and_hands_out_every_frame_once(pool: WorkerPool, ask: Ask) -> None:
    job = CountedJob(pool, ask("count", frames=30))
    before = job.state
    assert before is JobState.STARTING
    seen: list[int] = []
    fractions: list[float] = []
    while not job.poll(time.monotonic() + 0.05, wait=True).is_over:
        seen += [event.frame for event in job.new_frames()]
        fractions.append(job.progress.fraction)
    seen += [event.frame for event in job.new_frames()]
    assert job.state is JobState.DONE
    assert seen == list(range(1, 31))
    assert job.frames_done == 30
    assert fractions == sorted(fractions)
    assert job.progress.fraction == 1.0
    assert job.result is not None
    assert job.progress.sentence == job.result.summary == "30 frames"
    assert [line.text for line in job.log_lines()] == ["1 objects"]
    assert job.log_lines() == []
    assert job.error is None


def test_consecutive_jobs_share_one_warm_worker(pool: WorkerPool, ask: Ask) -> None:
    warm = [pool.is_warm]
    ids = set()
    for _ in range(3):
        assert CountedJob(pool, ask("well")).wait() is JobState.DONE
        ids.add(worker_id(pool))
    assert len(ids) == 1
    warm.append(pool.is_warm)
    pool.shutdown()
    assert [*warm, pool.is_warm] == [False, True, False]
    assert CountedJob(pool, ask("well")).wait() is JobState.DONE
    assert worker_id(pool) not in ids


def test_polling_never_waits_unless_asked_to(pool: WorkerPool, ask: Ask) -> None:
    job = CountedJob(pool, ask("well"))
    # Even the interpreter of the worker takes longer to start than all these polls.
    assert [job.poll(time.monotonic() + 60) for _ in range(20)] == [JobState.STARTING] * 20
    assert job.wait() is JobState.DONE


def test_a_poll_ends_at_its_deadline_and_the_rest_waits(pool: WorkerPool, ask: Ask) -> None:
    job = CountedJob(pool, ask("well", frames=200))
    poll_until(job, lambda: job.state is JobState.RUNNING)
    time.sleep(1.0)  # all is sent by now, in about 400 events
    for _ in range(5):
        assert job.poll(0.0) is JobState.RUNNING
    assert job.frames_done <= 5
    assert job.wait() is JobState.DONE
    assert job.frames_done == 200


def test_one_job_at_a_time_and_the_second_fails_without_harm(pool: WorkerPool, ask: Ask) -> None:
    first = CountedJob(pool, ask("well"))
    second = CountedJob(pool, ask("well"))
    assert second.state is JobState.FAILED
    assert isinstance(second.error, WorkerError)
    assert "running" in second.error.message
    assert pool.is_acquired
    assert first.wait() is JobState.DONE
    assert not pool.is_acquired


def test_a_typed_error_arrives_as_itself_with_its_fix(pool: WorkerPool, ask: Ask) -> None:
    job = CountedJob(pool, ask("typed"))
    assert job.wait() is JobState.FAILED
    assert type(job.error) is BakeError
    assert job.progress.sentence == "The folder is read-only. Choose another."
    assert job.frames_done == 2
    assert job.trace == ""
    assert CountedJob(pool, ask("well")).wait() is JobState.DONE


def test_an_unforeseen_error_brings_its_trace(pool: WorkerPool, ask: Ask) -> None:
    job = CountedJob(pool, ask("bug"))
    assert job.wait() is JobState.FAILED
    assert isinstance(job.error, WorkerError)
    assert "KeyError: 'missing'" in job.trace
    assert "_misbehave" in job.trace


@posix
def test_a_worker_killed_at_work_is_an_error_and_the_next_job_works(
    pool: WorkerPool, ask: Ask
) -> None:
    job = CountedJob(pool, ask("slow", frames=10_000))
    poll_until(job, lambda: job.frames_done > 3)
    assert job._worker is not None
    os.kill(job._worker.process_id, signal.SIGKILL)
    poll_until(job, lambda: job.state.is_over, timeout=5)
    assert job.state is JobState.FAILED
    assert isinstance(job.error, WorkerError)
    assert "SIGKILL" in job.error.message
    assert not pool.is_warm
    assert CountedJob(pool, ask("well")).wait() is JobState.DONE


@posix
def test_a_worker_that_died_while_idle_is_replaced_unnoticed(pool: WorkerPool, ask: Ask) -> None:
    assert CountedJob(pool, ask("well")).wait() is JobState.DONE
    os.kill(worker_id(pool), signal.SIGKILL)
    time.sleep(0.2)
    assert CountedJob(pool, ask("well")).wait() is JobState.DONE


def test_a_crash_brings_the_workers_last_lines(pool: WorkerPool, ask: Ask) -> None:
    job = CountedJob(pool, ask("exit"))
    assert job.wait() is JobState.FAILED
    assert "a driver that ends the process" in str(job.error)
    assert "a driver that ends the process" in job.progress.sentence


def test_a_python_that_is_not_there_fails_the_job_and_not_its_maker(
    tmp_path: Path, ask: Ask
) -> None:
    pool = WorkerPool(WorkerEnvironment(tmp_path / "python", ()))
    job = CountedJob(pool, ask("well"))
    assert job.state is JobState.FAILED
    assert job.wait() is JobState.FAILED
    assert job.error is not None
    assert job.error.fix
    assert not pool.is_acquired


def test_cancel_leaves_every_finished_frame_on_disk_and_the_worker_warm(
    pool: WorkerPool, ask: Ask
) -> None:
    request = ask("slow", frames=10_000)
    job = CountedJob(pool, request, cancel_grace=30)
    poll_until(job, lambda: job.frames_done > 5)
    pid = job._worker.process_id if job._worker else 0
    job.cancel()
    assert job.state is JobState.FINISHING
    assert job.progress.sentence == "Cancelling"
    job.cancel()
    assert job.wait() is JobState.CANCELLED
    store = MatteStore.open(Path(request.store))
    assert store.frames(1) == [event.frame for event in job.new_frames()]
    assert all(store.read(1, frame).logits[0, 0] == frame for frame in store.frames(1))
    assert CountedJob(pool, ask("well")).wait() is JobState.DONE
    assert worker_id(pool) == pid


def test_a_worker_deaf_to_cancel_is_killed_and_its_finished_frames_stay(
    pool: WorkerPool, ask: Ask
) -> None:
    request = ask("deaf", frames=10_000)
    job = CountedJob(pool, request)
    poll_until(job, lambda: job.frames_done > 5)
    job.cancel()
    began = time.monotonic()
    assert job.wait() is JobState.CANCELLED
    # The goal is half a second. The limit is higher because test machines are busy.
    assert time.monotonic() - began < 3.0
    assert not pool.is_warm
    store = MatteStore.open(Path(request.store))
    told = {event.frame for event in job.new_frames()}
    assert told
    assert told <= set(store.frames(1))
    assert all(store.read(1, frame).logits[0, 0] == frame for frame in store.frames(1))
    assert CountedJob(pool, ask("well")).wait() is JobState.DONE


def test_cancel_before_the_worker_is_up_keeps_it_for_the_next_job(
    pool: WorkerPool, ask: Ask
) -> None:
    job = CountedJob(pool, ask("well"))
    pid = job._worker.process_id if job._worker else 0
    job.cancel()
    assert job.state is JobState.CANCELLED
    following = CountedJob(pool, ask("well", frames=3))
    assert following.wait() is JobState.DONE
    assert following.frames_done == 3
    assert worker_id(pool) == pid


def test_a_job_that_is_over_can_not_be_cancelled(pool: WorkerPool, ask: Ask) -> None:
    job = CountedJob(pool, ask("well"))
    job.wait()
    job.cancel()
    job.abort()
    assert job.state is JobState.DONE
    assert pool.is_warm


def test_abort_ends_job_and_worker_at_once(pool: WorkerPool, ask: Ask) -> None:
    job = CountedJob(pool, ask("deaf", frames=10_000))
    poll_until(job, lambda: job.frames_done > 0)
    job.abort()
    assert job.state is JobState.CANCELLED
    assert not pool.is_warm
    assert not pool.is_acquired


def test_shutdown_under_a_running_job_ends_the_job(pool: WorkerPool, ask: Ask) -> None:
    job = CountedJob(pool, ask("slow", frames=10_000))
    poll_until(job, lambda: job.frames_done > 0)
    pool.shutdown()
    assert job.wait() is JobState.FAILED
    assert CountedJob(pool, ask("well")).wait() is JobState.DONE


def test_an_interrupt_while_waiting_cancels_and_goes_on(pool: WorkerPool, ask: Ask) -> None:
    job = CountedJob(pool, ask("slow", frames=10_000))

    def press_ctrl_c(_: object) -> None:
        if job.frames_done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.wait(press_ctrl_c)
    assert job.state is JobState.CANCELLED
    assert not pool.is_acquired


@posix
@pytest.mark.parametrize("behaviour", ["slow", "deaf"])
def test_no_orphan_when_blender_is_killed(
    environment: WorkerEnvironment, unruly_addon: Path, ask: Ask, tmp_path: Path, behaviour: str
) -> None:
    import msgspec

    (tmp_path / "request").write_bytes(msgspec.msgpack.encode(ask(behaviour, frames=100_000)))
    parent = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        import msgspec
        from sam2_splat_addon.client.packages.environment import WorkerEnvironment
        from sam2_splat_addon.client.worker.job import Job
        from sam2_splat_addon.client.worker.worker_pool import WorkerPool
        from sam2_splat_addon.core.protocol import PropagateRequest

        environment = WorkerEnvironment(Path(sys.executable), ())
        pool = WorkerPool(environment, addon_folder=Path(sys.argv[1]))
        request = Path(sys.argv[2]).read_bytes()
        job = Job(pool, msgspec.msgpack.decode(request, type=PropagateRequest))
        done = []
        while len(done) < 3:
            job.poll(time.monotonic() + 1, wait=True)
            done += job.new_frames()
        print(job._worker.process_id, flush=True)
        time.sleep(60)
        """
    )
    command = [sys.executable, "-c", parent, str(unruly_addon), str(tmp_path / "request")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 5.0
    while _runs(pid):
        assert time.monotonic() < deadline, "the worker outlives its Blender"
        time.sleep(0.02)


def _runs(process_id: int) -> bool:
    """Whether the process runs; a zombie does not count."""
    command = ["ps", "-o", "stat=", "-p", str(process_id)]
    state = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")


@posix
def test_a_silent_worker_is_told_until_it_speaks_again(
    pool: WorkerPool, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam2_splat_addon.client.worker.job.SILENCE", 1.0)
    job = CountedJob(pool, ask("slow", frames=100_000))
    poll_until(job, lambda: job.frames_done > 3)
    assert job.silence == 0.0
    assert job.progress.sentence.startswith("Propagating chair")
    os.kill(worker_of(job), signal.SIGSTOP)
    poll_until(job, lambda: job.silence > 0.0, 10)
    assert "has said nothing for 1 s" in job.progress.sentence
    assert "frame" in job.progress.sentence
    os.kill(worker_of(job), signal.SIGCONT)
    poll_until(job, lambda: job.silence == 0.0, 10)
    os.kill(worker_of(job), signal.SIGSTOP)
    job.cancel()  # even a worker that reads no message
    poll_until(job, lambda: job.state.is_over, 5)
    assert job.state is JobState.CANCELLED


def worker_of(job: CountedJob) -> int:
    assert job._worker is not None
    return job._worker.process_id


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (Progress("loading", 0, 1), "Loading the model"),
        (
            Progress("propagating", 11, 48, 12, "chair", 0.42, 15.6),
            "Propagating chair, frame 12 (11 of 48), 0.42 s per frame, 16 s left",
        ),
        (Progress("baking", 1, 5, 1), "Baking, frame 1 (1 of 5)"),
        (Progress("propagating", 0, 48), "Propagating"),
    ],
)
def test_progress_is_put_into_words(progress: Progress, words: str) -> None:
    assert describe(progress) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (245, "4 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations_are_put_into_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_worker_that_was_shut_down_is_not_taken_for_the_one_that_works_now(
    pool: WorkerPool,
) -> None:
    stale = pool.acquire()
    pool.shutdown()
    now = pool.acquire()
    pool.release(stale)
    assert pool.is_acquired, "a job would get a worker that another one has"
    with pytest.raises(WorkerError, match="Another job"):
        pool.acquire()
    pool.release(now)
    assert not pool.is_acquired
