# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine on a GPU: on an NVIDIA card if there is one, and always on the stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image
from safetensors.torch import save_file

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.errors import Cancelled
from sam2_splat_addon.core.geometry.resample import upsample_binary
from sam2_splat_addon.core.mattes.run_manifest import read_manifest
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
)
from sam2_splat_addon.core.protocol import (
    BakeRequest,
    FootageFiles,
    FrameDone,
    PreviewRequest,
    PropagateRequest,
)
from sam2_splat_addon.core.settings import BALANCED, GUARDED, WHOLE_LOOK, RunSettings
from sam2_splat_addon.engine.jobs import bake, preview, propagate
from sam2_splat_addon.engine.models import device as devices_found
from sam2_splat_addon.engine.models.architectures import BUNDLED
from sam2_splat_addon.engine.models.device import DeviceChoice, choose_device
from sam2_splat_addon.engine.models.prepare import prepare
from sam2_splat_addon.engine.tracking import results

from .. import stand_in_gpu
from ..photo_footage import clicked, request, store_bytes, write_photos
from ..random_models import HEIGHT, IMAGE_SIZE, WIDTH, propagated, random_frames, random_model

_FRAMES: Final = 6
_FLOAT = DeviceChoice(stand_in_gpu.DEVICE, torch.float32, "stand-in", "Not a GPU.")
_HALF = DeviceChoice(stand_in_gpu.DEVICE, torch.bfloat16, "stand-in", "Not a GPU.")

_MASK = MaskPrompt.from_array(np.hypot(*(np.indices((HEIGHT, WIDTH)) - 48)) < 30)
_THINGS = (
    ObjectPrompts(
        1,
        "many kinds of prompts",
        (
            FramePrompts(1, (PointPrompt(70.0, 40.0), PointPrompt(20.0, 80.0, include=False))),
            FramePrompts(3, (PointPrompt(20.0, 20.0, include=False),)),  # a correction
            FramePrompts(5, (PointPrompt(60.0, 40.0),), None, _MASK),
        ),
    ),
    ObjectPrompts(2, "a box", (FramePrompts(4, (), BoxPrompt(30.0, 20.0, 120.0, 80.0)),)),
)
_WAYS: Final[dict[str, dict[str, Any]]] = {
    "as it comes": {},
    "guarded": {"memory": GUARDED},
    "both sides": {"both_sides": True},
    "panorama": {"panorama": True},
    "balanced": {"speed": BALANCED.name},
    "second look": {"second_look": WHOLE_LOOK},
}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> FootageFiles:
    return write_photos(tmp_path_factory.mktemp("photos"), _FRAMES)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that count no frame as empty. Otherwise a score's last bit could decide that."""
    weights = random_model(BUNDLED, always_seen=True).state_dict()
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    save_file({key: value.contiguous() for key, value in weights.items()}, path)
    return path


