# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the same for all objects of a photo in SAM 2's attention, computed once; imports sam2.

The first layer of memory attention begins with the photo's features and lets them attend to one
another. No object has a part in that yet, so every object of a photo gets the same, and so does a
frame that is tracked and then corrected.
"""

from __future__ import annotations

import torch
from sam2.modeling.memory_attention import MemoryAttentionLayer
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor


def share_first_attention(model: SAM2Base) -> None:
    """Let the model's first self-attention remember what it said last; names and weights stay."""
    first = model.memory_attention.layers[0]
    if type(first) is MemoryAttentionLayer:
        first.__class__ = SharedFirstLayer


class SharedFirstLayer(MemoryAttentionLayer):
    """`MemoryAttentionLayer` that answers the same question with the same tensor; for inference.

    It asks by content, which costs a thousandth of the attention, so nobody has to say where a new
    photo begins.
    """

    _asked: tuple[Tensor, Tensor] | None = None  # (1, N, C) twice
    _answer: Tensor | None = None

    def _forward_sa(self, tgt: Tensor, query_pos: Tensor) -> Tensor:
        known = self._asked
        if known is None or self._answer is None or not _same(known, (tgt, query_pos)):
            self._asked = None  # let go of it before its successor is made
            self._answer = super()._forward_sa(tgt, query_pos)
            self._asked = (tgt, query_pos)
        return self._answer


def _same(before: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor]) -> bool:
    return all(
        a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
        for a, b in zip(before, now, strict=True)
    )
