# SPDX-License-Identifier: GPL-3.0-or-later
"""Propagation from files to logits: our engine and sam2's predictor.

As a program: one `Case` on standard input, one `Row` on standard output, logits in a file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.core.system.process_memory import peak_memory_mb
from sam2_splat_addon.engine.accel.allocator import keeping_freed_memory
from sam2_splat_addon.engine.accel.attention import set_attention
from sam2_splat_addon.engine.accel.folded_neck import set_neck
from sam2_splat_addon.engine.images.frame_source import FrameSource
from sam2_splat_addon.engine.models.device import choose_device
from sam2_splat_addon.engine.models.prepare import prepare
from sam2_splat_addon.engine.tracking.plan import plan_object
from sam2_splat_addon.engine.tracking.results import FrameResult
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter
from sam2_splat_addon.engine.tracking.schedule import schedule_for
from sam2_splat_addon.engine.tracking.session import Session

from .models import random_model, random_predictor
from .rows import OURS, Row, Stopwatch, in_process_of_its_own

OURS_BITWISE = f"{OURS}, bitwise"
SAM2 = "sam2"
SAM2_OFFLOAD = "sam2, both offload options"
SAM2_ASYNC = "sam2, async loading"
PROGRAMS = (SAM2, SAM2_OFFLOAD, SAM2_ASYNC, OURS, OURS_BITWISE)

_Logits = dict[str, NDArray[np.float32]]  # "object/frame" -> (h, w)


class Case(msgspec.Struct, frozen=True):
    """One propagation. The folder contains the frames as 00000.jpg and so on."""

    program: str
    folder: str
    frames: int
    objects: int
    model: str
    image_size: int
    threads: int
    logits: str

    @property
    def task(self) -> str:
        subjects = "1 object" if self.objects == 1 else f"{self.objects} objects"
        return f"{self.frames} frames at {self.image_size} px, {subjects}"


def measure(photos: list[Path], case: Case, programs: tuple[str, ...], scratch: Path) -> list[Row]:
    """Return one row for each program, with the distance of its logits from the first one's."""
    rows: list[Row] = []
    for program in programs:
        folder = scratch / f"photos_{case.frames}"
        if not folder.exists():
            folder.mkdir()
            for index in range(case.frames):
                (folder / f"{index:05d}.jpg").symlink_to(photos[index % len(photos)].resolve())
        one = msgspec.structs.replace(
            case,
            program=program,
            folder=str(folder),
            logits=str(scratch / f"{case.frames}_{case.objects}_{program}.npz"),
        )
        rows.append(in_process_of_its_own(__spec__.name, one, Row, case.threads))
    files = [scratch / f"{case.frames}_{case.objects}_{program}.npz" for program in programs]
    reference = _load(files[0])
    return [
        msgspec.structs.replace(row, note=_apart(_load(file), reference))
        for row, file in zip(rows, files, strict=True)
    ]


def _load(path: Path) -> _Logits:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def _apart(ours: _Logits, reference: _Logits) -> str:
    if ours.keys() != reference.keys():
        return "other frames than the reference"
    if all(np.array_equal(ours[name], reference[name]) for name in ours):
        return "logits equal to the bit"
    most = max(float(np.abs(ours[name] - reference[name]).max()) for name in ours)
    flips = sum(int(((ours[name] > 0) != (reference[name] > 0)).sum()) for name in ours)
    pixels = sum(values.size for values in ours.values())
    return f"logits within {most:.1e}, {flips} of {pixels} mask pixels differ"


def main() -> int:
    """Run the case from standard input."""
    case = msgspec.json.decode(sys.stdin.buffer.read(), type=Case)
    torch.set_num_threads(case.threads)
    with Image.open(Path(case.folder) / "00000.jpg") as photo:
        width, height = photo.size
    clicks = [(width * (0.3 + 0.2 * at), height * 0.5) for at in range(case.objects)]
    run = _sam2 if case.program.startswith(SAM2) else _ours
    row, logits = run(case, clicks, (width, height))
    np.savez(case.logits, **logits)
    print(msgspec.json.encode(row).decode())
    return 0


def _ours(
    case: Case, clicks: list[tuple[float, float]], size: tuple[int, int]
) -> tuple[Row, _Logits]:
    model = random_model(case.model, case.image_size)
    prepare(model)
    set_attention(model, "folded" if case.program == OURS else "sam2")
    set_neck(model, folded=case.program == OURS)
    objects = [
        ObjectPrompts(at, f"object {at}", (FramePrompts(1, (PointPrompt(*click),)),))
        for at, click in enumerate(clicks, start=1)
    ]
    plans = [plan_object(entry, range(1, case.frames + 1), "forward") for entry in objects]
    logits: _Logits = {}

    def keep(result: FrameResult) -> None:
        logits[f"{result.object_id}/{result.frame}"] = result.logits

    watch = Stopwatch()
    session = Session(
        Sam2Adapter(model, case.frames),
        FrameSource(sorted(Path(case.folder).iterdir()), case.image_size),
        PhotoSizes(*size),
        [schedule_for(plan, plan.results) for plan in plans],
        choose_device("cpu"),
    )
    with keeping_freed_memory():
        session.run(keep)
    return watch.row(case.task, case.program, memory_mb=peak_memory_mb()), logits


def _sam2(
    case: Case, clicks: list[tuple[float, float]], size: tuple[int, int]
) -> tuple[Row, _Logits]:
    predictor = random_predictor(case.model, case.image_size)
    offload = case.program == SAM2_OFFLOAD
    watch = Stopwatch()
    with torch.inference_mode():
        state = predictor.init_state(
            case.folder,
            offload_video_to_cpu=offload,
            offload_state_to_cpu=offload,
            async_loading_frames=case.program == SAM2_ASYNC,
        )
        for at, click in enumerate(clicks, start=1):
            # It takes pixel indices of the model's input; see engine/tracking/prompt_tensors.py.
            point = torch.tensor([click]) / torch.tensor(size) - 0.5 / case.image_size
            labels = torch.ones(1, dtype=torch.int32)
            predictor.add_new_points_or_box(state, 0, at, point, labels, normalize_coords=False)
        for _ in predictor.propagate_in_video(state):
            pass
    row = watch.row(case.task, case.program, memory_mb=peak_memory_mb())
    return row, {
        f"{state['obj_idx_to_id'][at]}/{index + 1}": out["pred_masks"][0, 0].float().numpy()
        for at, per_object in state["output_dict_per_obj"].items()
        for group in per_object.values()
        for index, out in group.items()
    }


if __name__ == "__main__":
    sys.exit(main())
