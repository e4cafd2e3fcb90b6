# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the main job on the bundled sample, through Blender.

    python tools/demo.py
    python tools/demo.py --second-look parts
    python tools/demo.py --footage DIR --prompts FILE [--model NAME] [--frames A-B]

If there is ground truth beside the photos (a folder ``truth``), the IoU of every frame is shown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.setup_env import ROOT, ensure_environment

SAMPLE = ROOT / "sample"


def _options(arguments: List[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--footage", type=Path, default=SAMPLE / "photos", help="folder of photos")
    parser.add_argument("--prompts", type=Path, help="prompts as JSON; the sample has its own")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--frames", help="a range such as 1-12")
    parser.add_argument(
        "--second-look",
        choices=("off", "whole", "parts", "details", "automatic"),
        default="automatic",
        help="look at each matte once more, close up: as a whole, or also its parts",
    )
    parser.add_argument(
        "--refine-edges", action="store_true", help="edges from the photo's pixels, at the bake"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default: build/demo/<name of the footage>")
    options = parser.parse_args(arguments)
    if options.prompts is None:
        if options.footage.resolve() != (SAMPLE / "photos").resolve():
            parser.error("--footage needs --prompts; docs/prompts.md shows the format")
        options.prompts = SAMPLE / "prompts.json"
    if options.out is None:
        name = options.footage.resolve()
        options.out = (
            ROOT / "build" / "demo" / (name.parent.name if name.name == "photos" else name.name)
        )
    return options


def main(arguments: List[str]) -> int:
    """Make .venv if it is missing, run the demo in it, and return the exit code."""
    options = _options(arguments)
    ensure_environment()
    from tools.demo_report import run

    return run(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
