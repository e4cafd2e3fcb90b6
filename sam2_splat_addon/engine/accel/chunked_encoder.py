# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute Hiera's widest layers in parts, so that they never exist whole.

At 1024 px the first stage of SAM 2's image encoder has 65,536 cells. Its perceptrons are four times
as wide. Queries, keys and values together are up to six times as wide. For the tiny model these are
100 and 150 MB, the peak of a frame. A cell's result depends only on its window. So we compute some
rows of windows at a time. This gives the same bits in less time.

Two more things save time. The position encoding is made once, not for every frame. And the channels
are put last in memory before it is added. sam2 keeps its convolution's order, which costs a copy in
each layer of the first stage.
"""

from __future__ import annotations

from typing import Final

from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock
from sam2.modeling.backbones.utils import PatchEmbed
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

_PARTS: Final = 8
_LEAST: Final = 3_000_000  # numbers in the input; with fewer there is nothing to save


def chunk_encoder(model: SAM2Base) -> None:
    """Let the image encoder work on some rows at a time. Only changes Hiera.

    The modules only change their class. Weights and their names stay.
    """
    trunk = model.image_encoder.trunk
    if type(trunk) is not Hiera:
        return
    trunk.__class__ = ChunkedHiera
    trunk.patch_embed.__class__ = OrderedPatchEmbed
    for block in trunk.blocks:
        block.__class__ = ChunkedBlock


class ChunkedHiera(Hiera):
    """`Hiera` that makes the position encoding once for each size. For final weights only."""

    _positions: Tensor | None = None  # (1, H, W, C)

    def _get_pos_embed(self, hw: tuple[int, int]) -> Tensor:
        known = self._positions
        if known is None or known.shape[1:3] != hw or known.device != self.pos_embed.device:
            known = self._positions = super()._get_pos_embed(hw).contiguous()
        return known


class OrderedPatchEmbed(PatchEmbed):
    """`PatchEmbed` whose result has a cell's channels side by side in memory, as they are read."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, S / 4, S / 4, C)."""
        ordered: Tensor = super().forward(x).contiguous()
        return ordered


class ChunkedBlock(MultiScaleBlock):
    """`MultiScaleBlock` that computes large maps in rows of windows."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, H / s, W / s, C'). s is the stride of the queries, or 1."""
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
