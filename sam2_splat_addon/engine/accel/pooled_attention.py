# SPDX-License-Identifier: GPL-3.0-or-later
"""Attention to memories with a quarter of their cells, for the faster modes.

Memories of neighbouring cells are very similar. So each square of two by two cells becomes their
mean, as in EfficientTAM (Xiong et al. 2024). This needs a quarter of the products. A mean stands
for four cells, so the logarithm of 4 is added to its score. Otherwise the object pointers, which
are not pooled, would count too much. The result differs from SAM 2's own. It is not just another
order of the same sums.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor
from torch.nn import functional as F

from .folded_attention import apply_rotary

_POOL: Final = 2  # side of the square of cells that become one


class PooledAttention(RoPEAttention):
    """`RoPEAttention` from an image to memories that are pooled first.

    Shapes are those of `FoldedAttention`.
    """

    freqs_cis: Tensor

    def forward(self, q: Tensor, k: Tensor, v: Tensor, num_k_exclude_rope: int = 0) -> Tensor:
        """Attend; see `FoldedAttention.forward`.

        Raises
        ------
        ValueError
            The image is not a square with an even side, or the memories have another size.
        """
        count = q.shape[1]
        side = math.isqrt(count)
        positioned = k.shape[1] - num_k_exclude_rope
        if side * side != count or side % _POOL or positioned % count:
            raise ValueError(f"{positioned} memory tokens do not fit an image of {count}")
        if self.freqs_cis.shape[0] != count:
            self.freqs_cis = self.compute_cis(end_x=side, end_y=side)
        self.freqs_cis = self.freqs_cis.to(q.device)

        queries = apply_rotary(self.q_proj(q), self.freqs_cis)  # (B, N, C)
        pooled = self.k_proj(_pooled(k[:, :positioned], side))  # (B, T * N / 4, C)
        rotary = _between(self.freqs_cis, side).repeat(positioned // count, 1)
        keys = torch.cat([apply_rotary(pooled, rotary), self.k_proj(k[:, positioned:])], dim=1)
        values = torch.cat([_pooled(v[:, :positioned], side), v[:, positioned:]], dim=1)
        weight = keys.new_zeros(1, 1, keys.shape[1])  # added to the score of a key
        weight[..., : pooled.shape[1]] = math.log(_POOL * _POOL)
        attended = F.scaled_dot_product_attention(
            queries[:, None],
            keys[:, None],
            self.v_proj(values)[:, None],
            attn_mask=weight.expand(1, count, -1)[None],
        )  # (B, 1, N, C)
        result: Tensor = self.out_proj(attended[:, 0])
        return result


def _pooled(tokens: Tensor, side: int) -> Tensor:
    """Return the mean of each square of cells: (B, T * N, M) -> (B, T * N / 4, M)."""
    batch, _, width = tokens.shape
    half = side // _POOL
    squares = tokens.reshape(batch, -1, half, _POOL, half, _POOL, width)
    return squares.mean(dim=(3, 5)).reshape(batch, -1, width)


def _between(rotary: Tensor, side: int) -> Tensor:
    """Return the rotary angles in the middle of each square of cells, (N / 4, C / 2) complex."""
    step = rotary[side + 1].angle()  # (C / 2), one cell across and one down: below 2 radians
    squares = rotary.view(side, side, -1)[::_POOL, ::_POOL].reshape(-1, rotary.shape[1])
    offset = step * ((_POOL - 1) / 2)
    return squares * torch.polar(torch.ones_like(offset), offset)
