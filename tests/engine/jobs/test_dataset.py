# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the photos have cameras, a bake is a dataset: images, masks, cameras, and the subject's points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.core.bake_plan import BakeOptions, next_output_folder
from sam2_splat_addon.core.cameras.capture import Camera
from sam2_splat_addon.core.cameras.find import PhotoCamera, cameras_of
from sam2_splat_addon.core.cameras.lens import Lens
from sam2_splat_addon.core.errors import CameraError
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.geometry.orientation import PhotoShape
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.protocol import BakeRequest, EditedMatte, FootageFiles
from sam2_splat_addon.core.targets import TARGETS
from sam2_splat_addon.engine.jobs.bake import BakeReport, bake

from ...core.cameras.ring import POINTS, ring, write_colmap, write_trained, write_transforms

WIDTH, HEIGHT = 120, 80
MIDDLE = np.array([1.0, 2, 3])
# Above and below the subject, where no mask is.
AROUND = MIDDLE + [[x, y, z] for z in (-1.1, 1.1) for x in (-0.1, 0.1) for y in (-0.1, 0.1)]
OPENCV = Lens("OPENCV", WIDTH, HEIGHT, (100.0, 101.0, 61.0, 39.0, 0.02, -0.01, 0.003, -0.002))


def capture(folder: Path, lens: Lens | None = None, count: int = 8) -> list[Camera]:
    """Make a folder of photos and return their cameras."""
    cameras = ring(count, lens)
    folder.mkdir()
    for at, camera in enumerate(cameras):
        Image.new("RGB", (WIDTH, HEIGHT), (40, 90, 10 * at)).save(folder / camera.name, "JPEG")
    return cameras


def baked(
    folder: Path,
    *targets: str,
    ignored: tuple[int, ...] = (),
    cameras: str = "",
    upright: bool = False,
) -> BakeReport:
    """Bake a square in the middle of each photo."""
    footage = FootageFiles.of(scan(folder))
    outline = (45.0, 25.0, 75.0, 25.0, 75.0, 55.0, 45.0, 55.0)
    mattes = [EditedMatte(1, at, (outline,)) for at in range(1, len(footage.paths) + 1)]
    options = BakeOptions(targets=targets, ignored=ignored, upright=upright)
    output = next_output_folder(folder, "out")
    store = MatteStore(folder / "store")
    request = BakeRequest(
        footage, str(store.folder), str(output), options, tuple(mattes), cameras=cameras
    )
    return bake(request, store, lambda _: None, lambda: False, threads=2)


def same_cameras(found: dict[int, PhotoCamera], cameras: list[Camera]) -> None:
    """Compare by what each photo shows: the pixels of points."""
    assert len(found) == len(cameras)
    for frame, camera in found.items():
        meant = cameras[frame - 1]
        expected = meant.lens.project(meant.seen_from(POINTS))
        assert np.allclose(camera.project(POINTS)[0], expected, atol=1e-4)


@pytest.mark.parametrize("lens", [None, OPENCV], ids=["PINHOLE", "OPENCV"])
@pytest.mark.parametrize("name", [target.name for target in TARGETS if target.cameras == "colmap"])
def test_each_trainer_gets_a_model_of_colmap_for_its_images(
    tmp_path: Path, name: str, lens: Lens | None
) -> None:
    cameras = capture(tmp_path / "photos", lens, 4)
    write_colmap(tmp_path / "sparse" / "0", cameras, np.concatenate([POINTS, AROUND]))
    report = baked(tmp_path / "photos", name)
    folder = report.folder
    images = sorted(path for path in folder.rglob("IMG_*") if _is_image(path))
    found = cameras_of(images, WIDTH, HEIGHT, folder / "sparse" / "0")
    same_cameras(found.by_frame, cameras)
    assert not report.warnings()


def _is_image(path: Path) -> bool:
    return "mask" not in path.name and path.parent.name != "masks"


