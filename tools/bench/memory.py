# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's peak memory over few and over many frames; standard library until .venv exists.

    python tools/bench/memory.py [--frames 40 400] [--model bundled]

Runs a propagation in a fresh worker for each count, over the sample's photos repeated, and prints the
peaks and their ratio: it should stay near 1.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.setup_env import ensure_environment


def _repeated(photos: Path, folder: Path, count: int) -> None:
    """Fill a folder with links to the photos, over and over."""
    folder.mkdir()
    sources = itertools.cycle(sorted(photos.iterdir()))
    for index in range(count):
        (folder / f"frame_{index + 1:06d}.jpg").symlink_to(next(sources))


def _measure(photos: Path, model: str, checkpoint: str, count: int) -> tuple[float, float]:
    """Peak of the worker in MB and seconds a frame, over ``count`` frames."""
    from sam2_splat_addon.client.environment import find
    from sam2_splat_addon.client.job import Job, JobState
    from sam2_splat_addon.client.keeper import WorkerKeeper
    from sam2_splat_addon.core.footage import scan
    from sam2_splat_addon.core.prompts import read_json
    from sam2_splat_addon.core.protocol import FootageFiles, ModelChoice, PropagateRequest

    with tempfile.TemporaryDirectory() as scratch:
        _repeated(photos, Path(scratch) / "photos", count)
        footage = scan(Path(scratch) / "photos")
        prompts = read_json(ROOT / "sample" / "prompts.json")
        request = PropagateRequest(
            FootageFiles.of(footage),
            prompts.checked(footage.width, footage.height, len(footage)),
            str(Path(scratch) / "store"),
            ModelChoice(model, checkpoint),
        )
        keeper = WorkerKeeper(find())
        begin = time.perf_counter()
        try:
            job = Job(keeper, request)
            state = job.wait(
                lambda job: print(f"\r{job.progress.sentence:<100}", end="", file=sys.stderr)
            )
        finally:
            keeper.shutdown()
        print(file=sys.stderr)
        if state is not JobState.DONE or job.result is None:
            raise SystemExit(f"The run over {count} frames failed: {job.error}")
        return job.result.peak_memory_mb, (time.perf_counter() - begin) / count


def main() -> int:
    """Measure every count and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[40, 400])
    parser.add_argument("--photos", type=Path, default=ROOT / "sample" / "photos")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--checkpoint", default="")
    options = parser.parse_args()
    ensure_environment()
    rows = [
        (n, *_measure(options.photos, options.model, options.checkpoint, n)) for n in options.frames
    ]
    print("frames  worker peak MB  s a frame")
    for count, peak, seconds in rows:
        print(f"{count:>6}  {peak:>14.0f}  {seconds:>9.2f}")
    print(f"ratio   {rows[-1][1] / rows[0][1]:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
