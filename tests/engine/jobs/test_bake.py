# SPDX-License-Identifier: GPL-3.0-or-later
"""A bake keeps the photo's pixels, joins the mattes, and leaves nothing half done."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from sam2_splat_addon.core.bake_plan import BakeOptions, next_output_folder
from sam2_splat_addon.core.errors import BakeError, Cancelled, DamagedPhoto, StoreError
from sam2_splat_addon.core.footage.damaged_photos import DamagedFrame, write_damaged
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.geometry.resample import upsample_binary
from sam2_splat_addon.core.mattes.run_manifest import Machine, RunManifest
from sam2_splat_addon.core.mattes.run_manifest import write_manifest as write_run_manifest
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.protocol import (
    BakeRequest,
    EditedMatte,
    FootageFiles,
    FrameDone,
    Progress,
)
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.core.system.process_memory import total_memory
from sam2_splat_addon.engine.images.colors import view_transform
from sam2_splat_addon.engine.images.decode import decode
from sam2_splat_addon.engine.jobs import bake as bake_module
from sam2_splat_addon.engine.jobs.bake import BakeReport, _threads_for, bake
from sam2_splat_addon.engine.jobs.bake_manifest import MANIFEST_NAME, BakeManifest
from sam2_splat_addon.engine.refine.edge_refine import refine

from ..full_disk import file_size_limit

WIDTH, HEIGHT = 90, 130


def photo(seed: int, dtype: Any = np.uint8) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (13, 9, 3), dtype=np.uint8)
    large = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return large if dtype == np.uint8 else large.astype(np.uint16) * 201 + 77


def logits(object_id: int, frame: int) -> np.ndarray:
    noise = np.random.default_rng(100 * object_id + frame).normal(size=(26, 18))
    return (cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 3) * 40).astype(np.float16)


def inside(object_id: int, frame: int) -> np.ndarray:
    return upsample_binary(logits(object_id, frame), WIDTH, HEIGHT)


class Capture:
    """A folder of photos, its mattes, and bakes of them."""

    def __init__(self, folder: Path, photos: int = 4) -> None:
        self.folder = folder / "photos"
        self.folder.mkdir()
        for i in range(photos):
            path = self.folder / f"IMG_{2000 + 3 * i}.JPG"
            Image.fromarray(photo(i)).save(path, format="JPEG", quality=95)
        self.store = MatteStore.open(folder / "store", create=True)

    def matte(self, object_id: int, *frames: int) -> None:
        for frame in frames:
            record = MatteRecord(
                object_id,
                frame,
                WIDTH,
                HEIGHT,
                logits(object_id, frame),
                MatteScores(1.0, 0.9, 0.2),
            )
            self.store.write(record)

    def request(self, *edited: EditedMatte, **options: Any) -> BakeRequest:
        files = FootageFiles.of(scan(self.folder))
        output = next_output_folder(self.folder)
        return BakeRequest(
            files, str(self.store.folder), str(output), BakeOptions(**options), edited
        )

    def bake(self, *edited: EditedMatte, **options: Any) -> BakeReport:
        return run(self, self.request(*edited, **options))


def run(capture: Capture, request: BakeRequest, threads: int = 2) -> BakeReport:
    return bake(request, capture.store, lambda _: None, lambda: False, threads=threads)


@pytest.fixture
def capture(tmp_path: Path) -> Capture:
    return Capture(tmp_path)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read RGB and alpha with OpenCV, an independent reader."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return pixels[:, :, 2::-1], pixels[:, :, 3]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_colours_equal_the_decoded_photo_and_alpha_the_matte(capture: Capture) -> None:
    capture.matte(1, 1, 2, 3, 4)
    report = capture.bake()
    assert report.folder == capture.folder / "postshot_v001"
    assert report.frames == (1, 2, 3, 4)
    assert report.warnings() == ()
    images = [f"IMG_{2000 + 3 * i}.png" for i in range(4)]
    assert names(report.folder) == [*images, MANIFEST_NAME]
    for frame, image in enumerate(images, start=1):
        rgb, alpha = read(report.folder / image)
        with Image.open(capture.folder / image.replace(".png", ".JPG")) as source:
            assert np.array_equal(rgb, np.asarray(source))
        assert np.array_equal(alpha, inside(1, frame) * np.uint8(255))
        assert (rgb[alpha == 0] > 0).any()


def test_objects_are_joined_or_chosen(capture: Capture) -> None:
    capture.matte(1, 1)
    capture.matte(2, 1)
    _, both = read(capture.bake().folder / "IMG_2000.png")
    assert np.array_equal(both > 0, inside(1, 1) | inside(2, 1))
    second = capture.bake(objects=(2,))
    assert second.folder.name == "postshot_v002"
    _, one = read(second.folder / "IMG_2000.png")
    assert np.array_equal(one > 0, inside(2, 1))


def test_frames_without_a_matte_are_skipped_and_named(capture: Capture) -> None:
    capture.matte(1, 1, 3)
    capture.matte(2, 3, 4)
    report = capture.bake()
    assert report.frames == (1, 3, 4)
    assert (report.without_matte, report.incomplete) == ((2,), (1, 4))
    assert "frame 2" in report.warnings()[0]
    assert "frames 1 and 4" in report.warnings()[1]
    assert "IMG_2003.png" not in names(report.folder)


def test_without_any_matte_nothing_is_made(capture: Capture) -> None:
    with pytest.raises(BakeError, match="no masks"):
        capture.bake()
    assert not list(capture.folder.glob("postshot*"))


def test_a_mask_that_the_user_drew_takes_the_mattes_place(capture: Capture) -> None:
    capture.matte(1, 1, 2)
    # A square with a square hole. The hole's outline turns the other way.
    outer = (10.0, 10.0, 60.0, 10.0, 60.0, 90.0, 10.0, 90.0)
    hole = (20.0, 20.0, 20.0, 40.0, 40.0, 40.0, 40.0, 20.0)
    drawn = EditedMatte(1, 1, (outer, hole))
    emptied, added = EditedMatte(1, 2, ()), EditedMatte(1, 3, (outer,))
    report = capture.bake(drawn, emptied, added)
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    expected[10:90, 10:60] = 255
    assert np.array_equal(read(report.folder / "IMG_2006.png")[1], expected)
    expected[20:40, 20:40] = 0
    assert np.array_equal(read(report.folder / "IMG_2000.png")[1], expected)
    assert not read(report.folder / "IMG_2003.png")[1].any()
    images = msgspec.json.decode(
        (report.folder / MANIFEST_NAME).read_bytes(), type=BakeManifest
    ).images
    assert [image.edited for image in images] == [(1,), (1,), (1,)]


@pytest.mark.parametrize("kind", ["png16", "tiff16", "exr"])
def test_16_bit_and_float_photos_bake_to_16_bits(tmp_path: Path, kind: str) -> None:
    capture = Capture(tmp_path, photos=0)
    values = photo(1, np.uint16)
    if kind == "exr":
        linear = (values / 60000).astype(np.float32)
        planes = {c: np.ascontiguousarray(linear[:, :, i]) for i, c in enumerate("RGB")}
        OpenEXR.File({}, planes).write(str(capture.folder / "a.exr"))
        values = view_transform(linear * 2)
    else:
        cv2.imwrite(str(capture.folder / f"a.{kind[:3]}"), values[:, :, ::-1])
        if kind == "tiff16":
            (capture.folder / "a.tif").rename(capture.folder / "a.tiff")
    capture.matte(1, 1)
    rgb, alpha = read(capture.bake(exposure=1.0).folder / "a.png")
    assert rgb.dtype == np.uint16
    assert np.array_equal(rgb, values)
    assert np.array_equal(alpha, inside(1, 1) * np.uint16(65535))


def test_exif_and_profile_go_along_and_pixels_are_not_turned(capture: Capture) -> None:
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 8
    exif.get_ifd(34665)[37386] = 24.0
    profile = bytes(16) + b"RGB " + bytes(200)
    path = capture.folder / "IMG_2000.JPG"
    Image.fromarray(photo(5)).save(path, exif=exif, icc_profile=profile)
    capture.matte(1, 1)
    with Image.open(capture.bake().folder / "IMG_2000.png") as image:
        assert image.size == (WIDTH, HEIGHT)
        kept = image.getexif()
        assert (kept[271], kept[274], kept.get_ifd(34665)[37386]) == ("Maker", 8, 24.0)
        assert image.info["icc_profile"] == profile


def test_the_photos_own_transparency_stays(tmp_path: Path) -> None:
    capture = Capture(tmp_path, photos=0)
    own = np.random.default_rng(8).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    Image.fromarray(np.dstack([photo(1), own])).save(capture.folder / "a.png")
    capture.matte(1, 1)
    rgb, alpha = read(capture.bake().folder / "a.png")
    assert np.array_equal(rgb, photo(1))
    assert np.array_equal(alpha, np.where(inside(1, 1), own, 0))


def test_black_ground_multiplies_the_colours(capture: Capture) -> None:
    capture.matte(1, 1)
    rgb, alpha = read(capture.bake(black_rgb=True, feather_px=9.0).folder / "IMG_2000.png")
    source = decode(capture.folder / "IMG_2000.JPG").array.astype(float)
    assert np.abs(rgb - source * (alpha[:, :, None] / 255)).max() <= 0.51
    assert not rgb[alpha == 0].any()


@pytest.mark.parametrize(("kind", "name"), [("postshot", ""), ("colmap", ".png")])
def test_sidecar_masks_equal_the_alpha(capture: Capture, kind: str, name: str) -> None:
    capture.matte(1, 1, 2)
    report = capture.bake(sidecar_masks=kind, feather_px=6.0)
    assert report.masks_folder == capture.folder / "postshot_v001_masks"
    assert names(report.masks_folder) == [f"IMG_2000.png{name}", f"IMG_2003.png{name}"]
    with Image.open(report.masks_folder / f"IMG_2003.png{name}") as mask:
        assert mask.mode == "L"
        assert np.array_equal(np.asarray(mask), read(report.folder / "IMG_2003.png")[1])


def test_the_same_input_gives_the_same_bytes_whatever_the_threads(capture: Capture) -> None:
    capture.matte(1, 1, 2, 3, 4)
    capture.matte(2, 1, 2, 3, 4)
    options = {"alpha": "soft", "grow_px": 2.0, "feather_px": 3.0, "fill_holes_px": 50}
    first = run(capture, capture.request(**options), threads=1)
    second = run(capture, capture.request(**options), threads=4)
    assert second.folder != first.folder
    for name in names(first.folder):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_the_manifest_says_what_was_baked_without_times_or_places(capture: Capture) -> None:
    capture.matte(1, 1, 4)
    report = capture.bake(grow_px=1.5)
    data = (report.folder / MANIFEST_NAME).read_bytes()
    manifest = msgspec.json.decode(data, type=BakeManifest)
    assert [(i.frame, i.source, i.image, i.objects) for i in manifest.images] == [
        (1, "IMG_2000.JPG", "IMG_2000.png", (1,)),
        (4, "IMG_2009.JPG", "IMG_2009.png", (1,)),
    ]
    assert manifest.options == BakeOptions(grow_px=1.5)
    assert manifest.without_matte == (2, 3)
    assert str(capture.folder).encode() not in data


def test_progress_counts_every_frame_once(capture: Capture) -> None:
    capture.matte(1, 1, 2, 3)
    told: list[Progress] = []
    done: list[FrameDone] = []
    bake(
        capture.request(),
        capture.store,
        told.append,
        lambda: False,
        on_frame_done=done.append,
        threads=2,
    )
    assert [(p.stage, p.done, p.total) for p in told] == [("baking", i, 3) for i in (1, 2, 3)]
    assert sorted(p.frame for p in told) == sorted(d.frame for d in done) == [1, 2, 3]
    assert told[-1].seconds_left == 0
    assert {d.object_id for d in done} == {0}


def test_cancel_keeps_what_is_finished_and_nothing_half(capture: Capture) -> None:
    capture.matte(1, 1, 2, 3, 4)
    done: list[FrameDone] = []
    with pytest.raises(Cancelled):
        bake(
            capture.request(),
            capture.store,
            lambda _: None,
            lambda: len(done) >= 2,
            on_frame_done=done.append,
            threads=1,
        )
    folder = capture.folder / "postshot_v001"
    assert names(folder) == ["IMG_2000.png", "IMG_2003.png"]
    assert read(folder / "IMG_2003.png")[0].shape == (HEIGHT, WIDTH, 3)


def test_cancel_before_the_first_frame_leaves_no_folder(capture: Capture) -> None:
    capture.matte(1, 1, 2)
    with pytest.raises(Cancelled):
        bake(capture.request(sidecar_masks="colmap"), capture.store, print, lambda: True)
    assert not list(capture.folder.glob("postshot*"))


def test_a_photo_gone_missing_is_named_and_earlier_frames_stay(capture: Capture) -> None:
    capture.matte(1, 1, 2, 3)
    request = capture.request()
    (capture.folder / "IMG_2006.JPG").unlink()
    with pytest.raises(BakeError, match=r"IMG_2006\.JPG .*Put the photo back"):
        run(capture, request, threads=1)
    assert names(capture.folder / "postshot_v001") == ["IMG_2000.png", "IMG_2003.png"]


def test_a_photo_that_changes_while_others_are_baked_is_not_baked(capture: Capture) -> None:
    capture.matte(1, 1, 2, 3)

    def retouch(progress: Progress) -> None:
        if progress.done == 1:
            Image.fromarray(photo(9)).save(capture.folder / "IMG_2006.JPG", quality=95)

    with pytest.raises(BakeError, match=r"IMG_2006\.JPG changed after"):
        bake(capture.request(), capture.store, retouch, lambda: False, threads=1)
    assert names(capture.folder / "postshot_v001") == ["IMG_2000.png", "IMG_2003.png"]


@pytest.mark.parametrize("keeps_time", [False, True])
def test_a_photo_that_changed_before_the_bake_began_is_not_baked(
    capture: Capture, keeps_time: bool
) -> None:
    capture.matte(1, 1, 2, 3)
    request = capture.request()  # made as in Blender, which has read the photos' times
    path = capture.folder / "IMG_2003.JPG"
    before, data = path.stat(), bytearray(path.read_bytes())
    Image.fromarray(photo(9)).save(path, quality=95)
    if keeps_time:  # same size and time, but another photo
        data[-40] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BakeError, match=r"IMG_2003\.JPG changed after"):
        run(capture, request, threads=1)
    assert names(capture.folder / "postshot_v001") == ["IMG_2000.png"]


def test_a_photo_that_was_touched_and_is_the_same_is_baked(capture: Capture) -> None:
    capture.matte(1, 1, 2)
    request = capture.request()
    path = capture.folder / "IMG_2003.JPG"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)  # another inode, other times
    assert run(capture, request).frames == (1, 2)


def test_a_disk_that_is_full_at_once_leaves_no_folder_of_masks(capture: Capture) -> None:
    capture.matte(1, 1, 2)
    request = capture.request(sidecar_masks="colmap")
    with file_size_limit(9_000), pytest.raises(BakeError, match="disk is full"):
        run(capture, request, threads=1)
    assert not list(capture.folder.glob("postshot*"))


def test_mattes_with_each_others_names_are_not_baked(capture: Capture) -> None:
    capture.matte(1, 1, 2, 3, 4)
    first, second = capture.store.path(1, 1), capture.store.path(1, 2)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    report = capture.bake()
    assert report.frames == (3, 4)
    assert report.damaged == (1, 2)


def test_a_photo_replaced_by_one_of_another_size_is_named(capture: Capture) -> None:
    capture.matte(1, 1)
    request = capture.request()
    Image.new("RGB", (50, 40)).save(capture.folder / "IMG_2000.JPG")
    with pytest.raises(BakeError, match=r"IMG_2000\.JPG is now 50x40.*90x130"):
        run(capture, request)


def test_a_damaged_photo_is_left_out_and_named(capture: Capture) -> None:
    capture.matte(1, 1, 2, 3, 4)
    request = capture.request(sidecar_masks="postshot")
    path = capture.folder / "IMG_2003.JPG"
    path.write_bytes(path.read_bytes()[:-700] + b"\xff\xd9")
    done: list[FrameDone] = []
    report = bake(
        request, capture.store, lambda _: None, lambda: False, on_frame_done=done.append, threads=2
    )
    whole = ["IMG_2000.png", "IMG_2006.png", "IMG_2009.png"]
    assert names(report.folder) == [*whole, MANIFEST_NAME]
    assert report.masks_folder is not None
    assert names(report.masks_folder) == whole
    assert report.frames == (1, 3, 4)
    assert sorted(event.frame for event in done) == [1, 3, 4]
    assert [(at.frame, at.name) for at in report.damaged_photos] == [(2, "IMG_2003.JPG")]
    assert report.warnings() == ("Left out, as this photo is damaged: IMG_2003.JPG (frame 2).",)
    manifest = msgspec.json.decode((report.folder / MANIFEST_NAME).read_bytes(), type=BakeManifest)
    assert [image.frame for image in manifest.images] == [1, 3, 4]


def test_a_strict_bake_stops_at_a_damaged_photo(capture: Capture) -> None:
    capture.matte(1, 1, 2)
    path = capture.folder / "IMG_2003.JPG"
    path.write_bytes(path.read_bytes()[:-700] + b"\xff\xd9")
    with pytest.raises(DamagedPhoto, match=r"IMG_2003\.JPG"):
        run(capture, msgspec.structs.replace(capture.request(), strict=True))


def test_a_bake_of_nothing_but_damaged_photos_makes_nothing(capture: Capture) -> None:
    capture.matte(1, 1)
    request = capture.request()
    path = capture.folder / "IMG_2000.JPG"
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(DamagedPhoto, match=r"IMG_2000\.JPG"):
        run(capture, request)
    assert not Path(request.output_folder).exists()


def test_what_the_propagation_found_damaged_is_named_without_a_matte_too(
    capture: Capture,
) -> None:
    capture.matte(1, 1, 3, 4)
    request = capture.request()
    found = DamagedFrame(2, "IMG_2003.JPG", "IMG_2003.JPG can't be decoded: it is damaged.")
    write_damaged(capture.store.folder, request.footage.fingerprint, {2: found})
    report = run(capture, request)
    assert report.frames == (1, 3, 4)
    assert report.without_matte == ()
    assert report.damaged_photos == (found,)


def test_a_damaged_matte_is_named(capture: Capture) -> None:
    capture.matte(1, 1)
    path = capture.store.path(1, 1)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match=r"All masks in .* are damaged"):
        capture.bake()


def test_a_folder_that_exists_is_not_touched(capture: Capture) -> None:
    capture.matte(1, 1)
    request = capture.request()
    output = Path(request.output_folder)
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    with pytest.raises(BakeError, match="never overwrites"):
        run(capture, request)
    assert names(output) == ["mine.txt"]


@contextmanager
def unprivileged() -> Iterator[None]:
    """File permissions don't bind root, so give up root for a while."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no file modes")
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_read_only_folder_is_named() -> None:
    # Other users can't enter pytest's own folders.
    with tempfile.TemporaryDirectory() as place:
        capture = Capture(Path(place))
        capture.matte(1, 1)
        request = capture.request()
        for path in (Path(place), *Path(place).rglob("*")):
            path.chmod(0o755)
        capture.folder.chmod(0o555)
        try:
            with unprivileged(), pytest.raises(BakeError, match=r"photos can't be written to"):
                run(capture, request)
        finally:
            capture.folder.chmod(0o755)
        assert not list(capture.folder.glob("postshot*"))


