# SPDX-License-Identifier: GPL-3.0-or-later
"""What people and programs hear of a job: each thing once, and not too often."""

from __future__ import annotations

import json

import pytest

from sam2_splat_addon.client.command import watch
from sam2_splat_addon.client.command.watch import JsonLines, Terminal
from sam2_splat_addon.client.worker.job import JobProgress
from sam2_splat_addon.core.errors import BakeError
from sam2_splat_addon.core.protocol import Log
from sam2_splat_addon.core.system.terminal import Interrupts

Capture = pytest.CaptureFixture[str]
HALF = JobProgress(0.5, "propagating", 12, "chair", 0.42345678, 15.67, 812.4, "Half way")


class Clock:
    """A clock that goes when it is told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(watch, "time", found)
    return found


@pytest.mark.usefixtures("clock")
def test_sentences_go_to_the_output_and_the_rest_to_the_errors(capsys: Capture) -> None:
    told = Terminal(Interrupts())
    told.said("8 photos")
    told.warned("one is damaged")
    told.logged(Log("info", "loaded\nin 2 s"))
    told.failed(BakeError("The disk is full.", "Free some space."))
    told.ended(7)
    out, err = capsys.readouterr()
    assert out == "8 photos\nSAM2 Splat: loaded\nin 2 s\n"
    assert err == "one is damaged\nError: The disk is full. Free some space.\n"


def test_a_quiet_one_hears_warnings_of_the_process_alone(capsys: Capture) -> None:
    told = Terminal(Interrupts(), is_quiet=True)
    for level in ("info", "warning", "error"):
        told.logged(Log(level, level))
    assert capsys.readouterr().out == "SAM2 Splat: warning\n"


def test_in_a_log_progress_comes_now_and_then_and_at_the_end(
    clock: Clock, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "is_living", lambda: False)
    told = Terminal(Interrupts())
    for step in range(21):
        told.went_on("Masks", JobProgress(step / 20, sentence=f"frame {step}"))
        told.went_on("Masks", JobProgress(step / 20, sentence=f"frame {step}"))  # nothing new
        clock.now += 0.9
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "Masks   0%  frame 0",
        "Masks  60%  frame 12",
        "Masks 100%  frame 20",
    ]


def test_on_a_terminal_one_line_changes_and_ends_before_a_sentence(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "is_living", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    told = Terminal(Interrupts())
    told.went_on("Masks", HALF)
    told.went_on("Masks", HALF)
    told.went_on("Masks", JobProgress(1.0, sentence="x" * 200))
    told.said("done")
    told.said("more")
    told.ended(0)
    out, err = capsys.readouterr()
    first, second = err.split("\r\x1b[2K")[1:]
    assert first == "[##########..........] Masks  50%  Half way"
    assert second.startswith("[####################] Masks 100%  xxx")
    assert second.endswith("x\n") and len(second) == 60  # with its end
    assert out == "done\nmore\n"


def test_a_program_hears_each_event_as_a_line_of_json(clock: Clock, capsys: Capture) -> None:
    told = JsonLines(Interrupts())
    told.said("8 photos")
    told.warned("one is damaged")
    told.logged(Log("warning", "slow"))
    told.went_on("Masks", HALF)
    told.failed(BakeError("The disk is full.", "Free some space."))
    told.ended(7, look=3)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"event": "said", "text": "8 photos"},
        {"event": "warning", "text": "one is damaged"},
        {"event": "log", "level": "warning", "text": "slow"},
        {
            "event": "progress",
            "step": "Masks",
            "fraction": 0.5,
            "frame": 12,
            "subject": "chair",
            "seconds_per_frame": 0.4235,
            "seconds_left": 15.7,
            "memory_mb": 812,
            "text": "Half way",
        },
        {
            "event": "error",
            "kind": "BakeError",
            "message": "The disk is full.",
            "fix": "Free some space.",
        },
        {"event": "ended", "code": 7, "look": 3},
    ]


def test_a_program_hears_progress_a_few_times_a_second_and_every_new_step(
    clock: Clock, capsys: Capture
) -> None:
    told = JsonLines(Interrupts())
    for _ in range(10):
        told.went_on("Masks", HALF)
        clock.now += 0.05
    told.went_on("Baking", HALF)
    told.went_on("Baking", JobProgress(1.0))
    steps = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["step"] for one in steps] == ["Masks", "Masks", "Baking", "Baking"]
    assert [one["fraction"] for one in steps] == [0.5, 0.5, 0.5, 1.0]


@pytest.mark.parametrize("kind", [Terminal, JsonLines])
def test_ctrl_c_is_heard_through_whoever_watches(kind: type[Terminal]) -> None:
    interrupts = Interrupts()
    told = kind(interrupts)
    told.check()
    interrupts.wanted = True
    with pytest.raises(KeyboardInterrupt):
        told.check()