def test_only_points_stay_that_most_masks_say_are_on_the_subject(tmp_path: Path) -> None:
    cameras = capture(tmp_path / "photos")
    write_colmap(tmp_path / "sparse" / "0", cameras, np.concatenate([AROUND, POINTS, AROUND]))
    folder = baked(tmp_path / "photos", "colmap").folder
    images = sorted((folder / "images").iterdir())
    found = cameras_of(images, WIDTH, HEIGHT, folder / "sparse" / "0")
    assert np.array_equal(found.points, POINTS)
    assert np.array_equal(found.colors, np.full((len(POINTS), 3), 9))  # as the file says
    for frame in found.by_frame:
        assert np.array_equal(found.shown[frame], np.arange(len(POINTS)))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_images_that_are_turned_get_turned_cameras(tmp_path: Path, orientation: int) -> None:
    cameras = capture(tmp_path / "photos", OPENCV)
    exif = Image.Exif()
    exif[274] = orientation
    for path in (tmp_path / "photos").iterdir():
        Image.open(path).copy().save(path, "JPEG", exif=exif)
    write_colmap(tmp_path / "sparse" / "0", cameras, np.concatenate([POINTS, AROUND]))
    shape = PhotoShape(WIDTH, HEIGHT, orientation)
    # The cameras are of stored pixels. If all photos lie on their side, COLMAP has not turned them.
    folder = baked(tmp_path / "photos", "colmap", upright=True).folder
    images = sorted((folder / "images").iterdir())
    assert {Image.open(image).size for image in images} == {shape.upright}
    assert {Image.open(image).getexif().get(274, 1) for image in images} == {1}
    found = cameras_of(images, *shape.upright, folder / "sparse" / "0")
    assert len(found.by_frame) == len(cameras)
    assert np.array_equal(found.points, POINTS)
    for frame, camera in found.by_frame.items():
        meant = cameras[frame - 1]
        expected = shape.points_to_upright(meant.lens.project(meant.seen_from(POINTS)))
        assert np.allclose(camera.project(POINTS)[0], expected, atol=1e-4)


def test_a_photo_that_ignores_a_place_says_nothing_about_its_points(tmp_path: Path) -> None:
    """Only the points beside the ignored square are left, as all photos ignore the middle."""
    cameras = capture(tmp_path / "photos")
    write_colmap(tmp_path / "sparse" / "0", cameras, np.concatenate([POINTS, AROUND]))
    folder = baked(tmp_path / "photos", "colmap", ignored=(1,)).folder
    images = sorted((folder / "images").iterdir())
    found = cameras_of(images, WIDTH, HEIGHT, folder / "sparse" / "0")
    assert np.array_equal(found.points, AROUND)


@pytest.mark.parametrize("name", ["nerfstudio", "instant_ngp"])
@pytest.mark.parametrize("kind", ["OPENCV", "OPENCV_FISHEYE", "SIMPLE_RADIAL"])
def test_transforms_json_names_each_image_and_projects_as_nerfstudio_does(
    tmp_path: Path, name: str, kind: str
) -> None:
    """Rule: https://docs.nerf.studio/quickstart/data_conventions.html (OpenGL axes, all masks or none)."""
    lenses = {
        "OPENCV": OPENCV,
        "OPENCV_FISHEYE": Lens(
            "OPENCV_FISHEYE", WIDTH, HEIGHT, (90.0, 91.0, 60.0, 40.0, 0.01, 0.02, 0.0, 0.001)
        ),
        "SIMPLE_RADIAL": Lens("SIMPLE_RADIAL", WIDTH, HEIGHT, (100.0, 60.0, 40.0, 0.05)),
    }
    cameras = capture(tmp_path / "photos", lenses[kind], 4)
    write_colmap(tmp_path / "photos" / "sparse", cameras)
    folder = baked(tmp_path / "photos", name).folder
    told = json.loads((folder / "transforms.json").read_text())
    assert len(told["frames"]) == 4
    values: dict[str, Any]
    for at, frame in enumerate(told["frames"]):
        assert (folder / frame["file_path"]).is_file()
        with Image.open(folder / frame["mask_path"]) as mask:
            assert mask.size == (told["w"], told["h"]) == (WIDTH, HEIGHT)
        values = told
        world_to_camera = np.linalg.inv(np.array(frame["transform_matrix"]))
        x, y, z = world_to_camera[:3, :3] @ POINTS.T + world_to_camera[:3, 3:]
        x, y, z = x, -y, -z  # OpenGL looks along -z, with y up
        if kind == "OPENCV_FISHEYE":
            assert told["camera_model"] == "OPENCV_FISHEYE"
            angle = np.arctan2(np.hypot(x, y), z)
            bent = angle * (1 + sum(values[f"k{i}"] * angle ** (2 * i) for i in range(1, 5)))
            u, v = x / np.hypot(x, y) * bent, y / np.hypot(x, y) * bent
        else:
            assert told["camera_model"] == "OPENCV"
            u, v = x / z, y / z
            r2 = u * u + v * v
            factor = 1 + values.get("k1", 0) * r2 + values.get("k2", 0) * r2**2
            p1, p2 = values.get("p1", 0), values.get("p2", 0)
            u, v = (
                u * factor + 2 * p1 * u * v + p2 * (r2 + 2 * u * u),
                v * factor + 2 * p2 * u * v + p1 * (r2 + 2 * v * v),
            )
        pixels = np.stack([u * values["fl_x"] + values["cx"], v * values["fl_y"] + values["cy"]], 1)
        expected = cameras[at].lens.project(cameras[at].seen_from(POINTS))
        assert np.allclose(pixels, expected, atol=1e-6)
    cloud = (folder / told["ply_file_path"]).read_bytes()
    assert f"element vertex {len(POINTS)}\n".encode() in cloud


