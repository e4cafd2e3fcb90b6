# SPDX-License-Identifier: GPL-3.0-or-later
"""Position encodings of feature maps, made once and never copied.

sam2 copies its table for every frame, at strides 4, 8 and 16. At 1024 px these are 88 MB, but only
the last 4 MB are read. For the others only the shape is used.
"""

from __future__ import annotations

from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn


def share_positions(model: SAM2Base) -> None:
    """Let the model's image encoder and memory encoder return views of one table each."""
    side = model.image_size // model.backbone_stride
    for part in (model.image_encoder.neck, model.memory_encoder):
        if isinstance(part.position_encoding, PositionEmbeddingSine):
            part.position_encoding = SharedPositions(part.position_encoding, side)


class SharedPositions(nn.Module):
    """`PositionEmbeddingSine` at one size. At other sizes it gives zeros with the right shape.

    Parameters
    ----------
    source
        Makes the table.
    side
        Side of the square maps whose positions are read.
    """

    def __init__(self, source: PositionEmbeddingSine, side: int) -> None:
        super().__init__()
        self._source = source
        self._side = side
        self._table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the encoding for maps (B, any, H, W), read-only: (B, C, H, W) float32."""
        channels = 2 * self._source.num_pos_feats
        shape = (x.shape[0], channels, *x.shape[-2:])
        if x.shape[-2:] != (self._side, self._side):
            return x.new_zeros(1).float().expand(shape)
        if self._table is None or self._table.device != x.device:
            self._table = self._source(x[:1])  # (1, C, H, W)
        return self._table.expand(shape)
