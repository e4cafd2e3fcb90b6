# SPDX-License-Identifier: GPL-3.0-or-later
"""Each trainer finds a mask for each photo by its own rule, and reads it as it is meant.

The rules are written anew here from where each trainer says them, and use nothing of `core/targets.py`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.core.errors import BakeError, Cancelled
from sam2_splat_addon.core.protocol import EditedMatte, FrameDone, Progress
from sam2_splat_addon.core.system.shared_copy import share
from sam2_splat_addon.core.targets import TARGETS, target_named
from sam2_splat_addon.engine.jobs import bake_finish, bake_frames
from sam2_splat_addon.engine.jobs.bake import BakeReport, bake
from sam2_splat_addon.engine.jobs.bake_manifest import MANIFEST_NAME, BakeManifest

from .test_bake import HEIGHT, WIDTH, Capture, run

# Pixels (x, y) of each kind, in the middle of the squares below.
KEPT, REMOVED, IGNORED, OUTSIDE = (14, 50), (25, 50), (45, 50), (80, 120)
PHOTOS = ("IMG_2000.JPG", "IMG_2003.JPG", "IMG_2006.JPG")


def square(object_id: int, frame: int, x0: float, x1: float) -> EditedMatte:
    return EditedMatte(object_id, frame, ((x0, 10.0, x1, 10.0, x1, 90.0, x0, 90.0),))


def squares(frames: int) -> list[EditedMatte]:
    """Return a subject to keep (1), a part of it to remove (2), and a part to ignore (3)."""
    spans = {1: (10.0, 60.0), 2: (20.0, 30.0), 3: (40.0, 50.0)}
    return [square(i, at, *span) for i, span in spans.items() for at in range(1, frames + 1)]


@pytest.fixture
def capture(tmp_path: Path) -> Capture:
    return Capture(tmp_path, photos=3)


def baked(capture: Capture, *targets: str, **options: Any) -> BakeReport:
    return capture.bake(
        *squares(3), targets=targets, **{"removed": (2,), "ignored": (3,), **options}
    )


def grey(path: Path) -> np.ndarray:
    """Read a mask file, which must have one channel of 8 bits."""
    with Image.open(path) as mask:
        assert mask.mode == "L"
        return np.asarray(mask)


@dataclass(frozen=True)
class Rule:
    """How a trainer reads masks.

    Attributes
    ----------
    images
        Returns the images that it loads from its folder.
    mask
        Returns the mask that it takes for an image, or None.
    meaning
        What it makes of a value: "kept", "empty" or "ignored".
    expected
        What it makes of the four pixels above.
    """

    images: Callable[[Path], list[Path]]
    mask: Callable[[Path, Path], Path | None]
    meaning: Callable[[int], str]
    expected: tuple[str, str, str, str]


def in_images(folder: Path) -> list[Path]:
    return pictures(folder / "images")


def pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder, by extension, without files that are masks by their name."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    marks = (".mask.png", "_mask.png", "camera_mask.png")
    return sorted(
        path
        for path in found
        if not path.name.endswith(marks) and not path.name.startswith("dynamic_mask_")
    )


def first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def black_is(what: str) -> Callable[[int], str]:
    return lambda value: what if value == 0 else "kept"


def postshot(folder: Path, image: Path) -> Path | None:
    """Find a file with the same base name in masks/ beside images/.

    https://www.jawset.com/docs/d/Postshot+User+Guide/Interface/Training+Configuration
    """
    assert image.parent.name == "images"
    found = [path for path in (folder / "masks").iterdir() if path.stem == image.stem]
    return found[0] if len(found) == 1 else None


def lichtfeld(folder: Path, image: Path) -> Path | None:
    """Try its four folders, the stem or the whole name, and its extensions.

    https://github.com/MrNeRF/LichtFeld-Studio, its file system code; values: pull request 1314.
    """
    below = image.relative_to(folder / "images")
    places = [
        folder / kind / below.parent / f"{name}{ending}"
        for kind in ("masks", "mask", "segmentation", "dynamic_masks")
        for name in (below.stem, below.name)
        for ending in (".png", ".jpg", ".jpeg", ".mask.png")
    ]
    return first(*places)


def lichtfeld_band(value: int) -> str:
    return "ignored" if value < 128 else "empty" if value <= 250 else "kept"


def brush(folder: Path, image: Path) -> Path | None:
    """Find in a folder "masks", at the same place below it: the stem, the name, or stem.mask.

    https://github.com/ArthurBrussee/brush, its formats code.
    """
    place = folder / "masks" / image.relative_to(folder / "images").parent
    names = (image.stem, image.name, f"{image.stem}.mask")
    return first(*(place / f"{name}.png" for name in names))


def colmap(folder: Path, image: Path) -> Path | None:
    """Add ".png" to the path below image_path, in mask_path. A missing mask is an error.

    https://colmap.github.io/faq.html#mask-image-regions
    """
    return first(folder / "masks" / f"{image.relative_to(folder / 'images')}.png")


def nerfstudio(folder: Path, image: Path) -> Path | None:
    """Give the path below images/ the extension ".png", in masks/.

    https://github.com/nerfstudio-project/nerfstudio, its COLMAP data parser.
    """
    return first((folder / "masks" / image.relative_to(folder / "images")).with_suffix(".png"))


def fvdb(folder: Path, image: Path) -> Path | None:
    """Take masks/ with the image's name, else with ".png" as its extension.

    https://github.com/openvdb/fvdb-reality-capture, its loader of COLMAP scenes.
    """
    same = folder / "masks" / image.relative_to(folder / "images")
    return first(same, same.with_suffix(".png"))


def grut(folder: Path, image: Path) -> Path | None:
    """Add "_mask.png" to the stem, beside the image. https://github.com/nv-tlabs/3dgrut, README."""
    return first(image.with_name(f"{image.stem}_mask.png"))


