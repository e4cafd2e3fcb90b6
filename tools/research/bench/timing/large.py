# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos of 6000x9000 px from file to RGBA PNG: our engine, and sam2's predictor with OpenCV.

As a program: one `Case` on standard input, one `Row` on standard output. The alternative is a
typical script: sam2's mask at the photo's size, with OpenCV to read and write.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import torch

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.footage.headers import read_header
from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.core.system.process_memory import peak_memory_mb
from sam2_splat_addon.engine.accel.allocator import keeping_freed_memory
from sam2_splat_addon.engine.accel.attention import set_attention
from sam2_splat_addon.engine.accel.folded_neck import set_neck
from sam2_splat_addon.engine.images.alpha import combine
from sam2_splat_addon.engine.images.decode import decode
from sam2_splat_addon.engine.images.frame_source import FrameSource
from sam2_splat_addon.engine.images.png import write_rgba
from sam2_splat_addon.engine.models.device import choose_device
from sam2_splat_addon.engine.models.prepare import prepare
from sam2_splat_addon.engine.tracking.plan import plan_object
from sam2_splat_addon.engine.tracking.results import FrameResult
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter
from sam2_splat_addon.engine.tracking.schedule import schedule_for
from sam2_splat_addon.engine.tracking.session import Session

from .models import random_model, random_predictor
from .rows import OURS, Row, Stopwatch, in_process_of_its_own

_SAM2 = "sam2 and OpenCV"


class Case(msgspec.Struct, frozen=True):
    """A folder of photos named 00000.jpg and so on. The PNGs go to ``target``."""

    program: str
    folder: str
    target: str
    model: str
    image_size: int
    threads: int


def measure(
    photo: Path, frames: int, model: str, image_size: int, threads: int, scratch: Path
) -> list[Row]:
    """One row for each program, for the same photo repeated, with one object clicked on the first."""
    folder = scratch / "large"
    folder.mkdir()
    for index in range(frames):
        (folder / f"{index:05d}.jpg").symlink_to(photo.resolve())
    rows = []
    for program in (_SAM2, OURS):
        target = scratch / program
        target.mkdir()
        case = Case(program, str(folder), str(target), model, image_size, threads)
        rows.append(in_process_of_its_own(__spec__.name, case, Row, threads))
    return rows


def main() -> int:
    """Run the case from standard input."""
    case = msgspec.json.decode(sys.stdin.buffer.read(), type=Case)
    torch.set_num_threads(case.threads)
    cv2.setNumThreads(case.threads)
    photos = sorted(Path(case.folder).iterdir())
    header = read_header(photos[0])
    size = header.width, header.height
    run = _sam2 if case.program == _SAM2 else _ours
    watch = Stopwatch()
    run(case, photos, size)
    files = list(Path(case.target).iterdir())
    row = watch.row(
        f"{len(photos)} photos of {size[0]}x{size[1]}, {case.image_size} px",
        case.program,
        memory_mb=peak_memory_mb(),
        size_mb=sum(file.stat().st_size for file in files) / 1e6,
    )
    print(msgspec.json.encode(row).decode())
    return 0


def _ours(case: Case, photos: list[Path], size: tuple[int, int]) -> None:
    """In two steps, as Propagate and Bake are."""
    model = random_model(case.model, case.image_size)
    prepare(model)
    set_attention(model, "folded")
    set_neck(model, folded=True)
    click = PointPrompt(size[0] * 0.5, size[1] * 0.5)
    plan = plan_object(
        ObjectPrompts(1, "object", (FramePrompts(1, (click,)),)),
        range(1, len(photos) + 1),
        "forward",
    )
    results: list[FrameResult] = []
    session = Session(
        Sam2Adapter(model, len(photos)),
        FrameSource(photos, case.image_size),
        PhotoSizes(*size),
        [schedule_for(plan, plan.results)],
        choose_device("cpu"),
    )
    with keeping_freed_memory():
        session.run(results.append)
    for photo, result in zip(photos, results, strict=True):
        alpha = combine([result.half_logits()], [], *size, BakeOptions())
        write_rgba(Path(case.target) / f"{photo.stem}.png", decode(photo).array, alpha)


def _sam2(case: Case, photos: list[Path], size: tuple[int, int]) -> None:
    predictor = random_predictor(case.model, case.image_size)
    with torch.inference_mode():
        state = predictor.init_state(case.folder)
        point = torch.tensor([[size[0] * 0.5, size[1] * 0.5]])
        labels = torch.ones(1, dtype=torch.int32)
        predictor.add_new_points_or_box(state, 0, 1, point, labels)
        for index, _, masks in predictor.propagate_in_video(state):
            picture = cv2.imread(str(photos[index]))
            alpha = (masks[0, 0] > 0).numpy().astype(np.uint8) * 255  # (H, W)
            bgra = np.dstack([picture, alpha])
            cv2.imwrite(str(Path(case.target) / f"{photos[index].stem}.png"), bgra)


if __name__ == "__main__":
    sys.exit(main())
