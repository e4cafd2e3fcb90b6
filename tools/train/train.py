# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the bundled model; run as a script. May import: torch, sam2, the engine's architecture.

    python tools/train/train.py --stage image --size 256 --minutes 30 --state build/train/state.pt
    python tools/train/train.py --stage video --size 384 --minutes 60 --state build/train/state.pt

The first stage learns to segment what is clicked on, frame by frame; the second to carry it through
a clip. Both go on where they were when stopped, and each starts from the weights in the state file.
"""

from __future__ import annotations

import argparse
import csv
import math
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sam2_splat_addon.engine.bundled_model import MODEL_WIDTH, LiteTrunk, build_bundled_model
from tools.train.feeder import BatchPlan, Feeder
from tools.train.objective import FigureGround, Weights
from tools.train.pretrained import load_trunk
from tools.train.rollout import Outcome, draw_prompt, run_clip, run_look
from tools.train.state import Progress, read_exported, read_state, restore, save_state

SAVE_EVERY: Final = 120.0  # seconds
LOG_EVERY: Final = 20  # steps
WARM_UP: Final = 50  # steps
COLUMNS: Final = (
    "stage", "step", "total_steps", "minutes", "lr", "loss", "prompted_iou", "tracked_iou",
    "presence_right", "seconds_per_step",
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """What differs between the stages.

    Attributes
    ----------
    clips, length, objects : int
        Clips per step, frames per clip, objects per clip.
    freeze_norms : bool
        Whether BatchNorm keeps its statistics.
    trunk_lr : float
        Learning rate of the trunk, as a factor; 0 leaves it as it is, and saves its backward pass.
    stills : float
        Share of steps that prompt every frame by itself and use no memory.
    """

    clips: int
    length: int
    objects: int
    freeze_norms: bool
    trunk_lr: float
    stills: float


STAGES: Final = {
    "image": Stage(clips=6, length=1, objects=3, freeze_norms=False, trunk_lr=0.0, stills=1.0),
    "video": Stage(clips=2, length=6, objects=2, freeze_norms=True, trunk_lr=0.0, stills=0.3),
}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stage", choices=sorted(STAGES), required=True)
    parser.add_argument("--name", help="a stage's own name, to run the same kind several times")
    parser.add_argument("--size", type=int, default=256, help="side of the input, px")
    span = parser.add_mutually_exclusive_group(required=True)
    span.add_argument("--minutes", type=float, help="length of the stage by the clock")
    span.add_argument("--steps", type=int, help="length of the stage in steps: reproducible")
    parser.add_argument("--state", type=Path, required=True, help="state file, read and written")
    parser.add_argument("--scenes", type=Path, default=ROOT / "build" / "capture" / "train")
    parser.add_argument("--grounds", type=Path, help="folder of pictures and videos for grounds")
    parser.add_argument("--rendered", type=float, default=0.5, help="share of clips as rendered")
    parser.add_argument("--chairs", type=float, default=2.0, help="weight of chairs")
    parser.add_argument("--augment", type=float, default=1.0, help="share of clips augmented")
    parser.add_argument("--looks", type=float, default=0.0, help="share of steps on close-ups")
    parser.add_argument("--clips", type=int, help="clips per step")
    parser.add_argument("--length", type=int, help="frames per clip")
    parser.add_argument("--objects", type=int, help="objects per clip")
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--trunk-lr", type=float, help="factor of the trunk's rate")
    parser.add_argument(
        "--trunk-from", type=int, default=0, help="its stages below stay as they are"
    )
    parser.add_argument("--stills", type=float, help="share of steps without memory")
    parser.add_argument("--learn-norms", action="store_true", help="BatchNorm goes on learning")
    parser.add_argument("--start", type=Path, help="exported weights to go on from")
    parser.add_argument("--pretrained", type=Path, help="where the trunk's package is unpacked")
    parser.add_argument("--final-lr", type=float, default=0.02, help="last rate, as a factor")
    parser.add_argument("--balance", type=float, default=0.3, help="class balance, 0 to 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run one stage to its end; return the exit code."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends through `finally`: state saved
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    stage = _stage(options)
    device = torch.device(options.device)
    model = build_bundled_model(options.size)
    _free_trunk(model.image_encoder.trunk, options.trunk_from if stage.trunk_lr > 0 else None)
    progress = Progress(options.name or f"{options.stage}-{options.size}")
    rng = np.random.default_rng(options.seed)
    model.to(device=device, memory_format=torch.channels_last)
    aside = FigureGround(MODEL_WIDTH // 8, MODEL_WIDTH).to(device)
    optimizer = _optimizer(nn.ModuleList([model, aside]), options.lr, stage.trunk_lr)
    if options.state.exists():
        progress = restore(read_state(options.state), model, aside, optimizer, progress, rng)
    else:
        options.state.parent.mkdir(parents=True, exist_ok=True)
        if options.start:
            model.load_state_dict(read_exported(options.start))
        else:
            if options.pretrained:
                load_trunk(model.image_encoder.trunk, options.pretrained)
            # Begins by taking every object as present: a declared absence would hide the masks' loss.
            nn.init.constant_(model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 4.0)
    plan = BatchPlan(
        options.size,
        stage.clips,
        stage.length,
        stage.objects,
        options.rendered,
        options.seed,
        options.chairs,
        options.augment,
        options.looks,
    )
    feeder = Feeder(plan, options.scenes, options.grounds, progress.total_steps)
    log = options.state.with_suffix(".csv")
    began, saved, logged = time.monotonic() - progress.elapsed, time.monotonic(), time.monotonic()
    recent: list[tuple[float, Outcome]] = []
    weights = Weights(balance=options.balance)
    try:
        while (done := _share_done(progress, options)) < 1.0:
            _train_mode(model, stage)
            rate = _rate(progress.step, done, options.final_lr)
            for group in optimizer.param_groups:
                group["lr"] = options.lr * group["factor"] * rate
            batch = feeder.next()
            stills = rng.random() < stage.stills and batch.windows is None
            batch = batch.as_images() if stills else batch
            prompt = draw_prompt(rng, video=not stills)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                if batch.windows is not None:
                    outcome = run_look(model, aside, batch, prompt, weights)
                else:
                    outcome = run_clip(model, aside, batch, prompt, weights, rng)
            optimizer.zero_grad(set_to_none=True)
            outcome.loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            progress.step += 1
            progress.total_steps += 1
            now = time.monotonic()
            progress.elapsed = now - began
            recent.append((float(outcome.loss.detach()), outcome))
            if progress.step % LOG_EVERY == 0:
                _log(log, progress, options.lr * rate, recent, (now - logged) / LOG_EVERY)
                recent, logged = [], now
            if now - saved > SAVE_EVERY:
                save_state(options.state, model, aside, optimizer, progress, rng)
                saved = now
        progress.done = True
    finally:
        save_state(options.state, model, aside, optimizer, progress, rng)
        feeder.close()
    return 0


def _stage(options: argparse.Namespace) -> Stage:
    usual = STAGES[options.stage]
    return Stage(
        clips=options.clips or usual.clips,
        length=options.length or usual.length,
        objects=options.objects or usual.objects,
        freeze_norms=usual.freeze_norms and not options.learn_norms,
        trunk_lr=usual.trunk_lr if options.trunk_lr is None else options.trunk_lr,
        stills=usual.stills if options.stills is None else options.stills,
    )


def _free_trunk(trunk: LiteTrunk, first: int | None) -> None:
    """Let the trunk learn from stage `first` on (0: all of it, stem included; None: nothing)."""
    trunk.requires_grad_(first == 0)
    if first:
        trunk.stages[first:].requires_grad_(True)


def _optimizer(model: nn.Module, lr: float, trunk_lr: float) -> torch.optim.Optimizer:
    """AdamW; no decay on norms and biases, a rate of its own for the trunk."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        key = (".image_encoder.trunk." in name, parameter.ndim > 1)
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


def _train_mode(model: nn.Module, stage: Stage) -> None:
    model.train()
    if stage.freeze_norms:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def _share_done(progress: Progress, options: argparse.Namespace) -> float:
    if options.steps:
        return float(progress.step / options.steps)
    return float(progress.elapsed / (60 * options.minutes))


def _rate(step: int, done: float, last: float) -> float:
    """Warm-up by steps, then a cosine over the stage down to `last`."""
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
        f"{mean([o.presence_right for _, o in recent]):.4f}",
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
