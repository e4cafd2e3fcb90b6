# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the edge model; run as a script. May import: torch, numpy, OpenCV, the engine's model.

    python tools/train/edges.py --scenes build/capture_fine/train --coarse build/coarse --minutes 40 \
        --state build/train/edges.pt
    python tools/train/edges.py --state build/train/edges.pt --export

`--coarse` holds the bundled model's mattes of these scenes (tools/train/coarse.py makes them). What
the edge model is given are these or truths made coarse and spoiled; what it has to give is the truth.
It climbs two octaves in every step, the second from its own first result.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sam2_splat_addon.core.atomic import atomic_file, write_atomic
from sam2_splat_addon.engine.edge_model import (
    EDGE_ARCHITECTURE,
    EDGE_METADATA_KEY,
    EDGE_WEIGHTS,
    UNDECIDED,
    EdgeModel,
)

SIDE: Final = 128  # px of a crop at the coarser of the two scales
COARSE_LONG: Final = (384, 600)  # px, longest side of the whole photo at that scale
PASTED: Final = 0.3  # share of drawn shapes
GOOD_ENOUGH: Final = 0.75  # IoU of a coarse matte that is worth refining
INSIDE_WEIGHT: Final = 2.2  # of the object against the ground: doubt is kept, not cut away
BANDS: Final = (17, 11)  # px, width of the band around the coarse edge that counts, by octave
NORMS_LEARN: Final = 0.3  # of the time; then BatchNorm keeps its statistics
SAVE_EVERY: Final = 60.0  # seconds
LOG_EVERY: Final = 25  # steps

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shot:
    """One photo: [H, W, 3] RGB, [H, W] ids, and coarse logits [n, h, w] of the subject (id 1)."""

    photo: Image
    ids: Image
    coarse: NDArray[np.float16]


def read_shots(roots: list[Path], coarse: Path, limit: int = 0) -> list[Shot]:
    """Read all captures under the roots that have coarse mattes."""
    shots: list[Shot] = []
    for folder in sorted(path for root in roots for path in root.iterdir()):
        mattes = coarse / f"{folder.name}.npz"
        if not mattes.is_file():
            continue
        kept = np.load(mattes)
        stacks = [kept[name] for name in kept.files if kept[name].ndim == 3]
        for number, path in enumerate(sorted(folder.glob("[0-9]*.jpg"))):
            photo = np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)
            ids = np.asarray(
                cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_GRAYSCALE), np.uint8
            )
            right = [stack[number] for stack in stacks if _agrees(stack[number], ids == 1)]
            if right:
                shots.append(Shot(photo, ids, np.stack(right)))
    return shots[:limit] if limit else shots


