# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the memory that a run adds to Blender itself.

    python tools/research/bench/blender.py                                  # 9 photos of 6000x9000 px
    python tools/research/bench/blender.py --frames 48 --photo-size 1200x1800 --objects 1 --json FILE

It loads photos as a clip, sets clicks, propagates with the bundled model, imports the mask layers,
and bakes. After each step it prints Blender's memory: what it holds, and its peak. The model and
the photos' pixels are in the worker, whose peak is printed beside it. Blender runs as a module
without a window. A window needs additional memory for the photo that it shows.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command


@dataclass(frozen=True)
class Moment:
    """Blender's memory after a step, MB. ``held`` is 0 on systems that don't report it."""

    after: str
    held_mb: float
    peak_mb: float


@dataclass(frozen=True)
class Record:
    """All moments of a run, and the worker's peak, MB."""

    photo_size: str
    frames: int
    objects: int
    moments: tuple[Moment, ...]
    worker_peak_mb: float


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--objects", type=int, default=3)
    parser.add_argument("--photos", type=Path, default=ROOT / "sample" / "photos")
    parser.add_argument("--photo-size", default="6000x9000", help="WxH, px")
    parser.add_argument("--threads", type=int, default=0, help="the worker's; 0: torch's choice")
    parser.add_argument("--json", type=Path, help="where the figures go as JSON")
    return parser.parse_args()


def _moment(after: str) -> Moment:
    from sam2_splat_addon.core.system.process_memory import peak_memory_mb

    held = 0.0
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS:"):
                held = int(line.split()[1]) * 1024 / 1e6
    moment = Moment(after, held, peak_memory_mb())
    print(f"{after:<24} {moment.held_mb:>8.0f} {moment.peak_mb:>8.0f}", flush=True)
    return moment


def _run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        # The preferences and recent files of the user's own Blender have no effect.
        os.environ["BLENDER_USER_RESOURCES"] = str(Path(scratch) / "blender")
        folder = _make_photos(options, Path(scratch))
        print(f"{'after':<24} {'held MB':>8} {'peak MB':>8}")
        moments, worker = _moments(options, folder, Path(scratch))
    added = moments[-1].peak_mb - moments[0].held_mb
    print(f"added at most {added:.0f} MB; the worker took {worker:.0f} MB")
    record = Record(options.photo_size, options.frames, options.objects, tuple(moments), worker)
    command.write_json(options.json, record)


def _make_photos(options: argparse.Namespace, scratch: Path) -> Path:
    """Make photos in another process, so that their memory does not count for Blender."""
    import subprocess

    script = (
        "import sys; from pathlib import Path;"
        "from tools.research.bench.timing.long_footage import long_footage, parsed_size;"
        "photos, size, frames, scratch = sys.argv[1:];"
        "long_footage(Path(photos), parsed_size(size), int(frames), Path(scratch))"
    )
    arguments = [str(options.photos), options.photo_size, str(options.frames), str(scratch)]
    subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, check=True)
    return scratch / "photos"


def _moments(
    options: argparse.Namespace, photos: Path, scratch: Path
) -> tuple[list[Moment], float]:
    import bpy

    import sam2_splat_addon
    from sam2_splat_addon.blender.clip import footage, loading, markers
    from sam2_splat_addon.blender.context import properties
    from sam2_splat_addon.blender.context.present import present
    from sam2_splat_addon.blender.context.task_runner import run_to_end
    from sam2_splat_addon.blender.tasks.bake_task import BakeTask
    from sam2_splat_addon.blender.tasks.propagate_task import PropagateTask
    from tools.research.bench.timing.long_footage import clicks

    sam2_splat_addon.register()
    moments = [_moment("start")]
    try:
        clip = loading.load(photos)
        present(bpy.context.scene).active_clip = clip
        properties.of_clip(clip).store_folder = str(scratch / "store")
        markers.apply(clip, clicks(footage.footage_of(clip), options.objects))
        moments.append(_moment("clip and clicks"))
        propagate = PropagateTask(clip, device="cpu", threads=options.threads)
        run_to_end(propagate)
        moments.append(_moment("propagation and masks"))
        bake = BakeTask(clip, device="cpu", threads=0, output_folder=scratch / "baked")
        run_to_end(bake)
        moments.append(_moment("bake"))
    finally:
        sam2_splat_addon.unregister()
    return moments, max(propagate.worker_peak_mb, bake.worker_peak_mb)


def main() -> int:
    """Measure one run and print its table; return the exit code."""
    return command.run(_run, _options())


if __name__ == "__main__":
    sys.exit(main())
