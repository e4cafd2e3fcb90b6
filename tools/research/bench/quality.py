# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how well a model segments: J, F, thin parts, occlusions.

    python tools/research/bench/quality.py --sample
    python tools/research/bench/quality.py --orbits 12 --occlusion
    python tools/research/bench/quality.py --orbits 12 --occlusion --corrections 4
    python tools/research/bench/quality.py --davis FOLDER --kinds mask 1click
    python tools/research/bench/quality.py --clips FOLDER --prompts FILE
    python tools/research/bench/quality.py --speed
    python tools/research/bench/quality.py --sample --model tiny --weights sam2.1_hiera_tiny.pt

Everything runs through the extension's own engine. It prints tables and writes quality.json, or
speed.json with --speed, into build/quality. docs/bundled-model.md explains the measures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command

_KINDS = ("1click", "3clicks", "box", "mask")
_SIZE = (480, 720)  # of the rendered orbits, px


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("footage")
    what.add_argument("--sample", action="store_true", help="the sample's orbit around a chair")
    what.add_argument("--orbits", type=int, default=0, metavar="N", help="N rendered captures")
    what.add_argument(
        "--occlusion", action="store_true", help="the orbits with the subject hidden for 5 frames"
    )
    what.add_argument(
        "--corrections",
        type=int,
        default=0,
        metavar="N",
        help="N rounds of corrective clicks on the orbits instead, hidden ones with --occlusion",
    )
    what.add_argument("--captures", type=Path, help="a folder of captures made for training")
    what.add_argument("--davis", type=Path, help="a folder with JPEGImages and Annotations")
    what.add_argument("--clips", type=Path, help="real footage without truth; needs --prompts")
    what.add_argument("--prompts", type=Path, help="JSON: what to click on in --clips")
    what.add_argument("--speed", action="store_true", help="beside SAM 2.1 tiny, random weights")
    how = parser.add_argument_group("how")
    how.add_argument("--model", default="bundled", help="a name, such as tiny, or a checkpoint")
    how.add_argument("--weights", type=Path, help="the model's checkpoint or training state")
    how.add_argument("--size", type=int, default=0, help="side of its input, px; 0: its own")
    how.add_argument("--kinds", choices=_KINDS, nargs="+", default=(), help="kinds of prompt")
    how.add_argument("--refined", action="store_true", help="edges refined, as the bake can")
    how.add_argument(
        "--second-look",
        choices=("off", "whole", "parts", "details", "automatic"),
        nargs="?",
        default="automatic",
        const="whole",
        help="each matte, once more close up: as a whole, or its parts too",
    )
    how.add_argument(
        "--precision", choices=("automatic", "float32", "bfloat16"), default="automatic"
    )
    how.add_argument("--frames", type=int, default=0, help="of each clip at most; 0: all")
    how.add_argument("--only", nargs="+", default=(), help="clips whose name holds one of these")
    how.add_argument("--device", default="auto")
    how.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    how.add_argument("--objects", type=int, default=1, help="tracked at once in --speed")
    how.add_argument("--orbit-frames", type=int, default=16)
    how.add_argument("--rendered", type=Path, default=ROOT / "build" / "orbits")
    how.add_argument("--out", type=Path, default=ROOT / "build" / "quality")
    how.add_argument("--sheets", action="store_true", help="contact sheets of all that has truth")
    options = parser.parse_args()
    if options.clips and not options.prompts:
        parser.error(
            "--clips needs --prompts; tools/research/bench/evaluation/footage.py shows the format"
        )
    if (options.occlusion or options.corrections) and not options.orbits:
        options.orbits = 12
    wanted = ("sample", "orbits", "captures", "davis", "clips", "speed")
    if not any(getattr(options, name) for name in wanted):
        parser.error("say what to measure: --sample, --orbits, --davis, --clips or --speed")
    return options


def _run(options: argparse.Namespace) -> None:
    from tools.research.bench.evaluation import evaluate, footage, sources

    if options.speed:
        photos = sources.sample(ROOT / "sample").photos
        evaluate.compare_speed(
            photos, options.device, options.threads, options.objects, 4, options.out
        )
    if not any((options.sample, options.orbits, options.captures, options.davis, options.clips)):
        return
    evaluator = evaluate.Evaluator(
        evaluate.Settings(
            model=options.model,
            weights=options.weights,
            image_size=options.size,
            device=options.device,
            threads=options.threads,
            kinds=tuple(options.kinds),
            frames=options.frames,
            only=tuple(options.only),
            out=options.out,
            refined=options.refined,
            second_look=options.second_look,
            precision=options.precision,
            with_sheets=options.sheets,
        )
    )
    if options.sample:
        evaluator.run("sample", [sources.sample(ROOT / "sample")])
    for hidden in (False, True) if options.occlusion else (False,):
        if options.orbits:
            orbits = evaluate.rendered(
                options.orbits, options.orbit_frames, _SIZE, options.rendered, hidden=hidden
            )
            name = "occlusion" if hidden else "orbits"
            if options.corrections:
                evaluator.correct(name, orbits, options.corrections)
            else:
                evaluator.run(name, orbits)
    if options.captures:
        evaluator.run("captures", sources.captures(options.captures))
    if options.davis:
        evaluator.run("davis", sources.davis(options.davis))
    if options.clips:
        wishes = footage.read_wishes(options.prompts)
        evaluator.look(options.clips, wishes, ROOT / "build" / "clips")


def main() -> int:
    """Run the evaluation; return the exit code."""
    return command.run(_run, _options())


if __name__ == "__main__":
    sys.exit(main())
