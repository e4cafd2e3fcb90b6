# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a long measurement is, on one line that is written over and over; standard library."""

from __future__ import annotations

import sys


def show(line: str) -> None:
    """Write over the line."""
    print(f"\r{line:<100.100}", end="", file=sys.stderr, flush=True)


def end() -> None:
    """Clear the line, before something else is printed."""
    print(f"\r{'':<100}\r", end="", file=sys.stderr, flush=True)
