# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2's attention to memories with less arithmetic, for the CPU; imports torch, sam2.

A memory has 64 channels, yet sam2 makes keys and values of 256 from it, and every product of a
query with a key or of a weight with a value costs 256 multiplications. On a CPU these products are
most of a frame's time. The same sums in another order cost about half:

- Values: the weighted mean is taken over the 64 channels, and the projections come after it. A
  mean and a linear map can be exchanged, as the weights add up to 1.
- Keys: a key is ``R(x, y) (W m + b)``, where the rotary encoding R turns the first half of the
  channels by x and the second by y (`sam2.modeling.position_encoding.compute_axial_cis`). Over one
  row of the grid the turn by y is constant, so for that half the query is taken back through
  ``R(y) W`` once, instead of every key forwards: 64 channels in place of 128. What b adds there
  is one number for a query and a row.

Softmax runs over the rows as they come, with a running maximum (Milakov and Gimelshein, "Online
normalizer calculation for softmax", 2018), so that scores exist only block by block.
"""

from __future__ import annotations

import math

import torch
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor
from torch.nn import functional as F

# Scores held at a time for each thread: 2 MiB, about what stays in a core's caches.
_BLOCK_SCORES = 1 << 19

# Keys in one row of all memories from which folding is the quicker way: three memories at 1024 px,
# six at 512. Fewer make blocks so small that calling torch costs more than the arithmetic saved.
_LEAST_ROW_KEYS = 192


class FoldedAttention(RoPEAttention):
    """`RoPEAttention` from an image to memories, for inference: the same result to a few last bits.

    Channels: C of queries and keys, M of memories. Tokens: N = side * side of the image, K of the
    memories, of which all but the last P carry a rotary position and are T frames of N.
    """

    freqs_cis: Tensor

    def forward(self, q: Tensor, k: Tensor, v: Tensor, num_k_exclude_rope: int = 0) -> Tensor:
        """Attend.

        Parameters
        ----------
        q
            (B, N, C).
        k
            (B, K, M), memories plus their position encodings.
        v
            (B, K, M), the memories.
        num_k_exclude_rope
            P.

        Returns
        -------
        Tensor
            (B, N, C).

        Raises
        ------
        ValueError
            The image is not square, or the memories are of another size.
        """
        count = q.shape[1]
        side = math.isqrt(count)
        positioned = k.shape[1] - num_k_exclude_rope
        if side * side != count or positioned % count:
            raise ValueError(f"{positioned} memory tokens do not fit an image of {count}")
        if positioned // side < _LEAST_ROW_KEYS:
            unfolded: Tensor = super().forward(q, k, v, num_k_exclude_rope)
            return unfolded
        rotary = self.freqs_cis  # (N, C / 2) complex
        if rotary.shape[0] != count:
            rotary = self.freqs_cis = self.compute_cis(end_x=side, end_y=side)
        # Base 2: its exponential is the quicker one.
        scale = math.log2(math.e) / math.sqrt(self.internal_dim)
        queries = apply_rotary(self.q_proj(q), rotary) * scale  # (B, N, C)
        means = torch.stack(
            [
                self._mean(queries[at], k[at], v[at], positioned, side, rotary)
                for at in range(len(queries))
            ]
        )  # (B, N, M)
        attended: Tensor = self.out_proj(self.v_proj(means))
        return attended

    def _mean(
        self, queries: Tensor, k: Tensor, v: Tensor, positioned: int, side: int, rotary: Tensor
    ) -> Tensor:
        """The mean of ``v`` that each query's weights give, (N, M)."""
        half = self.internal_dim // 2
        width = k.shape[1]
        frames = positioned // (side * side)
        by_row = (frames, side, side, width)
        keys, values = k[:positioned].view(by_row), v[:positioned].view(by_row)
        across = rotary[:side, : half // 2]  # (side, C / 4), the angles along a row
        down = rotary.view(side, side, half)[:, 0, half // 2 :]  # (side, C / 4), those of each row
        weight, bias = self.k_proj.weight, self.k_proj.bias
        back = weight[half:].T.contiguous()  # (M, C / 2), of the half that turns with y

        rotated_by_y = queries[:, half:].contiguous()  # (N, C / 2)
        sought = queries.new_empty(len(queries), half + width)
        sought[:, :half] = queries[:, :half]
        row_keys = queries.new_empty(frames * side, half + width)
        total = _Total(len(queries), width, k.device)
        for y in range(side):
            row = keys[:, y].reshape(-1, width)  # (T * side, M)
            ahead = F.linear(row, weight[:half], bias[:half]).view(frames, side, half)
            row_keys[:, :half] = apply_rotary(ahead, across).view(-1, half)
            row_keys[:, half:] = row
            sought[:, half:] = rotated_by_y @ apply_rotary(back, down[y]).T
            offset = rotated_by_y @ apply_rotary(bias[half:], down[y])  # (N)
            total.add(sought, row_keys, values[:, y].reshape(-1, width), offset[:, None])
        if positioned < len(k):
            # Object pointers stand nowhere.
            total.add(queries, self.k_proj(k[positioned:]), v[positioned:])
        return total.mean()


class _Total:
    """A softmax-weighted mean whose keys come in parts; scores are exponents of 2."""

    def __init__(self, count: int, width: int, device: torch.device) -> None:
        self._highest = torch.full((count, 1), -math.inf, device=device)
        self._weight = torch.zeros(count, 1, device=device)
        self._sum = torch.zeros(count, width, device=device)

    def add(
        self, queries: Tensor, keys: Tensor, values: Tensor, offset: Tensor | None = None
    ) -> None:
        """Queries (N, D), keys (K, D), values (K, M); the offset (N, 1) joins each score."""
        scores_at_once = _BLOCK_SCORES * torch.get_num_threads()
        blocks = math.ceil(len(queries) * len(keys) / scores_at_once)
        step = math.ceil(len(queries) / blocks)
        scores = torch.empty(step, len(keys), device=keys.device)
        for top in range(0, len(queries), step):
            at = slice(top, top + step)
            here = scores[: len(queries[at])]  # (up to step, K)
            torch.mm(queries[at], keys.T, out=here)
            highest = here.amax(dim=1, keepdim=True)  # (up to step, 1)
            if offset is None:
                highest = torch.maximum(self._highest[at], highest)
                here.sub_(highest)
            else:
                highest = torch.maximum(self._highest[at], highest + offset[at])
                here.sub_(highest - offset[at])
            torch.exp2(here, out=here)
            # What was summed before was relative to the highest score until then.
            faded = torch.exp2(self._highest[at] - highest)
            self._highest[at] = highest
            self._weight[at] = self._weight[at] * faded + here.sum(dim=1, keepdim=True)
            self._sum[at] = torch.addmm(self._sum[at] * faded, here, values)

    def mean(self) -> Tensor:
        return self._sum / self._weight


def apply_rotary(channels: Tensor, rotary: Tensor) -> Tensor:
    """Pairs of channels (..., 2 * D) turned as complex numbers by the angles ``rotary`` (..., D)."""
    apart = channels.float().reshape(*channels.shape[:-1], -1, 2)  # (..., D, 2)
    pairs = torch.view_as_complex(apart.contiguous())
    return torch.view_as_real(pairs * rotary).flatten(-2).to(channels.dtype)
