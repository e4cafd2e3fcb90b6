# SPDX-License-Identifier: GPL-3.0-or-later
"""A ring of cameras round a thing, and the files that other programs would write of it."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sam2_splat_addon.core.cameras.capture import FROM_OPENGL, Camera
from sam2_splat_addon.core.cameras.lens import NAMES, Floats, Lens

NUMBERS = {name: number for number, name in NAMES.items()}
POINTS = np.random.default_rng(5).uniform(-0.4, 0.4, (60, 3)) + np.array([1.0, 2, 3])


def ring(count: int = 8, lens: Lens | None = None, names: Sequence[str] = ()) -> list[Camera]:
    """Return cameras that all look at (1, 2, 3) from 4 units away, a little from above."""
    lens = lens or Lens("PINHOLE", 120, 80, (100.0, 100.0, 60.0, 40.0))
    cameras = []
    for at in range(count):
        angle = 2 * math.pi * at / count
        away = np.array([math.cos(angle), math.sin(angle), 0.35])
        cameras.append(looking(names[at] if names else f"IMG_{at:04d}.JPG", lens, away))
    return cameras


def looking(name: str, lens: Lens, away: Floats) -> Camera:
    """Return a camera 4 units from (1, 2, 3) in a direction, which looks at it."""
    ahead = -away / np.linalg.norm(away)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return Camera.at(
        name,
        lens,
        np.stack([right, np.cross(ahead, right), ahead]),
        np.array([1.0, 2, 3]) - 4 * ahead,
    )


def photos(
    folder: Path, cameras: Sequence[Camera], size: tuple[int, int] | None = None
) -> list[Path]:
    """Write an empty photo for each camera and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for camera in cameras:
        path = folder / Path(camera.name.replace("\\", "/")).name
        Image.new("RGB", size or (camera.lens.width, camera.lens.height)).save(path, "JPEG")
        paths.append(path)
    return paths


def quaternion(turn: Floats) -> tuple[float, ...]:
    """Return (w, x, y, z) of a rotation."""
    w = math.sqrt(max(0.0, 1 + turn[0, 0] + turn[1, 1] + turn[2, 2])) / 2
    x = math.sqrt(max(0.0, 1 + turn[0, 0] - turn[1, 1] - turn[2, 2])) / 2
    y = math.sqrt(max(0.0, 1 - turn[0, 0] + turn[1, 1] - turn[2, 2])) / 2
    z = math.sqrt(max(0.0, 1 - turn[0, 0] - turn[1, 1] + turn[2, 2])) / 2
    return (
        w,
        math.copysign(x, turn[2, 1] - turn[1, 2]),
        math.copysign(y, turn[0, 2] - turn[2, 0]),
        math.copysign(z, turn[1, 0] - turn[0, 1]),
    )


def write_colmap(
    folder: Path, cameras: Sequence[Camera], points: Floats = POINTS, *, text: bool = False
) -> Path:
    """Write a model of COLMAP, in which each photo shows all points."""
    folder.mkdir(parents=True, exist_ok=True)
    shifts = [-camera.rotation @ camera.position for camera in cameras]
    if text:
        lines = ["# Camera list"]
        for at, camera in enumerate(cameras, 1):
            lens = camera.lens
            values = " ".join(repr(float(one)) for one in lens.params)
            lines.append(f"{at} {lens.model} {lens.width} {lens.height} {values}")
        (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
        lines = ["# Image list with two lines of data per image:"]
        for at, (camera, shift) in enumerate(zip(cameras, shifts, strict=True), 1):
            numbers = " ".join(repr(float(one)) for one in (*quaternion(camera.rotation), *shift))
            lines += [
                f"{10 * at} {numbers} {at} {camera.name}",
                "1.5 2.5 1 3.5 4.5 -1" if at % 2 else "",
            ]
        (folder / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        track = " ".join(f"{10 * at} 0" for at in range(1, len(cameras) + 1))
        rows = [f"{at} {x} {y} {z} 9 9 9 0.5 {track}" for at, (x, y, z) in enumerate(points)]
        (folder / "points3D.txt").write_text("\n".join(rows) + "\n")
        return folder
    data = struct.pack("<Q", len(cameras))
    for at, camera in enumerate(cameras, 1):
        lens = camera.lens
        data += struct.pack("<IiQQ", at, NUMBERS[lens.model], lens.width, lens.height)
        data += struct.pack(f"<{len(lens.params)}d", *lens.params)
    (folder / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(cameras))
    for at, (camera, shift) in enumerate(zip(cameras, shifts, strict=True), 1):
        data += struct.pack("<I7dI", 10 * at, *quaternion(camera.rotation), *shift, at)
        data += camera.name.encode() + b"\0" + struct.pack("<Q", 2) + bytes(48)
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(points))
    for at, point in enumerate(points):
        data += struct.pack("<Q3d3Bd", at, *point, 9, 9, 9, 0.5)
        data += struct.pack("<Q", len(cameras))
        data += b"".join(struct.pack("<ii", 10 * one, 0) for one in range(1, len(cameras) + 1))
    (folder / "points3D.bin").write_bytes(data)
    return folder


def write_transforms(path: Path, cameras: Sequence[Camera], **others: object) -> Path:
    """Write a transforms.json; every frame has its own lens."""
    frames = []
    for camera in cameras:
        matrix = np.eye(4)
        matrix[:3, :3] = (FROM_OPENGL @ camera.rotation).T
        matrix[:3, 3] = camera.position
        lens = camera.lens
        frame = {"file_path": camera.name, "transform_matrix": matrix.tolist()}
        frame |= {"w": lens.width, "h": lens.height}
        terms = ["k1", "k2", "p1", "p2"] if lens.model == "OPENCV" else ["k1", "k2", "k3", "k4"]
        frame |= dict(zip(["fl_x", "fl_y", "cx", "cy", *terms], lens.params, strict=False))
        if lens.model == "OPENCV_FISHEYE":
            frame["camera_model"] = lens.model
        frames.append(frame)
    path.write_text(json.dumps({"camera_model": "OPENCV", "frames": frames, **others}))
    return path


def write_trained(path: Path, cameras: Sequence[Camera]) -> Path:
    """Write the cameras.json of a 3DGS trainer."""
    rows = [
        {
            "id": at,
            "img_name": Path(camera.name).stem,
            "width": camera.lens.width,
            "height": camera.lens.height,
            "position": camera.position.tolist(),
            "rotation": camera.rotation.T.tolist(),
            "fx": camera.lens.params[0],
            "fy": camera.lens.params[1],
        }
        for at, camera in enumerate(cameras)
    ]
    path.write_text(json.dumps(rows))
    return path
