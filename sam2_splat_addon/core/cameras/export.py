# SPDX-License-Identifier: GPL-3.0-or-later
"""Write cameras and points of baked photos for trainers: a model of COLMAP, or nerfstudio's files.

A camera is written in the stored pixels of its photo, since trainers read these: of another size or
turned, it is brought to them. If the images are turned upright, so are their cameras.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..footage.sizes import PhotoSizes
from ..geometry.orientation import PhotoShape
from .capture import FROM_OPENGL
from .find import PhotoCamera, PhotoCameras
from .lens import MODELS, Floats, Lens

PLY_NAME: Final = "sparse_pc.ply"
TRANSFORMS_NAME: Final = "transforms.json"

# Where a model has its tangential terms p1 and p2, among the terms after the centre.
_TANGENTIAL: Final = {"OPENCV": 2, "FULL_OPENCV": 2, "BROWN": 4}
_NOT_TURNED: Final = ("THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE", "EQUIRECTANGULAR")
# Names of the terms after the centre in nerfstudio's files.
_NERF_TERMS: Final[dict[str, tuple[str, ...]]] = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": ("k1",),
    "RADIAL": ("k1", "k2"),
    "OPENCV": ("k1", "k2", "p1", "p2"),
    "BROWN": ("k1", "k2", "k3", "k4", "p1", "p2"),
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
    "SIMPLE_RADIAL_FISHEYE": ("k1",),
    "RADIAL_FISHEYE": ("k1", "k2"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
}


@dataclass(frozen=True, eq=False)
class ImageCamera:
    """The camera of one image of a dataset.

    Attributes
    ----------
    name
        Path of the image, with "/", below the folder that the trainer knows.
    mask
        Path of its mask; empty for none.
    lens
        For the image's own pixels.
    rotation, position
        As in `capture.Camera`.
    points
        (n,): places of the points that the image shows.
    pixels
        (n, 2): where it shows them, px.
    """

    name: str
    mask: str
    lens: Lens
    rotation: Floats
    position: Floats
    points: NDArray[np.integer[Any]] = field(default_factory=lambda: np.zeros(0, np.int64))
    pixels: Floats = field(default_factory=lambda: np.zeros((0, 2)))


def lens_and_rotation(camera: PhotoCamera) -> tuple[Lens, Floats] | None:
    """Return a photo's lens in the photo's own pixels, and its rotation. None if that can't be said."""
    lens = camera.camera.lens
    model = MODELS[lens.model]
    scale = np.hypot(camera.to_photo[0, :2], camera.to_photo[1, :2])  # of camera x and y
    turn = camera.to_photo[:, :2] / scale
    is_turned = not np.allclose(turn, np.eye(2))
    if is_turned and (lens.model in _NOT_TURNED or np.linalg.det(turn) < 0):
        return None
    size = (camera.width, camera.height)
    if not model.focals:
        return Lens(lens.model, *size, tuple(map(float, size))), camera.camera.rotation
    focals = np.array([lens.params[0], lens.params[model.focals - 1]]) * scale
    centre = camera.to_photo[:, :2] @ np.array(lens.params[model.focals : model.focals + 2])
    centre += camera.to_photo[:, 2]
    terms = list(lens.params[model.focals + 2 :])
    at = _TANGENTIAL.get(lens.model)
    if at is not None:  # (p2, p1) is a direction of the picture
        terms[at + 1], terms[at] = turn @ [terms[at + 1], terms[at]]
    focals = np.abs(turn) @ focals
    given = [float(focals.mean())] if model.focals == 1 else focals.tolist()
    rotation = np.eye(3)
    rotation[:2, :2] = turn
    params = (*given, *centre.tolist(), *map(float, terms))
    return Lens(lens.model, *size, params), rotation @ camera.camera.rotation


def upright_cameras(cameras: PhotoCameras, sizes: PhotoSizes) -> PhotoCameras:
    """Return the cameras of photos whose pixels are turned upright."""
    by_frame = {
        frame: _upright(camera, sizes.shape(frame)) for frame, camera in cameras.by_frame.items()
    }
    return replace(cameras, by_frame=by_frame)


