# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras of other programs are found, belong to the right photos, and are said to be wrong if they are."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.core.cameras.capture import FROM_OPENGL, Camera
from sam2_splat_addon.core.cameras.find import PhotoCameras, cameras_of
from sam2_splat_addon.core.cameras.lens import Lens
from sam2_splat_addon.core.errors import CameraError
from tests.core.cameras.ring import (
    POINTS,
    photos,
    ring,
    write_colmap,
    write_trained,
    write_transforms,
)

SIZE = (120, 80)
BENT = Lens("OPENCV", *SIZE, (100.0, 101.0, 61.0, 39.0, -0.1, 0.02, 0.001, -0.002))


def assert_same_pixels(found: PhotoCameras, cameras: list[Camera], scale: float = 1.0) -> None:
    """Each photo has its own camera's pixels."""
    assert sorted(found.by_frame) == list(range(1, len(cameras) + 1))
    for frame, camera in enumerate(cameras, 1):
        pixels, distance = found.by_frame[frame].project(POINTS)
        wanted = camera.lens.project(camera.seen_from(POINTS))
        np.testing.assert_allclose(pixels, scale * wanted, atol=1e-6)
        far = np.linalg.norm(POINTS - camera.position, axis=1)
        np.testing.assert_allclose(distance, far, atol=1e-9)


PLACES = (
    "sparse/0",
    "sparse",
    "colmap/sparse/0",
    "distorted/sparse/0",
    "photos/sparse/0",
    "photos",
    ".",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", [False, True])
def test_a_model_of_colmap_is_found_around_the_photos(
    tmp_path: Path, place: str, text: bool
) -> None:
    cameras = ring(lens=BENT)
    paths = photos(tmp_path / "photos", cameras)
    write_colmap(tmp_path / place, cameras, text=text)
    found = cameras_of(paths, *SIZE)
    assert_same_pixels(found, cameras)
    np.testing.assert_allclose(found.points, POINTS)
    assert {len(shown) for shown in found.shown.values()} == {len(POINTS)}
    assert found.warnings == ()
    assert "8 photos" in found.summary()


@pytest.mark.parametrize(
    "name", ["SIMPLE_RADIAL", "FULL_OPENCV", "RAD_TAN_THIN_PRISM_FISHEYE", "EUCM"]
)
@pytest.mark.parametrize("text", [False, True])
def test_the_lens_of_a_model_is_read(tmp_path: Path, name: str, text: bool) -> None:
    from tests.core.cameras.test_lens import KNOWN

    cameras = ring(lens=Lens(name, 1000, 800, KNOWN[name][0]))
    paths = photos(tmp_path, cameras)
    write_colmap(tmp_path / "sparse/0", cameras, text=text)
    assert_same_pixels(cameras_of(paths, 1000, 800), cameras)


def test_files_of_newer_versions_of_colmap_do_not_disturb(tmp_path: Path) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras)
    model = write_colmap(tmp_path / "sparse/0", cameras)
    for name in ("rigs.bin", "frames.bin"):
        (model / name).write_bytes(b"anything")
    assert len(cameras_of(paths, *SIZE).by_frame) == 8


