# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled model's image encoder in fewer steps, for inference on a CPU.

It does the same arithmetic as `bundled_model.LiteTrunk` and `Neck`. The results are equal except for
a few last bits:

- The convolution itself applies activations and adds shortcuts, while its result is in the caches.
  Its weights are stored once in the order that the CPU's kernels need. oneDNN does both, through
  operators that torch has for its own compiler. If a build of torch lacks them, plain convolutions
  are used.
- A border that is wider on one side becomes an additional row and column of zeros in the kernel.
  This costs less than a copy of the image with its border.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Final, Literal

import torch
from sam2.modeling.backbones.image_encoder import ImageEncoder
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn import functional as F

from .bundled_model import (
    TRUNK_OUTPUTS,
    InvertedResidual,
    LiteTrunk,
    Neck,
    SameConv,
    double,
)

Activation = Literal["none", "relu6"]

_PLAIN: Final[dict[Activation, Callable[[Tensor], Tensor]]] = {
    "none": lambda x: x,
    "relu6": F.relu6,
}
# oneDNN's names and parameters for the same activations.
_FUSED: Final[dict[Activation, tuple[str, list[float]]]] = {
    "none": ("none", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}


def fuse_encoder(model: SAM2Base) -> None:
    """Replace the bundled model's encoder with a fused one. Other models are not changed.

    The fused encoder's maps have their channels last in memory, so the head's weights get this
    order too. The model must have its final weights, be in eval mode and stay on the CPU.
    """
    encoder = model.image_encoder
    if isinstance(encoder.trunk, LiteTrunk):
        neck = _FusedNeck(encoder.neck)
        model.image_encoder = ImageEncoder(FusedTrunk(encoder.trunk), neck)
        model.sam_mask_decoder.to(memory_format=torch.channels_last)


def fused_convs(encoder: nn.Module) -> Iterator[FusedConv]:
    """Return the convolutions of a fused encoder. Empty for any other encoder."""
    for module in encoder.modules():
        if isinstance(module, FusedTrunk | _FusedNeck):
            yield from module.convs()


@functools.cache
def has_fused_operators() -> bool:
    """Whether this build of torch has oneDNN's fused convolutions, and they compute the right values."""
    if not torch.backends.mkldnn.is_available():
        return False
    x, weight = torch.ones(1, 8, 8, 8), torch.ones(8, 8, 1, 1)
    try:
        with torch.no_grad():
            packed = _packed(weight, x, 1, 0, 1)
            y = _fused(x, packed, None, 1, 0, 1, "relu6")
            z = _fused_sum(x, x, packed, None, 1, 0, 1)
    except (AttributeError, RuntimeError, TypeError):  # no such operator, or another signature
        return False
    return bool((y == 6).all()) and bool((z == 9).all())


class FusedConv:
    """A convolution with its activation, or with a shortcut that is added to its result.

    Parameters
    ----------
    weight
        (out, in / groups, k, k).
    bias
        (out), or None.
    stride, padding, groups
        As in `torch.nn.Conv2d`.
    activation
        Applied to the result. A call with a shortcut needs one without an activation.

    Attributes
    ----------
    in_bfloat16
        Whether it multiplies in bfloat16; see `bfloat16_products`.
    """

    in_bfloat16 = False

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        activation: Activation = "none",
    ) -> None:
        self._weight = weight.detach().contiguous()
        self._bias = None if bias is None else bias.detach().contiguous()
        self._stride, self._padding, self._groups = stride, padding, groups
        self._activation: Activation = activation
        self._layout: tuple[object, ...] = ()
        self._laid_out = self._weight
        self._halves: tuple[Tensor, Tensor | None] | None = None

    @property
    def is_product(self) -> bool:
        """Whether each cell's result depends only on that cell."""
        return self._weight.shape[2:] == (1, 1) and self._groups == 1

    @classmethod
    def of(cls, source: nn.Module, activation: Activation = "none") -> FusedConv:
        """Make one from a convolution.

        Parameters
        ----------
        source
            A `torch.nn.Conv2d` or a `SameConv`.
        activation
            See the class.
        """
        conv = source.conv if isinstance(source, SameConv) else source
        assert isinstance(conv, nn.Conv2d)
        weight, padding = conv.weight, int(conv.padding[0])
        if isinstance(source, SameConv) and not source.even:
            before, padding = source.border[:2]
            weight = F.pad(weight, (padding - before, 0, padding - before, 0))
        return cls(weight, conv.bias, conv.stride[0], padding, conv.groups, activation)

    def __call__(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Map (B, in, H, W) to (B, out, H', W'). The shortcut has the result's shape."""
        assert shortcut is None or self._activation == "none"
        if self.in_bfloat16:
            return self._product(x, shortcut)
        how = (self._stride, self._padding, self._groups)
        if not has_fused_operators():
            y = F.conv2d(x, self._weight, self._bias, *how[:2], groups=self._groups)
            return _PLAIN[self._activation](y if shortcut is None else y + shortcut)
        # The best layout depends on the input's shape and the number of threads.
        layout = (x.shape, torch.get_num_threads())
        if layout != self._layout:
            self._laid_out = _packed(self._weight, x, *how)
            self._layout = layout
        if shortcut is None:
            return _fused(x, self._laid_out, self._bias, *how, self._activation)
        return _fused_sum(x, shortcut, self._laid_out, self._bias, *how)

    def _product(self, x: Tensor, shortcut: Tensor | None) -> Tensor:
        if self._halves is None:
            bias = None if self._bias is None else self._bias.to(torch.bfloat16)
            self._halves = self._weight.to(torch.bfloat16), bias
        y = F.conv2d(x.to(torch.bfloat16), *self._halves, self._stride).float()
        return _PLAIN[self._activation](y if shortcut is None else y + shortcut)


def _packed(weight: Tensor, x: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        weight, [padding] * 2, [stride] * 2, [1, 1], groups, list(x.shape)
    )
    return packed


def _fused(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    groups: int,
    activation: Activation,
) -> Tensor:
    name, numbers = _FUSED[activation]
    y: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, [padding] * 2, [stride] * 2, [1, 1], groups, name, numbers, ""
    )
    return y