def _upright(camera: PhotoCamera, shape: PhotoShape) -> PhotoCamera:
    origin, right, down = shape.points_to_upright(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    to_upright = np.stack([right - origin, down - origin], axis=1) @ camera.to_photo
    to_upright[:, 2] += origin
    return PhotoCamera(camera.camera, to_upright, *shape.upright)


def for_colmap(lens: Lens) -> Lens | None:
    """Return the lens as one that COLMAP has; None if it has none."""
    if lens.model != "BROWN":
        return None if lens.model == "EQUIRECTANGULAR" else lens
    *first, k1, k2, k3, k4, p1, p2 = lens.params
    if k4:
        return None
    if k3:
        params = (*first, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)
        return Lens("FULL_OPENCV", lens.width, lens.height, params)
    return Lens("OPENCV", lens.width, lens.height, (*first, k1, k2, p1, p2))


def colmap_files(
    cameras: Sequence[ImageCamera], points: Floats, colors: NDArray[np.uint8]
) -> dict[str, bytes]:
    """Return the binary files of a model of COLMAP, by name.

    https://colmap.github.io/format.html

    Parameters
    ----------
    cameras
        Their lenses are COLMAP's. Images get the ids 1, 2, ... in this order.
    points
        (n, 3): all points.
    colors
        (n, 3): their colours.
    """
    lenses = {lens: at for at, lens in enumerate(dict.fromkeys(c.lens for c in cameras), start=1)}
    lines = [struct.pack("<Q", len(lenses))]
    for lens, at in lenses.items():
        lines.append(struct.pack("<IiQQ", at, MODELS[lens.model].number, lens.width, lens.height))
        lines.append(struct.pack(f"<{len(lens.params)}d", *lens.params))
    images = [struct.pack("<Q", len(cameras))]
    tracks: list[list[tuple[int, int]]] = [[] for _ in range(len(points))]
    for at, camera in enumerate(cameras, start=1):
        shift = -camera.rotation @ camera.position
        images.append(struct.pack("<I", at))
        images.append(struct.pack("<7d", *quaternion_of(camera.rotation), *shift))
        images.append(struct.pack("<I", lenses[camera.lens]) + camera.name.encode() + b"\0")
        keys = np.zeros(len(camera.points), np.dtype([("xy", "<f8", 2), ("point", "<i8")]))
        keys["xy"], keys["point"] = camera.pixels, camera.points + 1
        images.append(struct.pack("<Q", len(keys)) + keys.tobytes())
        for key, point in enumerate(camera.points.tolist()):
            tracks[point].append((at, key))
    cloud = [struct.pack("<Q", len(points))]
    for at, (place, color, track) in enumerate(zip(points, colors, tracks, strict=True), start=1):
        cloud.append(struct.pack("<Q3d3Bd", at, *place, *color, 1.0))
        cloud.append(struct.pack("<Q", len(track)))
        cloud.append(struct.pack(f"<{2 * len(track)}I", *(one for pair in track for one in pair)))
    return {
        "cameras.bin": b"".join(lines),
        "images.bin": b"".join(images),
        "points3D.bin": b"".join(cloud),
    }


def has_nerfstudio(lens: Lens) -> bool:
    """Whether nerfstudio knows this kind of lens."""
    return lens.model in _NERF_TERMS or lens.model == "EQUIRECTANGULAR"


def nerfstudio_kind(lens: Lens) -> str:
    """Return nerfstudio's name of the kind of lens. All cameras of a file have the same."""
    if lens.model == "EQUIRECTANGULAR":
        return "EQUIRECTANGULAR"
    return "OPENCV_FISHEYE" if MODELS[lens.model].plane == "fisheye" else "OPENCV"


def nerfstudio_files(
    cameras: Sequence[ImageCamera], points: Floats, colors: NDArray[np.uint8]
) -> dict[str, bytes]:
    """Return ``transforms.json`` and its cloud of points, by name.

    https://docs.nerf.studio/quickstart/data_conventions.html

    Parameters
    ----------
    cameras, points, colors
        As for `colmap_files`. All lenses are of one kind; see `nerfstudio_kind`.
    """
    own = [_nerf_lens(camera.lens) for camera in cameras]
    is_one = all(values == own[0] for values in own)
    frames: list[dict[str, Any]] = []
    for camera, values in zip(cameras, own, strict=True):
        matrix = np.eye(4)
        matrix[:3, :3] = (FROM_OPENGL @ camera.rotation).T
        matrix[:3, 3] = camera.position
        frame: dict[str, Any] = {"file_path": camera.name}
        if camera.mask:
            frame["mask_path"] = camera.mask
        frame["transform_matrix"] = matrix.tolist()
        frames.append(frame if is_one else {**frame, **values})
    found: dict[str, Any] = {"camera_model": nerfstudio_kind(cameras[0].lens)}
    found |= own[0] if is_one else {}
    files = {}
    if len(points):
        found["ply_file_path"] = PLY_NAME
        files[PLY_NAME] = ply(points, colors)
    found["frames"] = frames
    files[TRANSFORMS_NAME] = msgspec.json.format(msgspec.json.encode(found))
    return files


def _nerf_lens(lens: Lens) -> dict[str, Any]:
    model = MODELS[lens.model]
    size = {"w": lens.width, "h": lens.height}
    if not model.focals:
        middle = (lens.width / 2, lens.height / 2)
        return {"fl_x": lens.focal, "fl_y": lens.focal, "cx": middle[0], "cy": middle[1], **size}
    fx, fy = lens.params[0], lens.params[model.focals - 1]
    cx, cy = lens.params[model.focals : model.focals + 2]
    terms = zip(_NERF_TERMS[lens.model], lens.params[model.focals + 2 :], strict=True)
    return {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, **size, **dict(terms)}


def ply(points: Floats, colors: NDArray[np.uint8]) -> bytes:
    """Return a PLY file of points with colours, both (n, 3)."""
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
        + "".join(f"property float {axis}\n" for axis in "xyz")
        + "".join(f"property uchar {color}\n" for color in ("red", "green", "blue"))
        + "end_header\n"
    )
    rows = np.zeros(len(points), np.dtype([("place", "<f4", 3), ("color", "u1", 3)]))
    rows["place"], rows["color"] = points, colors
    return header.encode() + rows.tobytes()


def quaternion_of(rotation: Floats) -> tuple[float, float, float, float]:
    """Return the quaternion (w, x, y, z) of a rotation, (3, 3), with w at least 0."""
    # The largest of the four comes from the diagonal, and the others without a loss of digits.
    a, b, c = rotation.diagonal()
    squares = np.array([1 + a + b + c, 1 + a - b - c, 1 - a + b - c, 1 - a - b + c])
    at = int(np.argmax(squares))
    m = rotation
    rows = (
        (squares[0], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]),
        (m[2, 1] - m[1, 2], squares[1], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]),
        (m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], squares[2], m[1, 2] + m[2, 1]),
        (m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[3]),
    )
    found = np.array(rows[at]) / (2 * np.sqrt(squares[at]))
    if found[0] < 0:
        found = -found
    w, x, y, z = found.tolist()
    return w, x, y, z
