# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the worker's peak memory over a long run, by frames.

    python tools/research/bench/memory.py                                             # 400 frames, one object
    python tools/research/bench/memory.py --frames 2000 --photo-size 400x600
    python tools/research/bench/memory.py --frames 12 --objects 3 --model sam2.1_hiera_tiny --random
    python tools/research/bench/memory.py --frames 9 --objects 3 --photo-size 6000x9000 --bake

It runs a propagation in its own worker, over the sample's photos repeated, and prints the peak as
it rises. It also prints the rise for each frame after the memory of past frames is full. That
should stay below 0.05 MB. A bake runs in a second worker with its own peak. With --json the same is
written to a file during the run, so a run that is cut short leaves it too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command

if TYPE_CHECKING:
    from sam2_splat_addon.client.worker.job import Job
    from sam2_splat_addon.core.protocol import JobRequest, ModelChoice, PropagateRequest

_SHOWN = (1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # frames
_SETTLED = 50  # frames after which every model's memory is surely full


def _request(options: argparse.Namespace, scratch: Path) -> PropagateRequest:
    from sam2_splat_addon.core.protocol import FootageFiles, PropagateRequest
    from sam2_splat_addon.core.settings import RunSettings
    from tools.research.bench.timing.long_footage import clicks, long_footage, parsed_size

    size = parsed_size(options.photo_size) if options.photo_size else None
    footage = long_footage(options.photos, size, options.frames, scratch)
    return PropagateRequest(
        FootageFiles.of(footage),
        clicks(footage, options.objects),
        str(scratch / "store"),
        _model(options, scratch),
        RunSettings(direction="forward", speed=options.speed),
    )


def _model(options: argparse.Namespace, scratch: Path) -> ModelChoice:
    from sam2_splat_addon.core.protocol import ModelChoice

    checkpoint = options.checkpoint
    if options.random:
        import torch

        from sam2_splat_addon.engine.models.architectures import build

        path = scratch / "random.pt"
        torch.save({"model": build(options.model).state_dict()}, path)
        checkpoint = str(path)
    return ModelChoice(options.model, checkpoint, threads=options.threads)


@dataclass
class Record:
    """What a run has shown so far.

    Attributes
    ----------
    model, speed, objects, photo_size, threads
        What was run. ``threads`` 0 is torch's own choice.
    frames
        Number of frames asked for.
    peaks_mb
        The worker's peak, MB, by frames done.
    rise_mb
        Rise for each frame once memory is full. 0 until then.
    cpu_s, wall_s
        Of the whole propagation, with the start of the worker. 0 while it runs. ``cpu_s`` is also 0
        on systems that don't report it.
    bake_peak_mb, bake_cpu_s
        Of the worker that bakes. 0 without a bake.
    """

    model: str
    speed: str
    objects: int
    photo_size: tuple[int, int]
    threads: int
    frames: int
    peaks_mb: dict[int, float] = field(default_factory=dict)
    rise_mb: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    bake_peak_mb: float = 0.0
    bake_cpu_s: float = 0.0


def _in_worker(request: JobRequest, look: Callable[[Job], None]) -> tuple[float, float]:
    """Run a job in its own worker; return its peak, MB, and CPU seconds; raises SystemExit."""
    from sam2_splat_addon.client.packages.environment import find
    from sam2_splat_addon.client.worker.job import Job, JobState
    from sam2_splat_addon.client.worker.worker_pool import WorkerPool

    before = _of_children()
    pool = WorkerPool(find())
    try:
        job = Job(pool, request)
        state = job.wait(look)
    finally:
        pool.shutdown()
    print(file=sys.stderr)
    if state is not JobState.DONE or job.result is None:
        raise SystemExit(f"The run failed: {job.error}")
    return job.result.peak_memory_mb, _of_children() - before


def _of_children() -> float:
    """Return the CPU seconds of all child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _say(job: Job) -> None:
    print(f"\r{job.progress.sentence:<100}", end="", file=sys.stderr)


def _propagate(request: PropagateRequest, record: Record, path: Path | None) -> None:
    """Propagate, print a line for each of `_SHOWN` when it is reached, and keep the record."""
    mattes = 0
    shown = [frame for frame in _SHOWN if frame < record.frames]

    def look(job: Job) -> None:
        nonlocal mattes
        mattes += len(job.new_frames())
        done = mattes // record.objects
        if done and job.progress.peak_memory_mb:
            record.peaks_mb[done] = job.progress.peak_memory_mb
            if shown and done >= shown[0]:
                _print_peak(record, done)
                record.rise_mb = slope(record.peaks_mb)
                command.write_json(path, record)
            while shown and done >= shown[0]:
                del shown[0]
        _say(job)

    print("frames  worker peak MB")
    begin = time.perf_counter()
    peak, record.cpu_s = _in_worker(request, look)
    record.wall_s = time.perf_counter() - begin
    record.peaks_mb[record.frames] = peak
    record.rise_mb = slope(record.peaks_mb)
    _print_peak(record, record.frames)
    command.write_json(path, record)


def _print_peak(record: Record, frames: int) -> None:
    print(f"{frames:>6}  {record.peaks_mb[frames]:>14.0f}", flush=True)


def _bake(request: PropagateRequest, record: Record, target: Path) -> None:
    from sam2_splat_addon.core.bake_plan import BakeOptions
    from sam2_splat_addon.core.protocol import BakeRequest

    bake = BakeRequest(request.footage, request.store, str(target), BakeOptions())
    record.bake_peak_mb, record.bake_cpu_s = _in_worker(bake, _say)
    print(
        f"bake: worker peak {record.bake_peak_mb:.0f} MB,"
        f" {record.bake_cpu_s / record.frames:.2f} CPU s a frame with its start"
    )


def slope(peaks: dict[int, float]) -> float:
    """Return the rise of the peak for each frame, MB, once memory is full. 0 if the run is too short."""
    settled = [frame for frame in peaks if frame >= _SETTLED]
    if len(settled) < 2:
        return 0.0
    first, last = min(settled), max(settled)
    return (peaks[last] - peaks[first]) / (last - first)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--photos", type=Path, default=ROOT / "sample" / "photos")
    parser.add_argument("--photo-size", help="WxH, px: the photos at another size")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--random", action="store_true", help="random weights, no checkpoint")
    parser.add_argument("--speed", choices=("quality", "balanced", "fast"), default="quality")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--bake", action="store_true", help="RGBA PNGs too, in a second worker")
    parser.add_argument("--scratch", type=Path, help="folder for what is made on the way")
    parser.add_argument("--json", type=Path, help="where the figures go as JSON")
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        request = _request(options, Path(scratch))
        record = Record(
            options.model,
            options.speed,
            options.objects,
            (request.footage.width, request.footage.height),
            options.threads,
            options.frames,
        )
        subjects = "1 object" if record.objects == 1 else f"{record.objects} objects"
        print(f"{record.model}, {subjects}, {record.frames} frames of", end=" ")
        print(f"{record.photo_size[0]}x{record.photo_size[1]} px")
        _propagate(request, record, options.json)
        if record.frames > _SETTLED:
            print(f"rises by {record.rise_mb:.4f} MB a frame after frame {_SETTLED}")
        print(f"{record.cpu_s / record.frames:.2f} CPU s a frame, with the start of the worker")
        wall = record.wall_s / record.frames
        print(f"{wall:.2f} s a frame by the clock, on {os.cpu_count()} cores")
        if options.bake:
            _bake(request, record, Path(scratch) / "baked")
    command.write_json(options.json, record)


def main() -> int:
    """Measure one run and print its table; return the exit code."""
    return command.run(_measure, _options())


if __name__ == "__main__":
    sys.exit(main())
