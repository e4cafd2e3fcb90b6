# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose how a model computes its attention to memories."""

from __future__ import annotations

from typing import Literal

from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base

from .folded_attention import FoldedAttention
from .pooled_attention import PooledAttention

AttentionKind = Literal["sam2", "folded", "pooled"]
"""sam2: as sam2 computes it. folded: the same sums in a faster order. pooled: fewer sums, another result."""


def set_attention(model: SAM2Base, kind: AttentionKind) -> None:
    """Let the model attend to memories in this way. Weights and their names stay.

    Sometimes folding saves nothing: when memories are as wide as the keys, as in the bundled model.
    Then ``folded`` is sam2's own. Modules that are not sam2's are not changed.
    """
    for layer in model.memory_attention.layers:
        attention = layer.cross_attn_image
        if not isinstance(attention, RoPEAttention) or attention.num_heads != 1:
            continue
        wanted: type[RoPEAttention] = RoPEAttention
        if kind == "pooled":
            wanted = PooledAttention
        elif kind == "folded" and attention.kv_in_dim < attention.internal_dim // 2:
            wanted = FoldedAttention
        if type(attention) is not wanted:
            layer.cross_attn_image = with_parts_of(attention, wanted)


def with_parts_of(source: RoPEAttention, kind: type[RoPEAttention]) -> RoPEAttention:
    """Return an attention of ``kind`` that shares the weights and tables of ``source``."""
    other: RoPEAttention = kind(
        embedding_dim=source.embedding_dim,
        num_heads=source.num_heads,
        downsample_rate=source.embedding_dim // source.internal_dim,
        dropout=source.dropout_p,
        kv_in_dim=source.kv_in_dim,
        rope_k_repeat=source.rope_k_repeat,
        feat_sizes=(1, 1),  # the source's table is used
    )
    other.compute_cis, other.freqs_cis = source.compute_cis, source.freqs_cis
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        setattr(other, name, getattr(source, name))
    return other.train(source.training)