def test_colmap_itself_writes_what_is_read(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    cameras = ring(lens=BENT)
    paths = photos(tmp_path, cameras)
    ours = write_colmap(tmp_path / "ours", cameras, text=True)
    (ours / "points3D.txt").write_text("")  # with points it wants their key points too
    images = ours / "images.txt"
    images.write_text(
        "\n".join("" if line.startswith("1.5") else line for line in images.read_text().split("\n"))
    )
    theirs = tmp_path / "sparse/0"
    theirs.mkdir(parents=True)
    pycolmap.Reconstruction(str(ours)).write_binary(str(theirs))
    assert_same_pixels(cameras_of(paths, *SIZE), cameras)


@pytest.mark.parametrize(("size", "scale"), [((40, 27), 1 / 3), ((480, 320), 4.0)])
def test_cameras_of_larger_and_smaller_photos_are_scaled(
    tmp_path: Path, size: tuple[int, int], scale: float
) -> None:
    cameras = ring()
    paths = photos(tmp_path / "images_2", cameras, size)
    write_colmap(tmp_path / "sparse/0", cameras)
    found = cameras_of(paths, *size).by_frame[1]
    pixels, _ = found.project(POINTS)
    wanted = cameras[0].lens.project(cameras[0].seen_from(POINTS))
    np.testing.assert_allclose(pixels, wanted * [size[0] / 120, size[1] / 80], atol=1e-6)
    assert found.focal == pytest.approx(100 * scale, rel=0.02)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_photos_that_a_program_has_turned_by_their_tag_are_turned_back(
    tmp_path: Path, orientation: int
) -> None:
    cameras = ring(lens=Lens("PINHOLE", 80, 120, (100.0, 100.0, 40.0, 60.0)))
    paths = []
    for camera in cameras:  # stored lying, shown upright
        upright = Image.new("RGB", (80, 120))
        x, y = map(round, camera.lens.project(camera.seen_from(POINTS[:1]))[0] - 0.5)
        for across in range(-3, 4):
            for down in range(-3, 4):
                upright.putpixel((x + across, y + down), (255, 255, 255))
        back = {5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # the transposition that undoes the tag
        stored = upright.transpose(Image.Transpose(back))
        exif = Image.Exif()
        exif[274] = orientation
        paths.append(tmp_path / camera.name)
        stored.save(paths[-1], exif=exif, quality=100)
        with Image.open(paths[-1]) as photo:
            from PIL import ImageOps

            assert ImageOps.exif_transpose(photo).size == (80, 120)
    write_colmap(tmp_path / "sparse/0", cameras)
    found = cameras_of(paths, 120, 80)
    for frame, path in enumerate(paths, 1):
        seen = found.by_frame[frame]
        (pixel,), (distance,) = seen.project(POINTS[:1])
        (ray,) = seen.rays(pixel[None])
        np.testing.assert_allclose(seen.position + ray * distance, POINTS[0], atol=1e-6)
        bright = np.argwhere(np.asarray(Image.open(path).convert("L")) > 128).mean(axis=0) + 0.5
        np.testing.assert_allclose(pixel, bright[::-1], atol=1.0)


def test_photos_turned_without_a_tag_have_no_camera_and_that_is_said(tmp_path: Path) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras, (80, 120))
    write_colmap(tmp_path / "sparse/0", cameras)
    with pytest.raises(CameraError, match="turned"):
        cameras_of(paths, 80, 120)


NAMES = {
    "jpg to png": lambda at: f"IMG_{at:04d}.png",
    "folders": lambda at: f"images/left/IMG_{at:04d}.JPG",
    "backslashes": lambda at: f"D:\\capture\\IMG_{at:04d}.JPG",
    "case": lambda at: f"img_{at:04d}.jpg",
    "no extension": lambda at: f"IMG_{at:04d}",
    "mask names": lambda at: f"IMG_{at:04d}.JPG.png",
}


@pytest.mark.parametrize("way", NAMES)
def test_names_that_programs_change_are_matched(tmp_path: Path, way: str) -> None:
    cameras = ring()
    paths = photos(tmp_path / "photos", cameras)
    renamed = [dataclasses.replace(one, name=NAMES[way](at)) for at, one in enumerate(cameras)]
    write_colmap(tmp_path / "sparse/0", renamed[::-1], text=way != "no extension")
    assert_same_pixels(cameras_of(paths, *SIZE), cameras)


def test_equal_names_in_two_folders_are_told_apart_by_the_folder(tmp_path: Path) -> None:
    left = ring(names=[f"left/{at}.jpg" for at in range(8)])
    right = ring(8, BENT, [f"right/{at}.jpg" for at in range(8)])
    paths = photos(tmp_path / "right", right)
    write_colmap(tmp_path / "sparse/0", [*left, *right])
    assert_same_pixels(cameras_of(paths, *SIZE), right)
    elsewhere = photos(tmp_path / "copies", right)  # now nobody knows which
    with pytest.raises(CameraError, match="other photos"):
        cameras_of(elsewhere, *SIZE)


def test_names_with_spaces_and_other_letters(tmp_path: Path) -> None:
    names = [f"Blume {at} ü 花.jpg" for at in range(8)]
    cameras = ring(names=names)
    paths = photos(tmp_path / "mit Leerzeichen é", cameras)
    for text in (True, False):
        write_colmap(tmp_path / "sparse/0", cameras, text=text)
        assert_same_pixels(cameras_of(paths, *SIZE), cameras)


def test_the_part_with_most_photos_is_taken(tmp_path: Path) -> None:
    cameras = ring(12)
    paths = photos(tmp_path / "images", cameras)
    write_colmap(tmp_path / "sparse/0", cameras[:4])
    write_colmap(tmp_path / "sparse/1", cameras[4:])
    found = cameras_of(paths, *SIZE)
    assert sorted(found.by_frame) == list(range(5, 13))
    assert "IMG_0000.JPG" in found.warnings[0]


def test_cameras_of_the_photos_own_size_come_first(tmp_path: Path) -> None:
    cameras = ring(lens=BENT)
    paths = photos(tmp_path / "input", cameras)
    plain = ring(lens=Lens("PINHOLE", 119, 79, (99.0, 99.0, 59.5, 39.5)))
    write_colmap(tmp_path / "sparse/0", plain)
    write_colmap(tmp_path / "distorted/sparse/0", cameras)
    assert_same_pixels(cameras_of(paths, *SIZE), cameras)


@pytest.mark.parametrize("model", ["OPENCV", "OPENCV_FISHEYE"])
def test_transforms_of_nerfstudio(tmp_path: Path, model: str) -> None:
    params = (100.0, 101.0, 61.0, 39.0, -0.1, 0.02, 0.001, -0.002)
    cameras = ring(lens=Lens(model, *SIZE, params))
    named = [dataclasses.replace(one, name=f"./images/{one.name}") for one in cameras]
    paths = photos(tmp_path / "images", cameras)
    write_transforms(tmp_path / "transforms.json", named, ply_file_path="points.ply")
    rows = "\n".join(f"{x} {y} {z} 255" for x, y, z in POINTS)
    head = "ply\nformat ascii 1.0\nelement vertex 60\nproperty float x\nproperty float y\nproperty float z\n"
    (tmp_path / "points.ply").write_text(f"{head}property uchar red\nend_header\n{rows}\n")
    found = cameras_of(paths, *SIZE)
    assert_same_pixels(found, cameras)
    np.testing.assert_allclose(found.points, POINTS)
    kind = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1")])
    data = np.zeros(60, kind)
    data["x"], data["y"], data["z"] = POINTS.T
    binary = (head + "property uchar red\nend_header\n").replace("ascii", "binary_little_endian")
    (tmp_path / "points.ply").write_bytes(binary.encode() + data.tobytes())
    np.testing.assert_allclose(cameras_of(paths, *SIZE).points, POINTS, atol=1e-6)
    (tmp_path / "points.ply").write_bytes(b"no cloud")
    assert "points.ply" in cameras_of(paths, *SIZE).warnings[0]


def test_transforms_with_nothing_but_an_angle(tmp_path: Path) -> None:
    cameras = ring(names=[f"r_{at}.jpg" for at in range(8)])
    paths = photos(tmp_path / "train", cameras)
    frames = []
    for camera in cameras:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = (FROM_OPENGL @ camera.rotation).T, camera.position
        frames.append(
            {"file_path": f"./train/{camera.name[:-4]}", "transform_matrix": matrix.tolist()}
        )
    angle = 2 * math.atan(60 / 100)
    text = json.dumps({"camera_angle_x": angle, "frames": frames})
    (tmp_path / "transforms.json").write_text(text, encoding="utf-8-sig")
    assert_same_pixels(cameras_of(paths, *SIZE), cameras)


def test_cameras_of_a_trainer(tmp_path: Path) -> None:
    cameras = ring()
    paths = photos(tmp_path / "images", cameras)
    write_trained(tmp_path / "cameras.json", cameras)
    assert_same_pixels(cameras_of(paths, *SIZE), cameras)
    assert_same_pixels(cameras_of(paths, *SIZE, tmp_path / "cameras.json"), cameras)


def heading_of(camera: Camera) -> tuple[float, float, float]:
    """Return heading, pitch and roll of a camera, in degrees."""
    turn = (FROM_OPENGL @ camera.rotation).T  # around z, x and y, one after the other
    pitch = math.asin(turn[2, 1])
    return (
        -math.degrees(math.atan2(-turn[0, 1], turn[1, 1])),
        math.degrees(pitch),
        math.degrees(math.atan2(-turn[2, 0], turn[2, 2])),
    )


def test_the_export_of_realityscan(tmp_path: Path) -> None:
    terms = (-0.1, 0.02, 0.003, 0.0, 0.001, -0.002)
    lens = Lens("BROWN", *SIZE, (100.0, 100.0, 61.2, 38.8, *terms))
    cameras = ring(lens=lens)
    paths = photos(tmp_path / "images", cameras)
    lines = ["#cameras 8", "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"]
    for camera in cameras:
        shift = (1.2 * 36 / 120, -1.2 * 36 / 120)
        values = (*camera.position, *heading_of(camera), 30.0, *shift, *terms)
        lines.append(",".join([camera.name, *(repr(float(one)) for one in values)]))
    (tmp_path / "my cameras.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    (tmp_path / "a table.csv").write_text("# costs,1,2\n")
    assert_same_pixels(cameras_of(paths, *SIZE), cameras)


def test_straight_down_with_the_north_at_the_top(tmp_path: Path) -> None:
    """With heading, pitch and roll 0, the camera looks down and its right is the east."""
    cameras = ring(3)
    paths = photos(tmp_path, cameras)
    rows = [f"{camera.name},0,0,10,0,0,0,30,0,0" for camera in cameras]
    text = "\n".join(["#name,x,y,alt,heading,pitch,roll,f,px,py", *rows])
    (tmp_path / "down.csv").write_text(text)
    camera = cameras_of(paths, *SIZE).by_frame[1]
    np.testing.assert_allclose(camera.axis, [0, 0, -1], atol=1e-12)
    pixels, _ = camera.project(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    assert pixels[0, 0] > 60  # east is right
    assert pixels[1, 1] < 40  # north is up


def test_xmp_files_of_realityscan(tmp_path: Path) -> None:
    lens = Lens("BROWN", *SIZE, (100.0, 100.0, 61.2, 38.8, -0.1, 0.02, 0.003, 0.0, 0.001, -0.002))
    cameras = ring(lens=lens)
    paths = photos(tmp_path, cameras)
    for path, camera in zip(paths, cameras, strict=True):
        turn = " ".join(map(str, camera.rotation.ravel()))
        place = " ".join(map(str, camera.position))
        path.with_suffix(".xmp").write_text(
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xcr:Version="3"'
            ' xcr:DistortionModel="brown3" xcr:FocalLength35mm="30"'
            ' xcr:PrincipalPointU="0.01" xcr:PrincipalPointV="-0.01">'
            f"<xcr:Rotation>{turn}</xcr:Rotation><xcr:Position>{place}</xcr:Position>"
            "<xcr:DistortionCoeficients>-0.1 0.02 0.003 0 0.001 -0.002</xcr:DistortionCoeficients>"
            "</rdf:Description></x:xmpmeta>"
        )
    assert_same_pixels(cameras_of(paths, *SIZE), cameras)


def test_no_cameras_at_all(tmp_path: Path) -> None:
    paths = photos(tmp_path, ring())
    with pytest.raises(CameraError, match="No cameras were found"):
        cameras_of(paths, *SIZE)
    with pytest.raises(CameraError):
        cameras_of(paths, *SIZE, tmp_path / "not there.json")
    with pytest.raises(CameraError):
        cameras_of(paths, *SIZE, tmp_path / "not there")


def test_cameras_of_other_photos(tmp_path: Path) -> None:
    paths = photos(tmp_path, ring(names=[f"DSC{at}.jpg" for at in range(8)]))
    write_colmap(tmp_path / "sparse/0", ring())
    with pytest.raises(CameraError, match=r"of other photos, such as IMG_0000\.JPG"):
        cameras_of(paths, *SIZE)


def test_half_of_the_cameras(tmp_path: Path) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras)
    write_colmap(tmp_path / "sparse/0", cameras[:4])
    found = cameras_of(paths, *SIZE)
    assert sorted(found.by_frame) == [1, 2, 3, 4]
    assert "no camera" in found.warnings[0] and "IMG_0007.JPG" in found.warnings[0]
    write_colmap(tmp_path / "sparse/0", cameras[:2])
    with pytest.raises(CameraError, match="fit only 2 of 8"):
        cameras_of(paths, *SIZE)


def test_mirrored_cameras_are_said(tmp_path: Path) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras)
    flipped = np.diag([-1.0, 1.0, 1.0])
    wrong = [Camera(one.name, one.lens, one.rotation @ flipped, one.position) for one in cameras]
    write_trained(tmp_path / "cameras.json", [*wrong[:3], *cameras[3:]])
    found = cameras_of(paths, *SIZE)
    assert sorted(found.by_frame) == [4, 5, 6, 7, 8]
    assert found.warnings[0] == "Mirrored cameras were left out: 3."
    write_trained(tmp_path / "cameras.json", wrong)
    with pytest.raises(CameraError):
        cameras_of(paths, *SIZE)


def test_cameras_that_contradict_their_points(tmp_path: Path) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras)
    away = [
        Camera(one.name, one.lens, -FROM_OPENGL @ one.rotation, one.position) for one in cameras
    ]
    backwards = [
        dataclasses.replace(one, rotation=np.diag([1.0, -1, -1]) @ one.rotation) for one in cameras
    ]
    assert len(away) == 8
    write_colmap(tmp_path / "sparse/0", backwards)
    with pytest.raises(CameraError, match="contradict their own points"):
        cameras_of(paths, *SIZE)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_cut_off_and_damaged_files(tmp_path: Path, name: str) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras)
    model = write_colmap(tmp_path / "sparse/0", cameras)
    whole = (model / name).read_bytes()
    for data in (whole[:-5], whole[:9], b"", struct.pack("<Q", 2**62) + whole[8:], b"\xff" * 300):
        (model / name).write_bytes(data)
        with pytest.raises(CameraError, match=name):
            cameras_of(paths, *SIZE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"frames": 3}',
        '{"frames": [1, {"file_path": 2}]}',
        "[[[",
        "[1]",
    ],
)
@pytest.mark.parametrize("name", ["transforms.json", "cameras.json"])
def test_strange_json(tmp_path: Path, name: str, text: str) -> None:
    paths = photos(tmp_path, ring())
    (tmp_path / name).write_text(text)
    with pytest.raises(CameraError):
        cameras_of(paths, *SIZE)


