# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn prompts in footage pixels into the tensors that SAM 2's heads take."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.prompts import FramePrompts, MaskPrompt

EXCLUDE, INCLUDE, BOX_START, BOX_END = 0, 1, 2, 3
"""The labels that sam2's prompt encoder knows."""


@dataclass(frozen=True)
class PromptTensors:
    """The prompts of one object on one frame.

    Attributes
    ----------
    coordinates, labels
        (1, P, 2) float32 in pixels of the model's input, and (1, P) int32. None without points and
        box.
    mask
        (1, 1, S, S) float32 of 0 and 1. None without a mask. It is wider before a panorama's view
        is cut out of it.
    """

    coordinates: Tensor | None
    labels: Tensor | None
    mask: Tensor | None

    @property
    def points(self) -> dict[str, Tensor] | None:
        """The points in the form that `SAM2Base` takes."""
        if self.coordinates is None or self.labels is None:
            return None
        return {"point_coords": self.coordinates, "point_labels": self.labels}


def prompt_tensors(
    prompts: FramePrompts,
    width: int,
    height: int,
    image_size: int,
    device: torch.device,
    *,
    around: int = 0,
) -> PromptTensors:
    """Convert the prompts of one object on one frame.

    A box becomes two labelled corners before the points, as in SAM 2's training.

    Our coordinates count from the edge of a pixel. sam2's prompt encoder takes pixel indices and
    adds half a pixel of the *model's* input. So we subtract that half first. At 384 px input it is
    worth 1.5 px of a 1200 px photo.

    Parameters
    ----------
    prompts
        In pixels of the footage.
    width, height
        Size of the footage, px.
    image_size
        Side of the model's input, px.
    device
        Where the tensors are made.
    around
        Width of the whole photo in px of the model's input. 0 means ``image_size``.
    """
    around = around or image_size
    corners: list[tuple[float, float]] = []
    labels: list[int] = []
    if prompts.box is not None:
        box = prompts.box
        corners += [(box.x0, box.y0), (box.x1, box.y1)]
        labels += [BOX_START, BOX_END]
    corners += [(point.x, point.y) for point in prompts.points]
    labels += [INCLUDE if point.include else EXCLUDE for point in prompts.points]

    coordinates = None
    label_row = None
    if corners:
        size = torch.tensor([width, height])
        scaled = torch.tensor(corners, dtype=torch.float32) / size
        scaled = scaled * torch.tensor([around, image_size]) - 0.5
        coordinates = scaled[None].to(device)  # (1, P, 2)
        label_row = torch.tensor([labels], dtype=torch.int32, device=device)  # (1, P)
    mask = (
        None if prompts.mask is None else _mask_tensor(prompts.mask, (image_size, around), device)
    )
    return PromptTensors(coordinates, label_row, mask)


def _mask_tensor(mask: MaskPrompt, size: tuple[int, int], device: torch.device) -> Tensor:
    """Resize the mask to ``size``, (height, width) px: (1, 1, height, width) float32 of 0 and 1."""
    full = torch.from_numpy(mask.to_array()).to(device)[None, None].float()  # (1, 1, H, W)
    if full.shape[-2:] == size:
        return full
    squashed = F.interpolate(full, size=size, mode="bilinear", align_corners=False, antialias=True)
    return (squashed >= 0.5).float()
