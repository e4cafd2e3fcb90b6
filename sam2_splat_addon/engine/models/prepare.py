# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a model ready to run: save time and memory without another result.

All steps keep every bit, except the bundled model's fused encoder.
"""

from __future__ import annotations

from sam2.modeling.sam2_base import SAM2Base

from ..accel.chunked_encoder import chunk_encoder
from ..accel.position_tables import share_positions
from ..accel.shared_attention import share_first_attention
from .fused_encoder import fuse_encoder


def prepare(model: SAM2Base) -> None:
    """Prepare a model. It must have its final weights, be in eval mode and be on its device."""
    if model.device.type == "cpu":
        fuse_encoder(model)
        chunk_encoder(model)
    share_positions(model)
    share_first_attention(model)
