# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the bundled model; run as a script.

    python tools/research/train/train.py --name a --minutes 60 --photos REAL/train --tests REAL/test \
        --scenes build/capture/train --pretrained build/trunk --state build/train/state.pt

Goes on where it was when stopped; another name begins another stage with the weights of the state.
Beside the weights, the state holds their running mean, which is what is measured and released.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import signal
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

ROOT: Final = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from sam2_splat_addon.engine.models.bundled_model import LiteTrunk, build_bundled_model
from sam2_splat_addon.engine.models.device import choose_device
from sam2_splat_addon.engine.models.fused_encoder import FusedTrunk
from tools.research.train.feeder import BatchPlan, Feeder
from tools.research.train.objective import Weights
from tools.research.train.pretrained import load_trunk
from tools.research.train.rollout import Outcome, run_batch
from tools.research.train.state import Progress, read_exported, read_state, restore, save_state

SAVE_EVERY: Final = 180.0  # seconds
LOG_EVERY: Final = 20  # steps
WARM_UP: Final = 50  # steps
AVERAGE_OVER: Final = 400  # steps of the running mean, fewer at the beginning
COLUMNS: Final = (
    "stage", "step", "total_steps", "minutes", "lr", "loss", "prompted_iou", "tracked_iou",
    "obeyed", "seconds_per_step",
)  # fmt: skip


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--name", required=True, help="of this stage")
    span = parser.add_mutually_exclusive_group(required=True)
    span.add_argument("--minutes", type=float, help="length of the stage by the clock")
    span.add_argument("--steps", type=int, help="length of the stage in steps: reproducible")
    parser.add_argument("--state", type=Path, required=True, help="state file, read and written")
    parser.add_argument("--photos", type=Path, help="folder of real photos with masks")
    parser.add_argument("--tests", type=Path, help="folder of pictures to keep out")
    parser.add_argument("--scenes", type=Path, default=ROOT / "build" / "capture" / "train")
    parser.add_argument("--pretrained", type=Path, help="where the trunk's package is unpacked")
    parser.add_argument("--start", type=Path, help="exported weights to go on from")
    parser.add_argument("--size", type=int, default=384, help="side of the input, px")
    parser.add_argument("--stills", type=int, default=8, help="photos a step")
    parser.add_argument("--clips", type=int, default=3, help="clips a step")
    parser.add_argument("--length", type=int, default=3, help="frames a clip")
    parser.add_argument("--moving", type=float, default=0.35, help="share of steps with clips")
    parser.add_argument("--rendered", type=float, default=0.2, help="share of rendered pictures")
    parser.add_argument("--chairs", type=float, default=2.0, help="weight of chairs")
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--final-lr", type=float, default=0.05, help="last rate, as a factor")
    parser.add_argument("--trunk-lr", type=float, default=0.0, help="factor of the trunk's rate")
    parser.add_argument(
        "--trunk-from", type=int, default=4, help="its stages below stay as they are"
    )
    parser.add_argument("--balance", type=float, default=0.15, help="class balance, 0 to 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run one stage to its end; return the exit code."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # runs `finally`: saves the state
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    model = build_bundled_model(options.size)
    trunk = model.image_encoder.trunk
    _free_trunk(trunk, options.trunk_from if options.trunk_lr > 0 else None)
    progress = Progress(options.name)
    rng = np.random.default_rng(options.seed)
    model.to(device=device, memory_format=torch.channels_last)
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = _optimizer(model, options.lr, options.trunk_lr)
    if options.state.exists():
        progress = restore(read_state(options.state), model, average, optimizer, progress, rng)
    else:
        options.state.parent.mkdir(parents=True, exist_ok=True)
        if options.start:
            model.load_state_dict(read_exported(options.start))
        else:
            if options.pretrained:
                load_trunk(trunk, options.pretrained)
            # Begin with every object as present. An absent object would hide the masks' loss.
            nn.init.constant_(model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 4.0)
        average.load_state_dict(model.state_dict())
    rounds = choose_device(options.device, "automatic").dtype is torch.bfloat16
    if device.type == "cpu" and not options.trunk_lr:
        fused = FusedTrunk(trunk)  # faster, and needs no gradient
        for conv in fused.convs():
            conv.in_bfloat16 = rounds and conv.is_product  # as when the model is used
        trunk.forward = fused.forward
    plan = BatchPlan(
        options.size,
        options.stills,
        options.clips,
        options.length,
        options.moving,
        options.rendered,
        options.seed,
        options.chairs,
    )
    feeder = Feeder(plan, options.scenes, options.photos, options.tests, progress.total_steps)
    log = options.state.with_suffix(".csv")
    began, saved, logged = time.monotonic() - progress.elapsed, time.monotonic(), time.monotonic()
    recent: list[tuple[float, Outcome]] = []
    weights = Weights(balance=options.balance)
    model.train()
    try:
        while (done := _share_done(progress, options)) < 1.0:
            rate = _rate(progress.step, done, options.final_lr)
            for group in optimizer.param_groups:
                group["lr"] = options.lr * group["factor"] * rate
            batch = feeder.next()
            with torch.autocast(device.type, torch.bfloat16, enabled=rounds):
                outcome = run_batch(model, batch, weights, rng)
            optimizer.zero_grad(set_to_none=True)
            outcome.loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            progress.step += 1
            progress.total_steps += 1
            _blend(average, model, progress.total_steps)
            now = time.monotonic()
            progress.elapsed = now - began
            recent.append((float(outcome.loss.detach()), outcome))
            if progress.step % LOG_EVERY == 0:
                _log(log, progress, options.lr * rate, recent, (now - logged) / LOG_EVERY)
                recent, logged = [], now
            if now - saved > SAVE_EVERY:
                save_state(options.state, model, average, optimizer, progress, rng)
                saved = now
        progress.done = True
    finally:
        save_state(options.state, model, average, optimizer, progress, rng)
        feeder.close()
    return 0


@torch.no_grad()
def _blend(average: nn.Module, model: nn.Module, steps: int) -> None:
    """Move the running mean towards the weights."""
    share = max(1 / AVERAGE_OVER, 1 / (1 + 0.1 * steps))
    for mean, now in zip(average.parameters(), model.parameters(), strict=True):
        if now.requires_grad:
            mean.lerp_(now, share)


def _free_trunk(trunk: LiteTrunk, first: int | None) -> None:
    """Let the trunk learn from stage `first` on (0: all of it with the stem; None: nothing)."""
    trunk.requires_grad_(first == 0)
    if first:
        trunk.stages[first:].requires_grad_(True)


def _optimizer(model: nn.Module, lr: float, trunk_lr: float) -> torch.optim.Optimizer:
    """AdamW without decay on norms and biases, and with a separate rate for the trunk."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        key = ("image_encoder.trunk." in name, parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "factor": trunk_lr if encoder else 1.0,
                "weight_decay": 0.02 if decays else 0.0,
            }
            for (encoder, decays), parameters in groups.items()
        ],
        lr=lr,
    )


def _share_done(progress: Progress, options: argparse.Namespace) -> float:
    if options.steps:
        return float(progress.step / options.steps)
    return float(progress.elapsed / (60 * options.minutes))


def _rate(step: int, done: float, last: float) -> float:
    """Warm up by steps, then follow a cosine over the stage down to `last`."""
    warm = min(1.0, (step + 1) / WARM_UP)
    return warm * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * done)))


def _log(
    path: Path,
    progress: Progress,
    lr: float,
    recent: list[tuple[float, Outcome]],
    seconds: float,
) -> None:
    """Append a line of means over the last steps to the CSV and print it."""

    def mean(values: list[float]) -> float:
        known = [value for value in values if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    row = (
        progress.stage,
        progress.step,
        progress.total_steps,
        f"{progress.elapsed / 60:.2f}",
        f"{lr:.2e}",
        f"{mean([loss for loss, _ in recent]):.4f}",
        f"{mean([o.prompted_iou for _, o in recent]):.4f}",
        f"{mean([o.tracked_iou for _, o in recent]):.4f}",
        f"{mean([o.obeyed for _, o in recent]):.4f}",
        f"{seconds:.3f}",
    )
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(COLUMNS)
        writer.writerow(row)
    print(*row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