def test_a_damaged_file_beside_a_good_one_does_not_stop(tmp_path: Path) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras)
    (tmp_path / "transforms.json").write_text("{")
    write_colmap(tmp_path / "sparse/0", cameras)
    assert len(cameras_of(paths, *SIZE).by_frame) == 8


HUGE = "1" + "0" * 400  # valid JSON, but no float holds it
PLACE = "[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]"


@pytest.mark.parametrize(
    "frame",
    [
        f'"transform_matrix": {PLACE}, "w": {HUGE}',
        f'"transform_matrix": {PLACE}, "w": 1e300',
        f'"transform_matrix": {PLACE}, "cx": {HUGE}',
        f'"transform_matrix": {PLACE}, "distortion_params": [1, 2, 3, 4, 5, {HUGE}]',
        f'"transform_matrix": {PLACE}, "fl_x": 0, "camera_angle_x": 5e-324',
        f'"transform_matrix": {PLACE}, "fl_x": 0',
        f'"transform_matrix": {PLACE}, "camera_model": "WIDE"',
        f'"transform_matrix": {PLACE.replace("1", HUGE)}',
        f'"transform_matrix": {PLACE.replace("1", "1e200")}',
        '"transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0]]',
        '"transform_matrix": [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]',
        '"transform_matrix": "left"',
    ],
)
def test_a_frame_of_nerfstudio_without_usable_numbers_is_left_out_and_named(
    tmp_path: Path, frame: str
) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras)
    path = write_transforms(tmp_path / "transforms.json", cameras[1:], fl_x=100.0)
    wrong = f'"frames": [{{"file_path": "IMG_0000.JPG", {frame}}}, '
    path.write_text(path.read_text().replace('"frames": [', wrong))
    found = cameras_of(paths, *SIZE)
    assert sorted(found.by_frame) == list(range(2, 9))
    assert "such as that of IMG_0000.JPG" in found.warnings[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", HUGE),
        ("width", "null"),
        ("height", "0"),
        ("fx", HUGE),
        ("fx", "-100"),
        ("position", "[1, 2]"),
        ("position", f"[{HUGE}, 0, 0]"),
        ("rotation", "{}"),
        ("rotation", "[[0, 0, 0], [0, 0, 0], [0, 0, 0]]"),
    ],
)
def test_a_camera_of_a_trainer_without_usable_numbers_is_left_out_and_named(
    tmp_path: Path, name: str, value: str
) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras)
    path = write_trained(tmp_path / "cameras.json", cameras)
    rows = json.loads(path.read_text())
    rows[2][name] = "here"
    path.write_text(json.dumps(rows).replace('"here"', value))
    found = cameras_of(paths, *SIZE)
    assert sorted(found.by_frame) == [1, 2, 4, 5, 6, 7, 8]
    assert "such as that of IMG_0002" in found.warnings[0]


