# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake: write the images and masks that trainers read.

A small pool of threads works on the frames. One thread decodes a frame, makes its alpha and writes
it for all trainers. So memory use depends on the number of threads, not on the number of frames. The
bytes of an image depend only on its photo, its mattes and the options.

A trainer that reads masks gets the photos themselves, linked or copied. They are not even decoded then.
They come after the masks of all frames, and the manifests come last. So if a bake stops early, the
finished images stay on disk, each of them whole, and nothing looks complete.

Several machines can share a bake: each makes a part of it (`bake_parts`), and one finishes it.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.bake_plan import BakeItem, BakePlan, plan_bake
from ...core.cameras.export import upright_cameras
from ...core.cameras.find import cameras_of
from ...core.cameras.found import model_beside
from ...core.errors import CameraError, Cancelled, DamagedPhoto
from ...core.footage.damaged_photos import DamagedFrame, left_out
from ...core.footage.scan import shorten
from ...core.mattes.run_record import require_same_photos
from ...core.mattes.store import MatteMark, MatteStore
from ...core.protocol import BakeRequest, FrameDone, Progress
from ...core.system.process_memory import peak_memory_mb, total_memory
from ..images.raw import looked_at
from .bake_finish import finish, image_versions, output_folders, write_manifests
from .bake_frames import BakedMattes, FrameBaker, looks
from .bake_parts import BakedBefore, BakeParts, digest_of
from .bake_targets import TargetWriter, linkable
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
    was_there
        Whether the bake was there already, so that nothing was done.
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
    was_there: bool = False

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
    mattes = BakedMattes(request, store, edited.keys())
    matted = mattes.usable()
    sources = tuple(Path(path) for path in request.footage.paths)
    if mattes.marks:
        origins = {mark.origin for mark in mattes.marks.values()}
        require_same_photos(store, request.footage.fingerprint, origins)
    for object_id, frame in edited:
        if frame not in mattes.unfinished:
            matted.setdefault(object_id, set()).add(frame)
    sizes = request.footage.sizes
    dataset, camera_warnings = _dataset(request, sources)
    plan = plan_bake(
        Path(request.footage.folder),
        sources,
        Path(request.output_folder),
        request.options,
        matted,
        linkable(request.options, sources),
        max(sizes.width, sizes.height, *(side for size in sizes.odd.values() for side in size)),
        has_cameras=dataset is not None,
    )
    refines_on, net = _edges(request)
    digest = digest_of(request, mattes, dataset, image_versions(), refines_on)
    parts = BakeParts(store, digest)
    made = parts.before(plan.folder) if request.once else None
    if made is not None:
        there, note = made
        return BakeReport(
            there, None, note.frames, (), (), damaged_photos=note.damaged, was_there=True
        )
    stop = threading.Event()
    hulls = _hulls(request, store, mattes.marks, on_progress, cancelled)
    seen = looks(request, plan)

    def go_on() -> None:
        if stop.is_set():
            raise Cancelled

    writer = TargetWriter(request, go_on)
    baker = FrameBaker(
        request, store, mattes.marks, edited, seen, writer, go_on, net, hulls, dataset
    )
    count = threads or request.threads or _threads_for(request)
    if request.part is not None:
        within = parts.laid_out(plan, request.part)
        with writer.synced():
            progress = _Steps(within, on_progress)
            damaged = _run(
                plan, within.items, baker, stop, count, progress, on_frame_done, cancelled
            )
        parts.note(within, request.part, baker, damaged)
        asked = range(request.part.first, request.part.last + 1)
        return BakeReport(
            plan.folder,
            None,
            tuple(item.frame for item in within.items if item.frame not in damaged),
            (),
            (),
            damaged_photos=tuple(damaged[at] for at in sorted(damaged) if at in asked),
        )
    progress = _Steps(plan, on_progress)
    with output_folders(plan):
        with writer.synced():
            ready, damaged = parts.take(plan, baker)
            for frame in sorted(ready):
                progress.step(frame)
            left = tuple(item for item in plan.items if item.frame not in ready)
            damaged |= _run(plan, left, baker, stop, count, progress, on_frame_done, cancelled)
        whole = tuple(item for item in plan.items if item.frame not in damaged)
        if not whole:
            raise DamagedPhoto(
                f"None of the photos can be baked: {next(iter(damaged.values())).reason}",
                "Copy or export the photos again.",
            )
        plan = dataclasses.replace(plan, items=whole)
        with writer.synced():
            finish(plan, baker, progress.step, cancelled)
        if dataset is not None:
            for place in plan.targets:
                camera_warnings += dataset.warnings(place, plan.items)
        write_manifests(plan, request, edited.keys(), refines_on)
    frames = tuple(item.frame for item in plan.items)
    in_order = tuple(damaged[frame] for frame in sorted(damaged))
    parts.remember(BakedBefore(str(plan.folder.absolute()), frames, in_order))
    parts.drop()
    bare = tuple(frame for frame in plan.without_matte if frame not in damaged)
    return BakeReport(
        plan.folder,
        plan.masks_folder,
        frames,
        tuple(frame for frame in bare if frame not in mattes.unfinished),
        tuple(frame for frame in plan.incomplete if frame not in damaged),
        tuple(frame for frame in bare if frame in mattes.unfinished),
        tuple(sorted(mattes.damaged.intersection((*frames, *bare)))),
        in_order,
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
        size = (footage.width, footage.height)
        ours = model_beside(Path(request.store))
        found = cameras_of(sources, *size, place, footage.odd_sizes, looked_at, ours)
    except CameraError:
        if place is not None:
            raise
        return None, ()  # most captures have none
    if request.options.upright:
        found = upright_cameras(found, request.footage.sizes)
    return Dataset(found), found.warnings


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
    items: Sequence[BakeItem],
    baker: FrameBaker,
    stop: threading.Event,
    threads: int,
    progress: _Steps,
    on_frame_done: Callable[[FrameDone], None] | None,
    cancelled: Callable[[], bool],
) -> dict[int, DamagedFrame]:
    """Work on ``threads`` frames at once until all items are done, one fails, or the user cancels.

    Returns the damaged photos. They have no image.
    """
    names = {item.frame: item.name for item in plan.items}
    damaged = {at: found for at, found in baker.known_damaged().items() if at not in names}
    waiting = iter(items)
    working: dict[Future[None], int] = {}
    pool = ThreadPoolExecutor(threads, thread_name_prefix="bake")
    try:
        while True:
            if cancelled():
                raise Cancelled
            while len(working) < threads and (item := next(waiting, None)) is not None:
                working[pool.submit(baker.bake, item)] = item.frame
            if not working:
                return damaged
            finished, _ = wait(working, _POLL_SECONDS, FIRST_COMPLETED)
            if finished:  # a power cut takes nothing that was reported
                baker.writer.flush()
            for future in sorted(finished, key=working.__getitem__):
                frame = working.pop(future)
                try:
                    future.result()
                except DamagedPhoto as problem:
                    if baker.request.strict:
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
