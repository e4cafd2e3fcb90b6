# SPDX-License-Identifier: GPL-3.0-or-later
"""An image encoder computed in parts gives the same bits as the whole one."""

from __future__ import annotations

import pytest
import torch

from sam2_splat_addon.engine.accel import chunked_encoder
from sam2_splat_addon.engine.accel.chunked_encoder import ChunkedBlock, chunk_encoder
from sam2_splat_addon.engine.models.architectures import build
from sam2_splat_addon.engine.models.bundled_model import build_bundled_model
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter

_TINY = "sam2.1_hiera_tiny"


@pytest.mark.parametrize(
    ("at", "shape"), [(0, (256, 256, 96)), (1, (128, 128, 192)), (2, (128, 128, 192))]
)
def test_wide_layers_at_full_size_give_the_same_bits_in_parts(
    at: int, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(4)
    model = build(_TINY, image_size=128)
    block = model.image_encoder.trunk.blocks[at]
    side = 128 if at == 2 else 256
    x = torch.randn(1, side, side, block.dim)
    assert x.numel() > chunked_encoder._LEAST
    with torch.inference_mode():
        whole = block(x)
        assert whole.shape == (1, *shape)
        chunk_encoder(model)
        assert torch.equal(block(x), whole)


def test_an_encoder_in_parts_gives_the_same_bits_under_the_same_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunked_encoder, "_LEAST", 0)
    torch.manual_seed(4)
    model = build(_TINY, image_size=256)
    with torch.no_grad():
        model.image_encoder.trunk.pos_embed.normal_()  # without a checkpoint these are zeros
    frame = torch.randn(3, 256, 256)
    names = list(model.state_dict())
    with torch.inference_mode():
        whole = Sam2Adapter(model, 1).encode(frame)
        chunk_encoder(model)
        assert all(type(block) is ChunkedBlock for block in model.image_encoder.trunk.blocks)
        assert list(model.state_dict()) == names
        for _ in range(2):  # the second time with the kept table
            parted = Sam2Adapter(model, 1).encode(frame)
            for ours, reference in zip(parted.maps, whole.maps, strict=True):
                assert torch.equal(ours, reference)


def test_parting_twice_or_another_encoder_changes_nothing() -> None:
    model = build(_TINY, image_size=64)
    chunk_encoder(model)
    chunk_encoder(model)
    assert all(type(block) is ChunkedBlock for block in model.image_encoder.trunk.blocks)
    other = build_bundled_model(64)
    before = type(other.image_encoder.trunk)
    chunk_encoder(other)
    assert type(other.image_encoder.trunk) is before
