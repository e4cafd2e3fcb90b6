# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what agreement in 3D is worth, on full circles with true cameras and true masks.

    python tools/research/bench/geometry.py [--cache build/geometry] [--captures 14] [--rounds 2]

It renders circles (once), propagates one click on the first photo with the bundled model, and compares
all masks with the truth: as they are, clipped to the hull, after *Agree*, and after both. A photo deserves
a look if its IoU with the truth is under 0.8. The review's list is measured without and with the cameras.
``--found`` takes the cameras that ``cameras.py`` has found in the same cache. ``--spoil 10`` first replaces
the masks of so many photos of each capture by wrong ones, without *Agree*. ``--order unordered`` or ``--order
passes`` takes the photos in another order.

``--clicks 6`` measures instead how many clicks a user needs, without cameras and with *Agree* after each
propagation: each next click is in the largest error of the worst photo, until the mean J is 0.95.

The cache folder keeps what was rendered and propagated. New weights are propagated again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import get_args

ROOT = Path(__file__).resolve().parents[3]
if not __package__:  # run as a script
    sys.path[0] = str(ROOT)
    from tools.setup_env import ensure_environment

    ensure_environment()

import msgspec
import numpy as np

from sam2_splat_addon.core.cameras.found import MODEL, folder_beside
from sam2_splat_addon.core.errors import CameraError
from sam2_splat_addon.core.geometry.resample import upsample_binary
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteStore
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.protocol import AgreeRequest, FootageFiles, PropagateRequest
from sam2_splat_addon.core.review.judge import review_object
from sam2_splat_addon.engine.jobs import agree, compare
from tools.research.bench import command
from tools.research.bench.evaluation import circles
from tools.research.bench.evaluation.circles import Circle
from tools.research.bench.evaluation.clicking import next_click
from tools.research.bench.evaluation.corrections import with_click
from tools.research.bench.review import DESERVES_A_LOOK, Bools, overlap

ORDER = tuple(
    (sort, kind)
    for sort, count in (("walker", 5), ("alike", 3), ("hidden", 3), ("plain", 3))
    for kind in circles.KINDS[:count]
)
ENOUGH = 0.95  # mean J at which a user is content
MARGIN = 4.0  # px of the hull's margin: the photos are small


class Figures(msgspec.Struct, frozen=True):
    """One capture.

    Attributes
    ----------
    masks, clipped, agreed, both
        Each photo's IoU with the truth: as propagated, clipped, after *Agree*, and after both; -1 for not
        measured.
    listed, listed_in_space
        Frames on the review's list, without and with the cameras.
    hull_seconds, agree_seconds
        CPU time of this process.
    said
        Why the masks were not compared; empty if they were.
    """

    name: str
    masks: tuple[float, ...]
    clipped: tuple[float, ...]
    agreed: tuple[float, ...]
    both: tuple[float, ...]
    listed: tuple[int, ...]
    listed_in_space: tuple[int, ...]
    hull_seconds: float
    agree_seconds: float
    said: str = ""


def ious(circle: Circle, store: MatteStore, kept: dict[int, Bools]) -> tuple[float, ...]:
    """Return the IoU of each photo's mask with the truth, clipped where a limit is given."""
    found = []
    for frame in store.frames(1):
        inside = upsample_binary(store.read(1, frame).logits, *circles.SIZE)
        limit = kept.get(frame)
        inside = inside if limit is None else inside & limit
        found.append(overlap(inside, circle.truth(frame)))
    return tuple(found)


def limits(circle: Circle, store: MatteStore, prompted: set[int]) -> dict[int, Bools]:
    """Return what the bake keeps of each photo's mask; raises CameraError."""
    cameras, footage = circle.cameras(), FootageFiles.of(circle.footage())
    compared = compare.compare(store, 1, cameras, footage, lambda: None)
    compare.keep(store, 1, compared)
    clip = compare.ClipHull(compared.outlines, cameras, MARGIN)
    kept = {frame: clip.kept(frame) for frame in store.frames(1) if frame not in prompted}
    return {frame: one for frame, one in kept.items() if one is not None}


