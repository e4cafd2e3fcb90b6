# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a model of COLMAP, binary or text.

The files are ``cameras``, ``images`` and, if there, ``points3D``, each ``.bin`` or ``.txt``. Since version
3.12 there are ``rigs`` and ``frames`` too. Each image still has its own place, so they are not needed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import CameraError
from ..system.safe_read import is_there, open_plain
from .capture import Capture, Gathering, rotation_of
from .lens import MODELS, NAMES, Floats, Lens

KIND: Final = "COLMAP"

_COUNT = struct.Struct("<Q")
_CAMERA = struct.Struct("<IiQQ")
_IMAGE = struct.Struct("<I7dI")
_POINT = struct.Struct("<Q3d3BdQ")
_POINT_2D = 24  # bytes of a key point of an image
_ELEMENT = 8  # bytes of an element of a track
_MAX_NAME = 4096
_BLOCK = 1 << 16

# Which point a photo shows: image id, place among the points.
_Seen = list[NDArray[np.int64]]


def is_model(folder: Path) -> bool:
    """Whether the folder has a model."""
    return _suffix(folder) is not None


def _suffix(folder: Path) -> str | None:
    for suffix in (".bin", ".txt"):
        if all(is_there(folder / f"{name}{suffix}") for name in ("cameras", "images")):
            return suffix
    return None


def read_model(folder: Path, *, points: bool = True) -> Capture:
    """Read the model in a folder, with its points or without.

    Raises
    ------
    CameraError
        There is none, or a file is damaged or can't be read.
    """
    suffix = _suffix(folder)
    if suffix is None:
        raise CameraError(
            f"{folder} has no cameras of COLMAP.",
            "Choose the folder with cameras.bin and images.bin.",
        )
    binary = suffix == ".bin"
    gathered, ids = Gathering(), list[int]()
    path = folder / f"cameras{suffix}"
    with _readable(path) as file:
        lenses = dict((_binary_lenses if binary else _text_lenses)(file))
    path = folder / f"images{suffix}"
    with _readable(path) as file:
        for image, number, name, quaternion, shift in (_binary_images if binary else _text_images)(
            file
        ):
            lens = lenses.get(number)
            if lens is None:
                gathered.refuse(name, ValueError(f"its camera {number} is missing"))
            elif isinstance(lens, ValueError):
                gathered.refuse(name, lens)
            else:
                turn = rotation_of(quaternion)
                if gathered.add(name, lens, turn, -turn.T @ np.array(shift)):
                    ids.append(image)
    places, seen = np.zeros((0, 3)), np.zeros((0, 2), np.int32)
    colors = np.zeros((0, 3), np.uint8)
    path = folder / f"points3D{suffix}"
    if points and is_there(path):
        with _readable(path) as file:
            places, colors, found = (_binary_points if binary else _text_points)(file)
        seen = _by_place(found, ids)
    cameras = tuple(gathered.cameras)
    return Capture(folder, KIND, cameras, places, seen, gathered.sentences(), colors)


