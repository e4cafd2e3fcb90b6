# SPDX-License-Identifier: GPL-3.0-or-later
"""The training losses and the IoU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

RIM_WEIGHT: Final = 4.0  # extra weight of a pixel that differs completely from those around it
PRESENT_PX: Final = 4.0  # of coverage, at the target's size; an object with less counts as absent


CLICK_WEIGHT: Final = 8.0  # extra weight of clicked pixels
_SURE: Final = (
    0.3  # weight of a pixel that is right already, beside 1.3 of one that is wholly wrong
)


@dataclass(frozen=True)
class Weights:
    """Weights of the parts of the loss.

    Attributes
    ----------
    balance : float
        0: every pixel counts the same. 1: object and background count the same, even if the object
        is small.
    bce, dice, iou, presence : float
        Factors of the four parts.
    """

    balance: float = 0.15
    bce: float = 1.5
    dice: float = 1.0
    iou: float = 0.1
    presence: float = 0.2


def soft_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of the mask `logits > 0` with a coverage target cut at one half. It is 1 if both are empty.

    Parameters
    ----------
    logits, target : Tensor
        (B, H, W). The target is in 0..1.

    Returns
    -------
    Tensor
        (B), without gradient.
    """
    with torch.no_grad():
        guess, truth = logits > 0, target > 0.5
        both = (guess & truth).sum((1, 2)).float()  # (B)
        either = (guess | truth).sum((1, 2)).float()  # (B)
        return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both))


def _rim_weight(target: Tensor) -> Tensor:
    """Return the weight (B, H, W) of every pixel: higher at thin parts, small holes and edges."""
    coarse = F.avg_pool2d(F.avg_pool2d(target[:, None], 4), 3, stride=1, padding=1)
    smooth = F.interpolate(coarse, target.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return 1 + RIM_WEIGHT * (target - smooth).abs()


def mask_loss(
    logits: Tensor, target: Tensor, weights: Weights, clicked: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy plus dice, for each mask. Wrong, thin or clicked places count most.

    Parameters
    ----------
    logits, target : Tensor
        (B, H, W). The target is coverage in 0..1.
    weights : Weights
        `balance`, `bce` and `dice` are used.
    clicked : Tensor, optional
        (B, H, W), 0..1: where clicks are.

    Returns
    -------
    Tensor
        (B).
    """
    share = target.mean((1, 2), keepdim=True).clamp(0.005, 0.995)  # (B, 1, 1)
    inside = (0.5 / share) ** weights.balance
    outside = (0.5 / (1 - share)) ** weights.balance
    chance = logits.sigmoid()
    pixel = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    pixel = pixel * (target * inside + (1 - target) * outside) * _rim_weight(target)
    pixel = pixel * (_SURE + (target - chance).abs().detach())
    if clicked is not None:
        pixel = pixel * (1 + CLICK_WEIGHT * clicked)
    overlap = 2 * (chance * target).sum((1, 2)) + 1
    dice = 1 - overlap / (chance.sum((1, 2)) + target.sum((1, 2)) + 1)
    total: Tensor = weights.bce * pixel.mean((1, 2)) + weights.dice * dice
    return total


def frame_loss(
    logits: Tensor,
    target: Tensor,
    predicted_iou: Tensor,
    presence: Tensor,
    weights: Weights,
    clicked: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of one frame's masks.

    A mask counts only if the object is there and the model did not call it absent. When the model
    calls it absent, it overwrites the logits, so they get no gradient. Presence always counts.

    Parameters
    ----------
    logits : Tensor
        (B, h, w) mask logits. They are resized bilinearly to the target's size.
    target : Tensor
        (B, H, W) coverage, 0..1.
    predicted_iou, presence : Tensor
        (B) predicted IoU in 0..1, and object-score logits.
    weights : Weights
        Factors of the parts.
    clicked : Tensor, optional
        (B, h, w), 0..1: where clicks are.

    Returns
    -------
    tuple of Tensor
        The loss (a scalar), (B) IoU reached, (B) whether the object is there.
    """
    size = target.shape[-2:]
    logits = F.interpolate(logits[:, None].float(), size, mode="bilinear", align_corners=False)[
        :, 0
    ]
    there = target.sum((1, 2)) > PRESENT_PX  # (B)
    valid = (there & (presence > 0)).float()  # (B)
    reached = soft_iou(logits, target)
    count = valid.sum().clamp(min=1)
    if clicked is not None:
        clicked = F.interpolate(clicked[:, None], size, mode="nearest")[:, 0]
    masks = (mask_loss(logits.clamp(-40, 40), target, weights, clicked) * valid).sum() / count
    quality = (((predicted_iou - reached) ** 2) * valid).sum() / count
    score = F.binary_cross_entropy_with_logits(presence, there.float())
    return masks + weights.iou * quality + weights.presence * score, reached, there
