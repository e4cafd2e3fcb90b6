# SPDX-License-Identifier: GPL-3.0-or-later
"""One capture with photos of several sizes, in subfolders: each is judged and baked at its own size."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image
from safetensors.torch import save_file

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.errors import BakeError, PromptError
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.geometry.resample import upsample_binary
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
)
from sam2_splat_addon.core.protocol import (
    BakeRequest,
    EditedMatte,
    FootageFiles,
    ModelChoice,
    PreviewRequest,
    ReportRequest,
)
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs import preview
from sam2_splat_addon.engine.jobs.bake import BakeReport, bake
from sam2_splat_addon.engine.jobs.bake_manifest import BakeManifest
from sam2_splat_addon.engine.jobs.report import write_report
from sam2_splat_addon.engine.models.architectures import BUNDLED

from ..photo_footage import clicked, propagated, request
from ..random_models import IMAGE_SIZE, random_model

LANDSCAPE, PORTRAIT, SMALL = (200, 120), (120, 200), (100, 60)
PHOTOS = {
    "left/IMG_1.png": LANDSCAPE,
    "left/IMG_2.png": PORTRAIT,
    "left/IMG_10.png": LANDSCAPE,
    "right/IMG_1.png": SMALL,
    "right/IMG_2.png": PORTRAIT,
}


def write(path: Path, size: tuple[int, int], seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (10, 10, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).resize(size).save(path)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> FootageFiles:
    folder = tmp_path_factory.mktemp("two passes")
    for seed, (name, size) in enumerate(PHOTOS.items()):
        write(folder / name, size, seed)
    return FootageFiles.of(scan(folder))


def run(footage: FootageFiles, checkpoint: Path, store: Path, *things: Any, **more: Any) -> None:
    propagated(replace(request(footage, checkpoint, store, *things), **more))


@pytest.fixture(scope="module")
def store(
    footage: FootageFiles, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> MatteStore:
    """The mattes from a click on a portrait photo."""
    folder = tmp_path_factory.mktemp("store")
    run(footage, checkpoint, folder, clicked(1, 2, 40.0, 150.0))
    return MatteStore.open(folder)


def baked(footage: FootageFiles, store: MatteStore, out: Path, **more: Any) -> BakeReport:
    edited = more.pop("edited", ())
    wish = BakeRequest(footage, str(store.folder), str(out), BakeOptions(**more), edited)
    return bake(wish, store, lambda _: None, lambda: False, threads=2)


def test_the_sizes_travel_with_the_footage(footage: FootageFiles) -> None:
    assert footage.sizes == PhotoSizes(*LANDSCAPE, {2: PORTRAIT, 4: SMALL, 5: PORTRAIT})
    assert footage.name_of(4) == "right/IMG_1.png"


def test_each_matte_is_of_its_photos_size(store: MatteStore) -> None:
    records = [store.read(1, frame) for frame in store.frames(1)]
    assert [(at.width, at.height) for at in records] == list(PHOTOS.values())
    # Square, whatever the photo's shape. Tracked photos had a second look, the largest one at parts.
    sides = {at.logits.shape: at.prompted for at in records}
    prompted, whole, parts = (
        (side, side) for side in (IMAGE_SIZE // 4, IMAGE_SIZE // 2, IMAGE_SIZE)
    )
    assert sides == {prompted: True, whole: False, parts: False}


@pytest.mark.parametrize(
    "prompts",
    [
        FramePrompts(2, (PointPrompt(40.0, 150.0), PointPrompt(100.0, 20.0, include=False))),
        FramePrompts(2, box=BoxPrompt(10.0, 60.0, 110.0, 190.0)),
        FramePrompts(2, mask=MaskPrompt.from_array(np.tri(200, 120, 20))),
    ],
)
def test_prompts_on_a_photo_of_another_size_mean_the_same_as_on_it_alone(
    prompts: FramePrompts, footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    thing = ObjectPrompts(1, "thing", (prompts,))
    run(footage, checkpoint, tmp_path / "all", thing)
    write(tmp_path / "photo/IMG_2.png", PORTRAIT, 1)
    alone = FootageFiles.of(scan(tmp_path / "photo"))
    first = replace(thing, frames=(replace(prompts, frame=1),))
    run(alone, checkpoint, tmp_path / "one", first)
    matte = MatteStore.open(tmp_path / "all").read(1, 2)
    assert np.array_equal(matte.logits, MatteStore.open(tmp_path / "one").read(1, 1).logits)
    asked = PreviewRequest(
        footage.paths[1],
        footage.width,
        footage.height,
        2,
        PromptSet((thing,)),
        ModelChoice(BUNDLED, str(checkpoint), "cpu", 1),
        odd_sizes=footage.odd_sizes,
    )
    (shown,) = preview.run(asked, lambda: False, IMAGE_SIZE)
    assert np.array_equal(shown.array(), matte.logits)


def test_a_correction_previews_as_it_is_propagated(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    fix = FramePrompts(3, (PointPrompt(150.0, 30.0),))
    thing = clicked(1, 2, 40.0, 150.0)
    thing = replace(thing, frames=(*thing.frames, fix))
    wish = request(footage, checkpoint, tmp_path, thing)
    run(footage, checkpoint, tmp_path, thing)
    asked = PreviewRequest(
        footage.paths[2],
        footage.width,
        footage.height,
        3,
        wish.prompts,
        wish.model,
        wish,
        odd_sizes=footage.odd_sizes,
    )
    (shown,) = preview.run(asked, lambda: False, IMAGE_SIZE)
    assert np.array_equal(shown.array(), MatteStore.open(tmp_path).read(1, 3).logits)


def test_a_click_outside_its_own_photo_is_refused(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(PromptError, match=r"outside the photo of 120x200 px"):
        run(footage, checkpoint, tmp_path, clicked(1, 2, 150.0, 50.0))
    run(footage, checkpoint, tmp_path, clicked(1, 3, 150.0, 50.0))


def test_prompts_of_smaller_copies_are_scaled_by_one_factor() -> None:
    sizes = PhotoSizes(*LANDSCAPE, {2: PORTRAIT})
    clicks = (FramePrompts(1, (PointPrompt(10, 20),)), FramePrompts(2, (PointPrompt(30, 90),)))
    halves = PromptSet((ObjectPrompts(1, "a", clicks),), 100, 60)
    first, second = halves.checked(sizes, 2).objects[0].frames
    assert (first.points[0], second.points[0]) == (PointPrompt(20, 40), PointPrompt(60, 180))


@pytest.mark.parametrize("refine_edges", [False, True])
def test_the_output_mirrors_the_subfolders_at_each_photos_own_size(
    refine_edges: bool, footage: FootageFiles, store: MatteStore, tmp_path: Path
) -> None:
    report = baked(
        footage, store, tmp_path / "out", sidecar_masks="colmap_photos", refine_edges=refine_edges
    )
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    images = {f"out/{name}" for name in PHOTOS}
    assert files == images | {f"out_masks/{name}.png" for name in PHOTOS} | {"out/manifest.json"}
    for frame, (name, size) in enumerate(PHOTOS.items(), start=1):
        pixels = cv2.imread(str(report.folder / name), cv2.IMREAD_UNCHANGED)
        assert pixels.shape == (size[1], size[0], 4)
        with Image.open(Path(footage.folder) / name) as photo:
            assert np.array_equal(pixels[:, :, 2::-1], np.asarray(photo))
        if not refine_edges:
            inside = upsample_binary(store.read(1, frame).logits, *size)
            assert np.array_equal(pixels[:, :, 3] > 0, inside)
    data = (report.folder / "manifest.json").read_bytes()
    manifest = msgspec.json.decode(data, type=BakeManifest)
    assert [(one.source, one.image) for one in manifest.images] == [(n, n) for n in PHOTOS]


def test_what_was_drawn_is_filled_at_the_photos_own_size(
    footage: FootageFiles, store: MatteStore, tmp_path: Path
) -> None:
    square = (10.0, 150.0, 60.0, 150.0, 60.0, 190.0, 10.0, 190.0)
    drawn = EditedMatte(1, 5, (square,))
    report = baked(footage, store, tmp_path / "out", edited=(drawn,), frames=(5,))
    alpha = cv2.imread(str(report.folder / "right/IMG_2.png"), cv2.IMREAD_UNCHANGED)[:, :, 3]
    expected = np.zeros((200, 120), bool)
    expected[150:190, 10:60] = True
    assert np.array_equal(alpha > 0, expected)
    assert not (report.folder / "left").exists()


def test_a_stopped_bake_leaves_no_empty_subfolder(
    footage: FootageFiles, store: MatteStore, tmp_path: Path
) -> None:
    changed = replace(footage, odd_sizes={**footage.odd_sizes, 5: (7, 7)})
    with pytest.raises(BakeError, match=r"right/IMG_2\.png is now 120x200, but was 7x7"):
        baked(changed, store, tmp_path / "out", frames=(5,))
    assert not (tmp_path / "out").exists()


def test_the_report_names_photos_with_their_subfolder(
    footage: FootageFiles, store: MatteStore, tmp_path: Path
) -> None:
    wish = ReportRequest(footage, str(store.folder), str(tmp_path / "review"), {1: "thing"})
    write_report(wish, lambda _: None, lambda: False)
    table = (tmp_path / "review/review.csv").read_text("utf-8")
    assert all(f"{name}," in table for name in PHOTOS)


def test_another_pass_begins_with_the_prompted_photos_alone_in_memory(
    footage: FootageFiles, tmp_path: Path
) -> None:
    """What was tracked last in the pass before is of another view: here, other photos."""
    assert footage.cuts == (4,)
    settings = RunSettings(memory="exact")
    weights = random_model(BUNDLED, always_seen=True).state_dict()
    checkpoint = tmp_path / "seen.safetensors"
    save_file({key: value.contiguous() for key, value in weights.items()}, checkpoint)
    other = shutil.copytree(footage.folder, tmp_path / "photos")
    write(other / "left/IMG_10.png", LANDSCAPE, 99)
    found = []
    for name, files in (("a", footage), ("b", FootageFiles.of(scan(other)))):
        run(files, checkpoint, tmp_path / name, clicked(1, 2, 40.0, 150.0), settings=settings)
        mattes = MatteStore.open(tmp_path / name)
        found.append([mattes.read(1, frame).logits for frame in (2, 3, 4, 5)])
    same = [np.array_equal(one, two) for one, two in zip(*found, strict=True)]
    assert same == [True, False, True, True]
