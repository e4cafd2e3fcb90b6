# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the progress of a long measurement on one line that is overwritten."""

from __future__ import annotations

import sys


def show(line: str) -> None:
    """Overwrite the line."""
    print(f"\r{line:<100.100}", end="", file=sys.stderr, flush=True)


def end() -> None:
    """Clear the line before something else is printed."""
    print(f"\r{'':<100}\r", end="", file=sys.stderr, flush=True)
