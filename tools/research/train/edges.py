# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the edge model; run as a script.

    python tools/research/train/edges.py --scenes build/capture_fine/train --coarse build/coarse \
        --minutes 40 --state build/train/edges.pt
    python tools/research/train/edges.py --state build/train/edges.pt --export

`--coarse` holds the bundled model's mattes of these scenes (tools/research/train/coarse.py makes them). What
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
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

ROOT: Final = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from sam2_splat_addon.core.system.atomic_file import atomic_file, write_atomic
from sam2_splat_addon.engine.refine.edge_model import (
    EDGE_ARCHITECTURE,
    EDGE_METADATA_KEY,
    EDGE_WEIGHTS,
    UNDECIDED,
    EdgeModel,
    lay_out,
)
from tools.research.train.edge_pairs import SIDE, Pair, draw_pair, read_shots

INSIDE_WEIGHT: Final = 2.2  # of the object against the ground: doubt is kept, not cut away
BANDS: Final = (17, 11)  # px, width of the band around the coarse edge that counts, by octave
NORMS_LEARN: Final = 0.3  # of the time; then BatchNorm keeps its statistics
SAVE_EVERY: Final = 60.0  # seconds
LOG_EVERY: Final = 25  # steps


def loss_of(logits: Tensor, truth: Tensor, coarse: Tensor, band: int) -> Tensor:
    """Cross-entropy where the coarse matte is uncertain. All are (B, 1, H, W)."""
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
    """Freeze BatchNorm's statistics. The two steps differ too much for one batch to represent both."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def export(state: Path, out: Path) -> int:
    """Write the averaged weights as fp16 safetensors and return the bytes written."""
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
    """Train for the given minutes, or export. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--scenes", type=Path, nargs="+", default=[ROOT / "build/capture_fine/train"]
    )
    parser.add_argument("--coarse", type=Path, default=ROOT / "build/coarse")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument(
        "--start", type=Path, help="state to begin a new one with: its weights and norms"
    )
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
    model = EdgeModel().train()
    lay_out(model)
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
    elif options.start:
        kept = torch.load(options.start, map_location="cpu", weights_only=True)["average"]
        model.load_state_dict(kept)
        average.load_state_dict(kept)
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
            if options.start or done > NORMS_LEARN:
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
            if time.monotonic() - saved > SAVE_EVERY:
                keep()
                saved = time.monotonic()
    finally:
        keep()
    return 0


if __name__ == "__main__":
    sys.exit(main())
