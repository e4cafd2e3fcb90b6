# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos with an orientation tag give the same as photos that were turned, at every step of a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyjpegxl
import pytest
import tifffile
from msgspec.structs import replace
from PIL import Image, ImageOps

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.geometry.orientation import PhotoShape, back, turned, turned_size
from sam2_splat_addon.core.geometry.rasterize import fill
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
    PreviewRequest,
)
from sam2_splat_addon.core.review.judge import ShapeReader
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.core.upright_prompts import upright_object
from sam2_splat_addon.engine.images.colors import to_8_bit
from sam2_splat_addon.engine.images.decode import decode
from sam2_splat_addon.engine.images.frame_source import FrameSource
from sam2_splat_addon.engine.images.raw import looked_at
from sam2_splat_addon.engine.jobs import preview
from sam2_splat_addon.engine.jobs.bake import bake
from sam2_splat_addon.engine.jobs.report_pictures import picture_with_matte
from sam2_splat_addon.engine.refine.crops import CropReader

from ..images.photo_kinds import dng, turned_jxl
from ..photo_footage import propagated, request
from ..random_models import HEIGHT, IMAGE_SIZE, WIDTH

_MIXES = ([1, 2, 3, 4], [5, 6, 7, 8], [1, 6, 3, 8])
"""Photos that are equally large when they are upright, and photos of a phone that is held differently."""

_MASK = MaskPrompt.from_array(np.hypot(*(np.indices((HEIGHT, WIDTH)) - 48)) < 30)
_OUTLINE = (20.3, 10.1, 90.2, 15.4, 70.7, 60.8)
_PROMPTS = PromptSet(
    (
        ObjectPrompts(
            1,
            "a",
            (
                FramePrompts(1, (PointPrompt(70.25, 40.0), PointPrompt(0.0, 95.5, include=False))),
                FramePrompts(3, (PointPrompt(100.0, 30.5),)),
            ),
        ),
        ObjectPrompts(
            2,
            "b",
            (FramePrompts(2, box=BoxPrompt(30.0, 20.0, 120.0, 80.0)), FramePrompts(4, mask=_MASK)),
        ),
    )
)
_EDITED = (EditedMatte(1, 2, (_OUTLINE,)),)


