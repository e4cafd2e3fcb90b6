# SPDX-License-Identifier: GPL-3.0-or-later
"""Click, correct and track as a user and the engine do, with gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.nn import functional as F

from sam2_splat_addon.engine.models.bundled_model import SAM2_MEAN, SAM2_STD, prompt_maps
from tools.research.train.feeder import Batch
from tools.research.train.objective import Weights, frame_loss
from tools.research.train.prompts import Click, Mask, Rng, box, click_inside, next_click

MANY_FRAMES: Final = 1000  # longer than any memory, so that sam2 uses its full number of pointers
MOST_ROUNDS: Final = 8  # of clicks before the answer that is used for learning
_NOTHING, _BOX_START, _BOX_END = -1, 2, 3  # labels of sam2's prompts
_FORGET_SHARE: Final = 0.25  # of answers: they get the clicks but not the earlier mask
_AGAIN_SHARE: Final = 0.15  # of rounds: they ask again without a new click
_BOX_SHARE: Final = 0.12
_MASK_SHARE: Final = 0.3  # of clips that begin with a mask
_CORRECTED_SHARE: Final = 0.15  # of later frames that are corrected
_BETWEEN_SHARE: Final = 0.25  # of clips: the last frame is corrected before those between
_KEPT_WEIGHT: Final = 0.2  # beside 1 of a click: pixels that the answer before had right
_LOGIT_BOUND: Final = 32.0  # of logits that are fed back, as in the engine


@dataclass(frozen=True)
class Outcome:
    """The result of a rollout.

    Attributes
    ----------
    loss : Tensor
        Scalar with gradient.
    prompted_iou, tracked_iou : float
        Mean IoU on the prompted frame and on the others (nan if there are none).
    obeyed : float
        Fraction of clicks whose own pixel is inside or outside, as the click says.
    """

    loss: Tensor
    prompted_iou: float
    tracked_iou: float
    obeyed: float


def to_input(frames: Tensor) -> Tensor:
    """Normalise (N, S, S, 3) uint8 RGB to (N, 3, S, S) float, channels last in memory."""
    x = frames.permute(0, 3, 1, 2).float().div_(255.0)
    mean = torch.tensor(SAM2_MEAN, device=x.device).view(1, 3, 1, 1)
    std = torch.tensor(SAM2_STD, device=x.device).view(1, 3, 1, 1)
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


class Prompts:
    """The prompts of each subject of a batch. Clicks are added to them.

    Parameters
    ----------
    truth : list of Mask
        (h, w) each.
    scale : float
        Px of the input for one px of the masks.
    """

    def __init__(self, truth: list[Mask], scale: float) -> None:
        self._truth = truth
        self._scale = scale
        self._clicks: list[list[Click]] = [[] for _ in truth]
        self._boxes: list[Tensor | None] = [None] * len(truth)

    def click_first(self, rng: Rng, count: int = 1) -> None:
        """Include clicks inside."""
        for clicks, truth in zip(self._clicks, self._truth, strict=True):
            if truth.any():
                clicks.extend(click_inside(rng, truth) for _ in range(count))

    def box_first(self, rng: Rng) -> None:
        """Add a box around each subject."""
        self._boxes = [torch.from_numpy(box(rng, t)) if t.any() else None for t in self._truth]

    def correct(self, rng: Rng, logits: Tensor) -> None:
        """Add one click each, where the mask `logits > 0`, (B, 1, h', w'), is most wrong."""
        size = self._truth[0].shape
        up = F.interpolate(logits.detach(), size, mode="bilinear", align_corners=False)
        found = (up[:, 0] > 0).cpu().numpy()
        for clicks, truth, mask in zip(self._clicks, self._truth, found, strict=True):
            click = next_click(truth, mask, rng)
            if click is not None:
                clicks.append(click)

    def tensors(self) -> dict[str, Tensor] | None:
        """Return them in sam2's form, filled up with labels of -1. None if there are none."""
        longest = max(
            len(clicks) + (0 if corners is None else 2)
            for clicks, corners in zip(self._clicks, self._boxes, strict=True)
        )
        if longest == 0:
            return None
        coords = torch.zeros(len(self._truth), longest, 2)
        labels = torch.full((len(self._truth), longest), _NOTHING, dtype=torch.int32)
        for i, (clicks, corners) in enumerate(zip(self._clicks, self._boxes, strict=True)):
            given = [] if corners is None else [(*c, _BOX_START + k) for k, c in enumerate(corners)]
            given += [(x, y, int(include)) for x, y, include in clicks]
            for k, (x, y, label) in enumerate(given):
                coords[i, k, 0] = (float(x) + 0.5) * self._scale - 0.5
                coords[i, k, 1] = (float(y) + 0.5) * self._scale - 0.5
                labels[i, k] = label
        return {"point_coords": coords, "point_labels": labels}

    def obeyed(self, logits: Tensor) -> list[bool]:
        """Whether each click's own pixel is as the click says, in logits (B, 1, h', w')."""
        size = self._truth[0].shape
        up = F.interpolate(logits.detach(), size, mode="bilinear", align_corners=False)
        found = (up[:, 0] > 0).cpu().numpy()
        return [
            bool(mask[int(c.y), int(c.x)]) == c.include
            for clicks, mask in zip(self._clicks, found, strict=True)
            for c in clicks
        ]


