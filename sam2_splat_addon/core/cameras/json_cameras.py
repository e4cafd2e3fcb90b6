# SPDX-License-Identifier: GPL-3.0-or-later
"""Read cameras that are JSON: nerfstudio's ``transforms.json`` and the ``cameras.json`` of 3DGS trainers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from ..errors import CameraError
from ..system.safe_read import UNREADABLE, read_plain, reason
from .capture import FROM_OPENGL, Capture, Gathering
from .lens import Floats, Lens
from .ply import read_points

NERFSTUDIO: Final = "nerfstudio"
TRAINED: Final = "3DGS"


def _decoded(path: Path) -> Any:
    try:
        return msgspec.json.decode(read_plain(path).removeprefix(b"\xef\xbb\xbf"))
    except OSError as problem:
        told = problem.strerror or str(problem)
    except UNREADABLE as problem:
        told = reason(problem)
    raise CameraError(f"{path} can't be read: {told}.", "Export the cameras again.")


def _strange(path: Path) -> CameraError:
    return CameraError(f"{path} has no cameras.", "Choose the file of the cameras.")


def read_transforms(path: Path, size: tuple[int, int], *, points: bool = True) -> Capture:
    """Read a ``transforms.json``.

    Parameters
    ----------
    path
        The file.
    size
        Width and height of the photos, px, for files that do not say it.
    points
        Whether to read the cloud too.

    Raises
    ------
    CameraError
        It can't be read, or has no cameras.
    """
    found = _decoded(path)
    frames = found.get("frames") if isinstance(found, dict) else None
    if not isinstance(frames, list) or not frames:
        raise _strange(path)
    gathered = Gathering()
    for frame in frames:
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            gathered.refuse("a camera", ValueError("it names no photo"))
            continue
        name = frame["file_path"]
        try:
            lens = _nerf_lens({**found, **frame}, size)
            matrix = np.array(frame.get("transform_matrix"), dtype=np.float64)
            if matrix.shape not in ((4, 4), (3, 4)):
                raise ValueError("its place has a wrong number of values")
        except (ArithmeticError, TypeError, ValueError) as problem:
            gathered.refuse(name, ValueError(str(problem)))
            continue
        turn = FROM_OPENGL @ matrix[:3, :3].T
        gathered.add(name, lens, turn, matrix[:3, 3])
    places, said = np.zeros((0, 3)), gathered.sentences()
    cloud = found.get("ply_file_path")
    if points and isinstance(cloud, str) and cloud:
        try:
            places = read_points(path.parent / cloud)
        except (OSError, ValueError) as problem:
            said = (*said, f"The points in {cloud} can't be read: {_told(problem)}.")
    return Capture(path, NERFSTUDIO, tuple(gathered.cameras), places, left_out=said)


def _told(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem)


def _number(values: Mapping[str, Any], *names: str) -> float | None:
    for name in names:
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _nerf_lens(values: Mapping[str, Any], size: tuple[int, int]) -> Lens:
    """Return the lens of a frame; a frame's own values have replaced those of the file."""
    width = _number(values, "w", "width") or size[0]
    height = _number(values, "h", "height") or size[1]
    model = str(values.get("camera_model", "OPENCV")).upper()
    if model == "EQUIRECTANGULAR":
        return Lens(model, int(width), int(height), (width, height))
    angle_x, angle_y = _number(values, "camera_angle_x"), _number(values, "camera_angle_y")
    fx = _number(values, "fl_x") or (angle_x and width / 2 / math.tan(angle_x / 2))
    fy = _number(values, "fl_y") or (angle_y and height / 2 / math.tan(angle_y / 2)) or fx
    if not fx or not fy:
        raise ValueError("it has no focal length")
    cx, cy = _number(values, "cx"), _number(values, "cy")
    middle = (width / 2 if cx is None else cx, height / 2 if cy is None else cy)
    k1, k2, k3, k4, p1, p2 = (
        _number(values, name) or 0.0 for name in ("k1", "k2", "k3", "k4", "p1", "p2")
    )
    given = values.get("distortion_params")
    if isinstance(given, Sequence) and len(given) == 6:
        k1, k2, k3, k4, p1, p2 = map(float, given)
    if model in ("OPENCV_FISHEYE", "FISHEYE") or values.get("is_fisheye") is True:
        return Lens("OPENCV_FISHEYE", int(width), int(height), (fx, fy, *middle, k1, k2, k3, k4))
    if model not in (
        "OPENCV",
        "PINHOLE",
        "SIMPLE_PINHOLE",
        "PERSPECTIVE",
        "SIMPLE_RADIAL",
        "RADIAL",
    ):
        raise ValueError(f"the camera model {model} is unknown")
    return Lens("BROWN", int(width), int(height), (fx, fy, *middle, k1, k2, k3, k4, p1, p2))


def read_trained(path: Path) -> Capture:
    """Read the ``cameras.json`` that 3DGS trainers write. Its photos have no distortion.

    Raises
    ------
    CameraError
        It can't be read, or has no cameras.
    """
    found = _decoded(path)
    if not isinstance(found, list) or not found:
        raise _strange(path)
    gathered = Gathering()
    for entry in found:
        name = entry.get("img_name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            gathered.refuse("a camera", ValueError("it names no photo"))
            continue
        try:
            width, height = int(entry["width"]), int(entry["height"])
            focal = float(entry["fx"]), float(entry["fy"])
            lens = Lens("PINHOLE", width, height, (*focal, width / 2, height / 2))
            turn: Floats = np.array(entry["rotation"], dtype=np.float64).T
            place: Floats = np.array(entry["position"], dtype=np.float64)
        except (ArithmeticError, KeyError, TypeError, ValueError) as problem:
            gathered.refuse(name, ValueError(str(problem)))
            continue
        gathered.add(name, lens, turn, place)
    return Capture(path, TRAINED, tuple(gathered.cameras), left_out=gathered.sentences())
