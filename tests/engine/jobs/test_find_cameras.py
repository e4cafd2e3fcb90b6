# SPDX-License-Identifier: GPL-3.0-or-later
"""Find Cameras with the real COLMAP, on a small capture whose cameras are known."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.core.cameras.find import cameras_of
from sam2_splat_addon.core.cameras.found import FOLDER, SEARCH, read_found
from sam2_splat_addon.core.errors import CameraError, Cancelled, PackageError
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.geometry.trace import trace_pixels
from sam2_splat_addon.core.mattes.run_lock import only_run
from sam2_splat_addon.core.protocol import EditedMatte, FindCamerasRequest, FootageFiles, Progress
from sam2_splat_addon.engine.jobs import find_cameras
from sam2_splat_addon.engine.jobs.compare import cameras_for

from ..cameras import textured
from ..cameras.textured import HEIGHT, WIDTH, Textured

pycolmap = pytest.importorskip("pycolmap")

Found = find_cameras.Report


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Textured:
    """Photos in a folder whose name has a space and a letter beyond ASCII."""
    return textured.make(tmp_path_factory.mktemp("capture") / "my phötos")


def searched(
    folder: Path,
    store: Path | None = None,
    *,
    threads: int = 1,
    edited: tuple[EditedMatte, ...] = (),
    on_progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Found:
    """Find the cameras of a folder of photos, in this process."""
    footage = FootageFiles.of(scan(folder))
    request = FindCamerasRequest(
        footage, str(store or folder / "sam2_splat_mattes"), edited, threads
    )
    return find_cameras.run(
        request, on_progress=on_progress, on_log=lambda _: None, cancelled=cancelled
    )


def copied(capture: Textured, folder: Path) -> Path:
    """Return a new folder with the same photos."""
    folder.mkdir(parents=True)
    for camera in capture.cameras:
        shutil.copy(capture.folder / camera.name, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of the found model."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("sparse/0/*.bin"))}


@pytest.fixture(scope="module")
def whole(capture: Textured, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A search without interruption."""
    return searched(copied(capture, tmp_path_factory.mktemp("whole") / "photos"))


def test_the_cameras_are_those_that_took_the_photos(capture: Textured, whole: Found) -> None:
    photos = whole.folder.parent
    paths = scan(photos).paths
    found = cameras_of(paths, WIDTH, HEIGHT)  # by themselves, beside the masks
    assert len(found.by_frame) == len(capture.cameras)
    far, angle = textured.differences(found, capture.cameras)
    assert far < 0.01
    assert angle < 0.5
    assert found.by_frame[1].focal == pytest.approx(capture.cameras[0].lens.focal, rel=0.02)
    assert whole.summary == "Found cameras. 8 of 8 photos have a camera."
    assert read_found(whole.folder) == whole.found
    assert {path.name for path in photos.iterdir()} == {
        *(path.name for path in paths),
        "sam2_splat_cameras",
    }
    assert not (whole.folder / SEARCH).exists(), "the search was tidied up"
    assert all(path.read_bytes() == (capture.folder / path.name).read_bytes() for path in paths), (
        "photos are never touched"
    )


def test_points_lie_where_photos_show_them_and_have_their_colours(whole: Found) -> None:
    paths = scan(whole.folder.parent).paths
    found = cameras_of(paths, WIDTH, HEIGHT)
    photo = np.asarray(Image.open(paths[0]), np.float64)
    shown = found.shown[1]
    pixels, _ = found.by_frame[1].project(found.points[shown])
    x, y = pixels.astype(int).T
    inside = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
    assert inside.mean() > 0.99
    off = np.abs(photo[y[inside], x[inside]] - found.colors[shown][inside])
    assert np.median(off) < 12


def test_pycolmap_reads_the_model_and_agrees_about_its_points(whole: Found) -> None:
    model = pycolmap.Reconstruction(str(whole.folder / "sparse" / "0"))
    assert model.num_reg_images() == 8
    assert {image.name for image in model.images.values()} == {
        f"IMG {at:03d}.jpg" for at in range(8)
    }
    for image in model.images.values():
        seen = [one for one in image.points2D if one.has_point3D()]
        off = [image.project_point(model.points3D[one.point3D_id].xyz) - one.xy for one in seen]
        assert np.median(np.linalg.norm(off, axis=1)) < 0.5


def test_the_same_photos_give_the_same_bytes_with_any_number_of_threads(
    capture: Textured, whole: Found, tmp_path: Path
) -> None:
    again = searched(copied(capture, tmp_path / "photos"), threads=2)
    assert contents(again.folder) == contents(whole.folder)


