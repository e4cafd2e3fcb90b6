# SPDX-License-Identifier: GPL-3.0-or-later
"""Make names safe to show, and short enough to store.

The name of a file may have any character but a slash: line breaks, commands to a terminal, bytes that
are not text. We show such characters as escapes. So a name can neither do anything nor look like one
of our sentences.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Control characters, line and paragraph breaks, halves of characters (from bytes that are no text).
_HIDDEN: Final = ("Cc", "Zl", "Zp", "Cs")
# These change the direction of the text after them: "gpj.exe" would look like "exe.jpg".
_TURNS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_DIGITS: Final = 6  # how many digits of a very long number are shown


def shown(text: str) -> str:
    r"""Return a text on one line. Invisible and active characters become escapes: ``\n``, ``\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(letter: str) -> str:
    if unicodedata.category(letter) in _HIDDEN or letter in _TURNS:
        return letter.encode("unicode_escape").decode("ascii")
    return letter


def number(value: float) -> str:
    """Write a number for people: one decimal if it is a float, and very long numbers shortened."""
    most = 1 << 64
    if not isinstance(value, int):
        return f"{value:.1f}" if abs(value) < most else f"{value:.3g}"
    if -most < value < most:
        return str(value)
    size = int(abs(value).bit_length() * 0.30103) + 1  # str() itself refuses thousands of digits
    first = abs(value) // 10 ** (size - _DIGITS)
    return f"{'-' if value < 0 else ''}{str(first)[:_DIGITS]}... (of about {size} digits)"


def counted(count: int, what: str) -> str:
    """Write how many there are of something: "1 mask", "3 masks"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def with_warnings(summary: str, warnings: tuple[str, ...]) -> str:
    """Add warnings to the end of a summary."""
    return " ".join((f"{summary.removesuffix('.')}.", *warnings)) if warnings else summary


def is_text(name: str) -> bool:
    """Whether a name is valid text. On Linux it may be bytes of another encoding."""
    return name == as_text(name)


def as_text(name: str) -> str:
    """Return a name with ``?`` for each byte that is not text."""
    return name.encode("utf-8", "replace").decode()


def cut(text: str, most: int) -> str:
    """Cut a text to at most ``most`` bytes of UTF-8, and never within a character."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


def cut_and_numbered(name: str, taken: set[str], most: int) -> str:
    """Cut a name to at most ``most`` bytes, and number it (``.001``) if that name is taken."""
    short = cut(name, most)
    number = 0
    while short in taken:
        number += 1
        end = f".{number:03d}"
        short = cut(name, most - len(end)) + end
    return short
