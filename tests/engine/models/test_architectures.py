# SPDX-License-Identifier: GPL-3.0-or-later
"""Models without weights."""

from __future__ import annotations

import pytest
import torch

from sam2_splat_addon.core.errors import CheckpointError
from sam2_splat_addon.engine.models.architectures import BUNDLED, MODEL_NAMES, build


def test_the_models_are_the_bundled_one_and_the_four_official_ones() -> None:
    sizes = ("tiny", "small", "base_plus", "large")
    assert ("bundled", *(f"sam2.1_hiera_{size}" for size in sizes)) == MODEL_NAMES


def test_an_official_model_has_the_settings_of_upstreams_video_predictor() -> None:
    model = build("sam2.1_hiera_tiny")
    decoder = model.sam_mask_decoder
    assert model.image_size == 1024
    assert not model.training
    assert model.binarize_mask_from_pts_for_mem_enc
    assert decoder.dynamic_multimask_via_stability
    assert decoder.dynamic_multimask_stability_delta == 0.05
    assert decoder.dynamic_multimask_stability_thresh == 0.98


@pytest.mark.parametrize("name", ["sam2.1_hiera_tiny", BUNDLED])
def test_a_smaller_input_changes_no_weight_and_gives_mattes_of_a_quarter(name: str) -> None:
    model, usual = build(name, image_size=96), build(name)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert shapes == {key: value.shape for key, value in usual.state_dict().items()}
    with torch.inference_mode():
        features = model.forward_image(torch.zeros(1, 3, 96, 96))
    sizes = [tuple(f.shape[-2:]) for f in features["backbone_fpn"]]
    assert [*sizes[:2], sizes[-1]] == [(24, 24), (12, 12), (6, 6)]
    assert model.sam_prompt_encoder.mask_input_size == (24, 24)


@pytest.mark.parametrize("size", [0, -32, 100])
def test_an_input_size_that_does_not_divide_is_a_clear_error(size: int) -> None:
    with pytest.raises(CheckpointError, match=f"multiple of 32 px, not {size}"):
        build(BUNDLED, image_size=size)


def test_an_unknown_name_is_a_clear_error() -> None:
    with pytest.raises(CheckpointError, match=r"no model called 'sam3'.*sam2.1_hiera_tiny"):
        build("sam3")
