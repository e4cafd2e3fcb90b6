# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute the image encoder's matrix products in bfloat16, on CPUs that are faster this way.

Linear layers and 1x1 convolutions round their input and output to bfloat16, as autocast does on a
GPU. Sums within a product stay in float32. Everything else stays in float32 too: attention,
normalisation, memory, the mask decoder.
"""

from __future__ import annotations

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn import functional as F

from .fused_encoder import fused_convs


def set_products(model: SAM2Base, *, bfloat16: bool) -> None:
    """Let the image encoder multiply in bfloat16, or in float32 as before. Weights stay the same."""
    for module in model.image_encoder.modules():
        if bfloat16 and type(module) is nn.Linear:
            module.__class__ = HalfLinear
        elif bfloat16 and type(module) is nn.Conv2d and _is_product(module):
            module.__class__ = HalfConv
        elif not bfloat16 and isinstance(module, HalfLinear | HalfConv):
            module.__dict__.pop("halves", None)
            module.__class__ = type(module).__bases__[0]
    for conv in fused_convs(model.image_encoder):
        conv.in_bfloat16 = bfloat16 and conv.is_product


def _is_product(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == (1, 1) and conv.groups == 1


class HalfLinear(nn.Linear):
    """`torch.nn.Linear` with float32 input and output that multiplies in bfloat16. For final weights only."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        return F.linear(x.to(torch.bfloat16), *_halves(self)).float()


class HalfConv(nn.Conv2d):
    """A 1x1 `torch.nn.Conv2d` that does the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, H', W')."""
        weight, bias = _halves(self)
        return F.conv2d(x.to(torch.bfloat16), weight, bias, self.stride).float()


def _halves(layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias in bfloat16. They are made once, because a frame may use a layer
    several times."""
    if "halves" not in layer.__dict__:
        bias = None if layer.bias is None else layer.bias.detach().to(torch.bfloat16)
        layer.__dict__["halves"] = layer.weight.detach().to(torch.bfloat16), bias
    halves: tuple[Tensor, Tensor | None] = layer.__dict__["halves"]
    return halves
