# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure Find Subject: how often it is right, and the masks from its clicks beside those from true clicks.

    python tools/research/bench/clickless.py [--cache build/geometry] [--captures 14]

With ``--carry unordered`` or ``--carry passes`` it measures *Carry Clicks* instead, on the same photos in
another order: one true click on the first photo, without and with clicks that are carried.

It takes the circles of `geometry.py`. *Right* means that the masks of the proposed clicks alone have a mean
IoU of at least 0.7 with the truth. Then all photos are propagated from the proposed clicks (no click), from
one true click on the first photo, and from three.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
if not __package__:  # run as a script
    sys.path[0] = str(ROOT)
    from tools.setup_env import ensure_environment

    ensure_environment()

import msgspec
import numpy as np
from msgspec.structs import replace

from sam2_splat_addon.core.errors import CameraError
from sam2_splat_addon.core.geometry.resample import upsample_binary
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.protocol import FindSubjectRequest
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs import carry_clicks, find_subject
from tools.research.bench import command
from tools.research.bench.evaluation import circles
from tools.research.bench.evaluation.circles import Circle
from tools.research.bench.geometry import ORDER, ious
from tools.research.bench.review import overlap

RIGHT = 0.7


class Figures(msgspec.Struct, frozen=True):
    """One capture.

    Attributes
    ----------
    proposed
        IoU with the truth of the mask of each photo with proposed clicks; empty if nothing was found.
    without, one, three
        Mean IoU over all photos: no click, one, three; -1 for not measured.
    seconds
        CPU time of the search.
    said
        Why nothing was found.
    """

    name: str
    proposed: tuple[float, ...]
    without: float
    one: float
    three: float
    seconds: float
    said: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the proposal is on the subject."""
        return bool(self.proposed) and float(np.mean(self.proposed)) >= RIGHT


def measured(circle: Circle, cache: Path) -> Figures:
    """Measure one capture."""
    wish = circles.request_of(circle, 1, cache / "work" / f"{circle.name}_0")
    request = FindSubjectRequest(
        wish.footage, "subject", wish.store, wish.model, cameras=str(circle.cameras_file)
    )
    one, three = (
        float(np.mean(ious(circle, circles.propagated(circle, count, cache), {})))
        for count in (1, 3)
    )
    began = time.process_time()
    try:
        found = find_subject.run(request, lambda event: None, lambda event: None, lambda: False)
    except CameraError as problem:
        seconds = time.process_time() - began
        return Figures(circle.name, (), 0.0, one, three, seconds, str(problem))
    seconds = time.process_time() - began
    proposed = []
    for at in found.prompts.objects[0].frames:
        logits = find_subject.mask_of(wish.footage, at, wish.model, wish.settings, lambda: False)
        proposed.append(overlap(upsample_binary(logits, *circles.SIZE), circle.truth(at.frame)))
    without = tracked(circle, found.prompts, cache)
    return Figures(circle.name, tuple(proposed), without, one, three, seconds)


def tracked(circle: Circle, prompts: PromptSet, cache: Path) -> float:
    """Return the mean IoU of the masks that these prompts give."""
    store = MatteStore.open(cache / "work" / f"{circle.name}_found", create=True)
    store.clear()
    circles.track(replace(circles.request_of(circle, 1, store.folder), prompts=prompts))
    return float(np.mean(ious(circle, store, {})))


def carried(circle: Circle, cache: Path) -> str:
    """Return a row: the mean IoU of all photos, without and with carried clicks."""
    told = []
    for wish in ("off", "on"):
        store = MatteStore.open(cache / "work" / f"{circle.name}_{wish}", create=True)
        store.clear()
        request = replace(
            circles.request_of(circle, 1, store.folder),
            settings=RunSettings(carry_clicks=wish),
            cameras=str(circle.cameras_file),
        )
        began = time.process_time()
        request = carry_clicks.prepared(
            request,
            on_progress=lambda event: None,
            on_log=lambda event: None,
            cancelled=lambda: False,
        )
        seconds = time.process_time() - began
        circles.track(request)
        found = ious(circle, store, {})
        photos = sum(len(entry.frames) for entry in request.carried.objects)
        wrong = sum(value < RIGHT for value in found)
        told.append(f"{np.mean(found):.3f} | {wrong} | {photos} | {seconds:.0f}")
    return f"| {circle.name} | {' | '.join(told)} |"


def line(one: Figures) -> str:
    """Return a capture's row of the table."""
    proposed = " ".join(f"{value:.2f}" for value in one.proposed) or one.said
    return (
        f"| {one.name} | {'yes' if one.is_right else 'no'} | {proposed} | {one.without:.3f} |"
        f" {one.one:.3f} | {one.three:.3f} | {one.seconds:.0f} |"
    )


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "geometry")
    parser.add_argument("--captures", type=int, default=len(ORDER), help="the first so many")
    parser.add_argument("--json", type=Path, help="where each capture's figures go as JSON")
    parser.add_argument("--only", help="a sort, such as walker")
    parser.add_argument("--carry", choices=("unordered", "passes"), help="measure Carry Clicks")
    options = parser.parse_args()
    chosen = [one for one in ORDER if options.only in (None, one[0])][: options.captures]
    if options.carry:
        columns = "J | wrong | photos with carried clicks | s"
        print(f"| capture | {columns} | with: {columns} |", flush=True)
        for sort, kind in chosen:
            circle = circles.rendered(sort, kind, options.cache, lambda text: None)
            circle = circles.reordered(circle, options.carry, options.cache)
            print(carried(circle, options.cache), flush=True)
        return 0
    print("| capture | right | proposed | no click | one | three | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    figures: list[Figures] = []
    for sort, kind in chosen:
        circle = circles.rendered(sort, kind, options.cache, lambda text: None)
        figures.append(measured(circle, options.cache))
        print(line(figures[-1]), flush=True)
        command.write_json(options.json, figures)
    print(f"right: {sum(one.is_right for one in figures)} of {len(figures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
