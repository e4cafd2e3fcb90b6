# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how much background a bake's edge lets into the kept pixels, for settings of the edge.

    python tools/research/bench/rims.py
    python tools/research/bench/rims.py --frames 2 --only sample --mattes ideal

On rendered photos the truth is known exactly: 16 samples in each pixel say which part of it shows the
subject. A kept pixel with a share of background puts that colour on the rim of the splat. So each row
has two numbers, weighted by alpha: the share of background in what is kept, and the share of the
subject that is lost. Mattes are tracked with the bundled model; ideal ones are the truth on SAM 2.1's
grid of 256 cells. Captures other than the sample are rendered once into build/rims.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command
from tools.research.bench.edges import ideal_mattes, tracked_mattes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sam2_splat_addon.core.bake_plan import BakeOptions
    from tools.research.bench.evaluation.sources import Clip

SAMPLE = "sample"
KINDS = ("stool", "table", "rack")
_SEED = 770  # below 1000: never used for training
# A way to make the edge, as it is told, and its options.
WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "Grow -1": {"grow_px": -1.0},
    "Grow -2": {"grow_px": -2.0},
    "Grow -3": {"grow_px": -3.0},
    "Grow +1": {"grow_px": 1.0},
    "Feather 1": {"feather_px": 1.0},
    "Feather 2": {"feather_px": 2.0},
    "Feather 4": {"feather_px": 4.0},
    "Soft": {"alpha": "soft"},
    "Soft, Grow -1": {"alpha": "soft", "grow_px": -1.0},
    "Refine Edges": {"refine_edges": True},
    "Refine Edges, Grow -1": {"refine_edges": True, "grow_px": -1.0},
    "Refine Edges, Soft": {"refine_edges": True, "alpha": "soft"},
}


@dataclass(frozen=True)
class Row:
    """One way on one photo. Shares from 0 to 1: of the background in what is kept, of the subject lost."""

    way: str
    photo: str
    background: float
    lost: float


def shares(alpha: NDArray[Any], covered: NDArray[Any]) -> tuple[float, float]:
    """Return the share of background in what is kept, and of the subject that is lost.

    Parameters
    ----------
    alpha
        (h, w) uint8, as baked.
    covered
        (h, w) uint8: how much of each pixel shows the subject.
    """
    import numpy as np

    kept, truth = alpha.astype(np.float64) / 255, covered.astype(np.float64) / 255
    background = float((kept * (1 - truth)).sum() / max(kept.sum(), 1e-9))
    lost = float((truth * (1 - kept)).sum() / max(truth.sum(), 1e-9))
    return background, lost


def _clips(options: argparse.Namespace) -> list[Clip]:
    from tools.research.bench.evaluation import sources
    from tools.research.capture import make

    clips = []
    for kind in options.only:
        if kind == SAMPLE:
            clips.append(sources.sample(ROOT / SAMPLE).shortened(options.frames))
            continue
        place = options.rendered / f"{kind}_{options.frames}"
        given = ["--kind", kind, "--seed", str(_SEED + KINDS.index(kind)), "--renderer", "quick"]
        given += ["--frames", str(options.frames), "--size", options.size, "--occluder", "none"]
        make.main([*given, "--out", str(place), "--resume"])
        clips.append(replace(sources.sample(place), name=kind))
    return clips


def _alpha(photo: NDArray[Any], logits: Any, bake: BakeOptions) -> NDArray[Any]:
    from sam2_splat_addon.engine.images.alpha import combine
    from sam2_splat_addon.engine.refine.edge_refine import refine

    height, width = photo.shape[:2]
    if not bake.refine_edges:
        return combine([logits], [], width, height, bake)
    fine = refine(photo, logits, soft=bake.alpha == "soft").alpha
    return combine([], [], width, height, bake, refined=[fine])


def measure(options: argparse.Namespace) -> None:
    """Track, bake the alpha in each way, print the table, and write it as JSON."""
    import numpy as np
    import torch
    from PIL import Image

    from sam2_splat_addon.core.bake_plan import BakeOptions
    from sam2_splat_addon.engine.images.decode import decode

    torch.set_num_threads(1)
    rows: list[Row] = []
    for clip in _clips(options):
        mattes = ideal_mattes(clip) if options.mattes == "ideal" else tracked_mattes(clip)
        for index, logits in zip(clip.scored, mattes, strict=True):
            photo = decode(clip.photos[index]).array
            path = clip.truths[index]
            assert path is not None  # every frame of a capture has one
            covered = np.asarray(Image.open(path))
            for way, chosen in WAYS.items():
                found = shares(_alpha(photo, logits, BakeOptions(**chosen)), covered)
                rows.append(Row(way, f"{clip.name} {clip.photos[index].name}", *found))
        print(f"{clip.name}: {len(clip.scored)} photos", file=sys.stderr, flush=True)
    print(f"{'':24} background in what is kept   lost of the subject")
    for way in WAYS:
        own = [row for row in rows if row.way == way]
        background = 100 * float(np.mean([row.background for row in own]))
        lost = 100 * float(np.mean([row.lost for row in own]))
        print(f"{way:24} {background:17.2f} % {lost:24.2f} %")
    command.write_json(options.json, rows)


def main() -> int:
    """Measure what the command line asks for."""
    own = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = (SAMPLE, *KINDS)
    own.add_argument("--only", choices=every, nargs="+", default=every)
    own.add_argument("--frames", type=int, default=6, help="of each capture")
    own.add_argument("--size", default="1200x1800", help="of the rendered photos, px")
    own.add_argument("--mattes", choices=("tracked", "ideal"), default="tracked")
    own.add_argument("--rendered", type=Path, default=ROOT / "build" / "rims")
    own.add_argument("--json", type=Path, help="write the figures here too")
    return command.run(measure, own.parse_args())


if __name__ == "__main__":
    sys.exit(main())
