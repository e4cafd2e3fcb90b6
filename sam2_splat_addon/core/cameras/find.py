# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the cameras of photos in the folders around them, and bring them to the photos' own pixels."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import CameraError, FootageError
from ..footage.headers import RawReader, read_header
from ..footage.scan import shorten
from ..printable import counted
from ..system.safe_read import is_folder, is_there, read_plain
from . import colmap, json_cameras, realityscan
from .capture import Camera, Capture
from .found import DEFAULT_NAME, MODEL
from .lens import Floats
from .matching import matched

FEWEST: Final = 3
"""The fewest photos with a camera that say something about each other."""

_PLACES = (
    *("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "distorted/sparse/0"),
    *("colmap/0", "colmap", "."),
)
_JSON = ("transforms.json", "cameras.json", "output_cameras.json")
_SHAPE = 0.02  # how far the shapes of a camera's picture and of its photo may differ, as a ratio
_FITTING = 0.5  # the share of points that must lie in the photos that show them


@dataclass(frozen=True, eq=False)
class PhotoCamera:
    """The camera of a photo, in the photo's own pixels.

    Attributes
    ----------
    camera
        As its file has it.
    to_photo
        (2, 3): brings pixels of the camera's picture to pixels of the photo, which may be smaller, larger or
        turned.
    width, height
        Size of the photo, px.
    """

    camera: Camera
    to_photo: Floats
    width: int
    height: int

    @property
    def position(self) -> Floats:
        """Where the camera is, (3,)."""
        return self.camera.position

    @property
    def axis(self) -> Floats:
        """The direction in which the camera looks, (3,)."""
        axis: Floats = self.camera.rotation[2]
        return axis

    @property
    def focal(self) -> float:
        """How many px of the photo a radian has in its middle."""
        scale = math.sqrt(abs(float(np.linalg.det(self.to_photo[:, :2]))))
        return self.camera.lens.focal * scale

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the pixels of points of the world, and how far away they are.

        Parameters
        ----------
        points
            (n, 3).

        Returns
        -------
        pixels : NDArray
            (n, 2): x and y, px; NaN where the camera can't see the point, for example behind it.
        distance : NDArray
            (n,): from the camera, in units of the world.
        """
        own = self.camera.seen_from(points)
        pixels = self.camera.lens.project(own)
        found: Floats = pixels @ self.to_photo[:, :2].T + self.to_photo[:, 2]
        return found, np.linalg.norm(own, axis=1)

    def rays(self, pixels: Floats) -> Floats:
        """Return the directions of pixels of the photo in the world, unit vectors (n, 3); NaN for none."""
        own: Floats = np.asarray(pixels, dtype=np.float64) - self.to_photo[:, 2]
        own = own @ np.linalg.inv(self.to_photo[:, :2]).T
        found: Floats = self.camera.lens.unproject(own) @ self.camera.rotation
        return found

    def inside(self, pixels: Floats) -> NDArray[np.bool_]:
        """Return which pixels lie in the photo, (n,)."""
        x, y = pixels[:, 0], pixels[:, 1]
        with np.errstate(invalid="ignore"):
            found: NDArray[np.bool_] = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        return found


@dataclass(frozen=True, eq=False)
class PhotoCameras:
    """The cameras of the photos of one footage.

    Attributes
    ----------
    source, kind
        Where they are from, and the name of that program.
    by_frame
        Frame number -> camera. Photos without a camera are not there.
    points, colors
        (n, 3): points of the scene, and their colours; may be empty.
    shown
        Frame number -> places of the points that the photo shows; empty if unknown.
    warnings
        What was left out, as sentences for the user.
    """

    source: Path
    kind: str
    by_frame: dict[int, PhotoCamera]
    points: Floats
    shown: dict[int, NDArray[np.int32]]
    warnings: tuple[str, ...] = ()
    colors: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 3), np.uint8))

    def summary(self) -> str:
        """Return one sentence that says what was found."""
        return f"{self.kind}: cameras of {counted(len(self.by_frame), 'photo')} from {self.source}."


def cameras_of(
    photos: Sequence[Path],
    width: int,
    height: int,
    place: Path | None = None,
    odd: Mapping[int, tuple[int, int]] = MappingProxyType({}),
    raw: RawReader | None = None,
    found: Path | None = None,
) -> PhotoCameras:
    """Find and read the cameras of photos.

    Of several, those of the most photos count; of as many, those of another program, not our own.

    Parameters
    ----------
    photos
        Absolute paths, frame 1 first.
    width, height
        Size of every photo that is not odd, in stored pixel order, px.
    place
        The file or folder of the cameras. None looks beside and above the photos.
    odd
        Frame -> size of each photo with another size.
    raw
        Tells the orientation of a camera RAW photo, as in `read_header`.
    found
        The model that *Find Cameras* may have written, if not in its usual place beside the photos. It is
        read only without a place.

    Raises
    ------
    CameraError
        There are none, or none of these photos, or they contradict themselves. One sentence says which.
    """
    size = (width, height)
    usable: list[tuple[tuple[int, bool, bool], _Source]] = []
    problems: list[CameraError] = []
    others: list[Capture] = []
    for source in _sources(photos, place, found):
        try:
            capture = source.read(photos, size, points=False)
        except CameraError as problem:
            problems.append(problem)
            continue
        pairs = matched(photos, [camera.name for camera in capture.cameras])
        others.append(capture)
        exact = all(
            (lens.width, lens.height) == size
            for lens in (capture.cameras[at].lens for at in pairs.values())
        )
        if pairs:
            usable.append(((len(pairs), not source.is_ours, exact), source))
    if not usable:
        if problems:
            raise problems[0]
        raise _none_of_these(others, photos, place)
    problems.clear()
    for _, source in sorted(usable, key=lambda one: one[0], reverse=True):
        try:
            return _brought_to(source.read(photos, size, points=True), photos, size, odd, raw)
        except CameraError as problem:
            problems.append(problem)
    raise problems[0]


def _none_of_these(
    others: list[Capture], photos: Sequence[Path], place: Path | None
) -> CameraError:
    named = next((camera.name for other in others for camera in other.cameras), None)
    if named is not None:
        return CameraError(
            f"The cameras in {others[0].source} are of other photos, such as {named}.",
            "Choose the cameras of these photos.",
        )
    if others:
        return CameraError(
            f"No camera in {others[0].source} can be used.", "Export the cameras again."
        )
    fix = (
        "Name the folder or file with the cameras of COLMAP, nerfstudio, RealityScan or a trainer."
    )
    if place is not None:
        return CameraError(f"No cameras were found in {place}.", fix)
    folder = photos[0].parent if photos else Path()
    return CameraError(f"No cameras were found in {folder} or above it.", fix)


@dataclass(frozen=True)
class _Source:
    """A file or folder that may have cameras."""

    path: Path
    kind: str
    is_ours: bool = False

    def read(self, photos: Sequence[Path], size: tuple[int, int], *, points: bool) -> Capture:
        """Read it; raises CameraError."""
        if self.kind == "colmap":
            return colmap.read_model(self.path, points=points)
        if self.kind == "csv":
            return realityscan.read_export(self.path, size)
        if self.kind == "xmp":
            return realityscan.read_sidecars(photos, size, self.path)
        try:
            is_list = read_plain(self.path).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"[")
        except OSError as problem:
            raise CameraError(
                f"{self.path} can't be read: {problem.strerror or problem}.",
                "Export the cameras again.",
            ) from problem
        if is_list:
            return json_cameras.read_trained(self.path)
        return json_cameras.read_transforms(self.path, size, points=points)


def _sources(photos: Sequence[Path], place: Path | None, found: Path | None) -> Iterator[_Source]:
    """Yield what may have cameras, the likeliest first, each once."""
    if place is None:
        folder = photos[0].parent if photos else Path()
        bases = list(dict.fromkeys((folder, folder.parent, folder.parent.parent)))
    elif is_folder(place):
        bases = [place]
    else:
        yield _file(place)
        return
    seen: set[Path] = set()
    for base in bases:
        for source in _in_folder(base):
            with contextlib.suppress(OSError):
                known = source.path.resolve()
                if known not in seen:
                    seen.add(known)
                    yield source
    if photos and any(is_there(photo.with_suffix(".xmp")) for photo in photos[:FEWEST]):
        yield _Source(photos[0].parent, "xmp")
    if place is None:
        ours = [base / DEFAULT_NAME / MODEL for base in bases[:1]]
        for model in dict.fromkeys(([] if found is None else [found]) + ours):
            if colmap.is_model(model):
                yield _Source(model, "colmap", is_ours=True)


def _file(path: Path) -> _Source:
    """Return the source that a file belongs to."""
    kind = path.suffix.lower()
    if kind in (".bin", ".txt"):
        return _Source(path.parent, "colmap")
    return _Source(path, {".csv": "csv", ".xmp": "xmp"}.get(kind, "json"))


def _in_folder(base: Path) -> Iterator[_Source]:
    for place in _PLACES:
        folder = base / place
        if colmap.is_model(folder):
            yield _Source(folder, "colmap")
    # COLMAP numbers the parts of a capture that it could not join.
    for numbered in sorted((base / "sparse").glob("[1-9]*")):
        if colmap.is_model(numbered):
            yield _Source(numbered, "colmap")
    for name in _JSON:
        if is_there(base / name):
            yield _Source(base / name, "json")
    try:
        tables = sorted(path for path in base.glob("*.csv") if realityscan.is_export(path))
    except OSError:
        return
    for path in tables:
        yield _Source(path, "csv")


def _brought_to(
    capture: Capture,
    photos: Sequence[Path],
    usual: tuple[int, int],
    odd: Mapping[int, tuple[int, int]],
    raw: RawReader | None,
) -> PhotoCameras:
    """Bring each camera to the pixels of its photo."""
    pairs = matched(photos, [camera.name for camera in capture.cameras])
    fitting: dict[int, Floats] = {}
    other_shape: list[str] = []
    turned_by_tag: dict[int, Floats] = {}
    for at, number in pairs.items():
        lens, size = capture.cameras[number].lens, odd.get(at + 1, usual)
        if _have_one_shape((lens.width, lens.height), size):
            fitting[at] = _scaling((lens.width, lens.height), size)
            continue
        turn = None
        if _have_one_shape((lens.height, lens.width), size):
            turn = _turning((lens.width, lens.height), size, _orientation(photos[at], raw))
        if turn is None:
            other_shape.append(photos[at].name)
        else:
            turned_by_tag[at] = turn
    if turned_by_tag:  # so the program follows tags, and has turned photos that are upside down too
        for at in fitting:
            lens, size = capture.cameras[pairs[at]].lens, odd.get(at + 1, usual)
            turn = _turning((lens.width, lens.height), size, _orientation(photos[at], raw))
            fitting[at] = fitting[at] if turn is None else turn
    fitting |= turned_by_tag
    by_frame = {
        at + 1: PhotoCamera(capture.cameras[pairs[at]], fitting[at], *odd.get(at + 1, usual))
        for at in sorted(fitting)
    }
    said = list(capture.left_out)
    if other_shape:
        said.append(
            f"The cameras of {shorten(other_shape)} are for photos of another shape or turned photos,"
            " so they are not used."
        )
    missing = [photo.name for at, photo in enumerate(photos) if at not in pairs]
    if missing:
        said.append(f"These photos have no camera: {shorten(missing)}.")
    if len(by_frame) < FEWEST:
        raise CameraError(
            f"The cameras in {capture.source} fit only {len(by_frame)} of {len(photos)} photos."
            + "".join(f" {one}" for one in said),
            "Choose the cameras of these photos.",
        )
    frames = {pairs[at]: at + 1 for at in fitting}
    shown = _shown(capture, frames)
    _require_fitting(capture, by_frame, shown)
    return PhotoCameras(
        capture.source, capture.kind, by_frame, capture.points, shown, tuple(said), capture.colors
    )


def _shown(capture: Capture, frames: dict[int, int]) -> dict[int, NDArray[np.int32]]:
    """Return the points of each frame."""
    if not len(capture.seen):
        return {}
    order = np.argsort(capture.seen[:, 0], kind="stable")
    cameras, points = capture.seen[order].T
    starts = np.searchsorted(cameras, np.arange(len(capture.cameras) + 1))
    return {
        frame: np.unique(points[starts[number] : starts[number + 1]])
        for number, frame in frames.items()
    }


def _require_fitting(
    capture: Capture, by_frame: dict[int, PhotoCamera], shown: dict[int, NDArray[np.int32]]
) -> None:
    """Raise CameraError if most points are not in the photos that show them."""
    inside = total = 0
    for frame, points in shown.items():
        pixels, _ = by_frame[frame].project(capture.points[points])
        inside += int(by_frame[frame].inside(pixels).sum())
        total += len(points)
    if total and inside < _FITTING * total:
        raise CameraError(
            f"The cameras in {capture.source} contradict their own points.",
            "Export cameras and points again, from one program.",
        )


def _have_one_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have the same ratio of sides, as far as whole pixels allow."""
    wide, high = one[0] / other[0], one[1] / other[1]
    slack = _SHAPE + 1.0 / min(*one, *other)
    return abs(wide / high - 1.0) <= slack


def _scaling(camera: tuple[int, int], photo: tuple[int, int]) -> Floats:
    return np.array([[photo[0] / camera[0], 0.0, 0.0], [0.0, photo[1] / camera[1], 0.0]])


def _turning(camera: tuple[int, int], photo: tuple[int, int], orientation: int) -> Floats | None:
    """Return how an upright picture lies in the stored photo, by its EXIF orientation; None for none."""
    right, down = photo
    turns = {
        3: [[-1.0, 0.0, right], [0.0, -1.0, down]],
        5: [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]],
        6: [[0.0, 1.0, 0.0], [-1.0, 0.0, down]],
        7: [[0.0, -1.0, right], [-1.0, 0.0, down]],
        8: [[0.0, -1.0, right], [1.0, 0.0, 0.0]],
    }
    if orientation not in turns:
        return None
    upright = photo if orientation == 3 else (down, right)
    turn = np.array(turns[orientation])
    turn[:, :2] *= [upright[0] / camera[0], upright[1] / camera[1]]
    return turn


def _orientation(photo: Path, raw: RawReader | None) -> int:
    try:
        return read_header(photo, raw).orientation
    except (OSError, FootageError):
        return 1
