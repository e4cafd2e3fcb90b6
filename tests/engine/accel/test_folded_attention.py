# SPDX-License-Identifier: GPL-3.0-or-later
"""Folded attention equals sam2's, except for the last few bits, and can be switched off."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base

from sam2_splat_addon.core.prompts import BoxPrompt, FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.accel import folded_attention
from sam2_splat_addon.engine.accel.attention import set_attention, with_parts_of
from sam2_splat_addon.engine.accel.folded_attention import FoldedAttention
from sam2_splat_addon.engine.models.architectures import BUNDLED, OFFICIAL_CONFIGS, build

from ..random_models import propagated, random_frames, random_model

_TINY = "sam2.1_hiera_tiny"
_OBJECTS = (
    ObjectPrompts(1, "clicked", (FramePrompts(1, (PointPrompt(70.0, 40.0),)),)),
    ObjectPrompts(
        2,
        "boxed",
        (
            FramePrompts(2, box=BoxPrompt(20.0, 10.0, 120.0, 80.0)),
            FramePrompts(4, (PointPrompt(30.0, 70.0),)),
        ),
    ),
)


@cache
def _model(name: str) -> SAM2Base:
    return random_model(name, always_seen=True)


@pytest.fixture
def fold_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folded_attention, "_LEAST_ROW_KEYS", 0)


def _cross_attentions(model: SAM2Base) -> list[RoPEAttention]:
    return [layer.cross_attn_image for layer in model.memory_attention.layers]


@pytest.mark.usefixtures("fold_always")
@pytest.mark.parametrize("name", OFFICIAL_CONFIGS)
def test_mattes_of_every_configuration_stay_within_a_ten_thousandth(name: str) -> None:
    model, frames = _model(name), random_frames(6)
    plain = propagated(model, frames, _OBJECTS)
    set_attention(model, "folded")
    try:
        assert all(isinstance(a, FoldedAttention) for a in _cross_attentions(model))
        folded = propagated(model, frames, _OBJECTS)
        again = propagated(model, frames, _OBJECTS)
    finally:
        set_attention(model, "sam2")
    flips = pixels = 0
    for ours, theirs, repeated in zip(folded, plain, again, strict=True):
        assert (ours.object_id, ours.frame) == (theirs.object_id, theirs.frame)
        np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-4, atol=1e-4)
        flips += int(((ours.logits > 0) != (theirs.logits > 0)).sum())
        pixels += ours.logits.size
        np.testing.assert_array_equal(ours.logits, repeated.logits)
    assert flips <= pixels / 100_000
    assert any(0.02 < result.scores.area < 0.98 for result in folded)
    # If not a single bit changed, the folded order was not used at all.
    assert any((a.logits != b.logits).any() for a, b in zip(folded, plain, strict=True))


def test_unfolded_again_the_model_computes_as_before_to_the_bit() -> None:
    model, frames = _model(_TINY), random_frames(4)
    names, before = list(model.state_dict()), propagated(model, frames, _OBJECTS)
    set_attention(model, "folded")
    assert list(model.state_dict()) == names
    set_attention(model, "sam2")
    assert list(model.state_dict()) == names
    assert not any(isinstance(a, FoldedAttention) for a in _cross_attentions(model))
    for ours, theirs in zip(propagated(model, frames, _OBJECTS), before, strict=True):
        np.testing.assert_array_equal(ours.logits, theirs.logits)


def test_small_inputs_are_computed_as_sam2_does_to_the_bit() -> None:
    model, frames = _model(_TINY), random_frames(3)
    before = propagated(model, frames, _OBJECTS[:1])
    set_attention(model, "folded")
    try:
        after = propagated(model, frames, _OBJECTS[:1])
    finally:
        set_attention(model, "sam2")
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_array_equal(ours.logits, theirs.logits)


def test_the_bundled_model_is_left_alone() -> None:
    model = build(BUNDLED, image_size=64)
    before = _cross_attentions(model)
    set_attention(model, "folded")
    assert _cross_attentions(model) == before


@pytest.mark.usefixtures("fold_always")
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("pointers", [0, 5])
@pytest.mark.parametrize("sharpness", [1.0, 60.0])
def test_blocks_sharp_weights_and_pointers_change_nothing_that_shows(
    monkeypatch: pytest.MonkeyPatch, frames: int, pointers: int, sharpness: float
) -> None:
    torch.manual_seed(1)
    side = 6
    plain = RoPEAttention(
        embedding_dim=32,
        num_heads=1,
        kv_in_dim=8,
        rope_k_repeat=True,
        feat_sizes=(side, side),
    ).eval()
    tokens = frames * side * side + pointers
    q, k, v = torch.randn(2, side * side, 32), torch.randn(2, tokens, 8), torch.randn(2, tokens, 8)
    q *= sharpness
    folded = with_parts_of(plain, FoldedAttention)
    with torch.inference_mode():
        wanted = plain(q, k, v, num_k_exclude_rope=pointers)
        for at_once in (7, 100, 1 << 19):
            monkeypatch.setattr(folded_attention, "_BLOCK_SCORES", at_once)
            given = folded(q, k, v, num_k_exclude_rope=pointers)
            # Single precision: with sharp weights, a rounded score becomes a relative error.
            torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-6 * max(1.0, sharpness))


def test_memories_of_another_size_than_the_image_are_refused() -> None:
    plain = RoPEAttention(
        embedding_dim=32, num_heads=1, kv_in_dim=8, rope_k_repeat=True, feat_sizes=(4, 4)
    )
    folded = with_parts_of(plain, FoldedAttention)
    with pytest.raises(ValueError, match="do not fit"):
        folded(torch.zeros(1, 16, 32), torch.zeros(1, 30, 8), torch.zeros(1, 30, 8))