def test_a_disk_that_fills_up_leaves_whole_images_only(capture: Capture) -> None:
    capture.matte(1, 1, 2, 3, 4)
    flat = Image.new("RGB", (WIDTH, HEIGHT), (9, 9, 9))
    for name in ("IMG_2000.JPG", "IMG_2003.JPG"):
        flat.save(capture.folder / name)
    request = capture.request()
    with file_size_limit(9_000), pytest.raises(BakeError, match="disk is full"):
        run(capture, request, threads=1)
    assert names(capture.folder / "postshot_v001") == ["IMG_2000.png", "IMG_2003.png"]
    assert read(capture.folder / "postshot_v001" / "IMG_2003.png")[0].shape[0] == HEIGHT


def test_a_small_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user can't mount a small disk")
    try:
        capture = Capture(tmp_path)
        capture.matte(1, 1, 2, 3, 4)
        request = msgspec.structs.replace(capture.request(), output_folder=str(disk / "out"))
        (disk / "ballast").write_bytes(bytes(60_000))
        with pytest.raises(BakeError, match=r"disk is full.*Free some space"):
            run(capture, request, threads=1)
        for path in (disk / "out").iterdir():
            assert read(path)[0].shape == (HEIGHT, WIDTH, 3)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_edges_are_refined_where_asked_and_drawn_masks_stay(tmp_path: Path) -> None:
    capture = Capture(tmp_path, photos=2)
    capture.matte(1, 1, 2)
    square = ((20.0, 30.0, 60.0, 30.0, 60.0, 90.0, 20.0, 90.0),)
    report = capture.bake(EditedMatte(1, 2, square), refine_edges=True)
    first, second = (cv2.imread(str(path), -1) for path in sorted(report.folder.glob("*.png")))
    source = decode(capture.folder / "IMG_2000.JPG").array
    assert np.array_equal(first[..., 3], refine(source, logits(1, 1)).alpha)
    drawn = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    drawn[30:90, 20:60] = 255
    assert np.array_equal(second[..., 3], drawn)
    manifest = msgspec.json.decode((report.folder / MANIFEST_NAME).read_bytes(), type=BakeManifest)
    assert manifest.options.refine_edges


