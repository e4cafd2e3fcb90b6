# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare edges at the photo's size: ours and those of other methods.

    python tools/research/bench/edges.py                          # rendered photos of 6000x9000 px
    python tools/research/bench/edges.py --size 1200x1800 --frames 4
    python tools/research/bench/edges.py --mattes second-look     # tracked, and looked at once more
    python tools/research/bench/edges.py --mattes details         # and then parts and details, closer still
    python tools/research/bench/edges.py --mattes ideal           # the truth on a grid of 256 cells

Photos of things with thin legs are rendered once into build/edges, from seeds that no training
uses, and tracked with the bundled model. Each row is one way to bring the mattes to the photo's
size. Ideal mattes have no errors of the model. They only show the errors on the way from SAM 2.1's
grid to the photo's size.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command

if TYPE_CHECKING:
    from sam2_splat_addon.core.settings import Look
    from tools.research.bench.evaluation.sources import Clip
    from tools.research.capture.stage import StagePlan

KINDS = ("stool", "table", "rack")
_LOOKS: dict[str, Look] = {
    "tracked": "off",
    "second-look": "whole",
    "parts": "parts",
    "details": "details",
}
_SEED = 760  # below 1000: never used for training


@dataclass(frozen=True)
class Row:
    """One way on one photo: J, mean distances in px, part of thin pixels found, CPU seconds."""

    way: str
    photo: str
    j: float
    boundary_px: float
    thin_recall: float
    cpu_seconds: float


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="6000x9000", help="of the photos, px")
    parser.add_argument("--frames", type=int, default=1, help="of each of the three things")
    parser.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)
    parser.add_argument("--mattes", choices=(*_LOOKS, "ideal"), default="tracked")
    parser.add_argument("--weights", type=Path, help="the edge model's weights or training state")
    parser.add_argument("--rendered", type=Path, default=ROOT / "build" / "edges")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "edges.json")
    return parser.parse_args()


def _plan(kind: str, size: tuple[int, int], frames: int) -> StagePlan:
    from tools.research.bench.evaluation import orbits
    from tools.research.capture.stage import StagePlan

    seed = _SEED + KINDS.index(kind)
    return StagePlan(kind, seed, size, frames, orbits.STEP * frames, occluder="")


def ideal_mattes(clip: Clip) -> list[Any]:
    """Logits of the part of each cell that the truth covers, 256 x 256 as SAM 2.1's."""
    import cv2
    import numpy as np

    logits = []
    for index in clip.scored:
        truth = clip.truth(index, clip.subjects[0])
        assert truth is not None  # every frame of a capture has one
        covered = cv2.resize(truth.astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA)
        logits.append(np.log((covered + 0.01) / (1.01 - covered)).astype(np.float16))
    return logits


def tracked_mattes(clip: Clip, second_look: Look = "off") -> list[Any]:
    """The bundled model's logits (h, w) of each frame, from three clicks on the first."""
    from sam2_splat_addon.core.protocol import ModelChoice
    from sam2_splat_addon.core.settings import RunSettings
    from sam2_splat_addon.engine.models.checkpoints import checkpoint_path
    from tools.research.bench.evaluation import tracking
    from tools.research.bench.evaluation.prompting import prompts_for

    name, weights = tracking.find_model("bundled", None)
    model = ModelChoice(name, str(checkpoint_path(name, weights)), "cpu", 1)
    settings = RunSettings(direction="forward", second_look=second_look)
    prompts = prompts_for(clip, "3clicks")
    mattes = tracking.track(model, 0, clip.photos, prompts, settings=settings).mattes
    return [mattes[(clip.subjects[0].id, index + 1)].logits for index in clip.scored]