@pytest.fixture(
    params=[_FLOAT, _HALF, *([choose_device("cuda")] if torch.cuda.is_available() else [])],
    ids=lambda choice: f"{choice.name} {choice.dtype_name}",
)
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The device name to ask for."""
    choice: DeviceChoice = request.param
    if choice.device.type == "cuda":
        yield "cuda"
        return
    own = choose_device
    for module in (propagate, preview, devices_found):  # a bake asks the last when it needs one
        monkeypatch.setattr(
            module,
            "choose_device",
            lambda wish, *rest: choice if wish == stand_in_gpu.NAME else own(wish, *rest),
        )
    yield stand_in_gpu.NAME


def _propagated(wish: PropagateRequest, stop_after: int = 10**6) -> MatteStore:
    done: list[FrameDone] = []
    propagate.run(
        wish,
        on_progress=lambda _: None,
        on_frame_done=done.append,
        on_log=lambda _: None,
        cancelled=lambda: len(done) >= stop_after,
        image_size=IMAGE_SIZE,
    )
    return MatteStore.open(Path(wish.store))


def _on(device: str, wish: PropagateRequest, store: Path) -> PropagateRequest:
    return replace(wish, store=str(store), model=replace(wish.model, device=device))


def _wish(
    footage: FootageFiles, model: Path, store: Path, *things: ObjectPrompts, **settings: Any
) -> PropagateRequest:
    run = RunSettings(**settings)
    return request(footage, model, store, *things, settings=run)


@pytest.mark.parametrize("way", _WAYS)
def test_mattes_are_the_processors_as_near_as_the_number_format_allows(
    gpu: str,
    way: str,
    footage: FootageFiles,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Clicks move an answer in whole pieces, and unsure parts go as a whole: a last bit can take or leave
    # one. So both are left out here, where the number format alone is measured.
    monkeypatch.setattr(results, "without_unsure_parts", lambda logits: logits)
    wish = _wish(footage, model, tmp_path / "cpu", *_THINGS, obey_clicks="off", **_WAYS[way])
    there = _propagated(_on(gpu, wish, tmp_path / "gpu"))
    exact = replace(wish.settings, precision="float32")  # a processor may round too
    here = _propagated(replace(wish, settings=exact))
    manifest = read_manifest(there.manifest_path)
    assert manifest is not None
    assert manifest.machine.device != "cpu"
    near = 1e-3 if manifest.machine.dtype == "float32" else 2e-2
    for object_id in here.objects():
        assert there.frames(object_id) == list(range(1, _FRAMES + 1))
        for frame in here.frames(object_id):
            one, other = here.read(object_id, frame).logits, there.read(object_id, frame).logits
            assert np.abs(one.astype(float) - other).max() < near, (object_id, frame)


def test_clicks_are_obeyed_there(
    gpu: str, footage: FootageFiles, model: Path, tmp_path: Path
) -> None:
    wish = _on(gpu, _wish(footage, model, tmp_path, *_THINGS), tmp_path)
    store = _propagated(wish)
    clicks = 0
    for thing in _THINGS:
        for prompts in thing.frames:
            mask = upsample_binary(store.read(thing.id, prompts.frame).logits, WIDTH, HEIGHT)
            for point in prompts.points:
                clicks += 1
                assert mask[int(point.y), int(point.x)] == point.include, (thing.name, point)
    assert clicks > 1


@pytest.mark.parametrize("choice", [_FLOAT, _HALF], ids=lambda choice: choice.dtype_name)
def test_the_official_models_run_there(choice: DeviceChoice) -> None:
    model = random_model("sam2.1_hiera_tiny", always_seen=True)
    here = propagated(model, random_frames(_FRAMES), _THINGS)
    prepare(model.to(choice.device))
    there = propagated(model, random_frames(_FRAMES), _THINGS, choice=choice)
    near = 1e-4 if choice is _FLOAT else 2e-2
    for one, other in zip(here, there, strict=True):
        assert np.abs(one.logits.astype(float) - other.logits).max() < near


def test_a_run_that_goes_on_and_a_second_run_give_the_same_bytes(
    gpu: str, footage: FootageFiles, model: Path, tmp_path: Path
) -> None:
    wish = _wish(footage, model, tmp_path, *_THINGS)
    whole = _on(gpu, wish, tmp_path / "whole")
    _propagated(whole)
    again = _on(gpu, wish, tmp_path / "again")
    with pytest.raises(Cancelled):
        _propagated(again, stop_after=7)
    _propagated(again)
    assert store_bytes(tmp_path / "again") == store_bytes(tmp_path / "whole")


def test_previews_are_what_a_run_writes(
    gpu: str, footage: FootageFiles, model: Path, tmp_path: Path
) -> None:
    wish = _on(gpu, _wish(footage, model, tmp_path, *_THINGS), tmp_path)
    store = _propagated(wish)
    for frame in (1, 3, 4):  # the middle one is a correction
        shown = preview.run(
            PreviewRequest(
                wish.footage.paths[frame - 1],
                WIDTH,
                HEIGHT,
                frame,
                wish.prompts,
                wish.model,
                propagation=wish if frame == 3 else None,
            ),
            lambda: False,
            IMAGE_SIZE,
        )
        assert shown
        for matte in shown:
            assert (matte.array() == store.read(matte.object_id, frame).logits).all()


def test_edges_are_refined_there_and_the_bake_says_so(
    gpu: str, footage: FootageFiles, model: Path, tmp_path: Path
) -> None:
    wish = _wish(footage, model, tmp_path / "store", clicked(1, 1, 70.0, 40.0))
    store = _propagated(wish)
    alphas, devices = [], []
    for device in ("cpu", gpu):
        folder = tmp_path / device
        options = BakeOptions(refine_edges=True, alpha="soft")
        baked = BakeRequest(footage, wish.store, str(folder), options, device=device)
        bake.bake(baked, store, lambda _: None, lambda: False)
        devices.append(json.loads((folder / "manifest.json").read_text())["device"])
        alphas.append([np.array(Image.open(path))[..., 3] for path in sorted(folder.glob("*.png"))])
    assert devices[0] == "cpu" != devices[1]
    for here, there in zip(*alphas, strict=True):
        assert 0 < here.mean() < 255
        assert np.abs(here.astype(int) - there).max() <= 1
