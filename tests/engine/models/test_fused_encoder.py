# SPDX-License-Identifier: GPL-3.0-or-later
"""The fused image encoder and the shared position tables give what the plain ones give."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from sam2_splat_addon.engine.accel.position_tables import share_positions
from sam2_splat_addon.engine.models import fused_encoder
from sam2_splat_addon.engine.models.architectures import build
from sam2_splat_addon.engine.models.bundled_model import build_bundled_model
from sam2_splat_addon.engine.models.checkpoints import load_model
from sam2_splat_addon.engine.models.fused_encoder import FusedConv, fuse_encoder
from sam2_splat_addon.engine.tracking.sam2_adapter import ImageFeatures, Sam2Adapter

SIZE = 96


def _random_bundled() -> SAM2Base:
    """Random weights with active normalisations and shortcuts."""
    torch.manual_seed(7)
    model = build_bundled_model(SIZE)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.GroupNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0.0, 0.3)
    return model


def _frame(size: int = SIZE) -> Tensor:
    return torch.randn(3, size, size, generator=torch.Generator().manual_seed(1))


def _encoded(model: SAM2Base, frame: Tensor) -> ImageFeatures:
    with torch.inference_mode():
        return Sam2Adapter(model, 1).encode(frame)


@pytest.mark.parametrize("operators", ["fused", "plain"])
def test_fused_features_equal_plain_ones_to_a_few_last_bits(
    operators: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if operators == "plain":  # as with a torch without oneDNN
        monkeypatch.setattr(fused_encoder, "has_fused_operators", lambda: False)
    elif not fused_encoder.has_fused_operators():
        pytest.skip("this torch has no fused convolutions")
    model = _random_bundled()
    frame = _frame()
    plain = _encoded(model, frame)
    fuse_encoder(model)
    fused = _encoded(model, frame)
    assert fused.sizes == plain.sizes
    for ours, reference in zip(fused.maps, plain.maps, strict=True):
        scale = float(reference.abs().max())
        assert float((ours - reference).abs().max()) < 1e-5 * scale
        assert scale > 0.1


def test_a_fused_encoder_takes_another_size_after_the_first() -> None:
    model = _random_bundled()
    fused = copy.deepcopy(model)
    fuse_encoder(fused)
    for size in (96, 64, 96):
        with torch.inference_mode():
            ours = fused.image_encoder(_frame(size)[None])["vision_features"]
            reference = model.image_encoder(_frame(size)[None])["vision_features"]
        assert torch.allclose(ours, reference, rtol=0, atol=1e-5 * float(reference.abs().max()))


def test_a_fused_encoder_gives_the_same_bits_again() -> None:
    model = _random_bundled()
    other = copy.deepcopy(model)
    fuse_encoder(model)
    fuse_encoder(other)
    first, again, elsewhere = (_encoded(at, _frame()).maps for at in (model, model, other))
    for a, b, c in zip(first, again, elsewhere, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_a_shortcut_is_added_to_the_result() -> None:
    conv = FusedConv(torch.ones(8, 8, 1, 1), None)
    x = torch.ones(1, 8, 4, 4)
    assert torch.equal(conv(x, torch.full_like(x, -9.0)), torch.full_like(x, -1.0))
    assert torch.equal(conv(x), torch.full_like(x, 8.0))
    assert torch.equal(FusedConv(torch.ones(8, 8, 1, 1), None, activation="relu6")(x), 6 * x)


def test_official_models_keep_their_encoder() -> None:
    model = build("sam2.1_hiera_tiny", image_size=128)
    before = model.image_encoder
    fuse_encoder(model)
    assert model.image_encoder is before


@pytest.mark.parametrize("name", ["bundled", "sam2.1_hiera_tiny"])
def test_shared_positions_are_those_that_sam2_reads(name: str) -> None:
    model = build(name, image_size=128)
    frame = _frame(128)
    before = _encoded(model, frame)
    share_positions(model)
    after = _encoded(model, frame)
    assert after.sizes == before.sizes
    assert [p.shape for p in after.positions] == [p.shape for p in before.positions]
    assert torch.equal(after.positions[-1], before.positions[-1])
    assert after.positions[-1].data_ptr() == _encoded(model, frame).positions[-1].data_ptr()


def test_the_loaded_bundled_model_is_fused_and_keeps_its_weights(tmp_path: Path) -> None:
    model = _random_bundled()
    path = tmp_path / "random.pt"
    torch.save({"model": model.state_dict()}, path)
    loaded = load_model("bundled", path, torch.device("cpu"), image_size=SIZE).model
    ours, reference = _encoded(loaded, _frame()), _encoded(model, _frame())
    for a, b in zip(ours.maps, reference.maps, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-5 * float(b.abs().max()))
    # Tables at the other strides take no memory.
    assert [p.untyped_storage().nbytes() for p in ours.positions[:-1]] == [4, 4, 4]