def _guided(photo: Any, logits: Any) -> Any:
    """The guided filter (He, Sun and Tang 2013) on the interpolated matte, grey guide."""
    import cv2
    import numpy as np

    from sam2_splat_addon.core.geometry.resample import upsample

    height, width = photo.shape[:2]
    radius = 2 * max(height, width) // max(logits.shape) + 1
    guide = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    matte = 1 / (1 + np.exp(-upsample(logits, width, height)))

    def mean(values: Any) -> Any:
        return cv2.boxFilter(values, -1, (2 * radius + 1,) * 2)

    of_guide, of_matte = mean(guide), mean(matte)
    slope = (mean(guide * matte) - of_guide * of_matte) / (mean(guide**2) - of_guide**2 + 1e-4)
    return mean(slope) * guide + mean(of_matte - slope * of_guide) > 0.5


def _ways(weights: Path | None) -> dict[str, Callable[[Any, Any], Any]]:
    import torch

    from sam2_splat_addon.core.geometry.resample import upsample_binary
    from sam2_splat_addon.engine.refine.edge_model import EdgeModel
    from sam2_splat_addon.engine.refine.edge_refine import refine

    model = None
    if weights is not None:
        model = EdgeModel()
        model.load_state_dict(torch.load(weights, weights_only=True)["average"])
        model.eval()
    return {
        "bilinear": lambda photo, logits: upsample_binary(logits, photo.shape[1], photo.shape[0]),
        "guided filter": _guided,
        "ours": lambda photo, logits: refine(photo, logits, model=model).alpha > 0,
    }


def _row(way: str, name: str, guess: Any, truth: Any, seconds: float) -> Row:
    from tools.research.bench.evaluation.measures import boundary_distance, region_iou, thin_recall

    return Row(
        way,
        name,
        region_iou(guess, truth),
        boundary_distance(guess, truth),
        thin_recall(guess, truth, within=2.0),
        seconds,
    )


def _run(options: argparse.Namespace) -> None:
    import numpy as np
    import torch

    from sam2_splat_addon.engine.images.decode import decode
    from tools.research.bench.evaluation import orbits, sources

    torch.set_num_threads(1)
    width, height = (int(side) for side in options.size.split("x"))
    rows: list[Row] = []
    for kind in options.only:
        plan = _plan(kind, (width, height), options.frames)
        clip = sources.capture(orbits.rendered_orbit(plan, options.rendered, _progress))
        coarse = (
            ideal_mattes(clip)
            if options.mattes == "ideal"
            else tracked_mattes(clip, _LOOKS[options.mattes])
        )
        for index in clip.scored:
            photo = decode(clip.photos[index]).array
            truth = clip.truth(index, clip.subjects[0])
            for way, up in _ways(options.weights).items():
                began = time.process_time()
                guess = up(photo, coarse[index])
                seconds = time.process_time() - began
                rows.append(_row(way, f"{kind} {clip.photos[index].name}", guess, truth, seconds))
                row = rows[-1]
                print(
                    f"{row.photo:<18} {way:<14} J {row.j:.4f}  edge {row.boundary_px:6.2f} px"
                    f"  thin {row.thin_recall:.4f}  {seconds:6.2f} cpu s",
                    flush=True,
                )
    print()
    base = [row for row in rows if row.way == "bilinear"]
    for way in dict.fromkeys(row.way for row in rows):
        own = [row for row in rows if row.way == way]
        edge = float(np.mean([row.boundary_px for row in own]))
        ratio = float(np.mean([row.boundary_px for row in base])) / max(edge, 1e-9)
        worst = min(row.j - plain.j for row, plain in zip(own, base, strict=True))
        print(
            f"{way:<14} J {np.mean([row.j for row in own]):.4f}  edge {edge:6.2f} px"
            f" ({ratio:.1f} times as near)  thin {np.mean([row.thin_recall for row in own]):.4f}"
            f"  worst change of J {worst:+.4f}  {np.mean([row.cpu_seconds for row in own]):.2f} cpu s"
        )
    command.write_json(options.out, rows)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Render, refine, measure; return the exit code."""
    return command.run(_run, _options())


if __name__ == "__main__":
    sys.exit(main())
