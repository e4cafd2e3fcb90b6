# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure *Find Cameras*: how many photos get a camera, how right it is, and what it costs.

    python tools/research/bench/cameras.py [--cache build/geometry] [--captures 14]
    python tools/research/bench/cameras.py --photos DIR [--true PATH]

Without photos it takes the rendered circles of ``geometry.py``, whose cameras are known. Of photos, the true
cameras may be given as a file or folder that the add-on reads. Costs are processor seconds of all threads.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
if not __package__:  # run as a script
    sys.path[0] = str(ROOT)
    from tools.setup_env import ensure_environment

    ensure_environment()

from sam2_splat_addon.core.cameras.find import PhotoCameras, cameras_of
from sam2_splat_addon.core.cameras.found import MODEL
from sam2_splat_addon.core.errors import CameraError
from sam2_splat_addon.core.footage.scan import Footage, scan
from sam2_splat_addon.core.protocol import FindCamerasRequest, FootageFiles, Progress
from sam2_splat_addon.core.system.process_memory import peak_memory_mb
from sam2_splat_addon.engine.jobs import find_cameras
from tools.research.bench.evaluation import circles
from tools.research.bench.evaluation.camera_errors import errors
from tools.research.bench.geometry import ORDER

STAGES = ("details", "matching", "placing")


class Costs:
    """Processor seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stage, self._since = STAGES[0], time.process_time()

    def note(self, event: Progress) -> None:
        """Count what has passed for the stage that was running."""
        now = time.process_time()
        self.seconds[self._stage] += now - self._since
        self._stage, self._since = event.stage, now


def search(footage: Footage, folder: Path, threads: int) -> tuple[find_cameras.Report, Costs]:
    """Find the cameras, and write them into a folder beside ``folder / mattes``; raises CameraError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    costs = Costs()
    request = FindCamerasRequest(FootageFiles.of(footage), str(folder / "mattes"), threads=threads)
    report = find_cameras.run(
        request, on_progress=costs.note, on_log=lambda _: None, cancelled=lambda: False
    )
    costs.note(Progress("", 0, 0))
    return report, costs


def row(name: str, footage: Footage, folder: Path, true: PhotoCameras | None, threads: int) -> str:
    """Return the row of the table for one capture."""
    try:
        report, costs = search(footage, folder, threads)
    except CameraError as problem:
        return f"| {name} | {len(footage)} | {problem}"
    if report.found is None:
        return f"| {name} | {len(footage)} | {report.summary}"
    off = "| - | - "
    if true is not None:
        cameras = cameras_of(
            footage.paths, footage.width, footage.height, report.folder / MODEL, footage.sizes.odd
        )
        wrong = errors(cameras.by_frame, true.by_frame)
        off = f"| {wrong.far.mean():.2%} ({wrong.far.max():.2%}) "
        off += f"| {wrong.angles.mean():.2f} ({wrong.angles.max():.2f}) "
    each = " | ".join(f"{costs.seconds[stage]:.0f}" for stage in STAGES)
    found = report.found
    return (
        f"| {name} | {found.photos} | {found.placed} {off}| {found.error:.2f} | {each} |"
        f" {peak_memory_mb():.0f} | {' '.join(report.warnings)}"
    )


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "geometry")
    parser.add_argument("--captures", type=int, default=len(ORDER), help="the first so many")
    parser.add_argument("--photos", type=Path, help="a folder of photos, in place of circles")
    parser.add_argument("--true", type=Path, help="file or folder of the photos' true cameras")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    print(
        "| capture | photos | placed | mean (worst) distance | mean (worst) angle, degrees |"
        " error, px | s details | s pairs | s cameras | MB | said"
    )
    print("| --- " * 11, flush=True)
    if options.photos is not None:
        footage = scan(options.photos)
        true = None
        if options.true is not None:
            size = (footage.width, footage.height)
            true = cameras_of(footage.paths, *size, options.true, footage.sizes.odd)
        folder = options.cache / "found" / options.photos.resolve().parent.name
        print(row(options.photos.name, footage, folder, true, options.threads))
        return 0
    for sort, kind in ORDER[: options.captures]:
        circle = circles.rendered(sort, kind, options.cache, lambda _: None)
        folder = options.cache / "found" / circle.name
        print(
            row(circle.name, circle.footage(), folder, circle.cameras(), options.threads),
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
