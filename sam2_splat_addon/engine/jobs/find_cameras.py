# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the cameras of photos: details, the same details in other photos, and from these the cameras.

What is done stays in the folder of the search. If the user stops it, the next search goes on there; only
the last step, which places the cameras, begins anew.

If the ground stands still in most photos, the subject turns before it. Then only details inside the masks
count or, without masks, only those that move.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from ...core.cameras.capture import Camera
from ...core.cameras.colmap import is_model
from ...core.cameras.export import ImageCamera, colmap_files, lens_and_rotation
from ...core.cameras.find import FEWEST, PhotoCamera, cameras_of
from ...core.cameras.found import (
    FOLDER,
    FOUND_NAME,
    MODEL,
    SEARCH,
    FoundCameras,
    folder_beside,
    read_found,
    seconds_for,
)
from ...core.cameras.lens import Floats, Lens
from ...core.edited_prompts import mask_prompt
from ...core.errors import CameraError, Cancelled, DamagedPhoto, PackageError, StoreError
from ...core.footage.scan import shorten
from ...core.geometry.orientation import PhotoShape
from ...core.geometry.resample import upsample_binary
from ...core.mattes.run_lock import only_run
from ...core.mattes.store import MatteStore
from ...core.printable import counted
from ...core.protocol import FindCamerasRequest, Log, Progress
from ...core.system.atomic_file import write_atomic
from ...core.system.safe_read import UNREADABLE, read_plain
from ..images.raw import looked_at
from ..images.reduced import small_upright

if TYPE_CHECKING:
    from ..cameras.colmap import Search
    from ..cameras.details import Details

PACKAGE: Final = "pycolmap"
_KEY_NAME: Final = "search.json"
_VERSION: Final = "1"  # of the steps below: with another one a search begins anew
_WHOLE, _INSIDE, _MOVING = "whole", "inside", "moving"
_MOST_READERS: Final = 4  # each needs about half a gigabyte
_MASKED: Final = 0.8  # share of the photos that must have a mask
_MARGIN: Final = 0.01  # of the longer side: so far beside a mask details still count
_HALF: Final = 0.5


@dataclass(frozen=True)
class Report:
    """The result: the folder, what was found, and sentences for the user.

    ``damaged`` names photos that do not decode. ``found`` is None if other cameras were there already.
    """

    folder: Path
    found: FoundCameras | None
    summary: str
    warnings: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


class _Key(msgspec.Struct, frozen=True):
    """What the kept steps of a search depend on."""

    footage: str
    versions: tuple[str, ...]
    raw_photos: str


class _Steps:
    """Tell the progress over all steps, in seconds as they were expected, and stop if the user wants it."""

    def __init__(
        self, photos: int, threads: int, tell: Callable[[Progress], None], stop: Callable[[], bool]
    ) -> None:
        self._parts = seconds_for(photos, threads)
        self._tell, self._stop = tell, stop
        self._began = time.monotonic()
        self._first: float | None = None  # share that was done when this search went on

    def __call__(self, part: int, stage: str, done: int, total: int) -> None:
        if self._stop():
            raise Cancelled
        whole = sum(self._parts)
        at = sum(self._parts[:part]) + self._parts[part] * min(done / max(total, 1), 1.0)
        share = at / whole
        if self._first is None:
            self._first = share
        gone, passed = share - self._first, time.monotonic() - self._began
        left = (1 - share) * (passed / gone if gone > 0.02 else whole)
        self._tell(Progress(stage, round(1000 * share), 1000, seconds_left=left))


def run(
    request: FindCamerasRequest,
    *,
    on_progress: Callable[[Progress], None],
    on_log: Callable[[Log], None],
    cancelled: Callable[[], bool],
) -> Report:
    """Find the cameras of the photos, and write them beside the masks.

    Raises
    ------
    CameraError
        Too few photos, or they show too little in common; or the folder can't be used.
    PackageError
        pycolmap is missing.
    Cancelled
        ``cancelled`` returned True. The steps so far are kept.
    FootageError
        A photo is gone.
    """
    if len(request.footage.paths) < FEWEST:
        raise CameraError(
            f"Cameras can be found for {FEWEST} photos or more, and there are"
            f" {len(request.footage.paths)}.",
            "Load more photos of the same thing.",
        )
    there = _there_already(request)
    if there is not None:
        return there
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise missing_package() from None
    threads = request.threads or os.cpu_count() or 1
    steps = _Steps(len(request.footage.paths), threads, on_progress, cancelled)
    folder = folder_beside(Path(request.store))
    try:
        FOLDER.claim(folder)
        key = _Key(request.footage.fingerprint, (version, _VERSION), request.raw_photos)
        with _only_search(folder):
            goes_on = _keep_same(folder, key)
            try:
                return _found(request, folder, threads, steps, on_log)
            except RuntimeError:  # COLMAP's own, such as for a damaged database
                if not goes_on:
                    raise
            on_log(Log("warning", "What was kept of the last search is damaged. It begins anew."))
            FOLDER.remove(folder, SEARCH)
            _keep_same(folder, key)
            return _found(request, folder, threads, steps, on_log)
    except OSError as problem:
        raise CameraError(
            f"{folder} can't be written: {problem.strerror or problem}.",
            "Free some disk space, or choose another folder for the mattes.",
        ) from problem


