# SPDX-License-Identifier: GPL-3.0-or-later
"""Time a first look at a photo and a further click on it: our engine and sam2's.

As a program: one `Case` on standard input, `Row`s on standard output. Both are timed in a process
whose model is loaded. `tools/research/bench/preview.py` measures the whole time that a client
waits.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from PIL import Image

from sam2_splat_addon.core.prompts import FramePrompts, PointPrompt
from sam2_splat_addon.engine.accel.allocator import keeping_freed_memory
from sam2_splat_addon.engine.accel.attention import set_attention
from sam2_splat_addon.engine.accel.folded_neck import set_neck
from sam2_splat_addon.engine.images.frame_source import FrameSource
from sam2_splat_addon.engine.models.prepare import prepare
from sam2_splat_addon.engine.tracking.prompt_tensors import prompt_tensors
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter

from .models import random_model, random_predictor
from .rows import OURS, Row, Stopwatch, in_process_of_its_own
from .startup import SAM2

_CLICKS = 5  # further clicks; the median counts


class Case(msgspec.Struct, frozen=True):
    """A photo and a model at a size."""

    program: str
    photo: str
    model: str
    image_size: int
    threads: int


def measure(photo: Path, model: str, image_size: int, threads: int) -> list[Row]:
    """Return rows of the first look and of a further click, sam2's first."""
    rows: list[Row] = []
    for program in (SAM2, OURS):
        case = Case(program, str(photo), model, image_size, threads)
        rows += in_process_of_its_own(__spec__.name, case, list[Row], threads)
    rows.sort(key=lambda row: row.task)  # stable: sam2's stay first
    return rows


def main() -> int:
    """Run the case from standard input."""
    case = msgspec.json.decode(sys.stdin.buffer.read(), type=Case)
    torch.set_num_threads(case.threads)
    with torch.inference_mode():
        rows = _sam2(case) if case.program == SAM2 else _ours(case)
    print(msgspec.json.encode(rows).decode())
    return 0


def _sam2(case: Case) -> list[Row]:
    predictor = random_predictor(case.model, case.image_size)
    with Image.open(case.photo) as photo:
        width, height = photo.size

    def click(at: int) -> None:
        point = torch.tensor([_click(at, width, height)])
        labels = torch.ones(1, dtype=torch.int32)
        predictor.add_new_points_or_box(state, 0, 1, point, labels)

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "00000.jpg").symlink_to(Path(case.photo).resolve())
        watch = Stopwatch()
        state = predictor.init_state(folder)
    click(0)
    return [_first(watch, case), _further(case, [_timed(click, at) for at in _further_clicks()])]


def _ours(case: Case) -> list[Row]:
    model = random_model(case.model, case.image_size)
    prepare(model)
    set_attention(model, "folded")
    set_neck(model, folded=True)
    steps = Sam2Adapter(model, 1)
    with keeping_freed_memory():
        watch = Stopwatch()
        image = steps.encode(FrameSource([Path(case.photo)], case.image_size)[0])
        with Image.open(case.photo) as photo:
            width, height = photo.size

        def click(at: int) -> None:
            prompts = FramePrompts(1, (PointPrompt(*_click(at, width, height)),))
            tensors = prompt_tensors(prompts, width, height, case.image_size, torch.device("cpu"))
            steps.condition(0, image, tensors)

        click(0)
        first = _first(watch, case)
        return [first, _further(case, [_timed(click, at) for at in _further_clicks()])]


def _click(at: int, width: int, height: int) -> tuple[float, float]:
    return width * (0.4 + 0.02 * at), height / 2


def _further_clicks() -> range:
    return range(1, _CLICKS + 1)


def _timed(click: Callable[[int], None], at: int) -> tuple[float, float]:
    """Return CPU and wall seconds of a click."""
    watch = Stopwatch()
    click(at)
    row = watch.row("", "")
    return row.cpu_s, row.wall_s


def _first(watch: Stopwatch, case: Case) -> Row:
    return watch.row(f"first look at a photo, {case.image_size} px", case.program)


def _further(case: Case, times: list[tuple[float, float]]) -> Row:
    cpu_s, wall_s = (statistics.median(column) for column in zip(*times, strict=True))
    return Row(f"a further click, {case.image_size} px", case.program, cpu_s, wall_s)


if __name__ == "__main__":
    sys.exit(main())
