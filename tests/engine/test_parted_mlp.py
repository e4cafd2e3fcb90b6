# SPDX-License-Identifier: GPL-3.0-or-later
"""Perceptrons in parts give the bits that they give whole."""

from __future__ import annotations

import pytest
import torch

from sam2_splat_addon.engine import parted_mlp
from sam2_splat_addon.engine.architectures import build
from sam2_splat_addon.engine.bundled_model import build_bundled_model
from sam2_splat_addon.engine.parted_mlp import PartedMLP, part_mlps
from sam2_splat_addon.engine.sam2_steps import Sam2Steps

_TINY = "sam2.1_hiera_tiny"


def test_the_first_stage_at_full_size_gives_the_same_bits_in_parts() -> None:
    torch.manual_seed(4)
    source = build(_TINY, image_size=128).image_encoder.trunk.blocks[0].mlp
    x = torch.randn(1, 256, 256, 96)
    assert x.numel() > parted_mlp._LEAST
    with torch.inference_mode():
        assert torch.equal(PartedMLP(source)(x), source(x))


def test_an_encoder_in_parts_gives_the_same_bits_under_the_same_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parted_mlp, "_LEAST", 0)
    torch.manual_seed(4)
    model = build(_TINY, image_size=256)
    frame = torch.randn(3, 256, 256)
    names = list(model.state_dict())
    with torch.inference_mode():
        whole = Sam2Steps(model, 1).encode(frame)
        part_mlps(model)
        assert all(isinstance(block.mlp, PartedMLP) for block in model.image_encoder.trunk.blocks)
        assert list(model.state_dict()) == names
        parted = Sam2Steps(model, 1).encode(frame)
    for ours, reference in zip(parted.maps, whole.maps, strict=True):
        assert torch.equal(ours, reference)


def test_parting_twice_or_another_encoder_changes_nothing() -> None:
    model = build(_TINY, image_size=64)
    part_mlps(model)
    before = [block.mlp for block in model.image_encoder.trunk.blocks]
    part_mlps(model)
    assert [block.mlp for block in model.image_encoder.trunk.blocks] == before
    part_mlps(build_bundled_model(64))