def _there_already(request: FindCamerasRequest) -> Report | None:
    """Return what is to be said if all photos have cameras of another program, or found ones."""
    footage, folder = request.footage, folder_beside(Path(request.store))
    found = read_found(folder)
    is_same = found is not None and found.footage == footage.fingerprint
    if found is not None and is_same and not found.missing and is_model(folder / MODEL):
        return Report(folder, found, f"The cameras were found already. {found.sentence()}")
    try:
        paths = [Path(path) for path in footage.paths]
        size = (footage.width, footage.height)
        model = folder / MODEL
        cameras = cameras_of(paths, *size, None, footage.odd_sizes, looked_at, model)
    except CameraError:
        return None
    if FOLDER.owns(cameras.source.parent.parent) or len(cameras.by_frame) < len(footage.paths):
        return None
    said = f"There are cameras of all photos already, which are used. {cameras.summary()}"
    return Report(cameras.source, None, said)


def missing_package() -> PackageError:
    """Return the error that says that pycolmap is not there."""
    return PackageError(
        "Find Cameras needs the package pycolmap, which is not installed.",
        "Press Install pycolmap in the Cameras panel.",
    )


@contextlib.contextmanager
def _only_search(folder: Path) -> Iterator[None]:
    """Lock the folder; raises CameraError while another process searches there."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(only_run(folder))
        except StoreError as problem:
            raise CameraError(
                "Another Blender is finding the cameras of these photos.",
                "Wait until it has finished, or cancel it there; then try again.",
            ) from problem
        yield


def _keep_same(folder: Path, key: _Key) -> bool:
    """Remove what is left of a search over other photos or with another version.

    Returns whether this search goes on where an earlier one stopped.
    """
    path = folder / SEARCH / _KEY_NAME
    try:
        if msgspec.json.decode(read_plain(path), type=_Key) == key:
            return True
    except (OSError, *UNREADABLE):
        pass
    FOLDER.remove(folder, SEARCH)
    FOLDER.make(folder, SEARCH)
    write_atomic(path, msgspec.json.encode(key))
    return False


def _found(
    request: FindCamerasRequest,
    folder: Path,
    threads: int,
    steps: _Steps,
    on_log: Callable[[Log], None],
) -> Report:
    from ..cameras import colmap

    footage = request.footage
    search = colmap.Search(folder, _WHOLE, threads)
    try:
        damaged = _read(request, search, threads, steps)
        frames = search.frames()
        if len(frames) < FEWEST:
            raise _too_little_in_common()
        search.share_lenses()
        pairs, is_film = _pairs(search, frames)
        order = "a film" if is_film else "photos in any order"
        on_log(Log("info", f"Comparing {len(pairs)} pairs of {len(frames)} photos: {order}."))
        _compare(search, pairs, steps, moving_only=False)
        if search.stands_still():
            search, said = _turning(request, search, pairs, threads, steps)
            on_log(Log("info", said))
        placed = 0

        def on_placed() -> None:
            nonlocal placed
            placed += 1
            steps(2, "placing", placed, len(frames))

        steps(2, "placing", 0, len(frames))
        models = search.place(on_placed)
        doubtful = search.doubtful(models[0]) if models else set()
    finally:
        search.close()
    if not models or models[0].num_reg_images() - len(doubtful) < FEWEST:
        raise _too_little_in_common()
    found, files = _written(request, models[0], doubtful)
    _replace_model(FOLDER.make(folder, MODEL), files)
    write_atomic(folder / FOUND_NAME, msgspec.json.format(msgspec.json.encode(found)))
    FOLDER.remove(folder, SEARCH)
    names = tuple(footage.name_of(frame) for frame in damaged)
    said = f"Found cameras. {found.sentence()}"
    return Report(folder, found, said, _warnings(found, models), names)


def _replace_model(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a model so that it is never half an old one: without images there is none."""
    last = "images.bin"
    (folder / last).unlink(missing_ok=True)
    for name in sorted(files, key=lambda one: one == last):
        write_atomic(folder / name, files[name])