def realityscan(folder: Path, image: Path) -> Path | None:
    """Add ".mask.png" to the whole name, beside the image.

    https://rshelp.capturingreality.com/en-US/tools/layers.htm
    """
    return first(image.with_name(f"{image.name}.mask.png"))


def metashape(folder: Path, image: Path) -> Path | None:
    """Fill the template {filename}_mask.png, where {filename} has no extension.

    https://agisoft.freshdesk.com/support/solutions/articles/31000153479
    """
    return first(folder / "masks" / f"{image.stem}_mask.png")


def openmvs(folder: Path, image: Path) -> Path | None:
    """Give it the extension ".mask.png". https://github.com/cdcseacave/openMVS/issues/918"""
    return first(image.with_suffix(".mask.png"))


def instant_ngp(folder: Path, image: Path) -> Path | None:
    """Look for dynamic_mask_<stem>.png beside it.

    https://github.com/NVlabs/instant-ngp, src/nerf_loader.cu
    """
    return first(image.with_name(f"dynamic_mask_{image.stem}.png"))


NOT_TRAINED = ("kept", "ignored", "ignored", "ignored")
RULES = {
    "postshot_background": Rule(
        in_images, postshot, black_is("empty"), ("kept", "empty", "empty", "empty")
    ),
    "postshot_occluders": Rule(
        in_images, postshot, lambda value: "ignored" if value == 255 else "kept", NOT_TRAINED
    ),
    "lichtfeld": Rule(in_images, lichtfeld, lichtfeld_band, ("kept", "empty", "ignored", "empty")),
    "brush_masks": Rule(in_images, brush, black_is("ignored"), NOT_TRAINED),
    "colmap": Rule(in_images, colmap, black_is("ignored"), NOT_TRAINED),
    "nerfstudio": Rule(in_images, nerfstudio, black_is("ignored"), NOT_TRAINED),
    "3dgrut": Rule(in_images, grut, black_is("ignored"), NOT_TRAINED),
    "fvdb": Rule(in_images, fvdb, black_is("ignored"), NOT_TRAINED),
    "realityscan": Rule(pictures, realityscan, black_is("ignored"), NOT_TRAINED),
    "metashape": Rule(in_images, metashape, black_is("ignored"), NOT_TRAINED),
    "openmvs": Rule(in_images, openmvs, black_is("ignored"), NOT_TRAINED),
    "instant_ngp": Rule(
        in_images, instant_ngp, lambda value: "ignored" if value else "kept", NOT_TRAINED
    ),
}


