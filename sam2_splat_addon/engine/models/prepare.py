# SPDX-License-Identifier: GPL-3.0-or-later
"""A model made ready to run: what saves time or memory and changes no result; imports torch, sam2.

All but the bundled model's fused encoder keep every bit.
"""

from __future__ import annotations

from sam2.modeling.sam2_base import SAM2Base

from ..accel.chunked_encoder import chunk_encoder
from ..accel.position_tables import share_positions
from ..accel.shared_attention import share_first_attention
from .fused_encoder import fuse_encoder


def prepare(model: SAM2Base) -> None:
    """Prepare a model that has its final weights, is in eval mode and on its device."""
    if model.device.type == "cpu":
        fuse_encoder(model)
        chunk_encoder(model)
    share_positions(model)
    share_first_attention(model)
