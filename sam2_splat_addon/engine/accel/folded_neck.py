# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2's fine feature maps without the 256 channels in between, for the CPU.

The neck widens the trunk's maps to 256 channels. At strides 4 and 8 only a projection to 32 and 64
channels follows. Both steps are linear, so they become one. At stride 4 of a 1024 px input, a map
of 67 MB is never made, and only two fifths of the products remain. Equal except for a few last
bits.
"""

from __future__ import annotations

from typing import Final

import torch
from sam2.modeling.backbones.image_encoder import FpnNeck
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn import functional as F

_FINE: Final = 2  # number of maps that are projected, from the finest on


def set_neck(model: SAM2Base, *, folded: bool) -> None:
    """Let the model project its fine maps in one step, or as sam2 does. Only changes Hiera's neck.

    Folded, the weights have other names. Unfolded again, everything is as before.
    """
    encoder, decoder = model.image_encoder, model.sam_mask_decoder
    neck = encoder.neck
    if folded and _can_fold(model):
        encoder.neck = FoldedNeck(neck, decoder.conv_s0, decoder.conv_s1)
        decoder.conv_s0, decoder.conv_s1 = nn.Identity(), nn.Identity()
    elif not folded and isinstance(neck, FoldedNeck):
        encoder.neck = neck.source
        decoder.conv_s0, decoder.conv_s1 = neck.projections


def _can_fold(model: SAM2Base) -> bool:
    neck = model.image_encoder.neck
    return (
        type(neck) is FpnNeck
        and model.use_high_res_features_in_sam
        and neck.fpn_top_down_levels == list(range(_FINE, len(neck.convs)))
        and (neck.fuse_type, neck.fpn_interp_model) == ("sum", "nearest")
    )


class FoldedNeck(nn.Module):
    """`FpnNeck` together with the mask decoder's projections of the two finest maps.

    Parameters
    ----------
    source
        The neck, with final weights. Only its two coarsest maps may take in coarser ones.
    projections
        The 1x1 convolutions that follow, finest first.
    """

    def __init__(self, source: FpnNeck, *projections: nn.Conv2d) -> None:
        super().__init__()
        self.source = source
        self.projections = projections  # a tuple, so they don't become submodules
        self.backbone_channel_list = source.backbone_channel_list
        self._folded: tuple[tuple[Tensor, Tensor], ...] = ()

    @torch.no_grad()
    def _fold(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Return a weight (out, in) and a bias (out, 1) for each fine map."""
        folded: list[tuple[Tensor, Tensor]] = []
        for lateral, narrow in zip(reversed(self.source.convs), self.projections, strict=False):
            widen = lateral.conv
            weight = narrow.weight.flatten(1)  # (out, 256)
            assert narrow.bias is not None
            bias = weight @ widen.bias + narrow.bias
            folded.append((weight @ widen.weight.flatten(1), bias[:, None]))
        return tuple(folded)

    def forward(self, xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return maps and position encodings, fine to coarse, from the maps of the trunk.

        Parameters
        ----------
        xs
            Each (B, C, H, W).
        """
        if not self._folded:
            self._folded = self._fold()
        fine = [
            torch.stack([torch.addmm(bias, weight, cells) for cells in x.flatten(2)])
            for (weight, bias), x in zip(self._folded, xs, strict=False)
        ]  # (B, 32, H * W), (B, 64, H * W)
        maps = [y.unflatten(2, x.shape[2:]) for y, x in zip(fine, xs, strict=False)]
        maps += self._coarse(xs[_FINE:])
        return maps, [self.source.position_encoding(x).to(x.dtype) for x in maps]

    def _coarse(self, xs: list[Tensor]) -> list[Tensor]:
        """Return the other maps, (B, 256, H, W) each, as `FpnNeck` makes them."""
        maps: list[Tensor] = []
        for conv, x in zip(self.source.convs, reversed(xs), strict=False):
            y = conv(x)
            if maps:
                y = y + F.interpolate(maps[0], scale_factor=2.0, mode="nearest")
            maps.insert(0, y)
        return maps