def _fused_sum(
    x: Tensor,
    shortcut: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    groups: int,
) -> Tensor:
    y: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
        x,
        shortcut,
        weight,
        bias,
        [padding] * 2,
        [stride] * 2,
        [1, 1],
        groups,
        "add",
        None,
        None,
        [],
        None,
    )
    return y


class _FusedBlock:
    """A fused `InvertedResidual`."""

    def __init__(self, block: InvertedResidual) -> None:
        self._expand = None if block.expand is None else FusedConv.of(block.expand, "relu6")
        self._filter = FusedConv.of(block.filter, "relu6")
        self._project = FusedConv.of(block.project)
        self._shortcut = block.shortcut

    def convs(self) -> Iterator[FusedConv]:
        """Return its convolutions."""
        yield from (() if self._expand is None else (self._expand,))
        yield from (self._filter, self._project)

    def __call__(self, x: Tensor) -> Tensor:
        y = x if self._expand is None else self._expand(x)
        return self._project(self._filter(y), x if self._shortcut else None)


class FusedTrunk(nn.Module):
    """A fused `LiteTrunk`. Its weights are no parameters, because they are not trained or saved."""

    def __init__(self, trunk: LiteTrunk) -> None:
        super().__init__()
        self.channel_list = trunk.channel_list
        self._scale, self._shift = trunk.scale, trunk.shift
        self._stem = FusedConv.of(trunk.stem, "relu6")
        self._stages = [
            [
                _FusedBlock(block)
                for block in stage.children()
                if isinstance(block, InvertedResidual)
            ]
            for stage in trunk.stages
        ]

    def convs(self) -> Iterator[FusedConv]:
        """Return its convolutions."""
        yield self._stem
        for stage in self._stages:
            for block in stage:
                yield from block.convs()

    def forward(self, x: Tensor) -> list[Tensor]:
        """As `LiteTrunk.forward`. The results have their channels last in memory."""
        x = x.contiguous(memory_format=torch.channels_last)
        x = self._stem(torch.addcmul(self._shift, x, self._scale))  # (B, 32, S/2, S/2)
        features: list[Tensor] = []
        for number, stage in enumerate(self._stages):
            for block in stage:
                x = block(x)
            if number in TRUNK_OUTPUTS:
                features.append(x)
        return features


class _FusedNeck(nn.Module):
    """A fused `Neck`. Its normalisations depend on the photo, so they stay as they are."""

    def __init__(self, neck: Neck) -> None:
        super().__init__()
        self.d_model = neck.d_model
        self.backbone_channel_list = neck.backbone_channel_list
        self.position_encoding = neck.position_encoding
        self.smooth16 = neck.smooth16
        self._lateral32, self._down16, self._lateral16, self._embed = (
            FusedConv.of(conv) for conv in (neck.lateral32, neck.down16, neck.lateral16, neck.embed)
        )
        self._lateral8, self._lateral4 = map(FusedConv.of, (neck.lateral8, neck.lateral4))

    def convs(self) -> Iterator[FusedConv]:
        """Return the convolutions that are fused."""
        yield from (self._lateral32, self._down16, self._lateral16, self._embed)
        yield from (self._lateral8, self._lateral4)

    def forward(self, xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """As `Neck.forward`."""
        s4, s8, s16, s32 = xs
        context = self._lateral32(s32)  # (B, 160, S/32, S/32)
        x = self.smooth16(self._lateral16(s16, double(self._down16(context))))
        features = [self._lateral4(s4), self._lateral8(s8), context, self._embed(x)]
        return features, [self.position_encoding(f) for f in features]
