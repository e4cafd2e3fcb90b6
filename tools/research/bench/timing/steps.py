# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the steps of one frame once the memory is full, in sam2's order and in ours.

As a program: one `Case` on standard input, `Row`s on standard output.
"""

from __future__ import annotations

import contextlib
import sys

import msgspec
import torch

from sam2_splat_addon.engine.accel.allocator import keeping_freed_memory
from sam2_splat_addon.engine.accel.attention import set_attention
from sam2_splat_addon.engine.accel.folded_neck import set_neck
from sam2_splat_addon.engine.models.prepare import prepare
from sam2_splat_addon.engine.tracking.memory_bank import FrameMemory, MemoryBank, MemoryReach
from sam2_splat_addon.engine.tracking.prompt_tensors import PromptTensors
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter

from .models import random_model
from .rows import OURS, Row, Stopwatch, in_process_of_its_own

_SAM2_ORDER = "sam2's order"
_OBJECTS = (1, 3)


class Case(msgspec.Struct, frozen=True):
    """A model at a size."""

    model: str
    image_size: int
    threads: int


def measure(case: Case) -> list[Row]:
    """Return two rows for each step and for the whole frame: in sam2's order, and in ours."""
    return in_process_of_its_own(__spec__.name, case, list[Row], case.threads)


def main() -> int:
    """Run the case from standard input."""
    case = msgspec.json.decode(sys.stdin.buffer.read(), type=Case)
    torch.set_num_threads(case.threads)
    model = random_model(case.model, case.image_size)
    rows: list[Row] = []
    for program in (_SAM2_ORDER, OURS):
        ours = program == OURS
        if ours:
            prepare(model)
            set_attention(model, "folded")
            set_neck(model, folded=True)
        keeping = keeping_freed_memory() if ours else contextlib.nullcontext()
        with torch.inference_mode(), keeping:
            steps = time_steps(Sam2Adapter(model, 100), case.image_size, program, warm=ours)
        rows += steps.rows()
        rows += [steps.frame(objects) for objects in _OBJECTS]
    rows.sort(key=lambda row: row.task)  # stable: sam2's order stays first
    print(msgspec.json.encode(rows).decode())
    return 0


class Steps(msgspec.Struct, frozen=True):
    """A frame's steps: encode it, track the first object and a further one, remember one."""

    encode: Row
    track: Row
    track_further: Row
    remember: Row

    def rows(self) -> list[Row]:
        return [self.encode, self.track, self.track_further, self.remember]

    def frame(self, objects: int) -> Row:
        """Return the sum of a frame's steps for a number of objects, without reading the frame."""
        every = [self.encode, self.track, *[self.track_further] * (objects - 1)]
        every += [self.remember] * objects
        return Row(
            "frame, 1 object" if objects == 1 else f"frame, {objects} objects",
            self.encode.program,
            sum(row.cpu_s for row in every),
            sum(row.wall_s for row in every),
        )


def time_steps(steps: Sam2Adapter, size: int, program: str, *, warm: bool) -> Steps:
    """Time a frame's steps once the memory is full.

    Parameters
    ----------
    steps
        Of a model with an input of ``size`` px.
    size
        Side of the input, px.
    program
        Names the rows.
    warm
        Encode once before. Some things are kept from frame to frame, so only later frames can use
        them.
    """
    generator = torch.Generator().manual_seed(5)
    frame = torch.randn(3, size, size, generator=generator)
    if warm:
        steps.encode(frame)
    watch = Stopwatch()
    image = steps.encode(frame)
    encoded = watch.row(f"encode at {size} px", program)
    at = torch.full((1, 1, 2), size / 2)
    click = PromptTensors(at, torch.ones(1, 1, dtype=torch.int32), None)
    prediction = steps.condition(0, image, click)
    memory, position = steps.remember(image, prediction, from_user=True)
    reach = MemoryReach.of(steps.model, max_conditioning=16)
    bank = MemoryBank(reach, position, {0: memory})
    last = reach.pointers + 1
    for index in range(1, last):
        features = torch.randn(position.shape, generator=generator).to(torch.bfloat16)
        pointer = torch.randn(memory.pointer.shape, generator=generator)
        bank.add(index, FrameMemory(features, pointer))
    watch = Stopwatch()
    steps.track(last, image, bank, reverse=False)
    tracked = watch.row(f"track one object at {size} px", program)
    watch = Stopwatch()
    prediction = steps.track(last, image, bank, reverse=False)
    further = watch.row(f"track a further object at {size} px", program)
    watch = Stopwatch()
    steps.remember(image, prediction, from_user=False)
    remembered = watch.row(f"remember at {size} px", program)
    return Steps(encoded, tracked, further, remembered)


if __name__ == "__main__":
    sys.exit(main())
