# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs SAM 2 over a clip as the engine does, with gradients. May import: torch, sam2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.nn import functional as F

from sam2_splat_addon.engine.second_look import PLACES, deep_inside
from tools.train.feeder import Batch
from tools.train.objective import PRESENT_PX, FigureGround, Weights, frame_loss
from tools.train.prompts import corrective_click

MEAN: Final = (0.485, 0.456, 0.406)  # of SAM 2's input, RGB in 0..1
STD: Final = (0.229, 0.224, 0.225)
MANY_FRAMES: Final = 1000  # longer than any memory: lets sam2 use its full number of pointers

PromptKind = Literal["clicks", "box", "mask"]


@dataclass(frozen=True)
class Prompt:
    """How the objects of a step are prompted on frame 0: all alike, as one batched call needs.

    Attributes
    ----------
    kind : {"clicks", "box", "mask"}
        What is given.
    clicks : int
        Include clicks, 1 to 3, when `kind` is "clicks".
    correct : bool
        Whether a corrective click with the earlier logits follows.
    """

    kind: PromptKind
    clicks: int
    correct: bool


def draw_prompt(rng: np.random.Generator, *, video: bool) -> Prompt:
    """Draw how a step is prompted; masks only where there are frames to carry them to."""
    kind: PromptKind = "clicks"
    chance = rng.random()
    if chance < 0.1:
        kind = "box"
    elif video and chance < 0.25:
        kind = "mask"
    return Prompt(kind, int(rng.integers(1, 4)), bool(rng.random() < 0.3) and kind != "mask")


@dataclass(frozen=True)
class Outcome:
    """What a rollout gives.

    Attributes
    ----------
    loss : Tensor
        Scalar with gradient.
    prompted_iou, tracked_iou : float
        Mean IoU on the prompted frame and on the others (nan when there are none).
    presence_right : float
        Share of object-score logits with the right sign.
    """

    loss: Tensor
    prompted_iou: float
    tracked_iou: float
    presence_right: float


