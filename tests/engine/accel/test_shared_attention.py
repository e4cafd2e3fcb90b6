# SPDX-License-Identifier: GPL-3.0-or-later
"""A photo attends to itself once for all its objects, and their mattes keep every bit."""

from __future__ import annotations

import numpy as np
import pytest
from sam2.modeling.memory_attention import MemoryAttentionLayer
from torch import Tensor

from sam2_splat_addon.core.prompts import BoxPrompt, FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.accel.shared_attention import SharedFirstLayer, share_first_attention
from sam2_splat_addon.engine.models.architectures import BUNDLED, build

from ..random_models import propagated, random_frames, random_model

_OBJECTS = (
    ObjectPrompts(1, "clicked", (FramePrompts(1, (PointPrompt(70.0, 40.0),)),)),
    ObjectPrompts(
        2,
        "corrected",
        (
            FramePrompts(1, box=BoxPrompt(20.0, 10.0, 120.0, 80.0)),
            FramePrompts(3, (PointPrompt(30.0, 70.0),)),
        ),
    ),
)


def test_each_photo_attends_to_itself_once_and_no_bit_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, frames = random_model("sam2.1_hiera_tiny", always_seen=True), random_frames(4)
    names = list(model.state_dict())
    plain = propagated(model, frames, _OBJECTS)
    share_first_attention(model)
    share_first_attention(model)
    assert list(model.state_dict()) == names
    first = model.memory_attention.layers[0]
    assert isinstance(first, SharedFirstLayer)
    asked = 0
    original = MemoryAttentionLayer._forward_sa

    def counted(layer: MemoryAttentionLayer, tgt: Tensor, query_pos: Tensor) -> Tensor:
        nonlocal asked
        asked += layer is first
        answer: Tensor = original(layer, tgt, query_pos)
        return answer

    monkeypatch.setattr(MemoryAttentionLayer, "_forward_sa", counted)
    shared = propagated(model, frames, _OBJECTS)
    assert asked == 3  # only for the photos after the first
    for ours, theirs in zip(shared, plain, strict=True):
        np.testing.assert_array_equal(ours.logits, theirs.logits)


def test_the_bundled_models_first_layer_shares_too() -> None:
    model = build(BUNDLED, image_size=64)
    share_first_attention(model)
    assert isinstance(model.memory_attention.layers[0], SharedFirstLayer)
