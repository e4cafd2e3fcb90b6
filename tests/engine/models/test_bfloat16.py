# SPDX-License-Identifier: GPL-3.0-or-later
"""Matrix products in bfloat16 on a CPU: which ones, how exact, and when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sam2_splat_addon.engine.models import bfloat16_probe
from sam2_splat_addon.engine.models.architectures import BUNDLED
from sam2_splat_addon.engine.models.bfloat16_probe import is_quicker_in_bfloat16, measured_gain
from sam2_splat_addon.engine.models.bfloat16_products import HalfConv, HalfLinear, set_products
from sam2_splat_addon.engine.models.fused_encoder import fused_convs
from sam2_splat_addon.engine.models.prepare import prepare
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter

from ..random_models import random_frames, random_model

SIDE = 128


@pytest.mark.parametrize("name", [BUNDLED, "sam2.1_hiera_tiny"])
def test_features_stay_near_and_come_back_to_the_bit(name: str) -> None:
    model = random_model(name, image_size=SIDE)
    prepare(model)
    frame = random_frames(1, SIDE).tensors[0]

    def features() -> list[Tensor]:
        with torch.inference_mode():
            return Sam2Adapter(model, 1).encode(frame).maps

    plain = features()
    names = set(model.state_dict())
    set_products(model, bfloat16=True)
    rounded, again = features(), features()
    assert set(model.state_dict()) == names
    for one, other, same in zip(plain, rounded, again, strict=True):
        assert other.dtype is torch.float32
        assert torch.equal(other, same)
        assert not torch.equal(one, other)
        assert (one - other).norm() < 0.03 * one.norm()
    set_products(model, bfloat16=False)
    assert all(torch.equal(a, b) for a, b in zip(plain, features(), strict=True))


def test_all_products_of_the_encoder_and_nothing_else_are_rounded() -> None:
    model = random_model("sam2.1_hiera_tiny", image_size=SIDE)
    set_products(model, bfloat16=True)
    inside = list(model.image_encoder.modules())
    halves = [module for module in model.modules() if isinstance(module, HalfLinear | HalfConv)]
    assert all(any(module is at for at in inside) for module in halves)
    assert not any(type(module) is nn.Linear for module in inside)
    bundled = random_model(BUNDLED, image_size=SIDE)
    prepare(bundled)
    set_products(bundled, bfloat16=True)
    convs = list(fused_convs(bundled.image_encoder))
    assert sum(conv.in_bfloat16 for conv in convs) > len(convs) // 2
    assert all(conv.in_bfloat16 == conv.is_product for conv in convs)


def test_the_answer_of_a_timing_is_kept_for_this_processor_and_this_torch(tmp_path: Path) -> None:
    is_quicker_in_bfloat16.cache_clear()
    answer = is_quicker_in_bfloat16(tmp_path)
    (kept,) = tmp_path.iterdir()
    ((key, value),) = json.loads(kept.read_text()).items()
    assert value == answer
    assert bfloat16_probe.processor() in key and torch.__version__ in key
    kept.write_text(json.dumps({key: not answer, "another processor": answer}))
    is_quicker_in_bfloat16.cache_clear()
    assert is_quicker_in_bfloat16(tmp_path) != answer  # the kept answer counts
    for damaged in ("[1", "[]", json.dumps({key: "yes"})):
        kept.write_text(damaged)
        is_quicker_in_bfloat16.cache_clear()
        is_quicker_in_bfloat16(tmp_path)
        assert json.loads(kept.read_text()).keys() == {key}
    is_quicker_in_bfloat16.cache_clear()


def test_where_nothing_can_be_kept_the_timing_alone_decides(tmp_path: Path) -> None:
    is_quicker_in_bfloat16.cache_clear()
    assert is_quicker_in_bfloat16(tmp_path / "not there") in (True, False)
    assert measured_gain() > 0
    is_quicker_in_bfloat16.cache_clear()