def ran_over(capture: Capture, files: FootageFiles) -> None:
    """Write the manifest that a run over these photos leaves."""
    manifest = RunManifest(
        footage=files.fingerprint,
        width=WIDTH,
        height=HEIGHT,
        frame_count=len(files.paths),
        model="",
        checkpoint_sha256="",
        settings=RunSettings(),
        machine=Machine("cpu", "float32", 1, "", {}),
        prompts=PromptSet(()),
    )
    write_run_manifest(capture.store.manifest_path, manifest)


def test_mattes_of_other_photos_are_not_baked(capture: Capture) -> None:
    capture.matte(1, 1, 2, 3, 4)
    ran_over(capture, capture.request().footage)
    assert len(capture.bake().frames) == 4
    Image.fromarray(photo(9)).save(capture.folder / "IMG_1000.JPG", quality=95)
    with pytest.raises(StoreError, match="no longer those") as told:
        capture.bake()
    assert "Propagate again" in told.value.fix


def test_large_photos_take_no_more_than_half_of_the_memory(
    capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr(bake_module, "total_memory", lambda: 8_000_000_000)
    request = capture.request()
    assert _threads_for(request) == 8
    large = msgspec.structs.replace(request.footage, width=6000, height=9000)
    assert _threads_for(msgspec.structs.replace(request, footage=large)) == 6
    options = msgspec.structs.replace(request.options, refine_edges=True)
    refined = msgspec.structs.replace(request, footage=large, options=options)
    assert _threads_for(refined) == 3
    assert 1e9 < total_memory() < 1e14