def test_every_trainer_that_reads_masks_has_its_rule_here() -> None:
    assert set(RULES) == {target.name for target in TARGETS if target.has_masks}


@pytest.mark.parametrize("name", RULES)
def test_a_trainer_finds_a_mask_for_each_photo_and_reads_it_as_meant(
    capture: Capture, name: str
) -> None:
    rule = RULES[name]
    report = baked(capture, name)
    images = rule.images(report.folder)
    assert [image.name for image in images] == list(PHOTOS)
    for image in images:
        assert image.read_bytes() == (capture.folder / image.name).read_bytes()
        path = rule.mask(report.folder, image)
        assert path is not None, f"{name} finds no mask for {image.name}"
        values = grey(path)
        assert values.shape == (HEIGHT, WIDTH)
        seen = tuple(rule.meaning(int(values[y, x])) for x, y in (KEPT, REMOVED, IGNORED, OUTSIDE))
        assert seen == rule.expected


@pytest.mark.parametrize("name", RULES)
def test_no_grey_of_a_soft_edge_is_read_as_something_else(capture: Capture, name: str) -> None:
    """A soft edge must not become a rim of "kept" where grey counts as kept, or cross a third band."""
    target, rule = target_named(name), RULES[name]
    report = baked(capture, name, feather_px=8.0)
    image = rule.images(report.folder)[0]
    path = rule.mask(report.folder, image)
    assert path is not None
    found = set(np.unique(grey(path)).tolist())
    if target.is_hard:
        assert found == {target.bands.keep, target.bands.remove, target.bands.ignore}
    else:
        assert len(found) > 9


RGBA = ("postshot", "brush", "inria")


@pytest.mark.parametrize("name", [*RGBA, "gsplat", "opensplat"])
def test_a_trainer_without_masks_gets_images_that_say_it_themselves(
    capture: Capture, name: str
) -> None:
    """The alpha is read by Postshot, Brush and INRIA's 3DGS.

    gsplat's simple trainer keeps ``[..., :3]`` (https://github.com/nerfstudio-project/gsplat, its
    datasets/colmap.py), and OpenSplat reads three channels (https://github.com/pierotofy/OpenSplat,
    its cv_utils.cpp): there only black says that nothing is here. INRIA's loss compares with the colours
    as they are (https://github.com/graphdeco-inria/gaussian-splatting/issues/127), so its are black too.
    """
    report = baked(capture, name)
    folder = report.folder if name == "postshot" else report.folder / "images"
    images = sorted(folder.glob("*.png"))
    assert [image.stem for image in images] == [Path(photo).stem for photo in PHOTOS]
    for image in images:
        pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
        with Image.open(capture.folder / f"{image.stem}.JPG") as source:
            photo = np.asarray(source)[:, :, ::-1]
        assert pixels.shape == (HEIGHT, WIDTH, 4 if name in RGBA else 3)
        for x, y in (REMOVED, IGNORED, OUTSIDE):
            if name in RGBA:
                assert pixels[y, x, 3] == 0
            if name not in ("postshot", "brush"):
                assert not pixels[y, x, :3].any()
        x, y = KEPT
        assert np.array_equal(pixels[y, x, :3], photo[y, x])
        if name in RGBA:
            assert pixels[y, x, 3] == 255
    assert bool(report.cannot_ignore)


def test_several_trainers_get_their_folders_in_one_bake(capture: Capture) -> None:
    every = [target.name for target in TARGETS]
    report = baked(capture, *every, sidecar_masks="postshot")
    assert report.folder == capture.folder / "postshot_v001"  # as the request names it
    folders = sorted(path.name for path in report.folder.iterdir())
    assert folders == sorted([*every, "postshot_masks"])
    for name in every:
        folder = report.folder / name
        manifest = msgspec.json.decode((folder / MANIFEST_NAME).read_bytes(), type=BakeManifest)
        assert manifest.target == name
        assert [image.source for image in manifest.images] == list(PHOTOS)
        for image in manifest.images:
            assert (folder / image.image).is_file()
            assert not image.mask or (folder / image.mask).is_file()
            assert bool(image.mask) == target_named(name).has_masks
    alone = baked(capture, "lichtfeld")
    for path in (alone.folder / "masks").iterdir():
        same = report.folder / "lichtfeld" / "masks" / path.name
        assert path.read_bytes() == same.read_bytes()


