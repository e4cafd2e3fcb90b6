# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake: write the images and masks that trainers read.

A small pool of threads works on the frames. One thread decodes a frame, makes its alpha and writes
it for all trainers. So memory use depends on the number of threads, not on the number of frames. The
bytes of an image depend only on its photo, its mattes and the options.

A trainer that reads masks gets the photos themselves, linked or copied. They are not even decoded then.
They come after the masks of all frames, and the manifests come last. So if a bake stops early, the
finished images stay on disk, each of them whole, and nothing looks complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import importlib.metadata
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.bake_plan import BakeItem, BakeOptions, BakeOutput, BakePlan, plan_bake
from ...core.cameras.export import upright_cameras
from ...core.cameras.find import cameras_of
from ...core.errors import (
    BakeError,
    CameraError,
    Cancelled,
    DamagedPhoto,
    FootageError,
    StoreError,
)
from ...core.footage.damaged_photos import DamagedFrame, left_out, read_damaged
from ...core.footage.file_stamps import Stamp, stamp_of
from ...core.footage.scan import hash_photos, shorten
from ...core.geometry.orientation import AS_STORED, PhotoShape, back
from ...core.geometry.rasterize import fill
from ...core.mattes.run_record import require_same_photos
from ...core.mattes.store import MatteMark, MatteStore
from ...core.mattes.unfinished_run import void_keys
from ...core.protocol import BakeRequest, EditedMatte, FrameDone, Progress
from ...core.system.atomic_file import FolderSync, make_folder, sync_folder, write_atomic
from ...core.system.process_memory import peak_memory_mb, total_memory
from ...core.system.shared_copy import share
from ...core.targets import targets_named
from ..images.alpha import Depth, Layers, Mattes, combine_roles, mask_values
from ..images.decode import ImagePixels, decode
from ..images.orientation_tag import exif_with
from ..images.png import write_grey, write_rgb, write_rgba
from ..images.raw import looked_at, read_header
from ..images.smaller import halved_mask, write_smaller
from ..images.upright import upright
from .bake_manifest import MANIFEST_NAME, describe, write_manifest
from .dataset import Dataset

if TYPE_CHECKING:
    from ..refine.edge_model import EdgeModel
    from .compare import ClipHull

# Most bytes held for one pixel of a frame: 24 megapixels of 16 bit took 292 and 475 MB.
_BYTES, _REFINED_BYTES = 12, 20
_TURNED_BYTES = 6  # more for a photo that is turned
_MAX_THREADS = 8  # each holds a photo and its alpha: 0.4 GB for 54 megapixels of 8 bit
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 0.3
_STRIPE_ROWS = 256
CAMERA_MASK = "camera_mask.png"
# The extensions of photos that every trainer reads. The first one is given to photos with another one.
_EXTENSIONS = {"jpeg": (".jpg", ".jpeg"), "png": (".png",)}
_PACKAGES = (
    "numpy",
    "pillow",
    "simplejpeg",
    "opencv-python-headless",
    "tifffile",
    "OpenEXR",
    "isal",
    "zlib-ng",
)


