# SPDX-License-Identifier: GPL-3.0-or-later
"""Previews between jobs, with a real worker."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from sam2_splat_addon.client.packages.environment import WorkerEnvironment
from sam2_splat_addon.client.worker.job import JobState
from sam2_splat_addon.client.worker.preview import Preview
from sam2_splat_addon.client.worker.worker_pool import WorkerPool
from sam2_splat_addon.core.errors import FootageError, WorkerError
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.protocol import (
    ModelChoice,
    PreviewDone,
    PreviewRequest,
    PropagateRequest,
)

from ..counted_job import CountedJob

Ask = Callable[..., PropagateRequest]


def wish(frame: int, behaviour: str = "") -> PreviewRequest:
    return PreviewRequest(behaviour, 8, 8, frame, PromptSet(()), ModelChoice("bundled"))


def until(preview: Preview, ready: Callable[[], bool], timeout: float = 60.0) -> list[PreviewDone]:
    """Poll as the timer of a window does, until the condition is true; return all answers."""
    answers: list[PreviewDone] = []
    end = time.monotonic() + timeout
    while True:
        answers += preview.poll()
        if ready():
            return answers
        assert time.monotonic() < end, (preview.busy, preview.error)
        time.sleep(0.005)


def at_work(preview: Preview) -> PreviewRequest | None:
    """Return the newest request that the worker has not answered yet."""
    return preview._asked


def answered(preview: Preview) -> list[PreviewDone]:
    return until(preview, lambda: not preview.busy)


@pytest.fixture
def preview(pool: WorkerPool) -> Iterator[Preview]:
    service = Preview(pool)
    yield service
    service.close()


def test_nothing_is_started_before_it_is_asked(pool: WorkerPool) -> None:
    service = Preview(pool)
    assert service.poll() == []
    assert not service.busy
    assert not pool.is_warm


def test_each_answer_comes_once_with_its_ticket(preview: Preview) -> None:
    for frame in (3, 4):
        ticket = preview.ask(wish(frame))
        assert preview.busy
        (answer,) = answered(preview)
        assert (answer.ticket, answer.frame) == (ticket, frame)
        assert answer.mattes[0].array().tolist() == [[frame] * 3] * 2
    assert preview.poll() == []
    assert preview.error is None


def test_a_first_answer_is_handed_out_before_the_last_one(preview: Preview) -> None:
    ticket = preview.ask(wish(3, "twice"))
    answers = answered(preview)
    assert [(answer.ticket, answer.more) for answer in answers] == [(ticket, True), (ticket, False)]
    assert [float(answer.mattes[0].array().max()) for answer in answers] == [0, 3]
    assert preview.error is None


def test_a_request_with_a_first_answer_is_still_replaced_by_a_newer_one(preview: Preview) -> None:
    first = preview.ask(wish(2, "twice"))
    told = until(preview, lambda: preview.is_warm)
    assert [(answer.ticket, answer.more) for answer in told] == [(first, True)]
    assert preview.busy  # its last answer is awaited
    last = preview.ask(wish(3))
    assert [(answer.ticket, answer.more) for answer in answered(preview)] == [(last, False)]


def test_the_newest_request_takes_the_place_of_all_before_it(preview: Preview) -> None:
    first = preview.ask(wish(1, "patient"))  # would take 30 s
    until(preview, lambda: at_work(preview) is not None)
    for frame in range(2, 50):
        preview.ask(wish(frame, "patient"))
    last = preview.ask(wish(50))
    answers = answered(preview)
    assert [(answer.ticket, answer.frame) for answer in answers] == [(last, 50)]
    assert last == first + 49


def test_a_preview_gives_way_to_a_job_and_comes_after_it(
    pool: WorkerPool, preview: Preview, ask: Ask
) -> None:
    preview.ask(wish(1))
    answered(preview)
    ticket = preview.ask(wish(2, "patient"))
    job = CountedJob(pool, ask("slow", frames=40))
    assert preview.waiting
    state = JobState.RUNNING
    while not state.is_over:
        state = job.poll(time.monotonic() + 0.02, wait=True)
        assert preview.poll() == []
    assert state is JobState.DONE
    assert job.frames_done == 40
    until(preview, lambda: at_work(preview) == replace(wish(2, "patient"), ticket=ticket))
    preview.ask(wish(3))
    assert [answer.frame for answer in answered(preview)] == [3]


def test_a_request_made_during_a_job_is_answered_after_it(
    pool: WorkerPool, preview: Preview, ask: Ask
) -> None:
    job = CountedJob(pool, ask("slow", frames=20))
    preview.ask(wish(1))
    preview.ask(wish(2))
    assert preview.waiting
    assert job.wait(lambda _: None) is JobState.DONE
    assert [answer.frame for answer in answered(preview)] == [2]


def test_a_job_that_has_to_be_killed_takes_no_preview_with_it(
    pool: WorkerPool, preview: Preview, ask: Ask
) -> None:
    preview.ask(wish(1))
    answered(preview)
    preview.ask(wish(2, "patient"))
    job = CountedJob(pool, ask("deaf", frames=5000))
    job.cancel()
    assert job.wait() is JobState.CANCELLED
    preview.ask(wish(3))
    assert [answer.frame for answer in answered(preview)] == [3]
    assert preview.error is None


def test_a_preview_that_was_on_its_way_when_the_worker_was_shut_down_is_asked_again(
    pool: WorkerPool, preview: Preview
) -> None:
    preview.ask(wish(1, "patient"))
    until(preview, lambda: at_work(preview) is not None)
    pool.shutdown()
    preview.poll()
    assert preview.error is None
    preview.ask(wish(2))
    assert [answer.frame for answer in answered(preview)] == [2]


def test_a_worker_is_warm_once_it_has_answered(pool: WorkerPool, preview: Preview) -> None:
    seen = []
    for frame in (1, 2):
        preview.ask(wish(frame))
        seen.append(preview.is_warm)
        answered(preview)
        seen.append(preview.is_warm)
        pool.shutdown()
    assert seen == [False, True, False, True], "the next worker has not answered yet"


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        ("typed", FootageError, "The photo is gone"),
        ("bug", WorkerError, "KeyError"),
        ("exit", WorkerError, "exit code 7"),
    ],
)
def test_what_goes_wrong_is_told_once_and_the_next_request_is_answered(
    behaviour: str, kind: type[Exception], words: str, preview: Preview
) -> None:
    preview.ask(wish(1, behaviour))
    assert answered(preview) == []
    error = preview.error
    assert isinstance(error, kind) and words in str(error)
    assert bool(preview.trace) == (behaviour == "bug")
    preview.ask(wish(2))
    assert preview.error is None
    assert [answer.frame for answer in answered(preview)] == [2]
    assert preview.error is None


def test_a_worker_that_cannot_start_is_an_error_and_no_exception(tmp_path: Path) -> None:
    pool = WorkerPool(WorkerEnvironment(tmp_path / "no python", ()))
    preview = Preview(pool)
    preview.ask(wish(1))
    assert answered(preview) == []
    assert isinstance(preview.error, WorkerError)
    assert "can't be started" in preview.error.message


def test_after_closing_nothing_comes_and_the_worker_is_free(
    pool: WorkerPool, preview: Preview, ask: Ask
) -> None:
    preview.ask(wish(1, "patient"))
    until(preview, lambda: at_work(preview) is not None)
    preview.close()
    assert not preview.busy
    assert CountedJob(pool, ask("well")).wait() is JobState.DONE
    assert preview.poll() == []


def test_what_the_worker_prints_is_kept_for_the_console(preview: Preview) -> None:
    preview.ask(wish(1, "chatty"))
    answered(preview)
    lines: list[str] = []

    def told() -> bool:
        lines.extend(line.text for line in preview.log_lines())
        return bool(lines)

    until(preview, told)
    assert lines == ["said by the preview"]


@pytest.mark.skipif(sys.platform == "win32", reason="stops a process with a signal")
def test_a_worker_that_is_silent_over_a_preview_is_told(pool: WorkerPool, preview: Preview) -> None:
    preview.ask(wish(1, "patient"))
    until(preview, lambda: at_work(preview) is not None)
    assert preview._worker is not None
    os.kill(preview._worker.process_id, signal.SIGSTOP)
    try:
        before = preview.silence
        until(preview, lambda: preview.silence > before + 0.3)
    finally:
        os.kill(preview._worker.process_id, signal.SIGCONT)
    preview.ask(wish(2))
    answered(preview)
    assert preview.silence == 0.0  # no answer is expected
