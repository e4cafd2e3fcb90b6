# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long a click waits for its preview, from request to answer.

    python tools/research/bench/preview.py [--model bundled] [--checkpoint FILE] [--no-large] [--json FILE]

It uses the sample's photos, and one of them enlarged to 6000x9000 px. It prints seconds as a client
sees them: the cold start (worker, packages, model, photo), the first click after it, the median of
further clicks, and a change of frame (photo and click).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sam2_splat_addon.client.worker.preview import Preview
    from sam2_splat_addon.client.worker.worker_pool import WorkerPool
    from sam2_splat_addon.core.protocol import ModelChoice, PreviewRequest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command

_CLICKS = 9
_LARGE = (6000, 9000)


class Figures(NamedTuple):
    """Seconds from request to answer."""

    cold_start: float
    first_click: float
    further_clicks: float
    frame_change: float


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, default=ROOT / "sample" / "photos")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--no-large", action="store_true", help="the sample's own size only")
    parser.add_argument("--json", type=Path, help="where the figures go as JSON, by photo")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    from sam2_splat_addon.core.protocol import ModelChoice

    model = ModelChoice(options.model, options.checkpoint, "auto", options.threads)
    photos = sorted(options.photos.iterdir())[:2]
    rows = {"sample": _measure(photos, model)}
    if not options.no_large:
        with tempfile.TemporaryDirectory() as scratch:
            large = [_blown_up(photo, Path(scratch) / f"large_{photo.name}") for photo in photos]
            rows["6000x9000"] = _measure(large, model)
    print("photo      " + "  ".join(f"{name.replace('_', ' '):>14}" for name in Figures._fields))
    for name, figures in rows.items():
        print(f"{name:<10} " + "  ".join(f"{seconds:>14.2f}" for seconds in figures))
    command.write_json(options.json, {name: row._asdict() for name, row in rows.items()})


def _blown_up(photo: Path, target: Path) -> Path:
    from PIL import Image

    with Image.open(photo) as image:
        image.convert("RGB").resize(_LARGE, Image.Resampling.BICUBIC).save(target, quality=92)
    return target


def _measure(photos: list[Path], model: ModelChoice) -> Figures:
    """Measure with a worker of our own."""
    from sam2_splat_addon.client.packages.environment import find
    from sam2_splat_addon.client.worker.preview import Preview
    from sam2_splat_addon.client.worker.worker_pool import WorkerPool

    pool: WorkerPool = WorkerPool(find())
    preview: Preview = Preview(pool)
    try:
        cold = _seconds(preview, _request(photos[0], 1, model, 0))
        clicks = [
            _seconds(preview, _request(photos[0], 1, model, number))
            for number in range(1, _CLICKS + 1)
        ]
        change = _seconds(preview, _request(photos[1], 2, model, 1))
    finally:
        pool.shutdown()
    return Figures(cold, clicks[0], statistics.median(clicks[1:]), change)


def _request(photo: Path, frame: int, model: ModelChoice, click: int) -> PreviewRequest:
    """Return a click that differs for every number above 0. No click for 0."""
    from sam2_splat_addon.core.footage.headers import read_header
    from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
    from sam2_splat_addon.core.protocol import PreviewRequest

    header = read_header(photo)
    objects: tuple[ObjectPrompts, ...] = ()
    if click:
        at = PointPrompt(header.width * (0.4 + 0.02 * click), header.height / 2)
        objects = (ObjectPrompts(1, "subject", (FramePrompts(frame, (at,)),)),)
    prompts = PromptSet(objects, header.width, header.height)
    return PreviewRequest(str(photo), header.width, header.height, frame, prompts, model)


def _seconds(preview: Preview, request: PreviewRequest) -> float:
    """Ask, and wait as a window's timer would, but look more often."""
    begin = time.perf_counter()
    preview.ask(request)
    while preview.busy:
        if preview.poll():
            return time.perf_counter() - begin
        time.sleep(0.002)
    raise SystemExit(f"The preview failed: {preview.error}\n{preview.trace}")


def main() -> int:
    """Measure and print the table; return the exit code."""
    return command.run(_run, _options())


if __name__ == "__main__":
    sys.exit(main())