def test_an_image_of_colmap_without_usable_numbers_is_left_out_and_named(tmp_path: Path) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras)
    model = write_colmap(tmp_path / "sparse/0", cameras, text=True)
    images, lenses = (model / name for name in ("images.txt", "cameras.txt"))
    whole, lens = images.read_text(), lenses.read_text()
    second = next(line for line in whole.splitlines() if line.endswith("IMG_0001.JPG"))
    words = second.split()
    for wrong in (
        [*words[:8], "99", words[9]],  # a camera that is not there
        [words[0], "0", "0", "0", "0", *words[5:]],  # no rotation
        [words[0], "nan", *words[2:]],
        [*words[:5], "inf", *words[6:]],
    ):
        images.write_text(whole.replace(second, " ".join(wrong)))
        found = cameras_of(paths, *SIZE)
        assert sorted(found.by_frame) == [1, 3, 4, 5, 6, 7, 8]
        assert "such as that of IMG_0001.JPG" in found.warnings[0]
        assert {len(shown) for shown in found.shown.values()} == {len(POINTS)}
    images.write_text(whole)
    for wrong_lens in ("2 PINHOLE 0 80 100 100 60 40", "2 PINHOLE 120 80 100 100", "2 ROUND 9 9 1"):
        lenses.write_text(
            "\n".join(wrong_lens if line.startswith("2 ") else line for line in lens.splitlines())
        )
        assert sorted(cameras_of(paths, *SIZE).by_frame) == [1, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    "row", ["0,0,10,0,0,0,,0,0", "0,0,inf,0,0,0,30,0,0", "0,x,10,0,0,0,30,0,0", "0,0,1,0,0,0,0,0,0"]
)
def test_a_row_of_realityscan_without_usable_numbers_is_left_out_and_named(
    tmp_path: Path, row: str
) -> None:
    cameras = ring(4)
    paths = photos(tmp_path, cameras)
    rows = [f"{one.name},0,0,{10 + at},0,0,0,30,0,0" for at, one in enumerate(cameras)]
    rows[1] = f"{cameras[1].name},{row}"
    lines = ["#name,x,y,z,heading,pitch,roll,f,px,py", *rows, "too,short", ""]
    (tmp_path / "cameras.csv").write_text("\n".join(lines))
    found = cameras_of(paths, *SIZE)
    assert {at: one.position[2] for at, one in found.by_frame.items()} == {1: 10, 3: 12, 4: 13}
    assert found.warnings[0].endswith("left out: 1, such as that of IMG_0001.JPG.")


