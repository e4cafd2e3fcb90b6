# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge model: corrects a coarse matte with the photo's pixels.

It is a small U-Net. It sees a photo at some scale, and a matte from about half that scale. It gives
the matte at the photo's scale. It knows no objects: the coarse matte says what to keep. The same
weights serve every scale. So a matte grows from the model's grid to the photo's size, about twice
as large at each step.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

EDGE_WEIGHTS: Final = Path(__file__).parents[1] / "weights" / "edges.safetensors"
"""The weights that come with the extension: safetensors, fp16. Loading casts them to fp32."""

EDGE_ARCHITECTURE: Final = "sam2-splat-edges-1"
"""Name and version of the architecture. The weights' metadata contains it."""

EDGE_METADATA_KEY: Final = "sam2_splat"
CERTAIN: Final = 6.0
"""Logits are clipped to this: larger ones don't say more."""

UNDECIDED: Final = 3.0
"""Where a coarse matte's logits are nearer to 0 than this, the edge model has to decide."""

COARSEST: Final = 16
"""The sides of the model's input are multiples of this, px."""

REACH: Final = 64
"""Pixels farther away than this hardly change a result, px. Tiles overlap by this much."""

_AROUND: Final = ((2, 9), (4, 13))  # px of a cell, cells across: 18 and 52 px
_WIDTHS: Final = (12, 24, 40, 64, 96)  # channels at strides 1, 2, 4, 8, 16


def colour_votes(photo: Tensor, prior: Tensor) -> list[Tensor]:
    """Compare each pixel's colour with the surely inside and the surely outside pixels around it.

    Both groups are described by one Gaussian each. Convolutions learn such comparisons slowly, so
    the model gets the result as input.

    Parameters
    ----------
    photo : Tensor
        (B, 3, H, W) RGB in 0..1.
    prior : Tensor
        (B, 1, H, W) logits.

    Returns
    -------
    list of Tensor
        For each distance in `_AROUND`, a pair of (B, 1, H, W). First -1 (colour of the outside) to
        1 (colour of the inside). Then from 0 to nearly 1: how far both groups exist around the
        pixel.
    """
    inside, outside = ((prior - 1) / 3).clamp(0, 1), ((-prior - 1) / 3).clamp(0, 1)
    kinds = torch.cat([_moments(photo, inside), _moments(photo, outside)], dim=1)  # (B, 10, H, W)
    votes: list[Tensor] = []
    for stride, cells in _AROUND:
        small = nn.functional.avg_pool2d(kinds, stride)
        small = nn.functional.avg_pool2d(
            small, (cells, 1), 1, (cells // 2, 0), count_include_pad=False
        )
        small = nn.functional.avg_pool2d(
            small, (1, cells), 1, (0, cells // 2), count_include_pad=False
        )
        around = nn.functional.interpolate(small, scale_factor=float(stride), mode="bilinear")
        likely_in, some_in = _likelihood(photo, around[:, :5])
        likely_out, some_out = _likelihood(photo, around[:, 5:])
        both = some_in * some_out
        votes += [torch.tanh((likely_in - likely_out) / 3) * both, both]
    return votes


def _moments(photo: Tensor, weight: Tensor) -> Tensor:
    """Return weight, weighted colour, and weighted mean square over the channels: (B, 5, H, W)."""
    square = photo.square().mean(dim=1, keepdim=True)
    return torch.cat([weight, photo * weight, square * weight], dim=1)


def _likelihood(photo: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
    """Return each colour's log-likelihood given the colours around it, and how far there are any, 0 to 1."""
    weight = moments[:, :1]
    mean = moments[:, 1:4] / (weight + 1e-4)
    spread = (moments[:, 4:] / (weight + 1e-4) - mean.square().mean(dim=1, keepdim=True)).clamp(0)
    spread = spread + 0.03**2
    away = (photo - mean).square().mean(dim=1, keepdim=True)
    return -1.5 * (away / spread + spread.log()), weight / (weight + 0.01)


class _ConvNorm(nn.Module):
    """A 3x3 convolution, BatchNorm, ReLU."""

    def __init__(self, incoming: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(incoming, width, 3, stride, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, incoming, H, W) to (B, width, H / stride, W / stride)."""
        return torch.relu(self.norm(self.conv(x)))


class EdgeModel(nn.Module):
    """Turn a photo and a coarse matte into a fine matte. Fully convolutional."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _ConvNorm(5 + 2 * len(_AROUND), _WIDTHS[0])
        pairs = list(itertools.pairwise(_WIDTHS))
        self.down = nn.ModuleList(
            nn.Sequential(
                _ConvNorm(fine, coarse, 2), _ConvNorm(coarse, coarse), _ConvNorm(coarse, coarse)
            )
            for fine, coarse in pairs
        )
        self.lateral = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.merge = nn.ModuleList(_ConvNorm(fine, fine) for fine, _ in pairs)
        self.last = nn.Conv2d(_WIDTHS[0], 1, 1)
        nn.init.zeros_(self.last.weight)  # at first the result is the coarse matte
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, photo: Tensor, coarse: Tensor) -> Tensor:
        """Return the matte at the photo's scale.

        Parameters
        ----------
        photo : Tensor
            (B, 3, H, W) RGB in 0..1. The sides are multiples of `COARSEST`.
        coarse : Tensor
            (B, 1, H, W) logits, resized to the photo's size.

        Returns
        -------
        Tensor
            (B, 1, H, W) logits. Inside is > 0.
        """
        prior = coarse.clamp(-CERTAIN, CERTAIN)
        seen = [(photo - 0.45) * 4.0, prior / CERTAIN, torch.tanh(prior)]
        x = self.stem(torch.cat([*seen, *colour_votes(photo, prior)], dim=1))
        kept = [x]
        for step in self.down:
            kept.append(step(kept[-1]))
        x = kept.pop()
        for lateral, merge in zip(reversed(self.lateral), reversed(self.merge), strict=True):
            up = nn.functional.interpolate(lateral(x), scale_factor=2.0, mode="nearest")
            x = merge(up + kept.pop())
        change: Tensor = self.last(x)
        return prior + change


def load_edge_model(path: Path = EDGE_WEIGHTS) -> EdgeModel:
    """Load the edge model in eval mode, fp32, on the CPU.

    Raises
    ------
    ValueError
        The file holds another architecture.
    OSError
        There is no such file.
    """
    model = EdgeModel()
    with safe_open(str(path), framework="pt") as file:
        about = json.loads((file.metadata() or {}).get(EDGE_METADATA_KEY, "{}"))
        if about.get("architecture") != EDGE_ARCHITECTURE:
            raise ValueError(f"{path} holds no weights of {EDGE_ARCHITECTURE}.")
        state = {name: file.get_tensor(name) for name in file.keys()}
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    for block in [module for module in model.eval().modules() if isinstance(module, _ConvNorm)]:
        if isinstance(block.norm, nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(block.conv, block.norm)
            block.norm = nn.Identity()
    lay_out(model)
    return model


def lay_out(model: EdgeModel) -> None:
    """Store the convolutions' weights channels last, which a CPU reads fastest."""
    for weight in model.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