def run_batch(model: SAM2Base, batch: Batch, weights: Weights, rng: Rng) -> Outcome:
    """Prompt every subject on its first frame, track it, and sum the frames' losses.

    Stills get several rounds of clicks, each where the last answer was most wrong. Only the last
    answer is used for learning. Clips get a prompt, and corrections on some later frames. In some,
    the last frame is corrected first: then the frames between have a prompted photo on each side.
    """
    device = model.device
    targets = torch.from_numpy(batch.targets).to(device).float() / 255  # (C, T, h, w)
    count, length = targets.shape[:2]
    scale = model.image_size / targets.shape[-1]
    frames = torch.from_numpy(batch.frames).to(device).flatten(0, 1)  # (C * T, S, S, 3)
    _, feats, positions, sizes = model._prepare_backbone_features(
        model.forward_image(to_input(frames))
    )
    levels = [x.unflatten(1, (count, length)) for x in feats]  # (HW, C, T, channels)
    places = [x[:, :1].expand(-1, count, -1) for x in positions]
    memory: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def ask(t: int, points: dict[str, Tensor] | None, mask: Any, before: Tensor | None) -> Any:
        current, outputs, _, _ = model._track_step(
            t, t == 0, [x[:, :, t] for x in levels], places, sizes, points, mask, memory,
            MANY_FRAMES, False, before,
        )  # fmt: skip
        return current, outputs

    losses: list[Tensor] = []
    reached: list[Tensor] = []
    obeyed: list[bool] = []
    first_is_mask = length > 1 and rng.random() < _MASK_SHARE
    order = list(range(length))
    between = length > 2 and rng.random() < _BETWEEN_SHARE
    if between:
        order = [0, length - 1, *range(1, length - 1)]
    for t in order:
        truth = [mask > 0.5 for mask in targets[:, t].cpu().numpy()]
        prompts = Prompts(truth, scale)
        points, mask, before = None, None, None
        if t == 0 and first_is_mask:
            whole = F.interpolate(
                targets[:, :1], (model.image_size,) * 2, mode="bilinear", align_corners=False
            )
            mask = (whole > 0.5).float()
        elif t == 0:
            if rng.random() < _BOX_SHARE:
                prompts.box_first(rng)
            else:
                prompts.click_first(rng, 1 if length == 1 else int(rng.integers(1, 4)))
            before = _rounds(ask, prompts, _how_many(rng, length), rng)
            points = prompts.tensors()
        elif (between and t == length - 1) or rng.random() < _CORRECTED_SHARE:
            with torch.no_grad():
                tracked = ask(t, None, None, None)[1][3]
            prompts.correct(rng, tracked)
            before = tracked.clamp(-_LOGIT_BOUND, _LOGIT_BOUND)
            points = prompts.tensors()
            before = before if points is not None else None
        current, outputs = ask(t, points, mask, before)
        if mask is None:
            weight = None
            if points is not None:
                weight = _important(_clicked(points, outputs[3]), before, targets[:, t])
            loss, ious, there = frame_loss(
                outputs[3][:, 0], targets[:, t], outputs[2][:, 0], outputs[6][:, 0], weights, weight
            )
            losses.append(loss)
            obeyed += prompts.obeyed(outputs[3])
        else:
            ious, there = torch.ones(count), torch.ones(count, dtype=torch.bool)
        reached.append(ious[there].mean() if there.any() else ious.new_tensor(float("nan")))
        if t != order[-1]:
            current["obj_ptr"] = outputs[5]
            now = [x[:, :, t] for x in levels]
            at_input = outputs[4]
            model._encode_memory_in_output(now, sizes, points, True, at_input, outputs[6], current)
            corrected = t == 0 or points is not None
            memory["cond_frame_outputs" if corrected else "non_cond_frame_outputs"][t] = current
    rest = torch.stack(reached[1:]).nanmean() if length > 1 else torch.tensor(float("nan"))
    return Outcome(
        loss=torch.stack(losses).mean(),
        prompted_iou=float("nan") if first_is_mask else float(reached[0]),
        tracked_iou=float(rest),
        obeyed=float(np.mean(obeyed)) if obeyed else float("nan"),
    )