def read_by_nerfstudio(folder: Path) -> dict[str, tuple[Path, Path, int]]:
    """Read a folder by the rule of nerfstudio's parser of ``transforms.json``.

    nerfstudio/data/dataparsers/nerfstudio_dataparser.py of https://github.com/nerfstudio-project/nerfstudio.
    Returns, for each ``file_path``, the image and the mask that it loads, and how much smaller they are.
    """
    told = json.loads((folder / "transforms.json").read_text())
    first = Path(told["frames"][0]["file_path"])
    with Image.open(folder / first) as image:
        longest = max(image.size)
    halvings = 0
    while longest / 2**halvings >= 1600:
        if not (folder / f"images_{2 ** (halvings + 1)}" / first.name).exists():
            break
        halvings += 1
    factor = 2**halvings

    def place(path: str, prefix: str) -> Path:
        below = Path(path)
        return folder / (f"{prefix}{factor}/{below.name}" if factor > 1 else below)

    masks = [frame["mask_path"] for frame in told["frames"] if "mask_path" in frame]
    assert len(masks) in (0, len(told["frames"]))
    found = {}
    for frame in told["frames"]:
        image_path = place(frame["file_path"], "images_")
        mask_path = place(frame["mask_path"], "masks_")
        size = [int(told.get(side, frame.get(side))) // factor for side in "wh"]
        for path in (image_path, mask_path):
            with Image.open(path) as opened:
                assert list(opened.size) == size, path
        found[frame["file_path"]] = image_path, mask_path, factor
    return found


@pytest.mark.parametrize(
    ("names", "longest", "factor"),
    [
        (["a.JPG", "b.JPG", "c.JPG"], 120, 1),
        (["a.JPG", "b.JPG", "c.JPG"], 1600, 1),
        (["a.JPG", "b.JPG", "c.JPG"], 3301, 4),
        (["a.JPG", "left/b.JPG", "left/c.JPG"], 1650, 2),
        (["left/a.JPG", "left/b.JPG", "right/c.JPG"], 1650, 2),
        (["a.JPG", "left/a.JPG", "right/a.JPG"], 1650, 1),  # the names alone mean three photos
        (["left/a.JPG", "right/A.JPG", "right/c.JPG"], 1650, 1),
    ],
)
def test_nerfstudio_loads_each_image_and_mask_by_its_own_rule(
    tmp_path: Path, names: list[str], longest: int, factor: int
) -> None:
    size = (longest, longest * 2 // 3)
    lens = Lens("PINHOLE", *size, (float(longest), float(longest), size[0] / 2, size[1] / 2))
    cameras = ring(len(names), lens, names)
    for at, name in enumerate(names):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (60 * at, 90, 40)).save(path, "JPEG", quality=95)
    write_colmap(tmp_path / "photos" / "sparse", cameras)
    outline = (
        0.0,
        0.0,
        *(size[0] / 2, 0.0),
        *(size[0] / 2, float(size[1])),
        *(0.0, float(size[1])),
    )
    footage = FootageFiles.of(scan(tmp_path / "photos", with_subfolders=True))
    mattes = tuple(EditedMatte(1, at + 1, (outline,)) for at in range(len(names)))
    out = tmp_path / "out"
    options = BakeOptions(targets=("nerfstudio",))
    request = BakeRequest(footage, str(tmp_path / "store"), str(out), options, mattes)
    bake(request, MatteStore(tmp_path / "store"), lambda _: None, lambda: False, threads=2)
    found = read_by_nerfstudio(out)
    assert len(found) == len(names)
    order = {
        f"images/{path.relative_to(tmp_path / 'photos').as_posix()}"
        for path in map(Path, footage.paths)
    }
    assert found.keys() == order
    for file_path, (image_path, mask_path, by) in found.items():
        assert by == factor
        at = names.index(file_path.removeprefix("images/"))
        with Image.open(image_path) as image, Image.open(mask_path) as mask:
            assert abs(int(np.asarray(image)[5, 5, 0]) - 60 * at) < 6, "another photo"
            assert np.asarray(mask)[5, [5, -5]].tolist() == [255, 0]


def test_pycolmap_reads_what_is_written(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    cameras = capture(tmp_path / "photos", OPENCV)
    write_colmap(tmp_path / "sparse" / "0", cameras, np.concatenate([POINTS, AROUND]))
    folder = baked(tmp_path / "photos", "colmap").folder
    model = pycolmap.Reconstruction(str(folder / "sparse" / "0"))
    assert model.num_points3D() == len(POINTS)
    images = {image.name: image for image in model.images.values()}
    for camera in cameras:
        image = images[camera.name]
        assert (folder / "images" / image.name).is_file()
        expected = camera.lens.project(camera.seen_from(POINTS[:1]))[0]
        assert np.allclose(image.project_point(POINTS[0]), expected, atol=1e-4)
        assert len(image.points2D) == len(POINTS)
        for key in image.points2D:
            place = model.points3D[key.point3D_id].xyz
            assert np.allclose(image.project_point(place), key.xy, atol=1e-4)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_cameras_of_a_program_that_turns_photos_are_written_for_the_stored_pixels(
    tmp_path: Path, orientation: int
) -> None:
    folder = tmp_path / "photos"
    turned = (WIDTH, HEIGHT) if orientation == 3 else (HEIGHT, WIDTH)
    lens = Lens(
        "OPENCV", *turned, (100.0, 103.0, turned[0] / 2 + 1, turned[1] / 2 - 2, *OPENCV.params[4:])
    )
    # Photos upside down are noticed only beside others that lie on a side.
    others = Lens("PINHOLE", HEIGHT, WIDTH, (100.0, 100.0, HEIGHT / 2, WIDTH / 2))
    cameras = ring(6, lens)
    if orientation == 3:
        cameras += ring(4, others, [f"side_{at}.JPG" for at in range(4)])
    folder.mkdir()
    for camera in cameras:
        exif = Image.Exif()
        exif[274] = 6 if camera.lens is others else orientation
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / camera.name, "JPEG", exif=exif)
    write_colmap(tmp_path / "sparse" / "0", cameras)
    before = cameras_of(scan(folder).paths, WIDTH, HEIGHT)
    out = baked(folder, "colmap").folder
    images = sorted((out / "images").iterdir())
    after = cameras_of(images, WIDTH, HEIGHT, out / "sparse" / "0")
    assert len(after.by_frame) == len(before.by_frame) == len(cameras)
    for frame, meant in before.by_frame.items():
        written = after.by_frame[frame]
        assert np.allclose(written.to_photo, np.eye(2, 3))  # nothing is left to turn
        assert np.allclose(written.project(POINTS)[0], meant.project(POINTS)[0], atol=1e-4)


def test_without_cameras_the_bake_is_as_before(tmp_path: Path) -> None:
    capture(tmp_path / "photos")
    report = baked(tmp_path / "photos", "postshot", "nerfstudio")
    assert not report.warnings()
    assert not [*report.folder.rglob("sparse"), *report.folder.rglob("*.ply")]
    assert not list(report.folder.rglob("transforms.json"))


def test_cameras_that_are_named_must_fit_and_those_that_lie_around_need_not(
    tmp_path: Path,
) -> None:
    cameras = capture(tmp_path / "photos")
    others = ring(4, names=[f"other_{at}.jpg" for at in range(4)])
    path = write_transforms(tmp_path / "transforms.json", others)
    assert not list(baked(tmp_path / "photos", "postshot").folder.glob("sparse"))
    with pytest.raises(CameraError, match="other photos"):
        baked(tmp_path / "photos", "postshot", cameras=str(path))
    named = write_trained(tmp_path / "elsewhere.json", cameras)
    report = baked(tmp_path / "photos", "postshot", cameras=str(named))
    images = sorted(report.folder.glob("*.png"))
    found = cameras_of(images, WIDTH, HEIGHT, report.folder / "sparse" / "0")
    assert len(found.by_frame) == len(cameras)


def test_a_photo_without_a_camera_is_baked_and_named(tmp_path: Path) -> None:
    cameras = capture(tmp_path / "photos")
    write_colmap(tmp_path / "sparse" / "0", cameras[:-1])
    report = baked(tmp_path / "photos", "nerfstudio")
    assert report.warnings() == ("These photos have no camera: IMG_0007.JPG.",)
    assert len(list((report.folder / "images").iterdir())) == 8
    told = json.loads((report.folder / "transforms.json").read_text())
    assert len(told["frames"]) == 7