def write(folder: Path, orientations: Sequence[int], kind: str = "png") -> FootageFiles:
    """Write photos with these tags."""
    folder.mkdir(parents=True)
    for number, orientation in enumerate(orientations):
        noise = np.random.default_rng(number).integers(0, 255, (12, 20, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[274] = orientation
        image = Image.fromarray(noise).resize((WIDTH, HEIGHT))
        image.save(folder / f"IMG_{number:04d}.{kind}", exif=exif)
    return FootageFiles.of(scan(folder))


def straightened(folder: Path, tagged: FootageFiles) -> FootageFiles:
    """Write the same photos with turned pixels and without tags."""
    folder.mkdir(parents=True)
    for path in map(Path, tagged.paths):
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
        upright.info.pop("exif", None)
        upright.save(folder / path.with_suffix(".png").name)
    return FootageFiles.of(scan(folder))


def straight_prompts(prompts: PromptSet, tagged: FootageFiles) -> PromptSet:
    """Return the same prompts for the turned photos."""
    objects = (upright_object(one, tagged.sizes) for one in prompts.objects)
    return PromptSet(tuple(objects))


def straight_edited(tagged: FootageFiles) -> tuple[EditedMatte, ...]:
    return tuple(
        replace(
            one,
            outlines=tuple(
                tuple(
                    tagged.sizes.shape(one.frame)
                    .points_to_upright(np.array(flat).reshape(-1, 2))
                    .ravel()
                    .tolist()
                )
                for flat in one.outlines
            ),
        )
        for one in _EDITED
    )


@dataclass(frozen=True)
class Pair:
    """Runs on tagged photos and on turned ones, with the same prompts."""

    orientations: Sequence[int]
    tagged: FootageFiles
    one: MatteStore
    straight: FootageFiles
    two: MatteStore


def both(
    folder: Path,
    checkpoint: Path,
    orientations: Sequence[int],
    settings: RunSettings = RunSettings(),  # noqa: B008 - frozen
) -> Pair:
    tagged = write(folder / "tagged", orientations, "tif")
    straight = straightened(folder / "straight", tagged)
    one = replace(
        request(tagged, checkpoint, folder / "one", settings=settings),
        prompts=_PROMPTS,
        edited=_EDITED,
    )
    two = replace(
        request(straight, checkpoint, folder / "two", settings=settings),
        prompts=straight_prompts(_PROMPTS, tagged),
        edited=straight_edited(tagged),
    )
    return Pair(orientations, tagged, propagated(one), straight, propagated(two))


@pytest.fixture(scope="module", params=_MIXES, ids=str)
def pair(
    request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Pair:
    return both(tmp_path_factory.mktemp("pair"), checkpoint, request.param)


def places(store: MatteStore) -> list[tuple[int, int]]:
    return [(one, frame) for one in store.objects() for frame in store.frames(one)]


def require_equal(pair: Pair) -> None:
    assert places(pair.one) == places(pair.two)
    assert len(places(pair.one)) == 8
    for object_id, frame in places(pair.one):
        found, other = pair.one.read(object_id, frame), pair.two.read(object_id, frame)
        assert (found.width, found.height) == (WIDTH, HEIGHT)
        assert found.orientation == pair.orientations[frame - 1]
        upright = pair.tagged.sizes.shape(frame).mask_to_upright(found.logits)
        assert np.array_equal(upright, other.logits)
        assert found.scores == other.scores


def test_mattes_of_tagged_photos_equal_those_of_turned_photos_bit_for_bit(pair: Pair) -> None:
    require_equal(pair)
    # The review does not see a difference either.
    shapes = [list(ShapeReader(store).read(2)) for store in (pair.one, pair.two)]
    for first, second in zip(*shapes, strict=True):
        assert (first.centroid, first.silhouette, first.sureness) == (
            second.centroid,
            second.silhouette,
            second.sureness,
        )


def test_second_looks_at_tagged_photos_equal_those_at_turned_photos(
    tmp_path: Path, checkpoint: Path
) -> None:
    require_equal(both(tmp_path, checkpoint, _MIXES[1], RunSettings(second_look="parts")))


@pytest.mark.parametrize(("upright", "refine"), [(False, False), (True, False), (False, True)])
def test_baked_images_equal_those_of_turned_photos(
    pair: Pair, tmp_path: Path, upright: bool, refine: bool
) -> None:
    if refine and pair.orientations != _MIXES[1]:
        pytest.skip("one mix is enough, because refining takes seconds")
    options = BakeOptions(
        alpha="soft", feather_px=3, fill_holes_px=20, upright=upright, refine_edges=refine
    )
    baked = []
    for files, store, edited in (
        (pair.tagged, pair.one, _EDITED),
        (pair.straight, pair.two, straight_edited(pair.tagged)),
    ):
        output = tmp_path / Path(files.folder).name
        wish = BakeRequest(files, str(store.folder), str(output), options, edited, device="cpu")
        baked.append(bake(wish, store, lambda _: None, lambda: False).folder)
    for frame, orientation in enumerate(pair.orientations):
        name = f"IMG_{frame:04d}.png"
        with Image.open(baked[0] / name) as mine, Image.open(baked[1] / name) as theirs:
            assert mine.getexif().get(274, 1) == (1 if upright else orientation)
            if not upright:  # the stored bytes, straight
                stored = tifffile.imread(pair.tagged.paths[frame])  # Pillow would turn a TIFF
                assert np.array_equal(np.asarray(mine)[:, :, :3], stored)
            assert np.array_equal(np.asarray(ImageOps.exif_transpose(mine)), np.asarray(theirs))


def test_a_preview_equals_the_propagation_for_every_orientation(
    tmp_path: Path, checkpoint: Path
) -> None:
    """Each photo is turned by its own tag, also where upright photos have two sizes."""
    tagged = write(tmp_path / "tagged", range(1, 9))
    thing = ObjectPrompts(
        1,
        "a",
        tuple(FramePrompts(frame, (PointPrompt(70.25, 33.3),), anew=True) for frame in range(1, 9)),
    )
    wish = request(tagged, checkpoint, tmp_path / "store", thing)
    store = propagated(wish)
    for frame in range(1, 9):
        asked = PreviewRequest(
            tagged.paths[frame - 1],
            WIDTH,
            HEIGHT,
            frame,
            wish.prompts,
            wish.model,
            settings=wish.settings,
            orientation=tagged.orientation,
            turns=tagged.turns,
        )
        (matte,) = preview.run(asked, lambda: False, IMAGE_SIZE)
        assert np.array_equal(matte.array(), store.read(1, frame).logits)


def one_turned(folder: Path, kind: str, orientation: int) -> FootageFiles:
    """Write one photo of a kind that no common program writes turned."""
    folder.mkdir(parents=True)
    if kind == "jxl":
        seen = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        data = turned_jxl(pyjpegxl.encode_from_numpy(seen, lossless=True), orientation)
    else:
        linear = np.random.default_rng(1).uniform(0.05, 0.9, (6, 8, 3)).astype(np.float32)
        linear = np.asarray(Image.fromarray(np.uint8(linear * 255)).resize((WIDTH, HEIGHT))) / 255
        data = dng(linear, more={274: (3, [orientation])})
    (folder / f"IMG_1.{kind}").write_bytes(data)
    return FootageFiles.of(scan(folder, raw=looked_at))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jxl", "dng"])
def test_jpeg_xl_and_raw_are_seen_clicked_and_baked_upright(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    files = one_turned(tmp_path / "photos", kind, orientation)
    path = Path(files.paths[0])
    assert files.sizes.shape(1) == PhotoShape(WIDTH, HEIGHT, orientation)
    pixels = decode(path)
    upright = turned(pixels.array, orientation)
    # SAM 2 sees it upright, and so does a closer look.
    straight = tmp_path / "straight.png"
    Image.fromarray(turned(to_8_bit(pixels.array), orientation)).save(straight)
    seen, expected = (FrameSource([one], IMAGE_SIZE).squashed(0) for one in (path, straight))
    assert np.array_equal(seen, expected)
    whole = (0.0, 0.0, 1.0, 1.0)
    seen, expected = (CropReader([one], IMAGE_SIZE).at(0, whole) for one in (path, straight))
    assert np.array_equal(seen, expected)
    # What was drawn lies on its stored pixels, turned or not.
    store = MatteStore.open(tmp_path / "store", create=True)
    drawn = (EditedMatte(1, 1, (_OUTLINE,)),)
    for turns in (False, True):
        out = tmp_path / f"baked {turns}"
        wish = BakeRequest(files, str(store.folder), str(out), BakeOptions(upright=turns), drawn)
        bake(wish, store, lambda _: None, lambda: False)
        baked = decode(out / "IMG_1.png")
        assert np.array_equal(baked.array, upright if turns else pixels.array)
        assert baked.orientation == (1 if turns else orientation)
        inside = turned(fill([np.reshape(_OUTLINE, (-1, 2))], WIDTH, HEIGHT), orientation)
        assert baked.alpha is not None
        found: Any = baked.alpha if turns else turned(baked.alpha, orientation)
        assert (inside == (found > 0)).mean() > 0.99  # edges are rounded in upright pixels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_masks_of_colmaps_photos_lie_over_the_photos(
    tmp_path: Path, checkpoint: Path, orientation: int
) -> None:
    tagged = write(tmp_path / "tagged", [orientation])
    store = propagated(request(tagged, checkpoint, tmp_path / "store", _first_object()))
    edited = (EditedMatte(1, 1, (_OUTLINE,)),)
    for masks in ("colmap_photos", "colmap"):
        options = BakeOptions(upright=True, sidecar_masks=masks)
        output = tmp_path / masks
        wish = BakeRequest(tagged, str(store.folder), str(output), options, edited)
        folder = bake(wish, store, lambda _: None, lambda: False).masks_folder
        assert folder is not None
        with Image.open(next(folder.iterdir())) as image:
            mask = np.asarray(image) > 0
        if masks == "colmap":
            mask = turned(mask, back(orientation))
        assert mask.shape == (HEIGHT, WIDTH)
        assert mask[25, 60] and not mask[80, 30]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_of_the_report_is_upright(tmp_path: Path, orientation: int) -> None:
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[274] = orientation
    pixels = np.full((240, 400, 3), 40, np.uint8)
    pixels[:120, :200] = 220
    Image.fromarray(pixels).save(path, exif=exif)
    logits = np.full((24, 40), -8.0, np.float16)
    logits[:12, :20] = 8.0
    made = tmp_path / "made.jpg"
    made.write_bytes(picture_with_matte(path, logits))
    with Image.open(made) as image:
        shown = np.asarray(image.convert("L"))
    assert shown.shape[::-1] == turned_size(400, 240, orientation)
    back_again = turned(shown, back(orientation))
    assert back_again[20:100, 20:180].min() > 180  # the bright corner is inside the matte
    assert back_again[140:, 220:].max() < 60


def test_a_shape_says_where_a_prompt_is_in_the_upright_photo() -> None:
    shape = PhotoShape(160, 96, 6)
    assert shape.upright == (96, 160)
    assert shape.points_to_upright(np.array([[10.0, 20.0]])).tolist() == [[76.0, 10.0]]


def _first_object() -> ObjectPrompts:
    return ObjectPrompts(1, "a", (FramePrompts(1, (PointPrompt(70.0, 40.0),)),))