def test_an_export_of_realityscan_without_places_is_named_with_what_to_export(
    tmp_path: Path,
) -> None:
    paths = photos(tmp_path, ring(3))
    path = tmp_path / "cameras.csv"
    for heading in ("#name,x,y,alt,f", "#name,x,y,heading,pitch,roll,f", "#cameras 3"):
        path.write_text(f"{heading}\nIMG_0000.JPG,0,0,1,0,0,0,30\n")
        with pytest.raises(CameraError, match="camera parameters"):
            cameras_of(paths, *SIZE, path)


def test_xmp_files_without_a_place_or_numbers_count_as_no_camera(tmp_path: Path) -> None:
    cameras = ring()
    paths = photos(tmp_path, cameras)
    for path, camera in zip(paths, cameras, strict=True):
        turn = " ".join(map(str, camera.rotation.ravel()))
        place = " ".join(map(str, camera.position))
        path.with_suffix(".xmp").write_text(
            f'<a xcr:Rotation="{turn}" xcr:Position="{place}" xcr:FocalLength35mm="30"'
            ' xcr:DistortionModel="perspective" xcr:DistortionCoeficients="9 9 9 9 9 9"/>'
        )
    wrong = [path.with_suffix(".xmp") for path in paths[:4]]
    whole = wrong[0].read_text()
    wrong[0].write_text("<x:xmpmeta/>")
    wrong[1].write_text(whole.replace("xcr:Position", "xcr:Elsewhere"))
    wrong[2].write_text(whole.replace('Rotation="', 'Rotation="1 '))
    wrong[3].write_text(whole.replace('FocalLength35mm="30"', 'FocalLength35mm="wide"'))
    found = cameras_of(paths, *SIZE)
    assert sorted(found.by_frame) == [5, 6, 7, 8]
    assert "left out: 2, such as that of IMG_0002.JPG" in found.warnings[0]
    pixels, _ = found.by_frame[5].project(POINTS)  # this model of a lens has no distortion
    wanted = cameras[4].lens.project(cameras[4].seen_from(POINTS))
    np.testing.assert_allclose(pixels, wanted, atol=1e-6)


def test_the_ray_of_a_pixel_leads_back_to_its_point(tmp_path: Path) -> None:
    cameras = ring(lens=BENT)
    paths = photos(tmp_path, cameras, (240, 160))
    write_colmap(tmp_path / "sparse/0", cameras)
    for camera in cameras_of(paths, 240, 160).by_frame.values():
        pixels, distance = camera.project(POINTS)
        rays = camera.rays(pixels)
        np.testing.assert_allclose(camera.position + rays * distance[:, None], POINTS, atol=1e-6)
        assert camera.inside(pixels).all()
        outside = np.array([[-0.1, 5], [240.0, 5], [5, -0.1], [5, 160.0], [np.nan, 5]])
        assert not camera.inside(outside).any()
