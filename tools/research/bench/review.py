# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how well the review finds bad frames, on rendered orbits.

    python tools/research/bench/review.py [--cache build/review] [--scenes 16] [--json FILE]

It renders orbits (once), propagates one and three clicks on their first photo with the bundled
model, and compares the review's list with the truth. A frame deserves a look if its matte's IoU
with the truth is under 0.8. One half of the orbits was used to set the review's constants, the
other half only checks them. Both halves are printed. Recall is the part of deserving frames that
are listed. Precision is the part of listed frames that deserve it.

The cache folder keeps what was rendered and propagated. New weights are propagated again.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
if not __package__:  # run as a script
    sys.path[0] = str(ROOT)
    from tools.setup_env import ensure_environment

    ensure_environment()

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.geometry.resample import upsample_binary
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import FootageFiles, ModelChoice, PropagateRequest
from sam2_splat_addon.core.review.judge import review_object
from tools.research.bench import command
from tools.research.capture.capture import make_capture, plain_layout
from tools.research.capture.identity import SUBJECT
from tools.research.capture.quick import QuickRenderer
from tools.research.capture.stage import Stage, StagePlan
from tools.research.capture.subjects import KINDS

Bools = NDArray[np.bool_]

SIZE = (320, 480)  # px
FRAMES = 20
STEP = math.radians(9.0)  # from photo to photo
FIRST_SEED = 300  # under 1000: never used for training
CLICKS = (1, 3)
HALVES = ("calibration", "check")
DESERVES_A_LOOK = 0.8  # IoU under which a matte is wrong


def plans(count: int) -> list[StagePlan]:
    """What the orbits show: every kind in turn. The seed decides what passes in front."""
    kinds = sorted(KINDS)
    return [
        StagePlan(kinds[(5 * n) % len(kinds)], FIRST_SEED + n, SIZE, FRAMES, STEP * FRAMES)
        for n in range(count)
    ]


def rendered(plan: StagePlan, cache: Path) -> Path:
    """Return the folder of an orbit's photos and ids (see `tools.research.capture.capture.plain_layout`)."""
    target = cache / f"{plan.kind}_{plan.seed}"
    if not target.exists():
        part = cache / "part" / target.name
        make_capture(
            Stage(plan), QuickRenderer, plain_layout(plan.frames), part, resume=True, report=print
        )
        os.replace(part, target)
    return target


def propagated(folder: Path, clicks: int, cache: Path) -> MatteStore:
    """Mattes of an orbit from so many clicks on its first photo, by the bundled model."""
    from sam2_splat_addon.engine.jobs import propagate
    from sam2_splat_addon.engine.models.bundled_model import BUNDLED_WEIGHTS

    digest = hashlib.sha256(BUNDLED_WEIGHTS.read_bytes()).hexdigest()[:12]
    photos = cache / "photos" / folder.name
    if not photos.exists():
        photos.mkdir(parents=True)
        for path in sorted(folder.glob("*.jpg")):
            (photos / path.name).symlink_to(path.resolve())
    footage = scan(photos)
    store = MatteStore.open(cache / digest / f"{folder.name}_{clicks}", create=True)
    if len(store.frames(1)) == len(footage):
        return store
    points = clicked(truth_of(folder, 1), clicks)
    frame = FramePrompts(1, points)
    prompts = PromptSet((ObjectPrompts(1, "subject", (frame,)),), footage.width, footage.height)
    propagate.run(
        PropagateRequest(
            FootageFiles.of(footage), prompts, str(store.folder), ModelChoice("bundled", threads=1)
        ),
        on_progress=lambda event: None,
        on_frame_done=lambda event: None,
        on_log=lambda event: None,
        cancelled=lambda: False,
    )
    return store


def truth_of(folder: Path, frame: int) -> Bools:
    """Where the subject is visible on a frame, (height, width)."""
    truth: Bools = np.asarray(Image.open(folder / f"{frame - 1:04d}.png")) == SUBJECT
    return truth


def clicked(truth: Bools, count: int) -> tuple[PointPrompt, ...]:
    """Return include clicks as a person places them: deep inside, and far from each other."""
    depth = cv2.distanceTransform(np.pad(truth, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth > 0)
    places = np.column_stack([columns, rows])
    worth = depth[rows, columns].astype(np.float64)
    chosen: list[PointPrompt] = []
    for _ in range(count):
        x, y = (float(value) for value in places[int(worth.argmax())])
        chosen.append(PointPrompt(x + 0.5, y + 0.5))
        # The next place is deep and far from the earlier ones. Distance counts more than depth.
        far = np.hypot(*(places - (x, y)).T)
        worth = worth * np.minimum(far / max(truth.shape), 1.0)
    return tuple(chosen)


def overlap(one: Bools, other: Bools) -> float:
    """Return the IoU of two masks. Two empty masks agree."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


class Measured(msgspec.Struct, frozen=True):
    """One orbit from a number of clicks: each frame's IoU with the truth, and the listed frames.

    ``half`` is "calibration" or "check". Frames count from 1.
    """

    orbit: str
    clicks: int
    half: str
    overlaps: tuple[float, ...]
    listed: tuple[int, ...]

    def bools(self) -> tuple[Bools, Bools]:
        """For each frame: whether it deserves a look, and whether the review lists it."""
        numbers = np.arange(1, len(self.overlaps) + 1)
        return np.array(self.overlaps) < DESERVES_A_LOOK, np.isin(numbers, self.listed)


def measured(folder: Path, clicks: int, half: str, cache: Path) -> Measured:
    """Propagate an orbit if needed, and compare its review with the truth."""
    store = propagated(folder, clicks, cache)
    reviews = review_object(store, 1)
    overlaps = [
        overlap(
            upsample_binary(store.read(1, one.frame).logits, *SIZE), truth_of(folder, one.frame)
        )
        for one in reviews
    ]
    one = Measured(
        folder.name,
        clicks,
        half,
        tuple(overlaps),
        tuple(entry.frame for entry in reviews if entry.listed),
    )
    deserves, listed = one.bools()
    print(
        f"{one.orbit:18} {clicks} clicks  mean IoU {np.mean(overlaps):.3f}"
        f"  deserving {deserves.sum():3}  listed {listed.sum():3}"
        f"  both {(deserves & listed).sum():3}",
        flush=True,
    )
    return one


def summary(name: str, results: list[tuple[Bools, Bools]]) -> str:
    """Recall and precision over several runs, as a line."""
    deserves = np.concatenate([one for one, _ in results])
    listed = np.concatenate([other for _, other in results])
    both = int((deserves & listed).sum())
    return (
        f"{name:12} {len(deserves):4} frames, {deserves.sum():4} deserve a look,"
        f" {listed.sum():4} listed: recall {both / max(int(deserves.sum()), 1):.3f},"
        f" precision {both / max(int(listed.sum()), 1):.3f}"
    )


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "review")
    parser.add_argument("--scenes", type=int, default=16, help="orbits, at least 2")
    parser.add_argument("--json", type=Path, help="where each orbit's figures go as JSON")
    options = parser.parse_args()
    found: list[Measured] = []
    for number, plan in enumerate(plans(options.scenes)):
        folder = rendered(plan, options.cache)
        half = HALVES[number % 2]
        found += [measured(folder, clicks, half, options.cache) for clicks in CLICKS]
        command.write_json(options.json, found)
    for half in HALVES:
        print(summary(half, [one.bools() for one in found if one.half == half]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
