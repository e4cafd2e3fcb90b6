# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line: make one orbit capture of a procedural scene; Cycles needs bpy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

# It replaces this folder, whose modules would hide others with the same names.
if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tools.research.capture.capture import Renderer, camera_layout, make_capture, plain_layout
from tools.research.capture.occluders import OCCLUDERS
from tools.research.capture.quick import QuickRenderer
from tools.research.capture.stage import Stage, StagePlan
from tools.research.capture.subjects import KINDS


def parse_size(text: str) -> tuple[int, int]:
    """Return width and height from text such as ``1200x1800``.

    Raises
    ------
    argparse.ArgumentTypeError
        If the text is not two numbers with an x between them.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write it as 1200x1800.")
    return int(width), int(height)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a capture as the command line says and return the exit code."""
    parser = argparse.ArgumentParser(description="Make an orbit capture of a procedural scene.")
    parser.add_argument("--kind", choices=sorted(KINDS), default="chair")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", type=parse_size, default=(1200, 1800), metavar="WxH")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--renderer", choices=("cycles", "quick"), default="cycles")
    parser.add_argument("--samples", type=int, default=24, help="rays per pixel")
    parser.add_argument("--bounces", type=int, default=3, help="how often light is reflected")
    parser.add_argument("--quality", type=int, default=84, help="of the JPEGs")
    parser.add_argument("--brightness", type=float, default=0.0, help="in stops")
    parser.add_argument("--names", choices=("camera", "plain"), default="camera")
    parser.add_argument("--place", choices=("room", "outdoors", "any"), default="any")
    parser.add_argument("--occluder", choices=(*OCCLUDERS, "none", "any"), default="any")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="keep the frames that exist")
    options = parser.parse_args(arguments)
    layout = (camera_layout if options.names == "camera" else plain_layout)(
        options.frames, options.quality
    )
    layout = replace(layout, brightness=options.brightness)
    plan = StagePlan(
        kind=options.kind,
        seed=options.seed,
        size=options.size,
        frames=options.frames,
        indoors={"room": True, "outdoors": False, "any": None}[options.place],
        occluder={"none": "", "any": None}.get(options.occluder, options.occluder),
    )

    def start_renderer(stage: Stage) -> Renderer:
        if options.renderer == "quick":
            return QuickRenderer(stage, oversampling=3)
        from tools.research.capture.cycles_render import CyclesRenderer, CyclesSettings

        return CyclesRenderer(
            stage, CyclesSettings(options.samples, options.threads, options.bounces)
        )

    try:
        make_capture(Stage(plan), start_renderer, layout, options.out, options.resume)
    except FileExistsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
