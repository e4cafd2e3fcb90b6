# SPDX-License-Identifier: GPL-3.0-or-later
"""Time a frame in each speed mode, once the memory is full.

As a program: one `Case` on standard input, `Row`s on standard output.
"""

from __future__ import annotations

import sys

import msgspec
import torch

from sam2_splat_addon.core.settings import SPEEDS
from sam2_splat_addon.engine.accel.allocator import keeping_freed_memory
from sam2_splat_addon.engine.accel.attention import set_attention
from sam2_splat_addon.engine.accel.folded_neck import set_neck
from sam2_splat_addon.engine.models.architectures import own_size
from sam2_splat_addon.engine.models.prepare import prepare
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter

from .models import random_model
from .rows import Row, in_process_of_its_own
from .steps import time_steps


class Case(msgspec.Struct, frozen=True):
    """A model, and the number of objects tracked in it."""

    model: str
    objects: tuple[int, ...]
    threads: int


def measure(case: Case) -> list[Row]:
    """Return a row for each number of objects and mode: the sum of a frame's steps."""
    return in_process_of_its_own(__spec__.name, case, list[Row], case.threads)


def main() -> int:
    """Run the case from standard input."""
    case = msgspec.json.decode(sys.stdin.buffer.read(), type=Case)
    torch.set_num_threads(case.threads)
    rows: list[Row] = []
    for speed in SPEEDS:
        size = speed.input_size(own_size(case.model))
        model = random_model(case.model, size)
        prepare(model)
        set_attention(model, "pooled" if speed.pooled else "folded")
        set_neck(model, folded=True)
        with torch.inference_mode(), keeping_freed_memory():
            steps = time_steps(Sam2Adapter(model, 100), size, speed.name, warm=True)
        note = f"{size} px: encode {steps.encode.cpu_s:.2f}, track {steps.track.cpu_s:.2f}"
        note += f", remember {steps.remember.cpu_s:.2f}"
        rows += [
            msgspec.structs.replace(steps.frame(objects), note=note) for objects in case.objects
        ]
    rows.sort(key=lambda row: row.task)  # stable: the first mode stays first
    print(msgspec.json.encode(rows).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
