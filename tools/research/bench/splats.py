# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide the settings of a mask's edge by what they do to a splat: train one on each, and look at its rim.

    python tools/research/bench/splats.py                                # about a minute for each row
    python tools/research/bench/splats.py --only teapot --ways "as it is" "Soft" --steps 300

Circles of photos are rendered once into build/splats, with the same light on all of them. Three of four
photos are baked in each way and train a small splat (`evaluation/splats.py`). The others are compared
with it:

- rim: how right it looks over other backgrounds, within 2 px of the subject's edge, in dB. It is the one
  number that counts a fringe, a gap and wrong colours.
- fringe, gap: what is drawn beside the subject, and what is missing of it, in px across the edge.
- background: the share of the background's colour in the outermost 2 px of the subject.
- leaks: what is drawn farther than 3 px beside the subject, in parts of the subject's area.
- inside: how right the subject looks farther in, in dB.

The first table is the mean over all captures. Mattes are the truth on SAM 2.1's grid of 256 cells, so all
errors come from the edge; ``--mattes tracked`` takes the bundled model's.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command
from tools.research.bench.edges import ideal_mattes, tracked_mattes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sam2_splat_addon.core.bake_plan import BakeOptions
    from tools.research.bench.evaluation.sources import Clip
    from tools.research.bench.evaluation.splats import Splat, View

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.floating[Any]]

KINDS = ("teapot", "office_chair", "statue", "plant")
_SEED = 780  # below 1000: never used for training
_APART = 4  # every so many photos one is kept for the comparison
_RIM, _LEAK = 2, 3  # px
_BACKGROUNDS = (0.0, 0.5, 1.0)  # greys that a splat is looked at over
WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "Grow -2": {"grow_px": -2.0},
    "Grow -1": {"grow_px": -1.0},
    "Grow +1": {"grow_px": 1.0},
    "Grow +2": {"grow_px": 2.0},
    "Feather 1": {"feather_px": 1.0},
    "Feather 2": {"feather_px": 2.0},
    "Soft": {"alpha": "soft"},
    "Soft, Grow -1": {"alpha": "soft", "grow_px": -1.0},
    "Refine Edges": {"refine_edges": True},
    "Refine Edges, Soft": {"refine_edges": True, "alpha": "soft"},
}


@dataclass(frozen=True)
class Row:
    """One way on one capture: see the module."""

    capture: str
    way: str
    rim: float
    fringe: float
    gap: float
    background: float
    leaks: float
    inside: float
    seconds: float


def rendered(kind: str, size: tuple[int, int], frames: int, cache: Path) -> Clip:
    """Return a circle of photos in steady light. It is rendered now if it is not in the cache yet."""
    from tools.research.bench.evaluation import sources
    from tools.research.capture.capture import Layout, make_capture
    from tools.research.capture.quick import QuickRenderer
    from tools.research.capture.stage import Stage, StagePlan

    class Steady(Stage):
        """The light of the first frame on all of them."""

        def progress(self, index: int) -> float:
            return 0.0

    plan = StagePlan(kind, _SEED + KINDS.index(kind), size, frames, occluder="")
    folder = cache / f"{kind}_{size[0]}x{size[1]}_{frames}"
    names = tuple(f"{at:04d}.jpg" for at in range(frames))
    layout = Layout("photos", "truth", names, 4, truth_is_ids=False, camera_data=False, quality=95)
    make_capture(Steady(plan), QuickRenderer, layout, folder, resume=True, report=lambda _: None)
    return sources.sample(folder)


def views_of(folder: Path) -> list[View]:
    """Return the true cameras of a capture."""
    import numpy as np

    from tools.research.bench.evaluation.splats import View
    from tools.research.capture.scene_file import decode

    facts = decode((folder / "scene.json").read_bytes())
    found = []
    for frame in facts.frames:
        right, up, back = np.array(frame.camera.axes)
        focal = frame.camera.lens * max(facts.size) / 36.0
        place = np.array(frame.camera.position)
        found.append(View(place, np.stack([right, -up, -back]), focal, facts.size))
    return found


def compared(splat: Splat, view: View, photo: Bytes, covered: Bytes) -> dict[str, float]:
    """Compare what a splat shows with what was there.

    Parameters
    ----------
    photo, covered
        (H, W, 3), and how much of each pixel shows the subject, (H, W) from 0 to 255.

    Returns
    -------
    dict
        The fields of `Row`. ``rim`` and ``inside`` are mean squares yet.
    """
    import cv2
    import numpy as np
    import torch

    with torch.no_grad():
        drawn, seen = (one.numpy().astype(np.float64) for one in splat.render(view))
    colors, truth = photo / 255.0, covered / 255.0
    full, empty = covered == 255, covered == 0
    from_full = cv2.distanceTransform((~full).astype(np.uint8), cv2.DIST_L2, 5)
    from_empty = cv2.distanceTransform((~empty).astype(np.uint8), cv2.DIST_L2, 5)
    rim = (from_full <= _RIM) & (from_empty <= _RIM)
    own = _nearest(colors, full)  # of the subject, also where a pixel shows only a part of it
    around = _nearest(colors, empty)
    errors, inside_errors = [], []
    inside = from_empty > _LEAK
    for grey in _BACKGROUNDS:
        right = own * truth[..., None] + grey * (1 - truth[..., None])
        shown = drawn + grey * (1 - seen[..., None])
        square = np.square(np.clip(shown, 0, 1) - right).mean(axis=2)
        errors.append(square[rim].mean())
        inside_errors.append(square[inside].mean())
    slope = np.hypot(*np.gradient(cv2.GaussianBlur(truth, (0, 0), 0.8)))
    across = float(slope.sum())  # the length of the edge, px
    near = from_full <= _LEAK + 1
    share = _share(drawn, seen, own, around, full & (from_empty <= _RIM + 0.5))
    return {
        "rim": float(np.mean(errors)),
        "fringe": float(np.maximum(seen - truth, 0)[near].sum()) / across,
        "gap": float(np.maximum(truth - seen, 0)[near].sum()) / across,
        "background": share,
        "leaks": float(seen[from_full > _LEAK].sum() / truth.sum()),
        "inside": float(np.mean(inside_errors)),
    }