@dataclass(frozen=True)
class BakeReport:
    """What a bake wrote. Frames count from 1.

    Attributes
    ----------
    folder, masks_folder
        The folder of the images, and the folder of the sidecar masks, if any.
    frames
        Baked frames, rising.
    without_matte
        Frames that were left out because no object has a matte there.
    incomplete
        Frames that were baked although some object has no matte there.
    unfinished
        Frames that were left out because a run over them did not finish. A matte there is older
        than that run.
    damaged
        Frames with a damaged matte. It was not used.
    damaged_photos
        Photos that were left out because they don't decode whole.
    cannot_ignore
        Labels of the trainers that take what is ignored for removed.
    about_cameras
        Sentences about cameras that were left out.
    """

    folder: Path
    masks_folder: Path | None
    frames: tuple[int, ...]
    without_matte: tuple[int, ...]
    incomplete: tuple[int, ...]
    unfinished: tuple[int, ...] = ()
    damaged: tuple[int, ...] = ()
    damaged_photos: tuple[DamagedFrame, ...] = ()
    cannot_ignore: tuple[str, ...] = ()
    about_cameras: tuple[str, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        """Return sentences for the user. Empty when all frames were baked from all objects."""
        said = [left_out(self.damaged_photos)] if self.damaged_photos else []
        if self.without_matte:
            said.append(f"Left out, because no mask is there: {_frames(self.without_matte)}.")
        if self.unfinished:
            said.append(
                "Left out, because the last propagation did not reach them:"
                f" {_frames(self.unfinished)}. Propagate again to finish it."
            )
        if self.damaged:
            said.append(f"Masks that are damaged and were not used: {_frames(self.damaged)}.")
        if self.incomplete:
            said.append(f"Some subjects have no mask here: {_frames(self.incomplete)}.")
        if self.cannot_ignore:
            said.append(
                "What you ignore is removed here, as this trainer knows no difference:"
                f" {shorten(self.cannot_ignore)}."
            )
        said.extend(self.about_cameras)
        return tuple(said)


def _frames(frames: tuple[int, ...]) -> str:
    word = "frame" if len(frames) == 1 else "frames"
    return f"{word} {shorten([str(frame) for frame in frames])}"


def bake(
    request: BakeRequest,
    store: MatteStore,
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    *,
    on_frame_done: Callable[[FrameDone], None] | None = None,
    threads: int = 0,
) -> BakeReport:
    """Bake all frames that have a matte.

    Parameters
    ----------
    request
        Footage, options, mattes that the user drew, and the output folder. The folder must not
        exist.
    store
        The mattes.
    on_progress, on_frame_done
        Called from this thread after every frame.
    cancelled
        Called several times a second.
    threads
        Number of frames worked on at once. 0 takes the request's number. If that is 0 too,
        processors and memory decide.

    Returns
    -------
    BakeReport
        The folders, and which frames were baked or left out.

    Raises
    ------
    BakeError
        There is nothing to bake, the folder exists or can't be written, or the disk is full. Or a
        photo is gone, has another size, or changes during the bake. Finished images stay.
    DamagedPhoto
        No photo decodes whole; or one does not, and the request is strict.
    StoreError
        All mattes are damaged, the mattes belong to other photos, or another process writes mattes
        during the bake.
    CameraError
        Masks are to be clipped to the hull, and cameras are missing, or the masks don't agree.
    EnvironmentSetupError
        The options refine edges, and the device for it is not there.
    Cancelled
        ``cancelled`` returned True. Finished images stay.

    Examples
    --------
    Bake all photos of a folder. ``store`` holds their mattes.

    >>> footage = FootageFiles.of(scan(Path("photos")))
    >>> request = BakeRequest(footage, str(store.folder), "photos_baked", BakeOptions(alpha="soft"))
    >>> report = bake(request, store, print, lambda: False)
    >>> sorted(path.name for path in report.folder.iterdir())
    ['IMG_0001.png', 'IMG_0002.png', 'manifest.json']
    """
    edited = {(matte.object_id, matte.frame): matte for matte in request.edited}
    mattes = _Mattes(request, store, edited.keys())
    matted = mattes.usable()
    sources = tuple(Path(path) for path in request.footage.paths)
    if mattes.marks:
        origins = {mark.origin for mark in mattes.marks.values()}
        require_same_photos(store, request.footage.fingerprint, origins)
    for object_id, frame in edited:
        if frame not in mattes.unfinished:
            matted.setdefault(object_id, set()).add(frame)
    sizes = request.footage.sizes
    plan = plan_bake(
        Path(request.footage.folder),
        sources,
        Path(request.output_folder),
        request.options,
        matted,
        _linkable(request.options, sources),
        max(sizes.width, sizes.height, *(side for size in sizes.odd.values() for side in size)),
    )
    stop = threading.Event()
    hulls = _hulls(request, store, mattes.marks, on_progress, cancelled)
    refines_on, net = _edges(request)
    seen = _seen(request, plan)
    dataset, camera_warnings = _dataset(request, sources)
    job = _Job(request, store, mattes.marks, edited, seen, stop, net, hulls, dataset)
    progress = _Steps(plan, on_progress)
    count = threads or request.threads or _threads_for(request)
    with _output_folders(plan):
        with job.synced():
            damaged = _run(plan, job, stop, count, progress, on_frame_done, cancelled)
        whole = tuple(item for item in plan.items if item.frame not in damaged)
        if not whole:
            raise DamagedPhoto(
                f"None of the photos can be baked: {next(iter(damaged.values())).reason}",
                "Copy or export the photos again.",
            )
        plan = dataclasses.replace(plan, items=whole)
        with job.synced():
            _finish(plan, job, progress, cancelled)
        if dataset is not None:
            for place in plan.targets:
                camera_warnings += dataset.warnings(place, plan.items)
        versions = dict(_versions())
        for place in plan.targets:
            manifest = describe(plan, place, request, edited.keys(), versions, refines_on)
            with _said_as_bake_error(place.folder / MANIFEST_NAME):
                write_manifest(place.folder, manifest)
    frames = tuple(item.frame for item in plan.items)
    bare = tuple(frame for frame in plan.without_matte if frame not in damaged)
    return BakeReport(
        plan.folder,
        plan.masks_folder,
        frames,
        tuple(frame for frame in bare if frame not in mattes.unfinished),
        tuple(frame for frame in plan.incomplete if frame not in damaged),
        tuple(frame for frame in bare if frame in mattes.unfinished),
        tuple(sorted(mattes.damaged.intersection((*frames, *bare)))),
        tuple(damaged[frame] for frame in sorted(damaged)),
        tuple(
            place.target.label
            for place in plan.targets
            if request.options.ignored and not place.target.can_ignore
        ),
        camera_warnings,
    )


def _dataset(
    request: BakeRequest, sources: Sequence[Path]
) -> tuple[Dataset | None, tuple[str, ...]]:
    """Return the cameras of the photos, if there are any, and what is odd about them.

    Raises
    ------
    CameraError
        The request names cameras, and they can't be used.
    """
    place = Path(request.cameras) if request.cameras else None
    try:
        footage = request.footage
        found = cameras_of(
            sources, footage.width, footage.height, place, footage.odd_sizes, looked_at
        )
    except CameraError:
        if place is not None:
            raise
        return None, ()  # most captures have none
    if request.options.upright:
        found = upright_cameras(found, request.footage.sizes)
    return Dataset(found), found.warnings


def _linkable(options: BakeOptions, sources: Collection[Path]) -> dict[int, str]:
    """Return the frames whose photo every trainer reads as it is, with its extension.

    These are JPEGs and PNGs in RGB with 8 bits and without transparency. Trainers read other photos in
    different ways, or not at all. A photo that is to be turned is none of them.
    """
    if not any(target.images == "photos" for target in targets_named(options.targets)):
        return {}
    found = {}
    for frame, path in enumerate(sources, start=1):
        try:
            header = read_header(path)
        except FootageError:
            continue  # the decoder reports it
        plain = header.color == "rgb" and header.bit_depth == 8 and not header.has_alpha
        plain = plain and not (options.upright and header.orientation != AS_STORED)
        extensions = _EXTENSIONS.get(header.format, ())
        if plain and extensions:
            own = path.suffix
            found[frame] = own if own.lower() in extensions else extensions[0]
    return found


class _Steps:
    """The progress of a bake: a step for each frame, then one for each photo to link."""

    def __init__(self, plan: BakePlan, on_progress: Callable[[Progress], None]) -> None:
        self._on_progress = on_progress
        self._done, self._started = 0, time.monotonic()
        links = sum(any(one.is_photo for one in item.outputs) for item in plan.items)
        self._total = len(plan.items) + links

    def step(self, frame: int) -> None:
        """Tell that one more step is done, for a frame."""
        self._done += 1
        pace = (time.monotonic() - self._started) / self._done
        self._on_progress(
            Progress(
                "baking",
                self._done,
                self._total,
                frame,
                seconds_per_frame=pace,
                seconds_left=pace * max(0, self._total - self._done),
                peak_memory_mb=peak_memory_mb(),
            )
        )


class _Mattes:
    """The mattes at the start of a bake. The bake uses exactly these, or fails.

    Attributes
    ----------
    marks
        (object id, frame) -> mark that identifies the matte. Only of objects that take part.
    unfinished
        Frames with a matte that is older than the last, unfinished run.
    damaged
        Frames with a damaged matte.
    """

    def __init__(
        self, request: BakeRequest, store: MatteStore, drawn: Collection[tuple[int, int]]
    ) -> None:
        self.marks: dict[tuple[int, int], MatteMark] = {}
        self.unfinished: set[int] = set()
        self.damaged: set[int] = set()
        chosen, void = request.options.objects, void_keys(store)
        for object_id in store.objects():
            if chosen and object_id not in chosen:
                continue
            for frame in store.frames(object_id):
                if (object_id, frame) in drawn:
                    continue  # the user's drawn matte replaces it
                mark = store.mark(object_id, frame)
                if mark is None:
                    self.damaged.add(frame)
                    continue
                self.marks[object_id, frame] = mark
                if void.get(object_id, {}).get(frame) == mark.key:
                    self.unfinished.add(frame)
        if self.damaged and not self.marks and not drawn:
            raise StoreError(
                f"All masks in {store.folder} are damaged.",
                "Press Propagate. It makes them again.",
            )

    def usable(self) -> dict[int, set[int]]:
        """Return, for every object, the frames that can be baked from its mattes."""
        usable: dict[int, set[int]] = {}
        for object_id, frame in self.marks:
            usable.setdefault(object_id, set())
            if frame not in self.unfinished:
                usable[object_id].add(frame)
        return usable


def _threads_for(request: BakeRequest) -> int:
    """Return the number of processors, or fewer if the threads would hold more than half of the memory."""
    a_pixel = _REFINED_BYTES if request.options.refine_edges else _BYTES
    if not request.footage.sizes.are_as_stored:
        a_pixel += _TURNED_BYTES
    frame = request.footage.sizes.most_pixels * a_pixel
    return max(1, min(os.cpu_count() or 1, _MAX_THREADS, total_memory() // 2 // max(1, frame)))


def _edges(request: BakeRequest) -> tuple[str, EdgeModel | None]:
    """Return the name of the device that refines edges, and the model. Nothing if not asked for."""
    if not request.options.refine_edges:
        return "", None
    from ..models.device import choose_device  # torch takes seconds, and most bakes need none
    from ..refine.edge_refine import edge_model

    choice = choose_device(request.device)
    if choice.device.type == "mps":  # the results on Apple's GPUs have never been measured
        choice = choose_device("cpu")
    return choice.name, edge_model(choice.device)


def _hulls(
    request: BakeRequest,
    store: MatteStore,
    marks: Mapping[tuple[int, int], MatteMark],
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> dict[int, ClipHull]:
    """Return the hull of each object, if masks are clipped. Raises CameraError if there can be none."""
    if not request.options.clip_to_hull:
        return {}
    from .compare import clip_hulls  # it needs packages that most bakes don't

    objects = sorted({object_id for object_id, _ in marks})
    return clip_hulls(request, store, objects, on_progress, cancelled)


def _run(
    plan: BakePlan,
    job: _Job,
    stop: threading.Event,
    threads: int,
    progress: _Steps,
    on_frame_done: Callable[[FrameDone], None] | None,
    cancelled: Callable[[], bool],
) -> dict[int, DamagedFrame]:
    """Work on ``threads`` frames at once until all are done, one fails, or the user cancels.

    Returns the damaged photos. They have no image.
    """
    names = {item.frame: item.name for item in plan.items}
    damaged = {at: found for at, found in job.known_damaged().items() if at not in names}
    waiting = iter(plan.items)
    working: dict[Future[None], int] = {}
    pool = ThreadPoolExecutor(threads, thread_name_prefix="bake")
    try:
        while True:
            if cancelled():
                raise Cancelled
            while len(working) < threads and (item := next(waiting, None)) is not None:
                working[pool.submit(job.bake, item)] = item.frame
            if not working:
                return damaged
            finished, _ = wait(working, _POLL_SECONDS, FIRST_COMPLETED)
            if finished:  # a power cut takes nothing that was reported
                job.flush()
            for future in sorted(finished, key=working.__getitem__):
                frame = working.pop(future)
                try:
                    future.result()
                except DamagedPhoto as problem:
                    if job.request.strict:
                        raise
                    damaged[frame] = DamagedFrame.of(frame, names[frame], problem)
                if on_frame_done is not None and frame not in damaged:
                    on_frame_done(FrameDone(frame, 0))
                progress.step(frame)
    finally:
        # A frame that is being written stops after one stripe. A frame that is being decoded has
        # no file yet and stops before it makes one, so we don't wait for it.
        stop.set()
        wait(working, _GRACE_SECONDS)
        pool.shutdown(wait=False, cancel_futures=True)


def _finish(plan: BakePlan, job: _Job, progress: _Steps, cancelled: Callable[[], bool]) -> None:
    """Add what makes folders complete: the photos, cameras, and masks that are one for all photos.

    If this fails or is cancelled, nothing of it stays.
    """
    made: list[Path] = []
    try:
        for item in plan.items:
            photos = [one.image for one in item.outputs if one.is_photo]
            if not photos:
                continue
            if cancelled():
                raise Cancelled
            job.require_same(item.source)
            for path in photos:
                made.append(path)
                with _said_as_bake_error(path):
                    share(item.source, path, folders=job.folders)
            progress.step(item.frame)
        common = job.always_ignored
        if common is not None and common.any():
            values = np.where(common, 0, 255).astype(np.uint8)
            for place in plan.targets:
                if place.target.has_camera_mask:
                    path = place.folder / CAMERA_MASK
                    made.append(path)
                    with _said_as_bake_error(path):
                        write_grey(path, values, folders=job.folders)
        if job.dataset is not None:
            for place in plan.targets:
                for name, data in job.dataset.files(place, plan.items).items():
                    path = place.folder / name
                    made.append(path)
                    with _said_as_bake_error(path):
                        make_folder(path.parent)
                        write_atomic(path, data, folders=job.folders)
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):
                path.unlink()
        raise


@dataclass(frozen=True)
class _Job:
    """What all frames of one bake share."""

    request: BakeRequest
    store: MatteStore
    marks: dict[tuple[int, int], MatteMark]
    edited: dict[tuple[int, int], EditedMatte]
    seen: dict[Path, Stamp | None]
    stop: threading.Event
    net: EdgeModel | None
    hulls: Mapping[int, ClipHull]
    dataset: Dataset | None = None
    folders: FolderSync = field(default_factory=FolderSync)
    _always_ignored: list[NDArray[np.bool_]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def always_ignored(self) -> NDArray[np.bool_] | None:
        """Where all frames so far are ignored, (height, width). None: no frame has been asked."""
        return self._always_ignored[0] if self._always_ignored else None

    @contextlib.contextmanager
    def synced(self) -> Iterator[None]:
        """Make sure that everything is on the disk when this ends, even after an error."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to report
                self.folders.flush()
            raise
        self.flush()

    def flush(self) -> None:
        """Make sure that all images so far are on the disk with their names; raises BakeError."""
        with _said_as_bake_error(Path(self.request.output_folder)):
            self.folders.flush()

    def bake(self, item: BakeItem) -> None:
        """Make the alpha of one frame, and write its images and masks. Runs in a thread of the pool."""
        pixels = self._decode(item) if self._needs_pixels(item) else None
        self._go_on()
        shape = self.request.footage.sizes.shape(item.frame)
        layers = self._layers(item, shape, pixels)
        if self.request.options.upright:
            pixels = None if pixels is None else pixels.turned()
        else:
            layers = layers.turned(back(shape.orientation))
        if pixels is not None and pixels.alpha is not None:
            # Transparent parts of the photo stay transparent.
            np.minimum(layers.kept, pixels.alpha, out=layers.kept)
        self._go_on()
        if self.dataset is not None:
            self.dataset.look(item.frame, layers, None if pixels is None else pixels.array)
        has_camera_mask = any(one.target.has_camera_mask for one in item.outputs)
        if self.request.options.ignored and has_camera_mask:
            self._note_ignored(layers)
        written: list[Path] = []
        try:
            for output in item.outputs:
                self._write(output, pixels, layers, self._over_photo(item, output), written)
        except BaseException:
            for path in written:  # a mask is useless without its image
                path.unlink(missing_ok=True)
            raise

    def _over_photo(self, item: BakeItem, output: BakeOutput) -> int:
        """Return the orientation that brings a mask from the images to the photos that it lies over."""
        options = self.request.options
        is_sidecar = not output.target.has_masks
        if options.upright and is_sidecar and options.sidecar_masks == "colmap_photos":
            return back(self.request.footage.sizes.shape(item.frame).orientation)
        return AS_STORED

    def _needs_pixels(self, item: BakeItem) -> bool:
        """Whether a photo must be decoded.

        A photo that is only linked need not be, if the propagation has found it whole.
        """
        if self.net is not None:
            return True
        if any(not one.is_photo or one.smaller for one in item.outputs):
            return True
        return not any((i, item.frame) in self.marks for i in item.objects)

    def _note_ignored(self, layers: Layers) -> None:
        """Keep what is ignored on this frame and on all before it."""
        here = layers.ignored
        if here is None:
            here = np.zeros(layers.kept.shape, dtype=np.bool_)
        with self._lock:
            if not self._always_ignored:
                self._always_ignored.append(here.copy())
            elif self._always_ignored[0].shape == here.shape:
                np.logical_and(self._always_ignored[0], here, out=self._always_ignored[0])
            else:
                self._always_ignored[0][:] = False  # photos of other sizes share no mask

    def _write(
        self,
        output: BakeOutput,
        pixels: ImagePixels | None,
        layers: Layers,
        mask_turn: int,
        written: list[Path],
    ) -> None:
        """Write one frame for one target; add what is written to a list."""
        target = output.target
        if output.mask is not None:
            # The option *Mask Files* gives a target masks that its row does not have.
            hard = target.is_hard and target.has_masks
            values = upright(mask_values(layers, target.bands, hard=hard), mask_turn)
            with _said_as_bake_error(output.mask):
                write_grey(output.mask, values, go_on=self._go_on, folders=self.folders)
            written.append(output.mask)
            for one in output.smaller:
                values = halved_mask(values)
                with _said_as_bake_error(one.mask):
                    write_grey(one.mask, values, go_on=self._go_on, folders=self.folders)
                written.append(one.mask)
        if pixels is None:
            return
        if not output.is_photo:
            with _said_as_bake_error(output.image):
                self._write_image(output, pixels, layers)
            written.append(output.image)
        rgb = pixels.array
        for one in output.smaller:
            self._go_on()
            with _said_as_bake_error(one.image):
                rgb = write_smaller(one.image, rgb, pixels.icc, folders=self.folders)
            written.append(one.image)

    def _write_image(self, output: BakeOutput, pixels: ImagePixels, layers: Layers) -> None:
        images, rgb, alpha = output.target.images, pixels.array, layers.kept
        if images in ("rgba_black", "black") or (
            images == "rgba" and self.request.options.black_rgb
        ):
            rgb = _premultiplied(rgb, alpha)
        orientation = AS_STORED if output.target.turns_by_tag else pixels.orientation
        more: dict[str, Any] = {
            "icc": pixels.icc,
            "exif": exif_with(pixels.exif, orientation),
            "xmp": pixels.xmp,
            "chunks": pixels.chunks,
            "go_on": self._go_on,
            "folders": self.folders,
        }
        if images in ("rgba", "rgba_black"):
            write_rgba(output.image, rgb, alpha, **more)
        else:
            write_rgb(output.image, rgb, **more)

    def known_damaged(self) -> dict[int, DamagedFrame]:
        """Return the damaged photos that the propagation found, among the frames asked for."""
        known = read_damaged(self.store.folder, self.request.footage.fingerprint)
        asked = self.request.options.frames
        return {frame: found for frame, found in known.items() if not asked or frame in asked}

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise Cancelled

    def _decode(self, item: BakeItem) -> ImagePixels:
        source, before = item.source, self.request.footage.sizes.of(item.frame)
        try:
            pixels = decode(
                source,
                exposure=self.request.options.exposure,
                raw=self.request.raw_photos,
            )
        except DamagedPhoto:
            raise
        except FootageError as problem:
            raise BakeError(
                problem.message,
                f"Put the photo back into {source.parent} or load the footage again, then bake.",
            ) from problem
        height, width = pixels.array.shape[:2]
        if (width, height) != before:
            raise BakeError(
                f"{item.name} is now {width}x{height}, but was {before[0]}x{before[1]} when the footage"
                " was loaded.",
                "Put that photo back, or load the footage again and propagate.",
            )
        self.require_same(source)
        return pixels

    def require_same(self, source: Path) -> None:
        """Raise BakeError if a photo has changed since the bake was started."""
        if _look(source) != self.seen[source]:
            raise BakeError(
                f"{source.name} changed after the bake was started. Its mask may not fit any more.",
                "Load the footage again and propagate, then bake.",
            )

    def _layers(self, item: BakeItem, shape: PhotoShape, pixels: ImagePixels | None) -> Layers:
        """Return what is kept and what is ignored. Without the photo, edges are not refined.

        Both are of the upright photo: so photos with a tag give the same as turned photos.
        """
        options = self.request.options
        kept = options.kept(item.objects)
        depth: Depth = 8 if pixels is None or pixels.array.dtype == np.uint8 else 16
        photo = None if pixels is None or self.net is None else pixels.upright
        return combine_roles(
            self._mattes(item, kept, shape, photo) if self._keeps_subjects else None,
            self._mattes(item, options.removed, shape, photo),
            self._mattes(item, options.ignored, shape, photo),
            *shape.upright,
            options,
            depth,
        )

    @property
    def _keeps_subjects(self) -> bool:
        """Whether some object is kept. If none is, the whole scene is."""
        options = self.request.options
        taking_part = options.objects or {i for i, _ in (*self.marks, *self.edited)}
        return bool(options.kept(taking_part))

    def _mattes(
        self,
        item: BakeItem,
        objects: Collection[int],
        shape: PhotoShape,
        photo: NDArray[Any] | None,
    ) -> Mattes:
        options = self.request.options
        logits, drawn, refined, limits = [], [], [], []
        for object_id in item.objects:
            if object_id not in objects:
                continue
            edited = self.edited.get((object_id, item.frame))
            if edited is None:
                mark = self.marks[object_id, item.frame]
                record = self.store.read(object_id, item.frame, mark)
                matte, hull = record.logits, self.hulls.get(object_id)
                # The user's own prompts win.
                limit = None if hull is None or record.prompted else hull.kept(item.frame)
                limits.append(None if limit is None else shape.mask_to_upright(limit))
                matte = np.ascontiguousarray(shape.mask_to_upright(matte))
                if self.net is not None and photo is not None:
                    from ..refine.edge_refine import refine

                    fine = refine(
                        photo,
                        matte,
                        soft=options.alpha == "soft",
                        model=self.net,
                        go_on=self._go_on,
                    )
                    refined.append(fine.alpha)
                else:
                    logits.append(matte)
                continue
            outlines = [
                shape.points_to_upright(np.array(flat).reshape(-1, 2)) for flat in edited.outlines
            ]
            drawn.append(fill(outlines, *shape.upright))
        return Mattes(logits, drawn, refined, limits)


def _seen(request: BakeRequest, plan: BakePlan) -> dict[Path, Stamp | None]:
    """Return how the photos look outside, as they were for the fingerprint. None for a changed photo."""
    footage = request.footage
    photos = [Path(path) for path in footage.paths]
    looks = [_look(photo) for photo in photos]
    seen = dict(zip(photos, looks, strict=True))
    changed = {
        photo
        for photo, look, stamp in zip(photos, looks, footage.stamps, strict=False)
        if look is not None and look[1:] != stamp
    }
    # A copy or a backup changes a file's times, but not its contents.
    if changed and _fingerprint(Path(footage.folder), photos) != footage.fingerprint:
        seen |= dict.fromkeys(changed)
    return {item.source: seen[item.source] for item in plan.items}


def _fingerprint(folder: Path, photos: Collection[Path]) -> str:
    """Return the fingerprint of the photos in the folder as they are now.

    Empty if one can't be read. The decoder then reports it.
    """
    try:
        return hash_photos(folder, photos)
    except FootageError:
        return ""


def _look(photo: Path) -> Stamp | None:
    """Return how a photo looks from outside: size and times. None if it is gone; the decoder reports it."""
    try:
        return stamp_of(photo)
    except OSError:
        return None


def _premultiplied(rgb: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Multiply the colours by alpha, rounded to the nearest value."""
    out = np.empty_like(rgb)
    full = int(np.iinfo(rgb.dtype).max)
    for top in range(0, rgb.shape[0], _STRIPE_ROWS):
        rows = slice(top, top + _STRIPE_ROWS)
        product = rgb[rows].astype(np.uint32) * alpha[rows, :, None]
        out[rows] = (product + full // 2) // full
    return out


@contextlib.contextmanager
def _output_folders(plan: BakePlan) -> Iterator[None]:
    """Make the plan's folders. Remove those that are empty when the bake ends."""
    made: list[Path] = []
    try:
        for folder in _folders_of(plan):
            with _said_as_bake_error(folder):
                try:
                    folder.mkdir()
                    sync_folder(folder.parent)
                except FileExistsError:
                    raise BakeError(
                        f"{folder} exists already, and a bake never overwrites.",
                        "Bake again: the next version gets a new name.",
                    ) from None
            made.append(folder)
        yield
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # not empty: finished images stay
                folder.rmdir()


def _folders_of(plan: BakePlan) -> list[Path]:
    """Return all folders that a bake makes, those that hold others first."""
    own = [place.folder for place in plan.targets]
    if plan.masks_folder is not None:
        own.append(plan.masks_folder)
    found = dict.fromkeys([plan.folder, *own])
    files = (path for item in plan.items for output in item.outputs for path in output.files)
    for path in files:
        below = [parent for parent in path.parents if any(top in parent.parents for top in own)]
        found |= dict.fromkeys(reversed(below))
    return list(found)


@contextlib.contextmanager
def _said_as_bake_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            message = f"The disk is full: {path.name} could not be written."
            fix = f"Free some space on the disk of {path.parent}, then bake again."
        elif problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            message = f"The folder {path.parent} can't be written to."
            fix = "Allow writing there, or copy the photos to a folder of your own."
        elif problem.errno == errno.ENOENT:
            message = f"The folder {path.parent} is gone."
            fix = "Put it back, or load the footage from where it is now."
        else:
            message = f"{path} could not be written: {problem.strerror or problem}."
            fix = "Check the disk, then bake again."
        raise BakeError(message, fix) from problem


def _versions() -> Iterator[tuple[str, str]]:
    """Yield the versions of the packages that decide an image's bytes."""
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield package, importlib.metadata.version(package)
