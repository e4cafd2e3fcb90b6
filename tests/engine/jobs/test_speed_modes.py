# SPDX-License-Identifier: GPL-3.0-or-later
"""The faster modes, from a request to its mattes: their input, their keys, their previews."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam2_splat_addon.core.errors import CheckpointError
from sam2_splat_addon.core.mattes.run_manifest import read_manifest
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.protocol import PreviewRequest, PropagateRequest
from sam2_splat_addon.core.settings import BALANCED, FAST, QUALITY, RunSettings
from sam2_splat_addon.engine.jobs import preview, propagate
from sam2_splat_addon.engine.models.architectures import BUNDLED
from sam2_splat_addon.engine.models.input_spec import ModelInput, model_input

from ..photo_footage import clicked, request, store_bytes, write_checkpoint, write_photos
from ..random_models import HEIGHT, WIDTH

_TINY = "sam2.1_hiera_tiny"


def _run(wish: PropagateRequest, image_size: int = 0) -> propagate.PropagateReport:
    return propagate.run(
        wish,
        on_progress=lambda _: None,
        on_frame_done=lambda _: None,
        on_log=lambda _: None,
        cancelled=lambda: False,
        image_size=image_size,
    )


def test_official_models_see_photos_exactly_unless_a_quicker_mode_is_chosen() -> None:
    assert model_input(_TINY, QUALITY) == ModelInput(1024, exact=True)
    assert model_input(_TINY, BALANCED) == ModelInput(768, exact=False)
    assert model_input(_TINY, FAST) == ModelInput(512, exact=False)
    assert model_input(_TINY, FAST, 640) == ModelInput(640, exact=False)


def test_the_bundled_model_reads_large_photos_at_a_reduced_scale() -> None:
    assert model_input(BUNDLED, QUALITY) == ModelInput(512, exact=False)
    with pytest.raises(CheckpointError, match="no model called"):
        model_input("other", QUALITY)


def test_a_quicker_mode_has_its_own_mattes_and_previews_equal_them(tmp_path: Path) -> None:
    footage = write_photos(tmp_path / "photos", 2)
    checkpoint = write_checkpoint(tmp_path / "random.safetensors")
    subject = clicked(1, 1, 70.0, 40.0)
    # The first run gets the mode's size (384), so that only the mode differs.
    full = request(footage, checkpoint, tmp_path / "store", subject)
    fast = request(
        footage, checkpoint, tmp_path / "store", subject, settings=RunSettings(speed="fast")
    )
    _run(full, 384)
    manifest = read_manifest(tmp_path / "store" / "manifest.json")
    assert manifest is not None and manifest.settings.speed == "quality"
    before = {
        key: value for key, value in store_bytes(tmp_path / "store").items() if "matte" in key
    }
    assert _run(fast).frames == 2  # no matte is reused in another mode
    manifest = read_manifest(tmp_path / "store" / "manifest.json")
    assert manifest is not None and manifest.settings.speed == "fast"
    assert _run(fast).frames == 0
    record = MatteStore.open(tmp_path / "store").read(1, 1)
    assert record.logits.shape == (96, 96)  # a quarter of 384
    after = store_bytes(tmp_path / "store")
    assert all(after[key] != value for key, value in before.items())
    (matte,) = preview.run(
        PreviewRequest(
            footage.paths[0],
            WIDTH,
            HEIGHT,
            1,
            fast.prompts,
            fast.model,
            settings=fast.settings,
        ),
        lambda: False,
    )
    assert matte.array().tobytes() == record.logits.tobytes()
