# SPDX-License-Identifier: GPL-3.0-or-later
"""The quicker modes, from a request to its mattes: their input, their keys, their previews."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam2_splat_addon.core.errors import CheckpointError, PromptError
from sam2_splat_addon.core.mattes.run_manifest import RunSettings, read_manifest
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.protocol import PreviewRequest, PropagateRequest
from sam2_splat_addon.core.settings import BALANCED, FAST, QUALITY
from sam2_splat_addon.engine.jobs import preview, propagate
from sam2_splat_addon.engine.models.architectures import BUNDLED
from sam2_splat_addon.engine.models.input_spec import ModelInput, model_input

from ..photo_footage import clicked, request, store_bytes, write_checkpoint, write_photos
from ..random_models import HEIGHT, WIDTH

_TINY = "sam2.1_hiera_tiny"


def _run(wish: PropagateRequest) -> propagate.PropagateReport:
    return propagate.run(
        wish,
        on_progress=lambda _: None,
        on_frame_done=lambda _: None,
        on_log=lambda _: None,
        cancelled=lambda: False,
    )


def test_official_models_see_photos_exactly_unless_a_quicker_mode_is_chosen() -> None:
    assert model_input(_TINY, 0, QUALITY) == ModelInput(1024, exact=True)
    assert model_input(_TINY, 0, BALANCED) == ModelInput(768, exact=False)
    assert model_input(_TINY, 0, FAST) == ModelInput(512, exact=False)
    assert model_input(_TINY, 640, FAST) == ModelInput(640, exact=False)
    assert model_input(_TINY, 0, FAST, bitwise=True).exact


def test_the_bundled_model_reads_large_photos_at_a_reduced_scale_unless_bits_count() -> None:
    assert model_input(BUNDLED, 0, QUALITY) == ModelInput(512, exact=False)
    assert model_input(BUNDLED, 0, QUALITY, bitwise=True) == ModelInput(512, exact=True)
    with pytest.raises(CheckpointError, match="no model called"):
        model_input("other", 0, QUALITY)


def test_a_quicker_mode_has_its_own_mattes_and_previews_equal_them(tmp_path: Path) -> None:
    footage = write_photos(tmp_path / "photos", 2)
    checkpoint = write_checkpoint(tmp_path / "random.safetensors")
    subject = clicked(1, 1, 70.0, 40.0)
    # The mode's size is asked for by hand, so that nothing but the mode differs.
    full = request(
        footage, checkpoint, tmp_path / "store", subject, settings=RunSettings(image_size=384)
    )
    fast = request(
        footage, checkpoint, tmp_path / "store", subject, settings=RunSettings(speed="fast")
    )
    _run(full)
    manifest = read_manifest(tmp_path / "store" / "manifest.json")
    assert manifest is not None and manifest.settings.speed == "quality"
    before = {
        key: value for key, value in store_bytes(tmp_path / "store").items() if "matte" in key
    }
    assert _run(fast).frames == 2  # none of the mattes serves another mode
    manifest = read_manifest(tmp_path / "store" / "manifest.json")
    assert manifest is not None and manifest.settings.speed == "fast"
    assert _run(fast).frames == 0
    record = MatteStore.open(tmp_path / "store").read(1, 1)
    assert record.logits.shape == (96, 96)  # a quarter of 384
    after = store_bytes(tmp_path / "store")
    assert all(after[key] != value for key, value in before.items())
    (matte,) = preview.run(
        PreviewRequest(footage.paths[0], WIDTH, HEIGHT, 1, fast.prompts, fast.model, speed="fast"),
        lambda: False,
    )
    assert matte.array().tobytes() == record.logits.tobytes()


def test_an_unknown_speed_is_a_clear_error_before_anything_is_written(tmp_path: Path) -> None:
    footage = write_photos(tmp_path / "photos", 1)
    checkpoint = write_checkpoint(tmp_path / "random.safetensors")
    settings = RunSettings(speed="warp")
    wish = request(
        footage, checkpoint, tmp_path / "store", clicked(1, 1, 70.0, 40.0), settings=settings
    )
    with pytest.raises(PromptError, match="no speed called 'warp'"):
        _run(wish)
    assert not (tmp_path / "store").exists()
