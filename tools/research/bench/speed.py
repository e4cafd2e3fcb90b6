# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the engine's speed and memory with the alternatives', in one run.

    python tools/research/bench/speed.py [--parts startup preview steps modes propagation bake large]
                                [--size 512] [--frames 6] [--objects 1 3] [--json FILE]

It prints a table and writes the same as JSON. The ratio of a row to the first row of its task uses
CPU time, because wall time says little on a busy machine. The model has random weights: the
arithmetic is the same, and no download is needed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command

_PARTS = ("startup", "preview", "steps", "modes", "propagation", "bake", "large")
_LARGE = (6000, 9000)
_LARGE_FRAMES = 2


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--photos", type=Path, default=ROOT / "sample" / "photos")
    parser.add_argument("--model", default="sam2.1_hiera_tiny", help="an official model")
    parser.add_argument("--size", type=int, default=512, help="the model's input, px")
    parser.add_argument("--frames", type=int, nargs="+", default=[6])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--programs", nargs="+", help="of propagation; the first is the measure")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--photo", type=Path, help="the photo to bake; else one made of the sample")
    parser.add_argument("--slow", action="store_true", help="with Pillow's default level")
    parser.add_argument("--json", type=Path, help="where the rows go as JSON")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        _measure(options, Path(scratch))


def _measure(options: argparse.Namespace, scratch: Path) -> None:
    from tools.research.bench.timing import baking, large, looks, modes, propagation, startup, steps
    from tools.research.bench.timing.rows import Row, table

    rows: list[Row] = []
    photos = sorted(options.photos.iterdir())
    if "startup" in options.parts:
        rows += startup.measure(options.model)
    if "preview" in options.parts:
        rows += looks.measure(photos[0], options.model, options.size, options.threads)
    if "steps" in options.parts:
        rows += steps.measure(steps.Case(options.model, options.size, options.threads))
    if "modes" in options.parts:
        rows += modes.measure(modes.Case(options.model, tuple(options.objects), options.threads))
    if "propagation" in options.parts:
        programs = tuple(options.programs or propagation.PROGRAMS)
        for frames in options.frames:
            for objects in options.objects:
                case = propagation.Case(
                    "", "", frames, objects, options.model, options.size, options.threads, ""
                )
                rows += propagation.measure(photos, case, programs, scratch)
    if {"bake", "large"} & set(options.parts):
        photo = options.photo or baking.enlarged(photos[0], scratch / "large.jpg", *_LARGE)
        if "bake" in options.parts:
            rows += baking.measure(baking.Case(str(photo), options.slow))
        if "large" in options.parts:
            rows += large.measure(
                photo, _LARGE_FRAMES, options.model, options.size, options.threads, scratch
            )
    print(table(rows))
    command.write_json(options.json, rows)


def main() -> int:
    """Measure what the command line asks for; return the exit code."""
    return command.run(_run, _options())


if __name__ == "__main__":
    sys.exit(main())
