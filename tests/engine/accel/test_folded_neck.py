# SPDX-License-Identifier: GPL-3.0-or-later
"""Fine maps projected in one step equal those of sam2's two steps, and folding can be undone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.accel.folded_neck import FoldedNeck, set_neck
from sam2_splat_addon.engine.models.architectures import BUNDLED, OFFICIAL_CONFIGS, build
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter

from ..random_models import propagated, random_frames, random_model

_OBJECTS = (ObjectPrompts(1, "clicked", (FramePrompts(1, (PointPrompt(70.0, 40.0),)),)),)


@pytest.mark.parametrize("name", OFFICIAL_CONFIGS)
def test_maps_and_mattes_of_every_configuration_stay_within_a_ten_thousandth(name: str) -> None:
    model, frames = random_model(name, always_seen=True), random_frames(3)
    names = list(model.state_dict())
    with torch.inference_mode():
        image = Sam2Adapter(model, 1).encode(frames.tensors[0])
    plain = propagated(model, frames, _OBJECTS)
    set_neck(model, folded=True)
    assert isinstance(model.image_encoder.neck, FoldedNeck)
    set_neck(model, folded=True)  # a second call changes nothing
    with torch.inference_mode():
        ours = Sam2Adapter(model, 1).encode(frames.tensors[0])
    assert ours.sizes == image.sizes
    for entry, reference in zip(ours.maps, image.maps, strict=True):
        torch.testing.assert_close(entry, reference, rtol=1e-5, atol=1e-5)
    assert any(not torch.equal(a, b) for a, b in zip(ours.maps, image.maps, strict=True))
    for a, b in zip(ours.positions, image.positions, strict=True):
        assert torch.equal(a, b)
    folded = propagated(model, frames, _OBJECTS)
    for matte, wanted in zip(folded, plain, strict=True):
        np.testing.assert_allclose(matte.logits, wanted.logits, rtol=1e-4, atol=1e-4)
    set_neck(model, folded=False)
    assert list(model.state_dict()) == names
    for matte, wanted in zip(propagated(model, frames, _OBJECTS), plain, strict=True):
        np.testing.assert_array_equal(matte.logits, wanted.logits)


def test_the_bundled_models_neck_is_left_alone() -> None:
    model = build(BUNDLED, image_size=64)
    before = model.image_encoder.neck
    set_neck(model, folded=True)
    assert model.image_encoder.neck is before
