# SPDX-License-Identifier: GPL-3.0-or-later
"""The image encoder's matrix products in bfloat16, on processors that are quicker so; torch, sam2.

Linear layers and convolutions of one pixel round what goes in and what comes out to bfloat16, as
autocast does on a GPU; sums within a product stay in float32. So does all else: attention,
normalisation, memory, the mask decoder.
"""

from __future__ import annotations

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn import functional as F

from .fused_encoder import fused_convs


def set_products(model: SAM2Base, *, bfloat16: bool) -> None:
    """Let the image encoder multiply in bfloat16, or in float32 as before; weights stay as they are."""
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
    """`torch.nn.Linear` that takes and gives float32 and multiplies in bfloat16; for final weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return F.linear(x.to(torch.bfloat16), *_halves(self)).float()


class HalfConv(nn.Conv2d):
    """`torch.nn.Conv2d` of one pixel, likewise."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in, H, W] to [B, out, H', W']."""
        weight, bias = _halves(self)
        return F.conv2d(x.to(torch.bfloat16), weight, bias, self.stride).float()


def _halves(layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor | None]:
    """Weight and bias in bfloat16, made once: in a frame a layer may be asked several times."""
    if "halves" not in layer.__dict__:
        bias = None if layer.bias is None else layer.bias.detach().to(torch.bfloat16)
        layer.__dict__["halves"] = layer.weight.detach().to(torch.bfloat16), bias
    halves: tuple[Tensor, Tensor | None] = layer.__dict__["halves"]
    return halves