def spoiled(store: MatteStore, count: int) -> None:
    """Replace the masks of so many photos by wrong ones: shifted, half, or with a disc beside it."""
    rng = Random(7)
    for number, frame in enumerate(rng.sample(store.frames(1)[1:], count)):
        record = store.read(1, frame)
        logits = record.logits.copy()
        rows, columns = logits.shape
        if number % 3 == 0:
            logits = np.roll(logits, columns // 5, axis=1)
        elif number % 3 == 1:
            inside = np.nonzero((logits > 0).any(axis=0))[0]
            logits[:, : int(inside.mean()) if len(inside) else 0] = -8
        else:
            y, x = np.mgrid[:rows, :columns]
            near = (x - 0.2 * columns) ** 2 + (y - 0.3 * rows) ** 2 < (0.15 * columns) ** 2
            logits[near] = 8
        fields = {name: getattr(record, name) for name in MatteRecord.__struct_fields__}
        store.write(MatteRecord(**{**fields, "logits": logits, "key": f"spoilt{frame}"}))


def agreed_prompts(circle: Circle, request: PropagateRequest, rounds: int) -> PromptSet:
    """Propagate, let the masks agree, and return all prompts that made them."""
    report = agree.run(
        AgreeRequest(request, str(circle.cameras_file), rounds=rounds),
        on_progress=lambda event: None,
        on_frame_done=lambda event: None,
        on_log=lambda event: None,
        cancelled=lambda: False,
    )
    return report.prompts


def measured(circle: Circle, cache: Path, rounds: int, spoil: int) -> Figures:
    """Measure one capture."""
    original = circles.propagated(circle, 1, cache)
    folder = cache / "work" / circle.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original.folder, folder)
    store = MatteStore.open(folder)
    if spoil:
        spoiled(store, spoil)
    listed = tuple(one.frame for one in review_object(store, 1) if one.listed)
    masks = ious(circle, store, {})
    nothing = (-1.0,) * len(masks)
    began = time.process_time()
    try:
        clipped = ious(circle, store, limits(circle, store, {1}))
    except CameraError as problem:
        return Figures(circle.name, masks, masks, masks, masks, listed, listed, 0, 0, str(problem))
    hull_seconds = time.process_time() - began
    in_space = tuple(one.frame for one in review_object(store, 1) if one.listed)
    if spoil or not rounds:
        return Figures(
            circle.name, masks, clipped, nothing, nothing, listed, in_space, hull_seconds, 0
        )
    began = time.process_time()
    prompts = agreed_prompts(circle, circles.request_of(circle, 1, folder), rounds)
    agree_seconds = time.process_time() - began
    prompted = {at.frame for at in prompts.objects[0].frames}
    agreed, both = ious(circle, store, {}), ious(circle, store, limits(circle, store, prompted))
    return Figures(
        circle.name, masks, clipped, agreed, both, listed, in_space, hull_seconds, agree_seconds
    )


def j_by_clicks(circle: Circle, cache: Path, most: int, *, agrees: bool) -> list[float]:
    """Return the mean J of a capture after each click, until it is enough or there were so many clicks."""
    store = MatteStore.open(cache / "work" / f"{circle.name}_clicks", create=True)
    store.clear()
    request = circles.request_of(circle, 1, store.folder)
    reached: list[float] = []
    while True:
        if agrees:
            prompts = agreed_prompts(circle, request, 1)
            request = msgspec.structs.replace(request, prompts=prompts)
        else:
            circles.track(request)
        each = ious(circle, store, {})
        reached.append(float(np.mean(each)))
        if reached[-1] >= ENOUGH or len(reached) == most:
            return reached
        worst = int(np.argmin(each)) + 1
        inside = upsample_binary(store.read(1, worst).logits, *circles.SIZE)
        click = next_click(inside, circle.truth(worst))
        assert click is not None  # the worst photo is not right everywhere
        request = msgspec.structs.replace(
            request, prompts=with_click(request.prompts, worst, click)
        )


