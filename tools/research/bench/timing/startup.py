# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the way from a fresh process to a model with random weights.

As a program: one `Case` on standard input, one `Row` on standard output.
"""

from __future__ import annotations

import sys

import msgspec

from .rows import OURS, Row, Stopwatch, in_process_of_its_own

SAM2 = "sam2"


class Case(msgspec.Struct, frozen=True):
    """A program and a model."""

    program: str
    model: str


def measure(model: str) -> list[Row]:
    """Time sam2's own builder, and ours."""
    return [
        in_process_of_its_own(__spec__.name, Case(program, model), Row, 1)
        for program in (SAM2, OURS)
    ]


def main() -> int:
    """Run the case from standard input."""
    case = msgspec.json.decode(sys.stdin.buffer.read(), type=Case)
    watch = Stopwatch()
    if case.program == OURS:
        from sam2_splat_addon.engine.models.architectures import build

        build(case.model)
    else:
        from sam2.build_sam import build_sam2_video_predictor

        from sam2_splat_addon.engine.models.architectures import OFFICIAL_CONFIGS

        config = f"configs/sam2.1/{OFFICIAL_CONFIGS[case.model]}"
        build_sam2_video_predictor(config, device="cpu")
    row = watch.row("imports and model", case.program)
    print(msgspec.json.encode(row).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
