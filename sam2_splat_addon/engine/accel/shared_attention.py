# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute only once the part of SAM 2's attention that is the same for all objects of a photo.

The first layer of memory attention lets the photo's features attend to each other. No object has a
part in this step. So the result is the same for every object of a photo, and again for a frame that
is tracked and then corrected.
"""

from __future__ import annotations

import torch
from sam2.modeling.memory_attention import MemoryAttentionLayer
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor


def share_first_attention(model: SAM2Base) -> None:
    """Let the model's first self-attention remember its last result. Names and weights stay."""
    first = model.memory_attention.layers[0]
    if type(first) is MemoryAttentionLayer:
        first.__class__ = SharedFirstLayer


class SharedFirstLayer(MemoryAttentionLayer):
    """`MemoryAttentionLayer` that returns its last result for the same input. For inference only.

    It compares the contents, which costs a thousandth of the attention. So nobody has to tell it
    when a new photo begins.
    """

    _asked: tuple[Tensor, Tensor] | None = None  # (1, N, C) twice
    _answer: Tensor | None = None

    def _forward_sa(self, tgt: Tensor, query_pos: Tensor) -> Tensor:
        known = self._asked
        if known is None or self._answer is None or not _same(known, (tgt, query_pos)):
            self._asked = None  # free it before the next one is made
            self._answer = super()._forward_sa(tgt, query_pos)
            self._asked = (tgt, query_pos)
        return self._answer


def _same(before: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor]) -> bool:
    return all(
        a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
        for a, b in zip(before, now, strict=True)
    )