class _readable:  # noqa: N801 - reads as a word in `with`
    """Open a file; errors of reading and of the bytes become a CameraError that names it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> BufferedReader:
        try:
            self._file = open_plain(self._path)
        except OSError as problem:
            raise self._error(problem) from problem
        return self._file

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        self._file.close()
        if isinstance(problem, (OSError, ValueError, struct.error, OverflowError, MemoryError)):
            raise self._error(problem) from problem

    def _error(self, problem: BaseException) -> CameraError:
        told = problem.strerror if isinstance(problem, OSError) else "it is damaged or cut off"
        return CameraError(f"{self._path} can't be read: {told}.", "Export the cameras again.")


def _exactly(file: BufferedReader, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ValueError("it is cut off")
    return data


def _lens(name: str, width: int, height: int, params: tuple[float, ...]) -> Lens | ValueError:
    """Return the lens; what is wrong with it counts only if a photo uses it."""
    try:
        return Lens(name, width, height, params)
    except ValueError as problem:
        return problem


def _binary_lenses(file: BufferedReader) -> Iterator[tuple[int, Lens | ValueError]]:
    (count,) = _COUNT.unpack(_exactly(file, _COUNT.size))
    for _ in range(count):
        number, model, width, height = _CAMERA.unpack(_exactly(file, _CAMERA.size))
        name = NAMES.get(model)
        if name is None:  # its length is unknown, and so is the rest of the file
            raise ValueError(f"the camera model {model} is unknown")
        size = MODELS[name].size
        params = struct.unpack(f"<{size}d", _exactly(file, 8 * size))
        yield number, _lens(name, width, height, params)


def _binary_images(
    file: BufferedReader,
) -> Iterator[tuple[int, int, str, tuple[float, ...], tuple[float, ...]]]:
    size = os.fstat(file.fileno()).st_size
    (count,) = _COUNT.unpack(_exactly(file, _COUNT.size))
    for _ in range(count):
        image, *place, number = _IMAGE.unpack(_exactly(file, _IMAGE.size))
        name = bytearray()
        while (letter := _exactly(file, 1)) != b"\0":
            name += letter
            if len(name) > _MAX_NAME:
                raise ValueError("a name does not end")
        (keys,) = _COUNT.unpack(_exactly(file, _COUNT.size))
        if file.seek(keys * _POINT_2D, 1) > size:
            raise ValueError("it is cut off")
        yield image, number, name.decode(errors="replace"), tuple(place[:4]), tuple(place[4:])


def _binary_points(file: BufferedReader) -> tuple[Floats, NDArray[np.uint8], _Seen]:
    (count,) = _COUNT.unpack(_exactly(file, _COUNT.size))
    points: list[tuple[float, float, float]] = []
    colors: list[list[int]] = []
    seen: _Seen = []
    for at in range(count):
        _, x, y, z, *color, _, length = _POINT.unpack(_exactly(file, _POINT.size))
        track = np.frombuffer(_exactly(file, length * _ELEMENT), "<i4")[::2]
        points.append((x, y, z))
        colors.append(color)
        seen.append(_pairs(track, at))
    places = np.array(points, dtype=np.float64).reshape(-1, 3)
    return places, np.array(colors, dtype=np.uint8).reshape(-1, 3), seen


def _pairs(images: NDArray[np.integer[Any]], at: int) -> NDArray[np.int64]:
    found = np.empty((len(images), 2), np.int64)
    found[:, 0], found[:, 1] = images, at
    return found


def _lines(file: BufferedReader) -> Iterator[str]:
    """Yield the lines that are no comment. Empty lines count: an image without key points has one."""
    for line in file:
        if not line.startswith(b"#"):
            yield line.decode("utf-8-sig", errors="replace").strip()


def _text_lenses(file: BufferedReader) -> Iterator[tuple[int, Lens | ValueError]]:
    for line in _lines(file):
        if line:
            number, name, width, height, *params = line.split()
            yield int(number), _lens(name, int(width), int(height), tuple(map(float, params)))


def _text_images(
    file: BufferedReader,
) -> Iterator[tuple[int, int, str, tuple[float, ...], tuple[float, ...]]]:
    lines = _lines(file)
    for line in lines:
        if not line:
            continue
        image, *place, number, name = line.split(maxsplit=9)
        numbers = tuple(map(float, place))
        yield int(image), int(number), name, numbers[:4], numbers[4:]
        next(lines, "")  # its key points


def _text_points(file: BufferedReader) -> tuple[Floats, NDArray[np.uint8], _Seen]:
    points: list[tuple[float, ...]] = []
    colors: list[list[int]] = []
    seen: _Seen = []
    for line in _lines(file):
        if line:
            values = line.split()
            seen.append(_pairs(np.array(values[8::2], dtype=np.int64), len(points)))
            points.append(tuple(map(float, values[1:4])))
            colors.append([min(max(int(one), 0), 255) for one in values[4:7]])
    places = np.array(points, dtype=np.float64).reshape(-1, 3)
    return places, np.array(colors, dtype=np.uint8).reshape(-1, 3), seen


def _by_place(seen: _Seen, ids: list[int]) -> NDArray[np.int32]:
    """Replace ids of images by their places; pairs of images that are not there are dropped."""
    if not seen or not ids:
        return np.zeros((0, 2), np.int32)
    pairs = np.concatenate(seen)
    order = np.argsort(ids, kind="stable")
    known = np.array(ids)[order]
    at = np.searchsorted(known, pairs[:, 0]).clip(0, len(known) - 1)
    there = known[at] == pairs[:, 0]
    found: NDArray[np.int32] = np.stack([order[at], pairs[:, 1]], axis=-1)[there].astype(np.int32)
    return found