def _nearest(colors: Floats, there: NDArray[np.bool_]) -> Floats:
    """Return, for each pixel, the colour of the nearest one of some pixels."""
    import cv2
    import numpy as np

    _, labels = cv2.distanceTransformWithLabels(
        (~there).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros((labels.max() + 1, 3))
    of_label[labels[there]] = colors[there]
    found: Floats = of_label[labels]
    return found


def _share(drawn: Floats, seen: Floats, own: Floats, around: Floats, where: Any) -> float:
    """Return the share of the background's colour in what is drawn, from 0 to 1.

    It is the way from the subject's own colour towards the background's, where these two differ.
    """
    import numpy as np

    apart = around - own
    length = np.square(apart).sum(axis=2)
    where = where & (length > 0.03) & (seen > 0.2)
    error = drawn / np.maximum(seen, 1e-6)[..., None] - own
    return float((error * apart).sum(axis=2)[where].sum() / length[where].sum())


def _alpha(photo: Bytes, logits: Any, bake: BakeOptions) -> Any:
    from sam2_splat_addon.engine.images.alpha import combine
    from sam2_splat_addon.engine.refine.edge_refine import refine

    height, width = photo.shape[:2]
    if not bake.refine_edges:
        return combine([logits], [], width, height, bake)
    fine = refine(photo, logits, soft=bake.alpha == "soft").alpha
    return combine([], [], width, height, bake, refined=[fine])


def _measure_clip(kind: str, clip: Clip, options: argparse.Namespace, rows: list[Row]) -> None:
    import numpy as np
    from PIL import Image

    from sam2_splat_addon.core.bake_plan import BakeOptions
    from sam2_splat_addon.engine.images.decode import decode
    from tools.research.bench.evaluation.splats import train

    photos = [np.asarray(decode(path).array, np.uint8) for path in clip.photos]
    truths = [np.asarray(Image.open(path)) for path in clip.truths if path is not None]
    mattes = ideal_mattes(clip) if options.mattes == "ideal" else tracked_mattes(clip)
    views = views_of(clip.photos[0].parents[1])
    unseen = range(_APART // 2, len(photos), _APART)
    taught = [at for at in range(len(photos)) if at not in unseen]
    for way in options.ways:
        began = time.process_time()
        bake = BakeOptions(**WAYS[way])
        alphas = [_alpha(photos[at], mattes[at], bake) for at in taught]
        splat = train(
            [views[at] for at in taught],
            [photos[at] for at in taught],
            alphas,
            count=options.count,
            steps=options.steps,
        )
        found = [compared(splat, views[at], photos[at], truths[at]) for at in unseen]
        mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        for name in ("rim", "inside"):
            mean[name] = -10 * float(np.log10(mean[name]))
        rows.append(Row(kind, way, **mean, seconds=time.process_time() - began))
        print(_line(rows[-1].way, [rows[-1]]), kind, file=sys.stderr, flush=True)
        command.write_json(options.json, rows)


def _line(name: str, rows: list[Row]) -> str:
    numbers = [field.name for field in fields(Row)][2:-1]
    mean = {one: sum(asdict(row)[one] for row in rows) / len(rows) for one in numbers}
    return (
        f"| {name:20} | {mean['rim']:5.2f} dB | {mean['fringe']:5.3f} px | {mean['gap']:5.3f} px |"
        f" {100 * mean['background']:5.1f} % | {100 * mean['leaks']:5.2f} % | {mean['inside']:5.2f} dB |"
    )


def measure(options: argparse.Namespace) -> None:
    """Render, bake, train, compare, print the tables, and write them as JSON."""
    import torch

    from tools.research.bench.timing.long_footage import parsed_size

    torch.set_num_threads(1)
    rows: list[Row] = []
    for kind in options.only:
        size = parsed_size(options.size)
        clip = rendered(kind, size, options.frames, options.rendered)
        _measure_clip(kind, clip, options, rows)
    head = "| | rim | fringe | gap | background | leaks | inside |\n| --- |" + " --- |" * 6
    for name in ("", *options.only):
        print(f"\n{name or 'mean of all'}\n\n{head}")
        for way in options.ways:
            own = [row for row in rows if row.way == way and name in ("", row.capture)]
            print(_line(way, own))


def main() -> int:
    """Measure what the command line asks for."""
    own = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)
    own.add_argument("--ways", choices=tuple(WAYS), nargs="+", default=tuple(WAYS))
    own.add_argument("--size", default="160x240", help="of the photos, px")
    own.add_argument("--frames", type=int, default=32, help="of each circle")
    own.add_argument("--count", type=int, default=3000, help="of gaussians")
    own.add_argument("--steps", type=int, default=800, help="of training")
    own.add_argument("--mattes", choices=("ideal", "tracked"), default="ideal")
    own.add_argument("--rendered", type=Path, default=ROOT / "build" / "splats")
    own.add_argument("--json", type=Path, help="write the figures here too")
    return command.run(measure, own.parse_args())


if __name__ == "__main__":
    sys.exit(main())