def to_input(frames: Tensor) -> Tensor:
    """Normalise [N, S, S, 3] uint8 RGB to [N, 3, S, S] float, channels last in memory."""
    x = frames.permute(0, 3, 1, 2).float().div_(255.0)
    mean = torch.tensor(MEAN, device=x.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=x.device).view(1, 3, 1, 1)
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class _Features:
    """Backbone features of all frames: per level [HW, T, C, channels], and the levels' sizes."""

    levels: list[Tensor]
    positions: list[Tensor]
    sizes: list[tuple[int, int]]

    def at(self, frame: int, owners: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """One frame's features of the clip that each object is in: per level [HW, B, channels]."""
        feats = [x[:, :, frame][:, owners] for x in self.levels]
        positions = [x[:, :1].expand(-1, feats[0].shape[1], -1) for x in self.positions]
        return feats, positions


def _encode(
    model: SAM2Base, figure_ground: FigureGround, batch: Batch, weights: Weights
) -> tuple[_Features, Tensor]:
    """Encode a batch's frames; also return the loss of the auxiliary heads, weighted, on them."""
    frames = torch.from_numpy(batch.frames).to(model.device)  # [C, T, S, S, 3]
    clips, length = frames.shape[:2]
    out = model.forward_image(to_input(frames.flatten(0, 1)))
    _, feats, positions, sizes = model._prepare_backbone_features(out)
    levels = [x.unflatten(1, (clips, length)) for x in feats]  # [HW, C, T, channels]
    maps = out["backbone_fpn"]  # each [C*T, channels, h, w], fine first
    standing = torch.from_numpy(batch.standing).to(model.device).flatten(0, 1).float() / 255
    aside: Tensor = weights.standing * figure_ground(maps[0], maps[-1], standing)
    return _Features(levels, positions, sizes), aside


def run_clip(
    model: SAM2Base,
    figure_ground: FigureGround,
    batch: Batch,
    prompt: Prompt,
    weights: Weights,
    rng: np.random.Generator,
) -> Outcome:
    """Prompt every object on frame 0, carry it through the clip, and sum the frames' losses.

    Parameters
    ----------
    model : SAM2Base
        With `image_size` equal to the batch's S.
    figure_ground : FigureGround
        The auxiliary heads.
    batch : Batch
        C clips of T frames, K objects each. The B <= C*K of them that are seen on frame 0 are
        handled as one batch.
    prompt : Prompt
        What frame 0 gets.
    weights : Weights
        Of the loss.
    rng : numpy.random.Generator
        Places corrective clicks.
    """
    device = model.device
    clips, objects, length = batch.targets.shape[:3]
    targets = torch.from_numpy(batch.targets).to(device).flatten(0, 1).float() / 255
    seen = (targets[:, 0].sum((1, 2)) > PRESENT_PX).nonzero()[:, 0]  # [B]
    owners = torch.arange(clips, device=device).repeat_interleave(objects)[seen]  # [B]
    targets = targets[seen]  # [B, T, h, w]
    points_given = _prompt_points(batch, prompt, seen)
    features, aside = _encode(model, figure_ground, batch, weights)
    memory: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    losses: list[Tensor] = []
    ious: list[Tensor] = []
    right: list[Tensor] = []
    for t in range(length):
        feats, positions = features.at(t, owners)
        points = points_given if t == 0 else None
        masks = _whole(targets[:, 0], model) if t == 0 and prompt.kind == "mask" else None
        attempts = 2 if t == 0 and prompt.correct else 1
        logits, logits_before = targets[:, :0], None
        for attempt in range(attempts):
            if attempt:
                points, logits_before = _correct(points, logits, targets[:, 0], model, rng)
            current, outputs, _, _ = model._track_step(
                t,
                t == 0,
                feats,
                positions,
                features.sizes,
                points,
                masks,
                memory,
                MANY_FRAMES,
                False,
                logits_before,
            )
            logits = outputs[3]  # [B, 1, h, w]
            if not (t == 0 and prompt.kind == "mask"):
                loss, iou, there = frame_loss(
                    logits[:, 0], targets[:, t], outputs[2][:, 0], outputs[6][:, 0], weights
                )
                losses.append(loss / attempts)
        if not (t == 0 and prompt.kind == "mask"):
            ious.append(iou[there].mean() if there.any() else iou.new_tensor(float("nan")))
            right.append(((outputs[6][:, 0] > 0) == there).float().mean())
        if t + 1 < length:
            current["obj_ptr"] = outputs[5]
            model._encode_memory_in_output(
                feats, features.sizes, points, True, outputs[4], outputs[6], current
            )
            bank = "cond_frame_outputs" if t == 0 else "non_cond_frame_outputs"
            memory[bank][t] = current
    first = [] if prompt.kind == "mask" else ious[:1]
    rest = ious if prompt.kind == "mask" else ious[1:]
    return Outcome(
        loss=torch.stack(losses).mean() + aside,
        prompted_iou=_mean(first),
        tracked_iou=_mean(rest),
        presence_right=_mean(right),
    )


def run_look(
    model: SAM2Base,
    figure_ground: FigureGround,
    batch: Batch,
    prompt: Prompt,
    weights: Weights,
) -> Outcome:
    """Prompt the whole photos, then look ever closer with what was found, as the engine does.

    Parameters
    ----------
    model : SAM2Base
        With `image_size` equal to the batch's S.
    figure_ground : FigureGround
        The auxiliary heads.
    batch : Batch
        Looks (`Batch.windows`).
    prompt : Prompt
        What the whole photos get; clicks in place of a mask.
    weights : Weights
        Of the loss.

    Returns
    -------
    Outcome
        With the close-ups' IoU as `tracked_iou`.
    """
    assert batch.windows is not None
    device = model.device
    targets = torch.from_numpy(batch.targets).to(device).flatten(0, 1).float() / 255  # [C, T, h, w]
    everyone = torch.arange(len(targets), device=device)
    given = Prompt("clicks", prompt.clicks, correct=False) if prompt.kind == "mask" else prompt
    points = _prompt_points(batch, given, everyone)
    known: Tensor | None = None  # [C, 1, h, w] on the frame before
    features, aside = _encode(model, figure_ground, batch, weights)
    losses, ious, right = [], [], []
    for t in range(targets.shape[1]):
        feats, positions = features.at(t, everyone)
        before = None if known is None else _window(known, batch.windows[:, t - 1])
        if before is not None:
            points = _deep_inside(before, model.image_size)
        _, outputs, _, _ = model._track_step(
            t, True, feats, positions, features.sizes, points, None, {}, MANY_FRAMES, False, before
        )
        logits = outputs[3]  # [C, 1, h, w]
        # Each answer is averaged with what was known before it.
        found = logits.detach().clamp(-32, 32)
        known = found if before is None else (before + found) / 2
        loss, iou, there = frame_loss(
            logits[:, 0], targets[:, t], outputs[2][:, 0], outputs[6][:, 0], weights
        )
        losses.append(loss)
        ious.append(iou.mean())
        right.append(((outputs[6][:, 0] > 0) == there).float().mean())
    loss = torch.stack(losses).mean() + aside
    return Outcome(loss, float(ious[0]), _mean(ious[1:]), _mean(right))


def _window(logits: Tensor, windows: NDArray[np.float32]) -> Tensor:
    """Cut each of [C, 1, h, w] to its window, [C, 4] in shares, at the size it had."""
    left, top, right, bottom = torch.from_numpy(windows).to(logits.device).unbind(1)  # [C] each
    still = torch.zeros_like(left)
    across = torch.stack([right - left, still, right + left - 1], dim=1)
    down = torch.stack([still, bottom - top, bottom + top - 1], dim=1)
    grid = F.affine_grid(
        torch.stack([across, down], dim=1), list(logits.shape), align_corners=False
    )
    return F.grid_sample(logits, grid, padding_mode="border", align_corners=False)


def _deep_inside(logits: Tensor, size: int) -> dict[str, Tensor]:
    """The engine's own places inside each matte, as sam2 takes clicks; -1 labels fill up."""
    coords = torch.zeros(len(logits), PLACES, 2)
    labels = torch.full((len(logits), PLACES), -1, dtype=torch.int32)
    for i, matte in enumerate(logits[:, 0].float().cpu().numpy()):
        for j, (x, y, label) in enumerate(deep_inside(matte)):
            coords[i, j] = torch.tensor([x * size - 0.5, y * size - 0.5])
            labels[i, j] = label
    return {"point_coords": coords.to(logits.device), "point_labels": labels.to(logits.device)}


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).nanmean()) if values else float("nan")


