# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the gain from guarded memory, from both sides, and from panoramas.

    python tools/research/bench/tracking.py --orbits 12 --alike 10
    python tools/research/bench/tracking.py --orbits 12 --alike 10 --prompted last
    python tools/research/bench/tracking.py --panoramas 2

There are plain orbits, orbits with the subject hidden for five frames, and the same among
look-alikes. Each is tracked with exact and with guarded memory. Panoramas have the subject in the
middle or across the photo's edge, and are tracked with and without the panorama setting.

With --prompted, the last photo or one in the middle has clicks too. The photos between are tracked
from one side and from both, and only these photos count. Captures are rendered once. Even seeds
were used to set the thresholds of guarded memory and of both sides. So only odd seeds (--half
report) show the real gain. Results are also written to build/tracking.json, clip by clip.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, get_args

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command

if TYPE_CHECKING:
    from sam2_splat_addon.core.settings import RunSettings
    from tools.research.bench.evaluation.prompting import PromptKind
    from tools.research.bench.evaluation.scoring import ObjectScore
    from tools.research.bench.evaluation.sources import Clip
    from tools.research.capture.stage import StagePlan

_SIZE = (480, 720)  # of the rendered orbits, px
_FRAMES = 16
_PANORAMA_FRAMES = 8


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--orbits", type=int, default=0, metavar="N")
    parser.add_argument("--alike", type=int, default=0, metavar="N")
    parser.add_argument("--panoramas", type=int, default=0, metavar="N")
    parser.add_argument("--prompted", choices=("first", "middle", "last"), default="first")
    parser.add_argument("--half", choices=("tune", "report", "all"), default="report")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--rendered", type=Path, default=ROOT / "build")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "tracking.json")
    options = parser.parse_args()
    if not (options.orbits or options.alike or options.panoramas):
        parser.error("say what to measure: --orbits, --alike or --panoramas")
    return options


def _run(options: argparse.Namespace) -> None:
    import msgspec

    from sam2_splat_addon.core.settings import Direction, Memory, RunSettings
    from tools.research.bench.evaluation import lookalikes, orbits, panoramas, sources
    from tools.research.bench.evaluation.report import Group

    groups: list[Group] = []

    def keep(title: str, name: str, scores: Sequence[ObjectScore]) -> None:
        _show(title, name, scores)
        groups.append(Group(f"{title}, {name}", tuple(scores)))
        command.write_json(options.out, groups)

    root = options.rendered
    forward: Direction = "forward"
    memories: tuple[Memory, ...] = get_args(Memory)
    kinds: dict[str, RunSettings] = {
        each: RunSettings(direction=forward, memory=each) for each in memories
    }
    if options.prompted != "first":
        kinds |= {
            f"{name}, both": msgspec.structs.replace(settings, both_sides=True)
            for name, settings in kinds.items()
        }
    plain = orbits.orbit_plans(options.orbits, _FRAMES, _SIZE)
    alike = lookalikes.plans(options.alike, _FRAMES, _SIZE)
    wanted: list[tuple[str, Sequence[StagePlan], Callable[..., Path], Path]] = [
        ("plain", plain, orbits.rendered_orbit, root / "orbits"),
        ("hidden", plain, orbits.hidden_orbit, root / "orbits"),
        ("alike", alike, lookalikes.rendered, root / "alike"),
        ("alike and hidden", alike, lookalikes.rendered_hidden, root / "alike"),
    ]
    for title, plans, make, folder in wanted:
        chosen = [plan for plan in plans if _in_half(plan, options.half)]
        clips = [sources.capture(make(plan, folder, _progress)) for plan in chosen]
        for name, settings in kinds.items():
            scores = [
                _score(clip, settings, options.threads, also=options.prompted) for clip in clips
            ]
            keep(title, name, scores)
    for plan in panoramas.plans(options.panoramas, _PANORAMA_FRAMES):
        folder = panoramas.rendered(plan, root / "panoramas", _progress)
        middle = panoramas.clip(folder)
        across = panoramas.over_seam(middle, root / "panoramas" / "seam" / folder.name)
        for clip in (middle, across):
            for on in (True, False):
                settings = RunSettings(direction=forward, panorama=on)
                name = "panorama" if on else "ordinary photo"
                # Start from a mask: the question is whether the view matters, not what a click means.
                keep(clip.name, name, [_score(clip, settings, options.threads, "mask")])


def _in_half(plan: StagePlan, half: str) -> bool:
    return half == "all" or (plan.seed % 2 == 0) == (half == "tune")


def _score(
    clip: Clip,
    settings: RunSettings,
    threads: int,
    kind: PromptKind = "3clicks",
    also: str = "first",
) -> ObjectScore:
    from sam2_splat_addon.core.protocol import ModelChoice
    from tools.research.bench.evaluation import tracking
    from tools.research.bench.evaluation.prompting import prompts_at, prompts_for, well_seen
    from tools.research.bench.evaluation.scoring import score

    model = ModelChoice("bundled", "", "cpu", threads)
    if also == "first":
        prompts = prompts_for(clip, kind)
    else:
        seen = well_seen(clip)
        middle = next(index for index in seen if index >= len(clip.photos) // 2)
        second = seen[-1] if also == "last" else middle
        prompts = prompts_at(clip, kind, (seen[0], second))
        clip = dataclasses.replace(clip, scored=range(seen[0] + 1, second))
    tracked = tracking.track(
        model, 0, clip.photos, prompts, lambda done: _progress(f"{clip.name} {done}"), settings
    )
    found = score(clip, clip.subjects[0], kind, tracked)
    assert found is not None  # some frame counts
    return found


def _show(title: str, name: str, scores: Sequence[ObjectScore]) -> None:
    if not scores:
        return
    hidden = [entry.occlusion for entry in scores if entry.occlusion is not None]
    line = f"{title:36} {name:15} {len(scores):2} clips"
    line += f"  J {fmean(s.j for s in scores):.3f}  F {fmean(s.f for s in scores):.3f}"
    line += f"  J&F {fmean(s.jf for s in scores):.3f}  lost {sum(s.lost for s in scores)}"
    if hidden:
        frames = sum(entry.hidden for entry in hidden)
        absent = sum(entry.reported_absent for entry in hidden)
        found = sum(entry.is_found_again for entry in hidden)
        line += f"  absent while hidden {absent}/{frames}  found again {found}/{len(hidden)}"
    print(f"\r{line}", flush=True)


def _progress(line: str) -> None:
    print(f"\r{line:<100.100}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print; return the exit code."""
    return command.run(_run, _options())


if __name__ == "__main__":
    sys.exit(main())
