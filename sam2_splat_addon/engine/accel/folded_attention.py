# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2's attention to memories with less arithmetic, for the CPU.

A memory has 64 channels, but sam2 makes keys and values with 256 channels from it. So every product
of a query with a key, or of a weight with a value, costs 256 multiplications. On a CPU these
products take most of a frame's time. The same sums in another order cost about half:

- Values: the weighted mean is taken over the 64 channels, and the projections come after it. A mean
  and a linear map can be exchanged, because the weights add up to 1.
- Keys: a key is ``R(x, y) (W m + b)``. The rotary encoding R turns the first half of the channels
  by x and the second half by y (`sam2.modeling.position_encoding.compute_axial_cis`). In one row of
  the grid the turn by y is constant. So for the second half the query is taken back through ``R(y)
  W`` once, instead of every key forwards. This needs 64 channels instead of 128. There, b adds one
  number for each query and row.

Softmax processes one row after the other with a running maximum (Milakov and Gimelshein, "Online
normalizer calculation for softmax", 2018). So only one block of scores exists at a time.
"""

from __future__ import annotations

import math

import torch
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor
from torch.nn import functional as F

# Scores held at a time for each thread: 2 MiB, about the size of a core's caches.
_BLOCK_SCORES = 1 << 19

# Folding is faster from this many keys in one row of all memories: three memories at 1024 px, six
# at 512. With fewer keys the blocks are so small that calling torch costs more than it saves.
_LEAST_ROW_KEYS = 192


class FoldedAttention(RoPEAttention):
    """`RoPEAttention` from an image to memories, for inference. Equal except for a few last bits.

    Channels: C of queries and keys, M of memories. Tokens: N = side * side of the image, K of the
    memories. All memory tokens except the last P have a rotary position. They are T frames of N
    tokens.
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
            The image is not square, or the memories have another size.
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
        # Base 2, because exp2 is faster than exp.
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
        """Return the mean of ``v`` that each query's weights give, (N, M)."""
        half = self.internal_dim // 2
        width = k.shape[1]
        frames = positioned // (side * side)
        by_row = (frames, side, side, width)
        keys, values = k[:positioned].view(by_row), v[:positioned].view(by_row)
        across = rotary[:side, : half // 2]  # (side, C / 4), the angles along a row
        down = rotary.view(side, side, half)[:, 0, half // 2 :]  # (side, C / 4), each row's angles
        weight, bias = self.k_proj.weight, self.k_proj.bias
        back = weight[half:].T.contiguous()  # (M, C / 2), for the half that turns with y

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
            # Object pointers have no position.
            total.add(queries, self.k_proj(k[positioned:]), v[positioned:])
        return total.mean()


class _Total:
    """A softmax-weighted mean whose keys come in parts. Scores are exponents of 2."""

    def __init__(self, count: int, width: int, device: torch.device) -> None:
        self._highest = torch.full((count, 1), -math.inf, device=device)
        self._weight = torch.zeros(count, 1, device=device)
        self._sum = torch.zeros(count, width, device=device)

    def add(
        self, queries: Tensor, keys: Tensor, values: Tensor, offset: Tensor | None = None
    ) -> None:
        """Add queries (N, D), keys (K, D) and values (K, M). The offset (N, 1) is added to each score."""
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
            # The sums so far are relative to the highest score so far.
            faded = torch.exp2(self._highest[at] - highest)
            self._highest[at] = highest
            self._weight[at] = self._weight[at] * faded + here.sum(dim=1, keepdim=True)
            self._sum[at] = torch.addmm(self._sum[at] * faded, here, values)

    def mean(self) -> Tensor:
        return self._sum / self._weight


def apply_rotary(channels: Tensor, rotary: Tensor) -> Tensor:
    """Turn pairs of channels (..., 2 * D), as complex numbers, by the angles ``rotary`` (..., D)."""
    apart = channels.float().reshape(*channels.shape[:-1], -1, 2)  # (..., D, 2)
    pairs = torch.view_as_complex(apart.contiguous())
    return torch.view_as_real(pairs * rotary).flatten(-2).to(channels.dtype)