@pytest.mark.parametrize("stage", ["details", "matching", "placing"])
def test_a_search_that_was_stopped_goes_on_there(
    capture: Textured,
    whole: Found,
    tmp_path: Path,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sam2_splat_addon.engine.cameras import details

    photos = copied(capture, tmp_path / "photos")
    at, looked = {"": 0}, 0
    of_photo = details.details_of

    def counted(*arguments: object) -> details.Details:
        nonlocal looked
        looked += 1
        return of_photo(*arguments)  # type: ignore[arg-type]

    def noted(event: Progress) -> None:
        at[event.stage] = at.get(event.stage, 0) + 1

    monkeypatch.setattr(details, "details_of", counted)
    with pytest.raises(Cancelled):
        searched(photos, on_progress=noted, cancelled=lambda: at.get(stage, 0) >= 1)
    assert looked <= 8
    assert read_found(photos / "sam2_splat_cameras") is None
    with pytest.raises(CameraError, match="No cameras were found"):
        cameras_of(scan(photos).paths, WIDTH, HEIGHT)  # nothing half
    found = searched(photos)
    assert contents(found.folder) == contents(whole.folder)
    assert looked == 8 if stage != "details" else looked <= 9


@pytest.mark.parametrize("damage", ["garbage", "cut", "hole"])
def test_a_damaged_search_begins_anew(capture: Textured, tmp_path: Path, damage: str) -> None:
    photos = copied(capture, tmp_path / "photos")
    for name in (f"IMG {number:03d}.jpg" for number in range(3, 8)):
        (photos / name).unlink()
    at: list[str] = []
    with pytest.raises(Cancelled):
        searched(
            photos, on_progress=lambda e: at.append(e.stage), cancelled=lambda: "matching" in at
        )
    database = photos / "sam2_splat_cameras" / "search" / "whole.db"
    data = bytearray(database.read_bytes())
    if damage == "garbage":
        data = bytearray(b"garbage" * 1000)
    elif damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    database.write_bytes(data)
    found = searched(photos)
    assert found.found is not None
    assert found.found.placed == 3


def test_a_search_of_other_photos_begins_anew(capture: Textured, tmp_path: Path) -> None:
    photos = copied(capture, tmp_path / "photos")
    at: list[str] = []
    with pytest.raises(Cancelled):
        searched(
            photos, on_progress=lambda e: at.append(e.stage), cancelled=lambda: "matching" in at
        )
    mine = photos / "sam2_splat_cameras" / "search" / "notes" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    for name in (f"IMG {number:03d}.jpg" for number in range(2)):
        (photos / name).unlink()
    found = searched(photos)
    assert found.found is not None
    assert found.found.photos == found.found.placed == 6
    assert mine.read_text() == "mine", "a file of the user stays, also in our folder"


def test_found_cameras_are_not_looked_for_again(whole: Found) -> None:
    before = contents(whole.folder)
    again = searched(whole.folder.parent, cancelled=lambda: True)
    assert again.summary == "The cameras were found already. 8 of 8 photos have a camera."
    assert contents(whole.folder) == before


def test_cameras_of_another_program_stay_and_are_used(whole: Found, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(whole.folder.parent, photos)
    shutil.move(photos / "sam2_splat_cameras" / "sparse", tmp_path / "sparse")
    shutil.rmtree(photos / "sam2_splat_cameras")
    report = searched(photos)
    assert "There are cameras of all photos already" in report.summary
    assert not (photos / "sam2_splat_cameras").exists()


def test_turned_and_smaller_photos_and_what_they_tell_of_the_lens_are_understood(
    capture: Textured, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = round(340 / math.hypot(WIDTH, HEIGHT) * math.hypot(36, 24))
    for at, camera in enumerate(capture.cameras):
        picture: Image.Image = Image.open(capture.folder / camera.name)
        if at % 4 == 1:  # stored on its side, as a phone stores it
            picture = picture.transpose(Image.Transpose.ROTATE_90)
        if at == 6:
            picture = picture.resize((WIDTH * 3 // 4, HEIGHT * 3 // 4))
        exif[0x0112] = 6 if at % 4 == 1 else 1
        picture.save(photos / camera.name, quality=95, exif=exif)
    footage = FootageFiles.of(scan(photos))
    found = searched(photos)
    assert found.found is not None
    assert found.found.missing == ()
    cameras = cameras_for(footage, "", str(photos / "sam2_splat_mattes"))
    far, angle = textured.differences(cameras, capture.cameras)
    assert far < 0.02
    assert angle < 0.7
    for frame, found_camera in cameras.by_frame.items():
        size = footage.sizes.of(frame)
        lens = found_camera.camera.lens
        assert (lens.width, lens.height) == (found_camera.width, found_camera.height) == size


def test_photos_that_show_something_else_are_named(capture: Textured, tmp_path: Path) -> None:
    photos = copied(capture, tmp_path / "photos")
    Image.fromarray(textured.pattern(99)).save(photos / "other.png")
    (photos / "damaged.jpg").write_bytes((photos / "IMG 003.jpg").read_bytes()[:9000])
    report = searched(photos)
    assert report.found is not None
    assert report.found.missing == ("damaged.jpg", "other.png")
    assert report.damaged == ("damaged.jpg",)
    assert (
        "These show too little of what the others show: damaged.jpg and other.png."
        in report.warnings[0]
    )


@pytest.mark.parametrize("masked", [False, True])
def test_a_subject_that_turns_before_a_still_ground_is_followed(
    tmp_path: Path, masked: bool
) -> None:
    turned = textured.make(tmp_path / "photos", 8, math.radians(60), turning=True)
    edited = tuple(
        EditedMatte(1, at, (tuple(trace_pixels(mask)[0].points.ravel().tolist()),))
        for at, mask in enumerate(turned.masks, start=1)
    )
    report = searched(turned.folder, edited=edited if masked else ())
    assert report.found is not None
    assert report.found.placed >= 7
    found = cameras_of(scan(turned.folder).paths, WIDTH, HEIGHT)
    far, angle = textured.differences(found, turned.cameras)
    assert far < 0.04
    assert angle < 3.0


def test_a_camera_that_contradicts_what_photos_show_is_left_out(
    capture: Textured, whole: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.engine.cameras import colmap

    place = colmap.Search.place

    def with_one_wrong(self: colmap.Search, on_placed: Callable[[], None]) -> list[Any]:
        models = place(self, on_placed)
        pose = models[0].images[3].cam_from_world()
        turn = pycolmap.Rotation3d(np.array([math.sin(0.06), 0.0, 0.0, math.cos(0.06)]))
        wrong = pycolmap.Rigid3d(turn * pose.rotation, pose.translation)
        models[0].images[3].frame.set_cam_from_world(models[0].images[3].camera_id, wrong)
        return models

    monkeypatch.setattr(colmap.Search, "place", with_one_wrong)
    report = searched(copied(capture, tmp_path / "photos"))
    assert report.found is not None
    assert report.found.missing == ("IMG 002.jpg",)
    assert whole.found is not None
    assert report.found.points <= whole.found.points
    found = cameras_of(scan(tmp_path / "photos").paths, WIDTH, HEIGHT)
    assert textured.differences(found, capture.cameras)[0] < 0.01
    tracks = pycolmap.Reconstruction(str(report.folder / "sparse" / "0")).points3D.values()
    assert min(point.track.length() for point in tracks) >= 2


def test_too_few_photos_are_refused(capture: Textured, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for at in range(2):
        shutil.copy(capture.folder / f"IMG {at:03d}.jpg", photos)
    with pytest.raises(CameraError, match="3 photos or more, and there are 2"):
        searched(photos)
    assert not (photos / "sam2_splat_cameras").exists()


@pytest.mark.parametrize("kind", ["unlike", "plain"])
def test_photos_without_anything_in_common_are_refused(tmp_path: Path, kind: str) -> None:
    for at in range(4):
        plain = np.full((200, 300, 3), 40 * at, np.uint8)
        picture = Image.fromarray(textured.pattern(at) if kind == "unlike" else plain)
        picture.save(tmp_path / f"{at}.png")
    with pytest.raises(CameraError, match="show too little in common"):
        searched(tmp_path)
    assert not (tmp_path / "sam2_splat_cameras" / "found.json").exists()


def test_a_folder_of_the_user_with_that_name_is_left_alone(
    capture: Textured, tmp_path: Path
) -> None:
    photos = copied(capture, tmp_path / "photos")
    theirs = photos / "sam2_splat_cameras" / "sparse" / "0" / "cameras.bin"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    with pytest.raises(CameraError, match="SAM2 Splat did not make it"):
        searched(photos)
    assert theirs.read_bytes() == b"theirs"
    assert [path for path in (photos / "sam2_splat_cameras").rglob("*") if path.is_file()] == [
        theirs
    ]


def test_two_searches_do_not_work_in_one_folder(capture: Textured, tmp_path: Path) -> None:
    photos = copied(capture, tmp_path / "photos")
    ours = photos / "sam2_splat_cameras"
    FOLDER.claim(ours)
    with only_run(ours), pytest.raises(CameraError, match="Another Blender is finding the cameras"):
        searched(photos)


def test_without_the_package_a_sentence_says_what_to_install(
    capture: Textured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_cameras, "PACKAGE", "no-such-package")
    with pytest.raises(PackageError, match="Install pycolmap"):
        searched(copied(capture, tmp_path / "photos"))