def _too_little_in_common() -> CameraError:
    return CameraError(
        "No cameras were found, because these photos show too little in common.",
        "Each photo should show most of what the one before shows, with some of the ground around the"
        " subject, and sharp.",
    )


def _read(
    request: FindCamerasRequest, search: Search, threads: int, steps: _Steps
) -> tuple[int, ...]:
    """Find the details of all photos that are not known yet. Return the frames of damaged ones."""
    from ..cameras.details import details_of

    paths = [Path(path) for path in request.footage.paths]
    known = set(search.frames())
    waiting = [frame for frame in range(1, len(paths) + 1) if frame not in known]
    damaged: list[int] = []

    def of_frame(frame: int) -> Details | None:
        try:
            return details_of(paths[frame - 1], request.raw_photos)
        except DamagedPhoto:
            return None

    done = len(known)
    steps(0, "details", done, len(paths))
    readers = max(1, min(threads, _MOST_READERS))
    with ThreadPoolExecutor(readers, thread_name_prefix="details") as pool:
        for begin in range(0, len(waiting), readers):  # so that few photos are in memory
            some = waiting[begin : begin + readers]
            for frame, details in zip(some, pool.map(of_frame, some), strict=True):
                if details is None:
                    damaged.append(frame)
                else:
                    search.add(frame, details)
                done += 1
                steps(0, "details", done, len(paths))
    return tuple(damaged)


def _pairs(search: Search, frames: Sequence[int]) -> tuple[list[tuple[int, int]], bool]:
    """Return the pairs of frames to compare, and whether the photos are a film."""
    from ..cameras.pairs import DETAILS, likely_pairs

    places, is_film = likely_pairs([search.descriptors(frame)[:DETAILS] for frame in frames])
    return [(frames[one], frames[other]) for one, other in places], is_film


def _compare(
    search: Search, pairs: Sequence[tuple[int, int]], steps: _Steps, *, moving_only: bool
) -> None:
    from ..cameras.pairs import in_tiles

    done = 0
    for some in in_tiles(pairs):
        steps(1, "matching", done, len(pairs))
        search.compare(some, moving_only=moving_only)
        done += len(some)
    steps(1, "matching", done, len(pairs))


def _turning(
    request: FindCamerasRequest,
    whole: Search,
    pairs: Sequence[tuple[int, int]],
    threads: int,
    steps: _Steps,
) -> tuple[Search, str]:
    """Compare the photos again, without the ground that stands still. Return that search, and why."""
    from ..cameras.colmap import Search

    frames = whole.frames()
    masks = _Masks(request)
    has_masks = len(masks.frames.intersection(frames)) >= _MASKED * len(frames)
    kept = {at: masks.inside(at, whole.details(at)) for at in frames} if has_masks else {}
    name = f"{_INSIDE}_{_digest(kept)}" if has_masks else _MOVING  # other masks, another search
    search = Search(whole.folder, name, threads)
    try:
        known = set(search.frames())
        for frame in frames:
            if frame not in known:
                details = whole.details(frame)
                search.add(frame, details.only(kept[frame]) if has_masks else details)
        whole.close()
        search.share_lenses()
        _compare(search, pairs, steps, moving_only=not has_masks)
    except BaseException:
        search.close()
        raise
    if has_masks:
        return search, "The ground stands still, so only what is inside the masks counts."
    return search, "The ground stands still, so only what moves counts."


def _digest(kept: Mapping[int, NDArray[np.bool_]]) -> str:
    """Return a short mark of which details of each frame count."""
    mark = hashlib.sha256()
    for frame, counts in sorted(kept.items()):
        mark.update(b"%d:" % frame + np.packbits(counts).tobytes())
    return mark.hexdigest()[:16]


