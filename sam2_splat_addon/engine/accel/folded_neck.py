# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2's fine feature maps without the 256 channels in between, for the CPU; imports torch, sam2.

The neck widens the trunk's maps to 256 channels, and at strides 4 and 8 all that follows is a
projection to 32 and 64. The two are linear and become one: at stride 4 of a 1024 px input a map of
67 MB is never made, and the products are two fifths. The same to a few last bits.
"""

from __future__ import annotations

from typing import Final

import torch
from sam2.modeling.backbones.image_encoder import FpnNeck
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn import functional as F

_FINE: Final = 2  # maps, fine to coarse, that are projected


def set_neck(model: SAM2Base, *, folded: bool) -> None:
    """Let the model project its fine maps in one step, or as sam2 does; no effect but on Hiera's.

    Folded, the weights stand under other names; unfolded again, everything is as it was.
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
        With final weights; coarser maps join in its two coarsest alone.
    projections
        The convolutions of one pixel that follow, finest first.
    """

    def __init__(self, source: FpnNeck, *projections: nn.Conv2d) -> None:
        super().__init__()
        self.source = source
        self.projections = projections  # as a tuple, no modules of this one
        self.backbone_channel_list = source.backbone_channel_list
        self._folded: tuple[tuple[Tensor, Tensor], ...] = ()

    @torch.no_grad()
    def _fold(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """For each fine map a weight (out, in) and a bias (out, 1)."""
        folded: list[tuple[Tensor, Tensor]] = []
        for lateral, narrow in zip(reversed(self.source.convs), self.projections, strict=False):
            widen = lateral.conv
            weight = narrow.weight.flatten(1)  # (out, 256)
            assert narrow.bias is not None
            bias = weight @ widen.bias + narrow.bias
            folded.append((weight @ widen.weight.flatten(1), bias[:, None]))
        return tuple(folded)

    def forward(self, xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps and their encodings of positions, fine to coarse, from those of the trunk.

        Parameters
        ----------
        xs
            Each [B, C, H, W].
        """
        if not self._folded:
            self._folded = self._fold()
        fine = [
            torch.stack([torch.addmm(bias, weight, cells) for cells in x.flatten(2)])
            for (weight, bias), x in zip(self._folded, xs, strict=False)
        ]  # [B, 32, H * W], [B, 64, H * W]
        maps = [y.unflatten(2, x.shape[2:]) for y, x in zip(fine, xs, strict=False)]
        maps += self._coarse(xs[_FINE:])
        return maps, [self.source.position_encoding(x).to(x.dtype) for x in maps]

    def _coarse(self, xs: list[Tensor]) -> list[Tensor]:
        """The other maps, [B, 256, H, W] each, as `FpnNeck` makes them."""
        maps: list[Tensor] = []
        for conv, x in zip(self.source.convs, reversed(xs), strict=False):
            y = conv(x)
            if maps:
                y = y + F.interpolate(maps[0], scale_factor=2.0, mode="nearest")
            maps.insert(0, y)
        return maps
