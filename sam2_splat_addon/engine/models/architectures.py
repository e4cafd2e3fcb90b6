# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the models that this extension can run, without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import sam2
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from sam2.modeling.sam2_base import SAM2Base

from ...core.errors import CheckpointError
from .bundled_model import BUNDLED_IMAGE_SIZE, build_bundled_model

BUNDLED: Final = "bundled"

OFFICIAL_CONFIGS: Final = {
    "sam2.1_hiera_tiny": "sam2.1_hiera_t.yaml",
    "sam2.1_hiera_small": "sam2.1_hiera_s.yaml",
    "sam2.1_hiera_base_plus": "sam2.1_hiera_b+.yaml",
    "sam2.1_hiera_large": "sam2.1_hiera_l.yaml",
}
"""Name of an official model -> sam2's file that describes it. The names are those of the checkpoint files."""

MODEL_NAMES: Final = (BUNDLED, *OFFICIAL_CONFIGS)

_OFFICIAL_SIZE: Final = 1024  # px, for all four
_STRIDE: Final = 16  # px of the input per cell of the embedding
_SIZE_STEP: Final = 32  # the image encoder's coarsest level has stride 32

# sam2.build_sam.build_sam2_video_predictor adds these to every configuration
# (apply_postprocessing=True). They use the best of several masks when the single one is not
# stable. They also give the memory the mask that the user saw. Its fourth setting, fill_hole_area,
# needs sam2's CUDA extension, which our package does not have. Without it upstream skips that step.
_DECODER_SETTINGS: Final = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


def own_size(name: str) -> int:
    """Return the side of the input that a model was trained for, px.

    Raises
    ------
    CheckpointError
        There is no such model.
    """
    if name not in MODEL_NAMES:
        raise _unknown(name)
    return BUNDLED_IMAGE_SIZE if name == BUNDLED else _OFFICIAL_SIZE


def build(name: str, *, image_size: int | None = None) -> SAM2Base:
    """Build a model with random weights, in eval mode, float32, on the CPU.

    Parameters
    ----------
    name
        One of `MODEL_NAMES`.
    image_size
        Side of the square input, px, a multiple of 32. None takes the model's own size. The weights
        fit every size. The side of a matte is a quarter of it.

    Raises
    ------
    CheckpointError
        There is no such name or size.
    """
    if image_size is not None and (image_size <= 0 or image_size % _SIZE_STEP):
        raise CheckpointError(
            f"A model's input size must be a multiple of {_SIZE_STEP} px, not {image_size}.",
            "Choose 0 for the model's own size.",
        )
    if name == BUNDLED:
        return build_bundled_model(image_size or BUNDLED_IMAGE_SIZE)
    if name not in OFFICIAL_CONFIGS:
        raise _unknown(name)
    config = _official_config(OFFICIAL_CONFIGS[name])
    if image_size is not None:
        config.image_size = image_size
        # Otherwise sam2 would make its rotary tables again at the first frame.
        cells = image_size // _STRIDE
        config.memory_attention.layer.self_attention.feat_sizes = [cells, cells]
        config.memory_attention.layer.cross_attention.feat_sizes = [cells, cells]
    model: Any = instantiate(config, _recursive_=True)
    model.eval()
    return model


def _unknown(name: str) -> CheckpointError:
    return CheckpointError(
        f"There is no model called {name!r}.", f"Choose one of {', '.join(MODEL_NAMES)}."
    )


def _official_config(file_name: str) -> DictConfig:
    """Return the model part of one of sam2's configuration files, without hydra's global state."""
    path = Path(sam2.__file__).parent / "configs" / "sam2.1" / file_name
    config = cast(DictConfig, OmegaConf.load(path)).model
    settings = {
        "sam_mask_decoder_extra_args": _DECODER_SETTINGS,
        "binarize_mask_from_pts_for_mem_enc": True,
    }
    return cast(DictConfig, OmegaConf.merge(config, settings))
