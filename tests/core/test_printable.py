# SPDX-License-Identifier: GPL-3.0-or-later
"""Foreign names are shown completely, on one line, and do nothing."""

from __future__ import annotations

import os

import pytest

from sam2_splat_addon.core.errors import FootageError, WorkerError
from sam2_splat_addon.core.printable import (
    as_text,
    counted,
    cut,
    cut_and_numbered,
    is_text,
    number,
    shown,
)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("IMG_0001.jpg", "IMG_0001.jpg"),
        ("stół 椅子 כסא 🪑.jpg", "stół 椅子 כסא 🪑.jpg"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[2Jgone\x07", r"\x1b[2Jgone\x07"),
        ("a\rb\tc\x00d\x7fe\x9bf", r"a\rb\tc\x00d\x7fe\x9bf"),
        ("a\u2028b\u2029c\u0085d", r"a\u2028b\u2029c\x85d"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        (os.fsdecode(b"\xff.jpg"), r"\udcff.jpg"),
    ],
)
def test_what_can_not_be_seen_or_would_act_is_written_out(name: str, read: str) -> None:
    assert shown(name) == read
    assert len(shown(name).splitlines()) == 1
    shown(name).encode()
    assert FootageError(f"{name} is damaged.", f"Copy {name}.").message == f"{read} is damaged."
    assert FootageError("", f"Copy {name}.").fix == f"Copy {read}."


def test_an_error_quotes_a_programs_lines_a_line_each() -> None:
    error = WorkerError("It crashed.", "Start again.").quoting(["first", "\x1b[31mred\nnot a line"])
    assert str(error).splitlines() == [
        "It crashed.",
        "Its last lines:",
        "    first",
        r"    \x1b[31mred\nnot a line Start again.",
    ]
    assert WorkerError("It crashed.").quoting([]).message == "It crashed."


def test_a_name_of_bytes_that_are_no_text_is_known_as_such() -> None:
    assert is_text("stół.jpg")
    assert not is_text(os.fsdecode(b"st\xf3l.jpg"))
    assert as_text(os.fsdecode(b"st\xf3l.jpg")) == "st?l.jpg"


@pytest.mark.parametrize("letter", ["a", "é", "漢", "🪑"])
@pytest.mark.parametrize("most", [8, 60, 61, 62, 63])
def test_names_are_cut_between_letters_and_numbered_where_they_would_be_alike(
    letter: str, most: int
) -> None:
    taken: set[str] = set()
    for _ in range(3):
        name = cut_and_numbered(letter * 100, taken, most)
        assert len(name.encode()) <= most
        assert most - len(name.encode()) < len(letter.encode())
        assert name.removesuffix(name[-4:] if "." in name else "").strip(letter) == ""
        taken.add(name)
    assert len(taken) == 3
    assert cut("short", most) == "short"


@pytest.mark.parametrize(
    "value", [10**300, -(10**300), 10**5000, 1e300, -1e300, float("inf")], ids=range(6)
)
def test_a_number_of_hundreds_of_digits_is_told_in_short(value: float) -> None:
    assert len(number(value)) < 40
    assert number(value).startswith("-") == (value < 0)


def test_other_numbers_are_written_out() -> None:
    assert number(2**31) == "2147483648"
    assert number(-3) == "-3"
    assert number(12.34) == "12.3"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (2**64 - 1, "18446744073709551615"),
        (1 - 2**64, "-18446744073709551615"),
        (2**64, "184467... (of about 20 digits)"),
        (-(2**64), "-184467... (of about 20 digits)"),
        (123456789 * 10**391, "123456... (of about 400 digits)"),
        (2.0**63, "9223372036854775808.0"),
        (2.0**64, "1.84e+19"),
    ],
)
def test_from_twenty_digits_on_a_number_is_told_in_short(value: float, told: str) -> None:
    assert number(value) == told


def test_bytes_that_are_no_text_are_cut_too() -> None:
    assert cut(os.fsdecode(b"\xff.jpg"), 20) == "?.jpg"


def test_names_are_numbered_from_one_without_a_gap() -> None:
    taken: set[str] = set()
    for _ in range(4):
        taken.add(cut_and_numbered("chair", taken, 63))
    assert sorted(taken) == ["chair", "chair.001", "chair.002", "chair.003"]


def test_one_is_said_without_an_s() -> None:
    said = [counted(count, "mask") for count in (0, 1, 2)]
    assert said == ["0 masks", "1 mask", "2 masks"]
