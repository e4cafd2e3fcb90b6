# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks' command lines share; standard library until .venv exists."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tools.setup_env import ensure_environment

_Options = TypeVar("_Options")


def run(measure: Callable[[_Options], None], options: _Options) -> int:
    """Measure inside .venv; return the exit code, 1 with one sentence for an error of ours."""
    ensure_environment()
    from sam2_splat_addon.core.errors import SplatError

    try:
        measure(options)
    except SplatError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def write_json(path: Path | None, figures: object) -> None:
    """Write dataclasses, structs, or lists of these to a file at once; nothing without a path."""
    if path is None:
        return
    import msgspec

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
    os.replace(part, path)