def _whole(target: Tensor, model: SAM2Base) -> Tensor:
    """Bring coverage [B, h, w] to a binary mask prompt [B, 1, S, S]."""
    size = (model.image_size, model.image_size)
    whole = F.interpolate(target[:, None], size, mode="bilinear", align_corners=False)
    return (whole > 0.5).float()


def _prompt_points(batch: Batch, prompt: Prompt, seen: Tensor) -> dict[str, Tensor] | None:
    """Clicks or box corners on frame 0 as sam2 takes them; None when a mask is given."""
    if prompt.kind == "mask":
        return None
    if prompt.kind == "box":
        given = batch.boxes[:, :, 0]
        labels = torch.tensor([2, 3], dtype=torch.int32)
    else:
        given = batch.points[:, :, 0, : prompt.clicks]
        labels = torch.ones(prompt.clicks, dtype=torch.int32)
    coords = torch.from_numpy(given).flatten(0, 1).to(seen.device)[seen]  # [B, P, 2]
    return {
        "point_coords": coords,
        "point_labels": labels.to(seen.device).expand(coords.shape[0], -1),
    }


def _correct(
    points: dict[str, Tensor] | None,
    logits: Tensor,
    target: Tensor,
    model: SAM2Base,
    rng: np.random.Generator,
) -> tuple[dict[str, Tensor], Tensor]:
    """Add one corrective click per object; return the clicks and the logits to start from."""
    assert points is not None
    scale = model.image_size / target.shape[-1]
    guess = F.interpolate(logits.detach(), target.shape[-2:], mode="bilinear", align_corners=False)
    coords, labels = [], []
    for truth, seen in zip(target.cpu().numpy() > 0.5, guess[:, 0].cpu().numpy() > 0, strict=True):
        (x, y), label = corrective_click(rng, truth, seen) if truth.any() else ((0.0, 0.0), -1)
        coords.append([(x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5])
        labels.append([label])
    more = torch.tensor(coords, device=logits.device)[:, None]  # [B, 1, 2]
    kinds = torch.tensor(labels, dtype=torch.int32, device=logits.device)
    return {
        "point_coords": torch.cat([points["point_coords"], more], dim=1),
        "point_labels": torch.cat([points["point_labels"], kinds], dim=1),
    }, logits.detach().clamp(-32, 32)
