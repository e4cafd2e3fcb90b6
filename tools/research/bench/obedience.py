# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure whether a model does what clicks say, on real photos.

    python tools/research/bench/obedience.py --real FOLDER --stills
    python tools/research/bench/obedience.py --real FOLDER --sequences --corrections --json FILE
    python tools/research/bench/obedience.py --real FOLDER --sequences --only blowtorch --every 1
    python tools/research/bench/obedience.py --real FOLDER --stills --model tiny --weights FILE.pt

tools/research/bench/evaluation/real.py explains the folder's layout. Everything runs through the
extension's own preview and propagation.

--stills: single photos, all of test/clicks and two frames of each sequence of test/davis. Each next
click goes into the deepest point of the largest error, until IoU is 0.95 or there are 20 clicks.
The table has:

- NoC: the number of clicks to an IoU, 20 if it is never reached;
- mean IoU after a number of clicks (a photo that ended early keeps its last IoU);
- clicks obeyed at their own pixel;
- added clicks that lower IoU by more than 0.02;
- the part of a box's mask that lies outside the box.

--sequences: test/davis, frames 1 to 25, and the orbits, every third photo, prompted on their first
frame. One click is in the deepest point of the true mask. With three clicks, each further one is in
the deepest point of what is left without the largest disc around the last click. All frames count,
the prompted one too.

--corrections: start from one click on the first frame. Each round adds one click in the largest
error of the frame with the least J, and propagates again with all clicks so far.

tools/research/bench/quality.py measures rendered footage.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command

_KINDS = ("1click", "3clicks", "box", "mask")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("what")
    what.add_argument("--real", type=Path, required=True, help="the folder of photos")
    what.add_argument("--stills", action="store_true", help="clicks on single photos")
    what.add_argument("--sequences", action="store_true", help="prompts on first frames, tracked")
    what.add_argument("--corrections", action="store_true", help="rounds of corrective clicks")
    how = parser.add_argument_group("how")
    how.add_argument("--model", default="bundled", help="a name, such as tiny, or a checkpoint")
    how.add_argument("--weights", type=Path, help="the model's checkpoint or training state")
    how.add_argument("--size", type=int, default=0, help="side of its input, px; 0: its own")
    how.add_argument(
        "--kinds", choices=_KINDS, nargs="+", default=(), help="of prompts; all in --sequences,"
        " the first of these (else one click) in --corrections",
    )  # fmt: skip
    how.add_argument("--rounds", type=int, default=4, help="of corrections")
    how.add_argument("--every", type=int, default=3, help="of so many photos of an orbit, one")
    how.add_argument("--only", nargs="+", default=(), help="what has one of these in its name")
    how.add_argument("--most", type=int, default=0, help="of each set at most; 0: all")
    how.add_argument("--refined", action="store_true", help="edges refined, as the bake can")
    how.add_argument(
        "--second-look",
        choices=("off", "whole", "parts", "details", "automatic"),
        nargs="?",
        default="automatic",
        const="whole",
        help="each mask of a sequence, once more close up: as a whole, or its parts too",
    )
    how.add_argument(
        "--obey-clicks",
        choices=("automatic", "on", "off"),
        default="automatic",
        help="whether masks are moved where they go against a click; automatic: as in the extension",
    )
    how.add_argument("--device", default="auto")
    how.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    how.add_argument("--json", type=Path, help="where the figures go as JSON")
    how.add_argument("--sheets", type=Path, help="a folder for contact sheets")
    options = parser.parse_args()
    if not (options.stills or options.sequences or options.corrections):
        parser.error("say what to measure: --stills, --sequences or --corrections")
    if options.every < 1:
        parser.error("--every must be at least 1")
    return options


def _run(options: argparse.Namespace) -> None:
    from tools.research.bench.evaluation import judge

    judged = judge.Judge(
        judge.Settings(
            root=options.real,
            command=shlex.join(("python", "tools/research/bench/obedience.py", *sys.argv[1:])),
            model=options.model,
            weights=options.weights,
            image_size=options.size,
            device=options.device,
            threads=options.threads,
            refined=options.refined,
            second_look=options.second_look,
            obey_clicks=options.obey_clicks,
            kinds=tuple(options.kinds),
            rounds=options.rounds,
            every=options.every,
            only=tuple(options.only),
            most=options.most,
            json=options.json,
            sheets=options.sheets,
        )
    )
    if options.stills:
        judged.stills()
    if options.sequences:
        judged.sequences()
    if options.corrections:
        judged.corrections()


def main() -> int:
    """Measure and print; return the exit code."""
    return command.run(_run, _options())


if __name__ == "__main__":
    sys.exit(main())