def test_a_capture_with_only_ignored_subjects_keeps_the_whole_scene(capture: Capture) -> None:
    passer_by = [square(3, at, 40.0, 50.0) for at in (1, 2, 3)]
    report = capture.bake(*passer_by, ignored=(3,), targets=("lichtfeld", "postshot"))
    mask = grey(report.folder / "lichtfeld" / "masks" / "IMG_2000.png")
    expected = np.full((HEIGHT, WIDTH), 255, np.uint8)
    expected[10:90, 40:50] = 0
    assert np.array_equal(mask, expected)
    pixels = cv2.imread(str(report.folder / "postshot" / "IMG_2000.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(pixels[:, :, 3], expected)
    assert "Postshot" in report.warnings()[0]


def test_a_stand_that_is_removed_is_taken_out_of_the_whole_scene_too(capture: Capture) -> None:
    stand = [square(2, at, 20.0, 30.0) for at in (1, 2, 3)]
    report = capture.bake(*stand, removed=(2,), targets=("lichtfeld",))
    mask = grey(report.folder / "masks" / "IMG_2000.png")
    assert lichtfeld_band(int(mask[50, 25])) == "empty"
    assert lichtfeld_band(int(mask[50, 5])) == "kept"


def test_growing_grows_what_is_kept_and_shrinks_what_is_taken_out(capture: Capture) -> None:
    report = baked(capture, "lichtfeld", grow_px=-2.0)
    row = grey(report.folder / "masks" / "IMG_2000.png")[50]
    bands = [lichtfeld_band(int(value)) for value in row]
    assert bands[10:12] == ["empty"] * 2  # the rim of the subject
    assert bands[12] == "kept"
    assert bands[38:52] == ["ignored"] * 14  # the ignored part is 2 px wider on each side
    assert bands[37] == bands[52] == "kept"


def test_a_frame_is_baked_if_something_kept_is_on_it(capture: Capture) -> None:
    mattes = [square(1, 1, 10.0, 60.0), square(1, 2, 10.0, 60.0)]
    ignored = [square(3, at, 40.0, 50.0) for at in (2, 3)]
    report = capture.bake(*mattes, *ignored, ignored=(3,), targets=("colmap",))
    assert report.frames == (1, 2)
    assert report.incomplete == (1,)
    assert report.without_matte == (3,)
    assert sorted(path.name for path in (report.folder / "images").iterdir()) == list(PHOTOS[:2])


def test_a_fixed_part_of_the_rig_is_colmaps_camera_mask(capture: Capture) -> None:
    """COLMAP's camera_mask_path is one mask for all images. https://colmap.github.io/faq.html"""
    mattes = [square(3, at, 40.0 + at, 50.0 + at) for at in (1, 2, 3)]
    report = capture.bake(*mattes, ignored=(3,), targets=("colmap",))
    values = grey(report.folder / "camera_mask.png")
    expected = np.full((HEIGHT, WIDTH), 255, np.uint8)
    expected[10:90, 43:51] = 0  # ignored on all three
    assert np.array_equal(values, expected)
    moving = [square(3, at, 15.0 * at, 15.0 * at + 10) for at in (1, 2, 3)]
    report = capture.bake(*moving, ignored=(3,), targets=("colmap",))
    assert not (report.folder / "camera_mask.png").exists()


def test_nerfstudio_gets_smaller_images_and_masks_of_large_photos(tmp_path: Path) -> None:
    """nerfstudio halves while the longer side is above 1600, and needs images_N and masks_N."""
    capture = Capture(tmp_path, photos=0)
    rgb = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    large = cv2.resize(rgb, (3301, 1200), interpolation=cv2.INTER_LINEAR)
    Image.fromarray(large).save(capture.folder / "a.jpg", quality=95)
    matte = EditedMatte(1, 1, ((100.0, 100.0, 2000.0, 100.0, 2000.0, 900.0, 100.0, 900.0),))
    report = capture.bake(matte, targets=("nerfstudio",))
    found = sorted(str(path.relative_to(report.folder)) for path in report.folder.rglob("a.*"))
    assert found == [
        *("images/a.jpg", "images_2/a.jpg", "images_4/a.jpg"),
        *("masks/a.png", "masks_2/a.png", "masks_4/a.png"),
    ]
    for factor in (2, 4):
        with Image.open(report.folder / f"images_{factor}" / "a.jpg") as image:
            assert image.size == (3301 // factor, 1200 // factor)
        mask = grey(report.folder / f"masks_{factor}" / "a.png")
        assert mask.shape == (1200 // factor, 3301 // factor)
        assert set(np.unique(mask).tolist()) == {0, 255}
        assert abs(int((mask > 0).sum()) * factor**2 - 1900 * 800) < 1900 * 8


def test_photos_that_not_every_trainer_reads_become_pngs(tmp_path: Path) -> None:
    capture = Capture(tmp_path, photos=0)
    rgb = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(capture.folder / "a.tif")
    Image.fromarray(rgb).save(capture.folder / "b.png")
    Image.fromarray(rgb[:, :, 0]).save(capture.folder / "c.png")
    Image.fromarray(rgb).save(capture.folder / "d.webp", lossless=True)
    Image.fromarray(np.dstack([rgb, rgb[:, :, :1]])).save(capture.folder / "e.png")
    Image.fromarray(rgb).save(capture.folder / "f.tif", format="JPEG")  # a wrong extension
    mattes = [square(1, at, 10.0, 60.0) for at in range(1, 7)]
    folder = capture.bake(*mattes, targets=("colmap",)).folder
    images = sorted(path.name for path in (folder / "images").iterdir())
    assert images == ["a.png", "b.png", "c.png", "d.png", "e.png", "f.jpg"]
    for name in images:
        with Image.open(folder / "images" / name) as image:
            assert image.mode == "RGB"
            if name in ("a.png", "b.png", "d.png", "e.png"):
                assert np.array_equal(np.asarray(image), rgb)
        assert (folder / "masks" / f"{name}.png").is_file()
    transparent = rgb[:, :, 0] < 128
    assert not grey(folder / "masks" / "e.png.png")[transparent].any()


def test_photos_with_one_stem_keep_their_masks_apart(tmp_path: Path) -> None:
    capture = Capture(tmp_path, photos=0)
    for name in ("a.jpg", "a.png", "Größe 写真.jpg"):
        Image.new("RGB", (WIDTH, HEIGHT), (9, 9, 9)).save(capture.folder / name)
    mattes = [square(1, 1, 10.0, 60.0), square(1, 2, 20.0, 60.0), square(1, 3, 30.0, 60.0)]
    folder = capture.bake(*mattes, targets=("fvdb", "colmap")).folder
    images = ["a_jpg.jpg", "a_png.png", "Größe 写真.jpg"]
    assert {path.name for path in (folder / "fvdb" / "images").iterdir()} == set(images)
    for start, name in zip((10, 20, 30), images, strict=True):
        image = folder / "fvdb" / "images" / name
        path = fvdb(folder / "fvdb", image)
        assert path is not None
        assert np.flatnonzero(grey(path)[50])[0] == start


def test_a_photo_named_like_anothers_mask_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    capture = Capture(tmp_path, photos=0)
    for name in ("a.jpg", "dynamic_mask_a.png"):
        Image.new("RGB", (WIDTH, HEIGHT), (9, 9, 9)).save(capture.folder / name)
    mattes = [square(1, 1, 10.0, 60.0), square(1, 2, 20.0, 60.0)]
    with pytest.raises(BakeError, match=r"dynamic_mask_a\.png would be a file of both"):
        capture.bake(*mattes, targets=("instant_ngp",))
    assert not list(capture.folder.glob("postshot*"))


@pytest.mark.parametrize("when", ["masks", "photos"])
def test_a_bake_that_is_cancelled_leaves_nothing_that_looks_complete(
    capture: Capture, when: str
) -> None:
    done: list[FrameDone] = []
    steps: list[Progress] = []

    def cancelled() -> bool:
        return len(done) >= 2 if when == "masks" else len(steps) >= 4

    request = capture.request(*squares(3), targets=("colmap", "realityscan", "postshot"))
    with pytest.raises(Cancelled):
        bake(request, capture.store, steps.append, cancelled, on_frame_done=done.append, threads=1)
    folder = Path(request.output_folder)
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert left  # finished masks and PNGs stay
    assert not [path for path in left if path.suffix == ".JPG"]
    assert not [path for path in left if path.name == MANIFEST_NAME]
    for path in capture.folder.glob("*.JPG"):
        with Image.open(path) as photo:
            photo.load()


def test_a_full_disk_while_photos_are_copied_leaves_no_photos(
    capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def share_once(source: Path, target: Path, **more: Any) -> None:
        if made:
            raise OSError(errno.ENOSPC, "No space left on device")
        made.append(target)
        share(source, target, **more)

    monkeypatch.setattr(bake_finish, "share", share_once)
    request = capture.request(*squares(3), targets=("colmap",))
    with pytest.raises(BakeError, match="disk is full"):
        run(capture, request)
    folder = Path(request.output_folder)
    assert not list(folder.rglob("*.JPG"))
    assert len(list((folder / "masks").iterdir())) == 3


def test_a_photo_that_changes_after_its_mask_was_made_ends_the_bake(capture: Capture) -> None:
    def retouch(progress: Progress) -> None:
        if progress.done == 3:  # all masks are made, no photo is linked
            Image.new("RGB", (WIDTH, HEIGHT)).save(capture.folder / PHOTOS[1])

    request = capture.request(*squares(3), targets=("colmap",))
    with pytest.raises(BakeError, match=r"IMG_2003\.JPG changed after"):
        bake(request, capture.store, retouch, lambda: False, threads=1)
    assert not list(Path(request.output_folder).rglob("*.JPG"))


def test_photos_are_not_decoded_for_their_masks_alone(
    capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: Any, **__: Any) -> None:
        raise AssertionError("a photo is decoded")

    monkeypatch.setattr(bake_frames, "decode", decode)
    capture.matte(1, 1, 2, 3)
    assert capture.bake(targets=("colmap", "lichtfeld")).frames == (1, 2, 3)
    with pytest.raises(AssertionError):
        capture.bake(targets=("postshot",))


def test_a_photo_that_no_propagation_has_seen_is_looked_at_before_it_is_linked(
    capture: Capture,
) -> None:
    request = capture.request(*squares(3), targets=("colmap",))
    path = capture.folder / PHOTOS[1]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    request = msgspec.structs.replace(request, footage=capture.request().footage)
    report = run(capture, request)
    assert [photo.name for photo in report.damaged_photos] == [PHOTOS[1]]
    assert not (report.folder / "images" / PHOTOS[1]).exists()
    assert not list((report.folder / "masks").glob(f"{PHOTOS[1]}*"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"targets": ("postshots",)}, "no trainer called 'postshots'.*postshot, "),
        ({"targets": ()}, "No trainer is chosen"),
        ({"removed": (1,), "ignored": (1,)}, "both removed and ignored"),
        ({"invert": True, "ignored": (1,)}, "Invert can't be used"),
    ],
)
def test_what_makes_no_sense_is_refused(
    capture: Capture, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(BakeError, match=told):
        capture.request(**options)


def test_masks_lie_as_the_stored_pixels_of_photos_with_an_orientation_tag(tmp_path: Path) -> None:
    """Trainers read stored pixels and no tag. One that turns by the tag gets images without it."""
    capture = Capture(tmp_path, photos=0)
    exif = Image.Exif()
    exif[274] = 6
    photo = capture.folder / "a.jpg"
    Image.new("RGB", (WIDTH, HEIGHT), (9, 9, 9)).save(photo, exif=exif)
    report = capture.bake(square(1, 1, 10.0, 60.0), targets=("colmap", "gsplat", "opensplat"))
    mask = grey(report.folder / "colmap" / "masks" / "a.jpg.png")
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:90, 10:60] = 255
    assert np.array_equal(mask, expected)
    linked = report.folder / "colmap" / "images" / "a.jpg"
    assert linked.read_bytes() == photo.read_bytes()
    for name, orientation in (("gsplat", 6), ("opensplat", 1)):
        with Image.open(report.folder / name / "images" / "a.png") as image:
            assert image.size == (WIDTH, HEIGHT)
            assert image.getexif().get(274, 1) == orientation
            assert np.array_equal(np.asarray(image)[:, :, 0] > 0, expected > 0)