class _Masks:
    """The masks of a request: all subjects together."""

    def __init__(self, request: FindCamerasRequest) -> None:
        self._sizes = request.footage.sizes
        self._store = MatteStore(Path(request.store))
        self._drawn = {(one.object_id, one.frame): one for one in request.edited}
        objects = {*self._store.objects(), *(one.object_id for one in request.edited)}
        self._of_frame: dict[int, list[int]] = {}
        for object_id in sorted(objects):
            drawn = {frame for number, frame in self._drawn if number == object_id}
            for frame in {*self._store.frames(object_id), *drawn}:
                self._of_frame.setdefault(frame, []).append(object_id)
        self.frames = frozenset(self._of_frame)

    def inside(self, frame: int, details: Details) -> NDArray[np.bool_]:
        """Return which details lie in a mask of the photo, or close to it, (n,)."""
        size = (details.width, details.height)
        inside = np.zeros(size[::-1], bool)
        for object_id in self._of_frame.get(frame, ()):
            inside |= self._mask(object_id, frame, size)
        reach = max(1, round(_MARGIN * max(size)))
        wide = cv2.dilate(inside.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
        x, y = details.places[:, :2].astype(np.int64).T
        found: NDArray[np.bool_] = wide[y.clip(0, size[1] - 1), x.clip(0, size[0] - 1)] > 0
        return found

    def _mask(self, object_id: int, frame: int, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return a mask of an upright copy of this size."""
        shape = self._sizes.shape(frame)
        drawn = self._drawn.get((object_id, frame))
        if drawn is not None:
            stored = mask_prompt(drawn, shape.width, shape.height).to_array()
            upright = np.ascontiguousarray(shape.mask_to_upright(stored), np.uint8)
            return np.asarray(cv2.resize(upright, size, interpolation=cv2.INTER_NEAREST)) > 0
        record = self._store.read(object_id, frame)
        return upsample_binary(shape.mask_to_upright(record.logits), *size)


def _written(
    request: FindCamerasRequest, model: Any, left_out: Collection[int]
) -> tuple[FoundCameras, dict[str, bytes]]:
    """Return what was found, and the files of the model, for the photos' own pixels."""
    from ..cameras.colmap import points_of, shown_by
    from ..cameras.details import SIDE

    footage = request.footage
    points, places = points_of(model)
    images = {
        one.image_id: one
        for one in model.images.values()
        if one.has_pose and one.image_id not in left_out
    }
    shown = {frame: shown_by(images[frame], places) for frame in sorted(images)}
    counts = np.zeros(len(points))
    for which, _ in shown.values():
        counts[which] += 1
    kept = counts >= 2  # a photo that was left out may have been the second one
    place_of = np.cumsum(kept) - 1
    sums = np.zeros((len(points), 3))
    cameras = []
    for frame, (which, pixels) in shown.items():
        own = kept[which]
        which, pixels = which[own], pixels[own]
        copy, _ = small_upright(Path(footage.paths[frame - 1]), SIDE, request.raw_photos)
        x, y = pixels.astype(np.int64).T
        sums[which] += copy[y.clip(0, copy.shape[0] - 1), x.clip(0, copy.shape[1] - 1)]
        turn = _stored(images[frame], footage.sizes.shape(frame))
        stored = pixels @ turn.to_photo[:, :2].T + turn.to_photo[:, 2]
        brought = lens_and_rotation(turn)
        assert brought is not None  # every turn of this lens can be written
        name, place = footage.name_of(frame), place_of[which]
        cameras.append(ImageCamera(name, "", *brought, turn.position, place, stored))
    colors = np.round(sums[kept] / counts[kept][:, None]).astype(np.uint8)
    missing = [footage.name_of(at) for at in range(1, len(footage.paths) + 1) if at not in images]
    found = FoundCameras(
        footage.fingerprint,
        len(footage.paths),
        len(cameras),
        tuple(missing),
        round(float(model.compute_mean_reprojection_error()), 3),
        int(kept.sum()),
    )
    return found, colmap_files(cameras, points[kept], colors)


def _stored(image: Any, shape: PhotoShape) -> PhotoCamera:
    """Return the camera of an image of the model in the stored pixels of its photo."""
    from ..cameras.details import scale_of

    taken = image.camera
    lens = Lens(taken.model_name, taken.width, taken.height, tuple(map(float, taken.params)))
    pose = image.cam_from_world()
    rotation = np.asarray(pose.rotation.matrix(), np.float64)
    position = -rotation.T @ np.asarray(pose.translation, np.float64)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) / scale_of(*shape.upright)
    origin, right, down = shape.points_to_stored(corners)
    to_stored: Floats = np.stack([right - origin, down - origin, origin], axis=1)
    camera = Camera.at(image.name, lens, rotation, position)
    return PhotoCamera(camera, to_stored, shape.width, shape.height)


def _warnings(found: FoundCameras, models: Sequence[Any]) -> tuple[str, ...]:
    """Say what is not as it should be."""
    said = []
    if found.placed < _HALF * found.photos:
        said.append("Less than half of the photos have a camera.")
    if found.missing:
        said.append(f"These show too little of what the others show: {shorten(found.missing)}.")
    if len(models) > 1:
        second = counted(models[1].num_reg_images(), "photo")
        said.append(
            f"Another part of {second} shows nothing of the largest part, so it is left out."
        )
    return tuple(said)
