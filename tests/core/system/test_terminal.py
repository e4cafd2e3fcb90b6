# SPDX-License-Identifier: GPL-3.0-or-later
"""Printing never ends a run, and Ctrl+C or the end of the input are heard where a run can stop."""

from __future__ import annotations

import io
import os
import signal
import sys
import time

import pytest

from sam2_splat_addon.core.system import terminal
from sam2_splat_addon.core.system.terminal import CANCELLED, TERMINATED, Interrupts


def test_a_line_goes_where_it_belongs_and_commands_of_a_name_do_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal.say("done \x1b[2J")
    terminal.say_lines("one\ntwo \x07", error=True)
    terminal.write("as it is\r")
    out, err = capsys.readouterr()
    assert out.startswith("done ") and out.endswith("\nas it is\r")
    assert err.startswith("one\ntwo ") and err.endswith("\n")
    assert "\x1b" not in out and "\x07" not in err


def test_letters_that_the_terminal_lacks_are_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(kept, encoding="ascii"))
    terminal.say("Stühle")
    assert kept.getvalue().decode().splitlines() == ["St\\xfchle"]


def test_a_reader_that_has_gone_or_no_console_at_all_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, written = os.pipe()
    stream = os.fdopen(written, "w")
    os.close(read)
    monkeypatch.setattr(sys, "stdout", stream)
    for _ in range(3):
        terminal.say("nobody reads this")
    stream.close()
    terminal.say("the stream is closed")
    monkeypatch.setattr(sys, "stdout", None)
    terminal.say("there is no console")
    assert not terminal.is_living(error=False)


def test_a_line_is_drawn_again_only_on_a_terminal_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    class Console(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Console())
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal.is_living()
    assert not terminal.is_living(error=False)
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal.is_living()
    monkeypatch.setenv("TERM", "xterm")
    sys.stderr.close()
    assert not terminal.is_living()


@pytest.fixture
def handlers() -> object:
    numbers = (signal.SIGINT, *terminal._END_SIGNALS)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, CANCELLED), (signal.SIGTERM, TERMINATED)]
)
def test_a_signal_is_heard_where_the_run_looks(number: int, code: int) -> None:
    interrupts = Interrupts()
    interrupts.listen()
    interrupts.check()
    signal.raise_signal(number)
    assert interrupts.code == code
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()


@pytest.mark.usefixtures("handlers")
def test_a_second_signal_ends_the_process_with_the_code_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    interrupts = Interrupts()
    interrupts.listen()
    interrupts.over(7)  # the run has ended, and only the clean-up is left
    signal.raise_signal(signal.SIGINT)
    assert ended == [7]


def test_the_end_of_the_input_counts_as_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    read, written = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(read))
    interrupts = Interrupts()
    interrupts.listen_to_input()
    os.write(written, b"what somebody types does not count\n")
    time.sleep(0.1)
    interrupts.check()
    os.close(written)
    end = time.monotonic() + 20
    with pytest.raises(KeyboardInterrupt):
        while time.monotonic() < end:
            interrupts.check()
            time.sleep(0.01)
    assert interrupts.code == CANCELLED
