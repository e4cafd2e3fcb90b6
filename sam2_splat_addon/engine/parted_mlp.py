# SPDX-License-Identifier: GPL-3.0-or-later
"""Hiera's widest layers in parts, so that they never exist whole; imports torch, sam2.

At 1024 px the first stage of SAM 2's image encoder has 65,536 cells, and its perceptrons are four
times as wide as these: twice 100 MB for the tiny model, the peak of a frame. A cell's result depends
on that cell alone, so a few rows at a time give the same bits, at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

_PARTS: Final = 8
_LEAST: Final = 4_000_000  # numbers in what goes in; below, there is nothing to save


def part_mlps(model: SAM2Base) -> None:
    """Let the image encoder's perceptrons work on a few rows at a time; no effect but on Hiera."""
    trunk = model.image_encoder.trunk
    if isinstance(trunk, Hiera):
        for block in trunk.blocks:
            if not isinstance(block.mlp, PartedMLP):
                block.mlp = PartedMLP(block.mlp)


class PartedMLP(nn.Module):
    """sam2's `MLP`, over large maps by parts.

    Parameters
    ----------
    source
        With ``layers``, which stay its weights under the same names.
    """

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.layers = source.layers
        self._whole: Callable[[Tensor], Tensor] = source.forward

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to the same shape."""
        if x.numel() < _LEAST:
            return self._whole(x)
        result = torch.empty_like(x)
        for rows, target in zip(x.chunk(_PARTS, 1), result.chunk(_PARTS, 1), strict=True):
            target.copy_(self._whole(rows))
        return result