def _agrees(logits: NDArray[np.float16], truth: NDArray[np.bool_]) -> bool:
    """Whether a coarse matte is of the subject at all: what to keep is not for edges to say."""
    height, width = logits.shape
    small = (
        cv2.resize(truth.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0.5
    )
    inside = logits > 0
    return bool((small & inside).sum() > GOOD_ENOUGH * max((small | inside).sum(), 20))


def spoil(coverage: Floats, rng: np.random.Generator) -> Floats:
    """Logits [h, w] as a coarse model might give them, from the truth's coverage [h, w]."""
    blurred = cv2.GaussianBlur(coverage, (0, 0), float(rng.uniform(0.3, 1.2)))
    logits = (blurred - rng.uniform(0.3, 0.65)) * rng.uniform(6, 20)
    h, w = coverage.shape
    for scale, strength in ((6, 2.0), (2, 1.5)):
        noise = rng.normal(0, strength * rng.random(), (h // scale + 2, w // scale + 2))
        logits += cv2.resize(noise.astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    return np.asarray(logits, np.float32)


def look(photo: Floats, rng: np.random.Generator) -> Floats:
    """A photo [H, W, 3] in 0..1 under another exposure, sharpness and noise."""
    if rng.random() < 0.5:
        photo = photo[..., rng.permutation(3)]
    gain = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.08, 3))
    photo = np.clip(photo * gain, 0, 1) ** np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.4:
        photo = cv2.GaussianBlur(photo, (0, 0), float(rng.uniform(0.3, 1.3)))
    if rng.random() < 0.6:
        photo = photo + rng.normal(0, rng.uniform(0, 0.04), photo.shape)
    if rng.random() < 0.3:
        code = cv2.imencode(
            ".jpg", (np.clip(photo, 0, 1) * 255).astype(np.uint8), [1, int(rng.integers(40, 92))]
        )[1]
        photo = cv2.imdecode(code, cv2.IMREAD_COLOR) / 255.0
    return np.clip(photo, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Pair:
    """Two octaves of one place: photo [3, s, s], coverage [1, s, s]; logits [1, s, s] at the first."""

    low_photo: Floats
    low_truth: Floats
    low_logits: Floats
    high_photo: Floats
    high_truth: Floats


def pasted_pair(shot: Shot, other: Shot, rng: np.random.Generator) -> Pair:
    """A drawn shape with one photo's colours over another photo: an edge that leaves no doubt."""
    side = 2 * SIDE
    shape = np.zeros((side, side), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.4:
            middle, axes = rng.integers(0, side, 2), rng.integers(10, side // 2, 2)
            cv2.ellipse(
                shape, middle.tolist(), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 1, -1
            )
        elif rng.random() < 0.5:
            cv2.fillPoly(shape, [rng.integers(-30, side + 30, (int(rng.integers(3, 7)), 2))], 1)
    for _ in range(int(rng.integers(0, 4))):
        begin, end = rng.integers(-20, side + 20, (2, 2)).tolist()
        cv2.line(shape, begin, end, 1, int(rng.integers(4, 24)))
    for _ in range(int(rng.integers(0, 3))):
        middle = rng.integers(0, side, 2).tolist()
        cv2.circle(shape, middle, int(rng.integers(6, 40)), 0, -1)
    truth = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 0.6)
    grounds = []
    for source in (shot, other):
        span = int(rng.integers(side // 3, side + 1))
        height, width = source.ids.shape
        top, left = (
            int(rng.integers(max(1, height - span))),
            int(rng.integers(max(1, width - span))),
        )
        part = source.photo[top : top + span, left : left + span].astype(np.float32) / 255
        part = cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR)
        grounds.append(np.clip(part * np.exp(rng.normal(0, 0.4, 3)), 0, 1))
    photo = grounds[0] * truth[..., None] + grounds[1] * (1 - truth[..., None])
    photo = look(photo.astype(np.float32), rng)
    small_truth = cv2.resize(truth, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    cells = int(SIDE / rng.uniform(3, 5))
    known = cv2.resize(truth, (cells, cells), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.3:
        logits = (cv2.GaussianBlur(small_truth, (0, 0), 0.8) - rng.uniform(0.3, 0.7)) * 12
    else:
        logits = cv2.resize(spoil(known, rng), (SIDE, SIDE))
    low_photo = cv2.resize(photo, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    arrays = [low_photo, small_truth[..., None], logits[..., None], photo, truth[..., None]]
    return Pair(*(np.ascontiguousarray(a.transpose(2, 0, 1), np.float32) for a in arrays))


def draw_pair(shot: Shot, other: Shot, rng: np.random.Generator) -> Pair:
    """Cut a place near the subject's edge at two scales."""
    if rng.random() < PASTED:
        return pasted_pair(shot, other, rng)
    height, width = shot.ids.shape
    long = max(height, width)
    low_long = min(rng.uniform(*COARSE_LONG), long / 1.5)
    scale = low_long / long
    tidy = rng.random() < 0.2  # from a later octave: nearly right already
    if tidy:
        scale *= float(rng.uniform(1.0, 1.2))
    truth = (shot.ids == 1).astype(np.float32)
    size = (max(SIDE, round(width * scale)), max(SIDE, round(height * scale)))
    small_truth = cv2.resize(truth, size, interpolation=cv2.INTER_AREA)
    if tidy:
        half = cv2.resize(small_truth, (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)
        half = cv2.GaussianBlur(half, (0, 0), float(rng.uniform(0.3, 0.8)))
        logits = cv2.resize((half - rng.uniform(0.4, 0.6)) * rng.uniform(8, 16), size)
        logits += cv2.resize(
            rng.normal(0, 0.7, (size[1] // 8, size[0] // 8)).astype(np.float32), size
        )
    elif rng.random() < 0.35:
        grid = int(rng.choice((112, 128, 160, 192, 256)))
        logits = cv2.resize(
            spoil(cv2.resize(truth, (grid, grid), interpolation=cv2.INTER_AREA), rng), size
        )
    else:
        grid_logits = shot.coarse[rng.integers(len(shot.coarse))].astype(np.float32)
        if rng.random() < 0.3:
            noise = cv2.resize(
                rng.normal(0, 1, (12, 12)).astype(np.float32), grid_logits.shape[::-1]
            )
            grid_logits = grid_logits + noise * rng.uniform(0, 2.0)
        logits = cv2.resize(grid_logits, size) * np.exp(rng.normal(0.2, 0.4))
    # A place where something is to be decided.
    rows, columns = np.nonzero(np.abs(small_truth - 0.5) < 0.4)
    if len(rows) and rng.random() < 0.95:
        at = int(rng.integers(len(rows)))
        y, x = int(rows[at]), int(columns[at])
    else:
        y, x = int(rng.integers(size[1])), int(rng.integers(size[0]))
    top = int(np.clip(y - rng.integers(SIDE), 0, size[1] - SIDE))
    left = int(np.clip(x - rng.integers(SIDE), 0, size[0] - SIDE))
    fx, fy = width / size[0], height / size[1]
    # The same place, twice as fine, straight from the photo.
    high = 2 * SIDE
    x0, x1 = math.floor(left * fx), min(width, math.ceil((left + SIDE) * fx))
    y0, y1 = math.floor(top * fy), min(height, math.ceil((top + SIDE) * fy))
    patch, part = shot.photo[y0:y1, x0:x1], truth[y0:y1, x0:x1]
    to = cv2.INTER_AREA if (x1 - x0) > high else cv2.INTER_LINEAR
    high_photo = cv2.resize(patch, (high, high), interpolation=to).astype(np.float32) / 255.0
    high_truth = cv2.resize(part, (high, high), interpolation=to)
    high_photo = look(high_photo, rng)
    low_photo = cv2.resize(high_photo, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low_truth = cv2.resize(high_truth, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low_logits = logits[top : top + SIDE, left : left + SIDE]
    arrays = [
        low_photo,
        low_truth[..., None],
        low_logits[..., None],
        high_photo,
        high_truth[..., None],
    ]
    across, over = (-1 if rng.random() < 0.5 else 1), (-1 if rng.random() < 0.15 else 1)
    return Pair(
        *(
            np.ascontiguousarray(array[::over, ::across].transpose(2, 0, 1), np.float32)
            for array in arrays
        )
    )


def loss_of(logits: Tensor, truth: Tensor, coarse: Tensor, band: int) -> Tensor:
    """Cross-entropy where the coarse matte leaves something to decide; all [B, 1, H, W]."""
    inside = (coarse > 0).float()
    pool = nn.functional.max_pool2d
    near = pool(inside, band, 1, band // 2) + pool(1 - inside, band, 1, band // 2) - 1
    weight = torch.maximum(near, (coarse.abs() < UNDECIDED).float()) + 0.02
    entropy = nn.functional.binary_cross_entropy_with_logits(
        logits, truth, reduction="none", pos_weight=torch.tensor(INSIDE_WEIGHT)
    )
    return (entropy * weight).sum() / weight.sum()


def iou(logits: Tensor, truth: Tensor) -> float:
    """Mean IoU over a batch."""
    a, b = logits > 0, truth > 0.5
    both, either = (a & b).sum((1, 2, 3)).float(), (a | b).sum((1, 2, 3)).float()
    return float(((both + 1) / (either + 1)).mean())


def _freeze_norms(model: EdgeModel) -> None:
    """BatchNorm as it is in use: the two octaves differ too much for one batch to speak for all."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def export(state: Path, out: Path) -> int:
    """Write the averaged weights as fp16 safetensors; return the bytes written."""
    kept = torch.load(state, map_location="cpu", weights_only=True)
    half = {
        name: tensor.contiguous().half() if tensor.is_floating_point() else tensor.contiguous()
        for name, tensor in sorted(kept["average"].items())
    }
    about = {"architecture": EDGE_ARCHITECTURE, "steps": kept["step"]}
    content = save(half, {EDGE_METADATA_KEY: json.dumps(about, sort_keys=True)})
    write_atomic(out, content)
    return len(content)


def main() -> int:
    """Train for so many minutes, or export; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--scenes", type=Path, nargs="+", default=[ROOT / "build/capture_fine/train"]
    )
    parser.add_argument("--coarse", type=Path, default=ROOT / "build/coarse")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60, help="length by the clock")
    parser.add_argument("--steps", type=int, help="length in steps instead: reproducible")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--export", action="store_true", help="write the weights that ship")
    parser.add_argument("--out", type=Path, default=EDGE_WEIGHTS)
    options = parser.parse_args()
    if options.export:
        print(f"{options.out}: {export(options.state, options.out) / 1e6:.2f} MB")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    model = EdgeModel().train().to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=1e-3)
    step, before = 0, 0.0
    if options.state.exists():
        kept = torch.load(options.state, map_location="cpu", weights_only=True)
        model.load_state_dict(kept["model"])
        average.load_state_dict(kept["average"])
        optimizer.load_state_dict(kept["optimizer"])
        step, before = kept["step"], kept["elapsed"]
        rng = np.random.default_rng((options.seed, step))
    shots = read_shots(options.scenes, options.coarse)
    print(f"photos: {len(shots)}", flush=True)
    began = saved = time.monotonic()
    recent: list[tuple[float, ...]] = []

    def keep() -> None:
        state = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "elapsed": before + time.monotonic() - began,
        }
        options.state.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(options.state) as stream:
            torch.save(state, stream)

    try:
        while True:
            elapsed = before + time.monotonic() - began
            done = step / options.steps if options.steps else elapsed / (options.minutes * 60)
            if done >= 1:
                break
            if done > NORMS_LEARN:
                _freeze_norms(model)
            falling = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
            rate = options.lr * min(1.0, (step + 1) / 100) * falling
            for group in optimizer.param_groups:
                group["lr"] = rate
            picks = rng.integers(len(shots), size=(options.batch, 2))
            pairs = [draw_pair(shots[one], shots[two], rng) for one, two in picks]

            def stack(name: str, pairs: list[Pair] = pairs) -> Tensor:
                batch = torch.from_numpy(np.stack([getattr(pair, name) for pair in pairs]))
                return batch.to(memory_format=torch.channels_last)

            low_truth, high_truth, coarse = (
                stack("low_truth"),
                stack("high_truth"),
                stack("low_logits"),
            )
            low = model(stack("low_photo"), coarse)
            up = nn.functional.interpolate(low.detach(), scale_factor=2.0, mode="bilinear")
            cut = int(rng.integers(0, 2 * SIDE - 160 + 1)), int(rng.integers(0, 2 * SIDE - 160 + 1))
            window = (..., slice(cut[0], cut[0] + 160), slice(cut[1], cut[1] + 160))
            high = model(stack("high_photo")[window], up[window])
            loss = loss_of(low, low_truth, coarse, BANDS[0])
            loss = loss + loss_of(high, high_truth[window], up[window], BANDS[1])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            decay = min(0.998, 1 - 1 / (step + 1) ** 0.8)
            with torch.no_grad():
                for kept_tensor, tensor in zip(
                    average.state_dict().values(), model.state_dict().values(), strict=True
                ):
                    if tensor.is_floating_point():
                        kept_tensor.lerp_(tensor, 1 - decay)
                    else:
                        kept_tensor.copy_(tensor)
            recent.append(
                (
                    float(loss.detach()),
                    iou(coarse, low_truth),
                    iou(low.detach(), low_truth),
                    iou(up[window], high_truth[window]),
                    iou(high.detach(), high_truth[window]),
                )
            )
            if step % LOG_EVERY == 0:
                means = " ".join(f"{value:.4f}" for value in np.mean(recent, axis=0))
                print(f"{step} {elapsed / 60:.1f} min {rate:.1e} {means}", flush=True)
                recent.clear()
                if step % (20 * LOG_EVERY) == 0 and done < 0.7:
                    shots = read_shots(options.scenes, options.coarse)  # more may be there by now
            if time.monotonic() - saved > SAVE_EVERY:
                keep()
                saved = time.monotonic()
    finally:
        keep()
    return 0


if __name__ == "__main__":
    sys.exit(main())
