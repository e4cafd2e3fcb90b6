# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's peak memory over a long run, by frames; standard library until .venv exists.

    python tools/bench/memory.py                                             # 400 frames, one object
    python tools/bench/memory.py --frames 2000 --photo-size 400x600
    python tools/bench/memory.py --frames 12 --objects 3 --model sam2.1_hiera_tiny --random
    python tools/bench/memory.py --frames 6 --objects 3 --photo-size 6000x9000

Runs a propagation in a worker of its own, over the sample's photos repeated, and prints the
high-water mark as it rises, and how much it rises by the frame once the memory of past frames is
full: that should stay below 0.05 MB.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.setup_env import ensure_environment

if TYPE_CHECKING:
    from sam2_splat_addon.client.job import Job
    from sam2_splat_addon.core.protocol import ModelChoice, PropagateRequest

_PHOTOS = 8  # different ones; enough that no frame is like the one before
_SHOWN = (1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # frames
_SETTLED = 50  # frames after which every memory that a model keeps is full, with room to spare


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _photos(sources: list[Path], size: tuple[int, int] | None, folder: Path) -> list[Path]:
    """Some of the photos, at the size that was asked for."""
    from PIL import Image

    from tools.bench.timing.baking import enlarged

    chosen = sources[:_PHOTOS]
    if size is None:
        return chosen
    folder.mkdir()
    made = []
    for source in chosen:
        with Image.open(source) as photo:
            if photo.width < size[0]:
                made.append(enlarged(source, folder / source.name, *size))
                continue
            made.append(folder / source.name)
            photo.resize(size).save(made[-1], quality=93)
    return made


def _request(options: argparse.Namespace, scratch: Path, model: ModelChoice) -> PropagateRequest:
    from sam2_splat_addon.core.footage import scan
    from sam2_splat_addon.core.manifest import RunSettings
    from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
    from sam2_splat_addon.core.protocol import FootageFiles, PropagateRequest

    sources = sorted(options.photos.iterdir())
    photos = itertools.cycle(_photos(sources, options.photo_size, scratch / "made"))
    folder = scratch / "photos"
    folder.mkdir()
    for index in range(options.frames):
        (folder / f"frame_{index + 1:06d}.jpg").symlink_to(next(photos).resolve())
    footage = scan(folder)
    objects = tuple(
        ObjectPrompts(
            at + 1,
            f"object {at + 1}",
            (
                FramePrompts(
                    1, (PointPrompt(footage.width / 2, footage.height * (0.5 + 0.1 * at)),)
                ),
            ),
        )
        for at in range(options.objects)
    )
    return PropagateRequest(
        FootageFiles.of(footage),
        PromptSet(objects).checked(footage.width, footage.height, len(footage)),
        str(scratch / "store"),
        model,
        RunSettings(direction="forward", image_size=options.size),
    )


def _model(options: argparse.Namespace, scratch: Path) -> ModelChoice:
    from sam2_splat_addon.core.protocol import ModelChoice

    checkpoint = options.checkpoint
    if options.random:
        import torch

        from sam2_splat_addon.engine.architectures import build

        path = scratch / "random.pt"
        torch.save({"model": build(options.model).state_dict()}, path)
        checkpoint = str(path)
    return ModelChoice(options.model, checkpoint, threads=options.threads)


def _run(request: PropagateRequest, objects: int) -> tuple[dict[int, float], float]:
    """The peak in MB by frames done, and the seconds it took; raises SystemExit."""
    from sam2_splat_addon.client.environment import find
    from sam2_splat_addon.client.job import Job, JobState
    from sam2_splat_addon.client.keeper import WorkerKeeper

    peaks: dict[int, float] = {}
    mattes = 0

    def look(job: Job) -> None:
        nonlocal mattes
        mattes += len(job.new_frames())
        if mattes and job.progress.peak_memory_mb:
            peaks[mattes // objects] = job.progress.peak_memory_mb
        print(f"\r{job.progress.sentence:<100}", end="", file=sys.stderr)

    keeper = WorkerKeeper(find())
    begin = time.perf_counter()
    try:
        job = Job(keeper, request)
        state = job.wait(look)
    finally:
        keeper.shutdown()
    print(file=sys.stderr)
    if state is not JobState.DONE or job.result is None:
        raise SystemExit(f"The run failed: {job.error}")
    peaks[mattes // objects] = job.result.peak_memory_mb
    return peaks, time.perf_counter() - begin


def slope(peaks: dict[int, float]) -> float:
    """How much the peak rises by the frame, MB, once memory is full; 0 for a run too short."""
    settled = [frame for frame in peaks if frame >= _SETTLED]
    if len(settled) < 2:
        return 0.0
    first, last = min(settled), max(settled)
    return (peaks[last] - peaks[first]) / (last - first)


def main() -> int:
    """Measure one run and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--photos", type=Path, default=ROOT / "sample" / "photos")
    parser.add_argument("--photo-size", type=_size, help="WxH, px: the photos at another size")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--random", action="store_true", help="random weights, no checkpoint")
    parser.add_argument("--size", type=int, default=0, help="the model's input, px; 0: its own")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    ensure_environment()
    with tempfile.TemporaryDirectory() as scratch:
        model = _model(options, Path(scratch))
        peaks, seconds = _run(_request(options, Path(scratch), model), options.objects)
    print(f"{options.model}, {options.objects} objects, {options.frames} frames")
    print("frames  worker peak MB")
    for shown in _SHOWN:
        known = [frame for frame in peaks if frame >= shown]
        if known:
            print(f"{min(known):>6}  {peaks[min(known)]:>14.0f}")
    print(f"{max(peaks):>6}  {max(peaks.values()):>14.0f}")
    if max(peaks) > _SETTLED:
        print(f"rises by {slope(peaks):.4f} MB a frame after frame {_SETTLED}")
    cores = os.cpu_count()
    print(f"{seconds / options.frames:.2f} s a frame by the clock, on {cores} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