def _how_many(rng: Rng, length: int) -> int:
    """Return the number of rounds before the answer that counts: few on most samples, many on some."""
    if length > 1:
        return 0 if rng.random() < 0.6 else int(rng.integers(1, 3))
    return 0 if rng.random() < 0.22 else int(rng.integers(1, MOST_ROUNDS + 1) * rng.random() + 1)


def _rounds(ask: Any, prompts: Prompts, rounds: int, rng: Rng) -> Tensor | None:
    """Click, look, and click again, without gradients. Returns the earlier logits for the last answer."""
    before: Tensor | None = None
    for _ in range(rounds):
        with torch.no_grad():
            logits = ask(0, prompts.tensors(), None, before)[1][3]
        if rng.random() >= _AGAIN_SHARE:
            prompts.correct(rng, logits)
        forgets = rng.random() < _FORGET_SHARE
        before = None if forgets else logits.clamp(-_LOGIT_BOUND, _LOGIT_BOUND)
    return before


def _important(clicked: Tensor, before: Tensor | None, target: Tensor) -> Tensor:
    """Return where errors count more, (B, H, W) of 0 to 1, at the target's size.

    That is at clicks, and where the answer before was right: a click must not spoil other places.

    Parameters
    ----------
    clicked : Tensor
        (B, h, w), 0..1.
    before : Tensor or None
        (B, 1, h', w') logits of the answer before.
    target : Tensor
        (B, H, W) coverage, 0..1.
    """
    size = target.shape[-2:]
    important = F.interpolate(clicked[:, None], size, mode="nearest")[:, 0]
    if before is None:
        return important
    up = F.interpolate(before.float(), size, mode="bilinear", align_corners=False)[:, 0]
    right = (up > 0) == (target > 0.5)
    return torch.maximum(important, _KEPT_WEIGHT * right)


def _clicked(points: dict[str, Tensor], logits: Tensor) -> Tensor:
    """Return where clicks are, (B, h, w) of 0 to 1, at the logits' size."""
    maps = prompt_maps(points, None, logits)
    clicked: Tensor = maps[:, :2].amax(1)
    return clicked
