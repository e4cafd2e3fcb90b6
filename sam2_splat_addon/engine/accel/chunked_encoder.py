# SPDX-License-Identifier: GPL-3.0-or-later
"""Hiera's widest layers in parts, so that they never exist whole; imports torch, sam2.

At 1024 px the first stage of SAM 2's image encoder has 65,536 cells. Its perceptrons are four times
as wide as these, and queries, keys and values together up to six times: for the tiny model 100 and
150 MB, the peak of a frame. Within a window a cell's result depends on that window alone, so some
rows of windows at a time give the same bits, in less time.

The encoding of positions is made once instead of for every frame, and channels come last before it
is added: sam2 goes on with the order of its convolution, which costs each layer of the first stage a
copy.
"""

from __future__ import annotations

from typing import Final

from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock
from sam2.modeling.backbones.utils import PatchEmbed
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

_PARTS: Final = 8
_LEAST: Final = 3_000_000  # numbers in what goes in; below, there is nothing to save


def chunk_encoder(model: SAM2Base) -> None:
    """Let the image encoder work on some rows at a time; no effect but on Hiera.

    The modules change their class and nothing else: weights and their names stay.
    """
    trunk = model.image_encoder.trunk
    if type(trunk) is not Hiera:
        return
    trunk.__class__ = ChunkedHiera
    trunk.patch_embed.__class__ = OrderedPatchEmbed
    for block in trunk.blocks:
        block.__class__ = ChunkedBlock


class ChunkedHiera(Hiera):
    """`Hiera` that makes the encoding of positions once for each size; for final weights."""

    _positions: Tensor | None = None  # (1, H, W, C)

    def _get_pos_embed(self, hw: tuple[int, int]) -> Tensor:
        known = self._positions
        if known is None or known.shape[1:3] != hw or known.device != self.pos_embed.device:
            known = self._positions = super()._get_pos_embed(hw).contiguous()
        return known


class OrderedPatchEmbed(PatchEmbed):
    """`PatchEmbed` whose result lies in memory as it is read: a cell's channels side by side."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 3, S, S] to [B, S / 4, S / 4, C]."""
        ordered: Tensor = super().forward(x).contiguous()
        return ordered


class ChunkedBlock(MultiScaleBlock):
    """`MultiScaleBlock`, over large maps by rows of windows."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H / s, W / s, C'], s the stride of its queries or 1."""
        batch, height, width, _ = x.shape
        whole = super().forward
        if x.numel() < _LEAST or not self.window_size or height % (_PARTS * self.window_size):
            result: Tensor = whole(x)
            return result
        stride = self.q_stride[0] if self.q_stride else 1
        result = x.new_empty(batch, height // stride, width // stride, self.dim_out)
        for rows, target in zip(x.chunk(_PARTS, 1), result.chunk(_PARTS, 1), strict=True):
            target.copy_(whole(rows))
        return result
