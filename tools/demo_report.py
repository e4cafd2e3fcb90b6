# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the demo inside .venv, and report a table, the memory and a contact sheet."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2_splat_addon.core.bake_plan import next_output_folder
from sam2_splat_addon.core.errors import SplatError
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.system.process_memory import peak_memory_mb
from tools.contact_sheet import contact_sheet


@dataclass(frozen=True)
class FrameReport:
    """One row of the table; ``iou`` is None without ground truth."""

    frame: int
    file: str
    objects: str
    iou: float | None
    score: float


def run(options: argparse.Namespace) -> int:
    """Run the job with its result in ``options.out``, and print the results."""
    # Leave the preferences and recent files of the user's own Blender alone.
    os.environ.setdefault("BLENDER_USER_RESOURCES", str(options.out / "blender"))
    import bpy

    import sam2_splat_addon
    from sam2_splat_addon.blender.cli import batch

    print(f"Blender {bpy.app.version_string}, Python {sys.version.split()[0]}", flush=True)
    store_folder = options.out / "mattes"
    # With an old store the run would only continue, and its time would be wrong.
    shutil.rmtree(store_folder, ignore_errors=True)
    options.out.mkdir(parents=True, exist_ok=True)
    baked = next_output_folder(options.out)
    arguments = ["--footage", str(options.footage), "--prompts", str(options.prompts)]
    arguments += ["--model", options.model, "--threads", str(options.threads)]
    arguments += ["--store", str(store_folder), "--bake", "--output", str(baked)]
    arguments += ["--save", str(options.out / "demo.blend")]
    arguments += ["--second-look", options.second_look]
    arguments += ["--refine-edges"] if options.refine_edges else []
    if options.checkpoint:
        arguments += ["--checkpoint", str(options.checkpoint)]
    if options.frames:
        arguments += ["--frames", options.frames]
    begin = time.perf_counter()
    sam2_splat_addon.register()
    try:
        result = batch.run(batch.options_parser("demo.py").parse_args(arguments))
    except SplatError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        sam2_splat_addon.unregister()
    seconds = time.perf_counter() - begin

    rows = _rows(
        MatteStore.open(store_folder), result.names, result.sources, baked, options.footage
    )
    _print_table(rows)
    sheet = options.out / "contact_sheet.jpg"
    pairs = [(path, baked / f"{path.stem}.png") for path in result.sources.values()]
    contact_sheet([pair for pair in pairs if pair[1].is_file()], sheet)
    print(f"Propagation       {result.seconds_per_frame:.2f} s a frame; everything {seconds:.0f} s")
    print(
        f"Peak memory       worker {result.worker_peak_mb:.0f} MB (torch {result.torch}),"
        f" Blender {peak_memory_mb():.0f} MB"
    )
    print(f"PNGs              {baked}")
    print(f"Contact sheet     {sheet}")
    print(f"Blender file      {options.out / 'demo.blend'}")
    return 0


def _rows(
    store: MatteStore, names: dict[int, str], sources: dict[int, Path], baked: Path, footage: Path
) -> list[FrameReport]:
    truth = footage.parent / "truth"
    rows = []
    for frame, source in sources.items():
        image = baked / f"{source.stem}.png"
        if not image.is_file():
            continue
        scores = [
            store.read(object_id, frame).scores.predicted_iou
            for object_id in names
            if store.has(object_id, frame)
        ]
        mask = truth / f"{source.stem}.png"
        value = iou(_alpha(image), _grey(mask)) if mask.is_file() else None
        label = ", ".join(names.values())
        rows.append(FrameReport(frame, source.name, label, value, min(scores)))
    return rows


def iou(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    """Return the IoU of two (h, w) masks at half coverage; 1 if both are empty."""
    a, b = left > 127, right > 127
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0


def _alpha(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.getchannel("A"))


def _grey(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def _print_table(rows: list[FrameReport]) -> None:
    with_truth = [row.iou for row in rows if row.iou is not None]
    width = max([len(row.file) for row in rows] + [4])
    print(f"\nframe  {'file':<{width}}  object        IoU  score")
    for row in rows:
        value = "    -" if row.iou is None else f"{row.iou:.3f}"
        print(f"{row.frame:>5}  {row.file:<{width}}  {row.objects:<10}  {value}  {row.score:.2f}")
    print()
    if with_truth:
        print(f"Mean IoU          {np.mean(with_truth):.4f} over {len(with_truth)} frames")
