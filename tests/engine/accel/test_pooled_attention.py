# SPDX-License-Identifier: GPL-3.0-or-later
"""Pooled attention: the mean of a square of cells stands for its four cells, at their middle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor

from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.accel.attention import set_attention
from sam2_splat_addon.engine.accel.pooled_attention import PooledAttention, _between
from sam2_splat_addon.engine.models.architectures import BUNDLED

from ..random_models import propagated, random_frames, random_model

_SIDE, _WIDTH, _MEMORY = 6, 32, 16


def _attentions() -> tuple[RoPEAttention, PooledAttention]:
    """sam2's attention and ours, with the same weights."""
    torch.manual_seed(2)
    how = {
        "embedding_dim": _WIDTH,
        "num_heads": 1,
        "downsample_rate": 1,
        "kv_in_dim": _MEMORY,
        "rope_k_repeat": True,
        "feat_sizes": (_SIDE, _SIDE),
    }
    plain, pooled = RoPEAttention(**how).eval(), PooledAttention(**how).eval()
    pooled.load_state_dict(plain.state_dict())
    return plain, pooled


def _tokens(frames: int, pointers: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values. In each square of two by two cells all four are equal."""
    torch.manual_seed(3)
    half = _SIDE // 2
    squares = torch.randn(2, 1, frames, half, 1, half, 1, _MEMORY)
    cells = squares.expand(2, 1, frames, half, 2, half, 2, _MEMORY)
    rest = torch.randn(2, 1, pointers, _MEMORY)
    k, v = torch.cat([cells.reshape(2, 1, -1, _MEMORY), rest], dim=2)
    return 3.0 * torch.randn(1, _SIDE * _SIDE, _WIDTH), 3.0 * k, v


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("pointers", [0, 5])
def test_without_positions_squares_of_equal_cells_give_what_the_cells_give(
    frames: int, pointers: int
) -> None:
    plain, pooled = _attentions()
    for attention in (plain, pooled):
        attention.freqs_cis = torch.ones_like(attention.freqs_cis)
    tokens = _tokens(frames, pointers)
    with torch.inference_mode():
        ours, theirs = (a(*tokens, num_k_exclude_rope=pointers) for a in (pooled, plain))
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert float(theirs.std()) > 0.01


def test_a_square_stands_in_the_middle_of_its_cells() -> None:
    _, pooled = _attentions()
    found = _between(pooled.freqs_cis, _SIDE)
    assert found.shape == (_SIDE * _SIDE // 4, _WIDTH // 2)
    frequencies = 1.0 / 10000.0 ** (torch.arange(0, _WIDTH, 4).float() / _WIDTH)
    for at, (x, y) in {0: (0.5, 0.5), 1: (2.5, 0.5), 8: (4.5, 4.5)}.items():
        angles = torch.cat([x * frequencies, y * frequencies])
        expected = torch.polar(torch.ones_like(angles), angles)
        assert torch.allclose(found[at], expected, atol=1e-5)


def test_tokens_that_fit_no_image_are_refused() -> None:
    _, pooled = _attentions()
    q, k, v = _tokens(1, 0)
    with pytest.raises(ValueError, match="do not fit an image"):
        pooled(q, k[:, 1:], v[:, 1:])
    with pytest.raises(ValueError, match="do not fit an image"):
        pooled(q[:, :25], k[:, :25], v[:, :25])  # an odd side


@pytest.mark.parametrize("name", [BUNDLED, "sam2.1_hiera_tiny"])
def test_every_model_tracks_with_it_and_goes_back_to_the_same_bits(name: str) -> None:
    model, frames = random_model(name, always_seen=True), random_frames(4)
    objects = (ObjectPrompts(1, "clicked", (FramePrompts(1, (PointPrompt(70.0, 40.0),)),)),)
    names, before = list(model.state_dict()), propagated(model, frames, objects)
    set_attention(model, "pooled")
    assert list(model.state_dict()) == names
    pooled, again = (propagated(model, frames, objects) for _ in range(2))
    set_attention(model, "sam2")
    after = propagated(model, frames, objects)
    for ours, repeated in zip(pooled, again, strict=True):
        np.testing.assert_array_equal(ours.logits, repeated.logits)
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_array_equal(ours.logits, theirs.logits)
    assert any((a.logits != b.logits).any() for a, b in zip(pooled, before, strict=True))
