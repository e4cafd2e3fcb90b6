# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks' command lines share. This module needs only the standard library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tools.setup_env import ensure_environment

_Options = TypeVar("_Options")


def run(measure: Callable[[_Options], None], options: _Options) -> int:
    """Run the measurement inside .venv.

    Returns the exit code. For an error of ours it is 1, with one sentence.
    """
    ensure_environment()
    from sam2_splat_addon.core.errors import SplatError

    try:
        measure(options)
    except SplatError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def write_json(path: Path | None, figures: object) -> None:
    """Write dataclasses, structs, or lists of them, whole or not at all. Without a path write nothing."""
    if path is None:
        return
    import msgspec

    from sam2_splat_addon.core.system.atomic_file import write_atomic

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
