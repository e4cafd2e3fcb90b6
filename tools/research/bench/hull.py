# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the hull of many photos, and its outlines, and measure the memory.

    python tools/research/bench/hull.py [--photos 200] [--size 1280x960] [--cells 128]

The photos show a stool with thin legs, from two rings round it. Its masks are exact but for noise in their
logits. Everything runs as in `--compare`, without the colours of the photos.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[3]
if not __package__:  # run as a script
    sys.path[0] = str(ROOT)
    from tools.setup_env import ensure_environment

    ensure_environment()

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.cameras.capture import Camera
from sam2_splat_addon.core.cameras.find import PhotoCamera
from sam2_splat_addon.core.cameras.lens import Lens
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.system.process_memory import peak_memory_mb
from sam2_splat_addon.engine.agreement.aim import Mask
from sam2_splat_addon.engine.agreement.outline import Outlines, overlap
from sam2_splat_addon.engine.jobs.compare import hull_of
from tools.research.bench.timing.long_footage import parsed_size

_SEAT: Final = (0.45, 0.4, 0.5)  # radius, lower and upper side
_FOOT: Final = (0.42, -0.5)  # radius and height
_LEG: Final = 0.02  # radius
_FAR: Final = 2.2


def cameras(count: int, width: int, height: int) -> list[PhotoCamera]:
    """Return cameras in two rings round the stool."""
    focal = 0.94 * width
    lens = Lens("PINHOLE", width, height, (focal, focal, width / 2, height / 2))
    found = []
    for at in range(count):
        angle, up = 2 * math.pi * at / count, (0.25, 0.7)[at % 2]
        flat = math.cos(up)
        ahead = -np.array([math.cos(angle) * flat, math.sin(angle) * flat, math.sin(up)])
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        turn = np.stack([right, np.cross(ahead, right), ahead])
        camera = Camera.at(f"{at:04d}.jpg", lens, turn, -_FAR * ahead)
        found.append(PhotoCamera(camera, np.eye(2, 3), width, height))
    return found


def truth(view: PhotoCamera) -> NDArray[np.uint8]:
    """Return the stool's mask on a photo, (height, width) of 0 and 1."""
    drawn = np.zeros((view.height, view.width), np.uint8)
    radius, low, high = _SEAT
    turns = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    ring = radius * np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    rims = np.concatenate([np.insert(ring, 2, side, axis=1) for side in (low, high)])
    pixels, _ = view.project(rims)
    cv2.fillConvexPoly(drawn, cv2.convexHull(pixels.astype(np.int32)), (1,))
    for angle in (0.3, 2.4, 4.5):
        way = np.array([math.cos(angle), math.sin(angle)])
        ends = np.array([[*(0.2 * way), low], [*(_FOOT[0] * way), _FOOT[1]]])
        pixels, away = view.project(ends)
        wide = round(2 * _LEG * view.focal / float(away.mean()))
        (x, y), (x2, y2) = pixels.astype(int).tolist()
        cv2.line(drawn, (x, y), (x2, y2), (1,), max(1, wide))
    return drawn


def masks(views: list[PhotoCamera], cells: int) -> list[Mask]:
    """Return the masks on grids of so many cells."""
    rng = np.random.default_rng(1)
    found = []
    for frame, view in enumerate(views, 1):
        size = (cells, cells)
        inside = cv2.resize(truth(view).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        logits = (inside - 0.5) * 16 + rng.normal(0, 1.5, inside.shape)
        found.append(Mask(frame, view, logits.astype(np.float16), fixed=frame == 1))
    return found


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--size", default="1280x960", help="of the photos, px")
    parser.add_argument("--cells", type=int, default=128, help="of a mask's grid, on each side")
    parser.add_argument("--store", type=Path, default=ROOT / "build" / "hull")
    options = parser.parse_args()
    views = cameras(options.photos, *parsed_size(options.size))
    given = masks(views, options.cells)
    before = peak_memory_mb()
    store = MatteStore.open(options.store, create=True)
    store.clear()
    began, spent = time.monotonic(), time.process_time()
    hull, _ = hull_of(store, 1, given, lambda: None)
    carved, carved_spent = time.monotonic() - began, time.process_time() - spent
    outlines = Outlines(hull, given)
    seconds, cpu = time.monotonic() - began, time.process_time() - spent
    good = [
        overlap(outlines.shape(one.frame), cv2.resize(truth(one.camera), shape[::-1]) > 0)
        for one in given[::8]
        for shape in [outlines.shape(one.frame).shape]
    ]
    print(f"{options.photos} photos of {options.size}, masks of {options.cells} cells:", end=" ")
    print(f"{len(hull.centres):,} voxels, {2 * hull.radius / hull.voxel:.0f} across the ball")
    print(f"hull {carved:.1f} s ({carved_spent:.1f} s of processors), ", end="")
    print(f"with outlines {seconds:.1f} s ({cpu:.1f})")
    print(f"IoU with the truth {np.mean(good):.3f}; ", end="")
    print(f"peak {peak_memory_mb():.0f} MB, {before:.0f} MB before")
    return 0


if __name__ == "__main__":
    sys.exit(main())
