# SPDX-License-Identifier: GPL-3.0-or-later
"""The same random weights for our engine and for sam2's own predictor."""

from __future__ import annotations

from typing import Any

import torch
from sam2.build_sam import build_sam2_video_predictor
from sam2.modeling.sam2_base import SAM2Base

from sam2_splat_addon.engine.models.architectures import OFFICIAL_CONFIGS, build

_SEED = 3


def random_model(name: str, image_size: int) -> SAM2Base:
    """Return a model that counts no frame as empty, because all empty mattes are equal."""
    torch.manual_seed(_SEED)
    model = build(name, image_size=image_size)
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(10.0)
    return model


def random_predictor(name: str, image_size: int) -> Any:
    """`SAM2VideoPredictor` with the weights of `random_model`."""
    predictor = build_sam2_video_predictor(
        f"configs/sam2.1/{OFFICIAL_CONFIGS[name]}",
        device="cpu",
        hydra_overrides_extra=[f"++model.image_size={image_size}"],
    )
    predictor.load_state_dict(random_model(name, image_size).state_dict())
    predictor.fill_hole_area = 0  # needs sam2's CUDA extension, and warns about it on every frame
    return predictor
