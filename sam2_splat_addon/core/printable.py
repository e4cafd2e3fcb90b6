# SPDX-License-Identifier: GPL-3.0-or-later
"""Names from outside as people read them, and as others can hold them; standard library only.

A file's name may hold anything but a slash: line breaks, commands to a terminal, bytes that are no
text. What a person reads shows such characters by their numbers, so that a name can neither look
like a sentence of ours nor do anything.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Control characters, line and paragraph breaks, halves of characters (from bytes that are no text).
_HIDDEN: Final = ("Cc", "Zl", "Zp", "Cs")
# These turn the direction of what follows: "gpj.exe" would read as "exe.jpg".
_TURNS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_DIGITS: Final = 6  # shown of a number of very many


def shown(text: str) -> str:
    r"""A text on one line, with all that can't be seen or would act written as ``\n``, ``\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(letter: str) -> str:
    if unicodedata.category(letter) in _HIDDEN or letter in _TURNS:
        return letter.encode("unicode_escape").decode("ascii")
    return letter


def number(value: float) -> str:
    """A number to read, with one decimal unless it is whole; one of very many digits in short."""
    most = 1 << 64
    if not isinstance(value, int):
        return f"{value:.1f}" if abs(value) < most else f"{value:.3g}"
    if -most < value < most:
        return str(value)
    size = int(abs(value).bit_length() * 0.30103) + 1  # str() itself refuses thousands of digits
    first = abs(value) // 10 ** (size - _DIGITS)
    return f"{'-' if value < 0 else ''}{str(first)[:_DIGITS]}... (of about {size} digits)"


def is_text(name: str) -> bool:
    """Whether a name can be written down: on Linux it may be bytes of another encoding."""
    return name == as_text(name)


def as_text(name: str) -> str:
    """A name with ``?`` for each byte that is no text."""
    return name.encode("utf-8", "replace").decode()


def cut(text: str, most: int) -> str:
    """The beginning of a text, of so many bytes in UTF-8 at most, that ends with a whole letter."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


def cut_and_numbered(name: str, taken: set[str], most: int) -> str:
    """A name of so many bytes at most that is not taken yet: numbered ``.001`` where it would be."""
    short = cut(name, most)
    number = 0
    while short in taken:
        number += 1
        end = f".{number:03d}"
        short = cut(name, most - len(end)) + end
    return short
