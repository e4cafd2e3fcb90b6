# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line: render many small scenes for training.

A scene's folder gets its name only when it is complete, so a reader never sees half a scene.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

# It replaces this folder, whose modules would hide others with the same names.
if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tools.research.capture.capture import make_capture, plain_layout
from tools.research.capture.quick import QuickRenderer
from tools.research.capture.stage import Stage, StagePlan
from tools.research.capture.subjects import KINDS

SIZES = ((320, 448), (300, 448), (448, 320), (448, 336), (384, 384), (300, 448))
SHORT_OF_SEEDS = 1000  # lower seeds are for captures that must not be used for training
HELD_OUT_EVERY = 12


def plan_scene(
    number: int, seed: int, scale: float = 1.0, only: str = "", frames: int | None = None
) -> StagePlan:
    """Return the plan of the scene with this number. Every third scene has a chair.

    Parameters
    ----------
    number, seed : int
        Number of the scene, and seed of the whole set.
    scale : float
        Factor on the pictures' sides.
    only : str
        The only kind wanted; "" for all.
    frames : int, optional
        Photos of the scene. They cover the same angle as 8 to 12 would.
    """
    rng = Random(f"{seed}/{number}")
    others = [kind for kind in KINDS if kind != "chair"]
    kind = "chair" if number % 3 == 0 else others[(number * 2 // 3) % len(others)]
    usual = rng.randint(8, 12)
    sweep = math.radians(rng.uniform(6, 12)) * usual * rng.choice([-1, 1])
    width, height = rng.choice(SIZES)
    size = (round(width * scale), round(height * scale))
    return StagePlan(
        only or kind, SHORT_OF_SEEDS + seed * 100_000 + number, size, frames or usual, sweep
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Render scenes that do not exist yet and return the exit code."""
    parser = argparse.ArgumentParser(description="Render small scenes for training.")
    parser.add_argument("--out", type=Path, required=True, help="gets folders train and val")
    parser.add_argument("--scenes", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the pictures' sides")
    parser.add_argument("--kind", choices=sorted(KINDS), default="", help="only this kind")
    parser.add_argument("--frames", type=int, help="photos of a scene; else 8 to 12")
    options = parser.parse_args(arguments)
    for number in range(options.scenes):
        plan = plan_scene(number, options.seed, options.scale, options.kind, options.frames)
        held_out = number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 or number % 36 == 24
        folder = options.out / ("val" if held_out else "train")
        target = folder / f"{plan.kind}_{plan.seed}"
        if target.exists():
            continue
        part = options.out / "part" / target.name
        if part.exists():
            shutil.rmtree(part)
        started = time.monotonic()
        make_capture(
            Stage(plan), QuickRenderer, plain_layout(plan.frames), part, report=lambda line: None
        )
        folder.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)
        seconds = time.monotonic() - started
        print(
            f"{number} {target} {plan.frames} frames, {seconds / plan.frames:.2f} s each",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