def clicks_line(circle: Circle, cache: Path, most: int) -> str:
    """Return a row: J after each click, without cameras and with them."""
    rows = (j_by_clicks(circle, cache, most, agrees=agrees) for agrees in (False, True))
    cells = (
        " ".join(f".{value * 1000:03.0f}" for value in row)
        + (f" | {len(row)}" if row[-1] >= ENOUGH else f" | over {most}")
        for row in rows
    )
    return f"| {circle.name} | {' | '.join(cells)} |"


def line(one: Figures) -> str:
    """Return a capture's row of the table."""
    values = [one.masks, one.clipped, one.agreed, one.both]
    means = " | ".join(
        "-" if min(value) < 0 else f".{np.mean(value) * 1000:03.0f}" for value in values
    )
    wrong = sum(value < DESERVES_A_LOOK for value in one.masks)
    return (
        f"| {one.name} | {means} | {wrong} | {one.hull_seconds:.0f} | {one.agree_seconds:.0f} |"
        f" {one.said}"
    )


def found(figures: list[Figures], *, in_space: bool) -> str:
    """Return recall and precision of the review's list over all captures."""
    wrong = listed = both = 0
    for one in figures:
        chosen = set(one.listed_in_space if in_space else one.listed)
        bad = {frame for frame, value in enumerate(one.masks, 1) if value < DESERVES_A_LOOK}
        wrong, listed, both = wrong + len(bad), listed + len(chosen), both + len(bad & chosen)
    return f"recall {both / max(wrong, 1):.2f}, precision {both / max(listed, 1):.2f} ({wrong} wrong photos)"


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "geometry")
    parser.add_argument("--captures", type=int, default=len(ORDER), help="the first so many")
    parser.add_argument("--rounds", type=int, default=2, help="of Agree; 0 leaves it out")
    parser.add_argument("--spoil", type=int, default=0, help="photos of each capture to spoil")
    parser.add_argument(
        "--found", action="store_true", help="use cameras that bench/cameras.py has found before"
    )
    parser.add_argument("--order", choices=get_args(circles.Order), default="circle")
    parser.add_argument("--clicks", type=int, default=0, help="most clicks to a J of 0.95")
    parser.add_argument("--json", type=Path, help="where each capture's figures go as JSON")
    options = parser.parse_args()
    if options.found and options.order != "circle":
        parser.error("--found takes only the circle: cameras were found for no other order")
    if options.clicks:
        print("| capture | J by clicks | clicks | J by clicks with Agree | clicks |")
        print("| --- | --- | --- | --- | --- |", flush=True)
        for sort, kind in ORDER[: options.captures]:
            circle = circles.rendered(sort, kind, options.cache, lambda text: None)
            circle = circles.reordered(circle, options.order, options.cache)
            print(clicks_line(circle, options.cache, options.clicks), flush=True)
        return 0
    print("| capture | masks | clipped | Agree | both | wrong photos | s hull | s Agree |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    figures: list[Figures] = []
    for sort, kind in ORDER[: options.captures]:
        circle = circles.rendered(sort, kind, options.cache, lambda text: None)
        if options.found:
            model = folder_beside(options.cache / "found" / circle.name / "mattes") / MODEL
            circle = replace(circle, found=model)
        circle = circles.reordered(circle, options.order, options.cache)
        figures.append(measured(circle, options.cache, options.rounds, options.spoil))
        print(line(figures[-1]), flush=True)
        command.write_json(options.json, figures)
    print(f"review without cameras: {found(figures, in_space=False)}")
    print(f"review with cameras:    {found(figures, in_space=True)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
