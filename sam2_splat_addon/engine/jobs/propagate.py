# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a propagate request from start to end: model, manifest, session, store.

What is there already stays. A matte whose key is unchanged (see `matte_keys`) is not computed
again. Other mattes are computed from the nearest memories that an earlier run left (see
`memory_checkpoints`). It does not matter whether that run was cancelled, was killed, or had other
prompts. The result has the same bytes as that of a run from nothing.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from sam2.modeling.sam2_base import SAM2Base

from ...core.edited_prompts import with_edited
from ...core.errors import Cancelled, DamagedPhoto, PromptError, StoreError
from ...core.footage.damaged_photos import DamagedFrame, left_out, read_damaged, write_damaged
from ...core.footage.scan import shorten
from ...core.mattes.carried import with_carried
from ...core.mattes.earlier_runs import bring_back
from ...core.mattes.run_lock import only_run
from ...core.mattes.run_manifest import Machine, RunManifest
from ...core.mattes.run_record import last_run, photos_of, require_own_capture
from ...core.mattes.store import MatteRecord, MatteStore
from ...core.mattes.unfinished_run import void_keys
from ...core.printable import counted
from ...core.prompts import PromptSet
from ...core.protocol import FootageFiles, FrameDone, FrameRange, Log, Progress, PropagateRequest
from ...core.settings import (
    GUARDED,
    LOOKS,
    NO_LOOK,
    OBEYING,
    OWN_LOOK,
    PARTS_LOOK,
    WHOLE_LOOK,
    speed_named,
)
from ...core.system.process_memory import total_memory
from ...core.upright_prompts import upright_frame, upright_object
from ..accel.allocator import keeping_freed_memory
from ..accel.attention import AttentionKind, set_attention
from ..accel.folded_neck import set_neck
from ..images.frame_source import FrameSource
from ..models import model_cache
from ..models.bfloat16_products import set_products
from ..models.checkpoints import LoadedModel, checkpoint_path, sha256_of
from ..models.device import DeviceChoice, choose_device, use_threads
from ..models.input_spec import model_input
from ..refine.zoom_refine import CloseUp, SecondLook, answers_clicks, click_look, close_ups
from ..tracking.cache_keys import matte_keys
from ..tracking.memory_bank import BankState
from ..tracking.panorama import frame_width, is_near
from ..tracking.plan import ObjectPlan, Step, plan_object, span_of
from ..tracking.results import FrameResult
from ..tracking.sam2_adapter import Sam2Adapter
from ..tracking.schedule import ObjectSchedule, schedule_for
from ..tracking.session import Session
from . import kept_banks
from .run_store import MemorySaver, ResultWriter, StoredObject, Takeover

_DECODED_BYTES: Final = 7  # for each pixel of a photo that is being read
_MAX_DECODERS: Final = 4

ENGINE_VERSION: Final = "9"
"""Part of every object's key. Raise it when the same inputs give other mattes than before."""


@dataclass(frozen=True)
class PropagateReport:
    """How a run ended.

    Attributes
    ----------
    summary
        One sentence for the user.
    frames
        Number of mattes written.
    warnings
        What the user should check.
    damaged
        Names of the photos that don't decode whole. They have no matte, and no other matte depends
        on them.
    """

    summary: str
    frames: int
    warnings: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def run(
    request: PropagateRequest,
    *,
    on_progress: Callable[[Progress], None],
    on_frame_done: Callable[[FrameDone], None],
    on_log: Callable[[Log], None],
    cancelled: Callable[[], bool],
    image_size: int = 0,
    known: MatteStore | None = None,
) -> PropagateReport:
    """Bring the store up to date with the request.

    Parameters
    ----------
    request
        Footage, prompts, store, model and settings.
    on_progress, on_frame_done, on_log
        Called in the caller's thread, between stages.
    cancelled
        Called between the stages of a frame.
    image_size
        Side of the model's input, px, for tests and benchmarks. 0 leaves it to model and speed.
    known
        Another store, whose mattes are taken where they have the wanted key.

    Returns
    -------
    PropagateReport
        How the run ended.

    Raises
    ------
    SplatError
        Prompts, checkpoint, footage, device or store are wrong, or another process uses the store.
    Cancelled
        ``cancelled`` returned True. Finished mattes are in the store, and the next run continues
        from there.

    Examples
    --------
    Track an object from one click on the first photo.

    >>> footage = FootageFiles.of(scan(Path("photos")))
    >>> click = FramePrompts(1, points=(PointPrompt(420.5, 310.5),))
    >>> prompts = PromptSet((ObjectPrompts(1, "Chair", (click,)),))
    >>> request = PropagateRequest(footage, prompts, "store", ModelChoice("bundled"))
    >>> report = run(
    ...     request,
    ...     on_progress=lambda progress: None,
    ...     on_frame_done=lambda done: print(done.frame),
    ...     on_log=lambda log: None,
    ...     cancelled=lambda: False,
    ... )
    1
    2
    """
    told = _Listeners(on_progress, on_frame_done, on_log, cancelled)
    with contextlib.ExitStack() as held:
        propagation = _Propagation(request, told, image_size)
        propagation.open(held)
        others = [MatteStore(Path(folder)) for folder in request.known]
        propagation.settle([known, *others] if known is not None else others)
        if propagation.is_due:
            propagation.track()
        return propagation.finish()


@dataclass(frozen=True)
class _Listeners:
    """Callbacks that follow a run and may cancel it; see `run`."""

    on_progress: Callable[[Progress], None]
    on_frame_done: Callable[[FrameDone], None]
    on_log: Callable[[Log], None]
    cancelled: Callable[[], bool]

    def loading(self, fraction: float) -> None:
        """Report how much of the model is read, 0 to 1."""
        self.on_progress(Progress("loading", int(100 * fraction), 100))

    def warn(self, texts: Iterable[str]) -> None:
        """Report what the user should check."""
        for text in texts:
            self.on_log(Log("warning", text))


class _Propagation:
    """One run of a request. Steps: `open`, `settle`, `track` if something is due, `finish`."""

    def __init__(self, request: PropagateRequest, told: _Listeners, image_size: int) -> None:
        self._began = time.monotonic()
        self._request, self._told = request, told
        self._prompts = _prompts_of(request)
        speed = speed_named(request.settings.speed)
        self._seen = model_input(request.model.name, speed, image_size)
        threads = use_threads(request.model.threads)
        self._choice = choose_device(request.model.device, request.settings.precision)
        told.on_log(Log("info", f"Device: {self._choice.reason} Threads: {threads}."))
        path = checkpoint_path(request.model.name, request.model.checkpoint)
        self._digest = sha256_of(path, told.loading)
        self._manifest = _manifest(
            request, self._prompts, self._digest, self._seen.size, self._choice, threads
        )
        self._busy: list[StoredObject] = []

    def open(self, held: contextlib.ExitStack) -> None:
        """Hold the store, and find out what it has already."""
        request, told, manifest = self._request, self._told, self._manifest
        store = self._store = self._opened(held)
        bring_back(store, manifest.footage)
        last = last_run(store)
        if last is not None and last.footage != manifest.footage:
            changed = "The photos have changed since the last run. All masks are made again."
            told.on_log(Log("info", changed))
        objects = self._objects = _objects(manifest, request.footage, store)
        self._warnings = [
            f"{at.plan.name!r} has no frame to propagate to in this direction and range."
            for at in objects
            if not len(at.plan.results)
        ]
        self._wanted = {at.plan.object_id: _in_range(at.plan, request.update) for at in objects}
        outdated = {
            at.plan.object_id: at.outdated(self._wanted[at.plan.object_id]) for at in objects
        }
        self._damaged = _Damaged(request, self._prompts, store, told.on_log)
        self._takeover = Takeover(
            store, manifest, photos_of(store, request.footage), _void(store, objects, outdated)
        )
        for at in objects:
            at.put = self._takeover.write
        told.warn(self._warnings)
        missing = {
            object_id: frames - self._damaged.frames for object_id, frames in outdated.items()
        }
        self._outdated, self._missing = missing, sum(map(len, missing.values()))
        wanted = (set(frames) - self._damaged.frames for frames in self._wanted.values())
        self._total = sum(map(len, wanted))

    def _opened(self, held: contextlib.ExitStack) -> MatteStore:
        """Return the request's store, held until its run is over.

        Raises StoreError before anything is changed, and Cancelled.
        """
        request, told = self._request, self._told
        require_own_capture(MatteStore(Path(request.store)), request.footage)
        store = MatteStore.open(Path(request.store), create=True)
        hosts: set[str] = set()

        def wait_for(host: str) -> None:
            if host not in hosts:
                hosts.add(host)
                words = (
                    f"Waiting for a sign of life of {host}, whose run in this folder did not end."
                )
                told.on_log(Log("warning", words))
            if told.cancelled():
                raise Cancelled

        lease = held.enter_context(only_run(store.folder, wait_for))

        def cancelled() -> bool:
            lease.check()
            return told.cancelled()

        self._told = replace(told, cancelled=cancelled)
        store.sweep()
        held.callback(store.sync)  # reported mattes are on the disk, however the run ends
        return store

    def settle(self, known: Collection[MatteStore]) -> None:
        """Write what is known without the model, from both sides of a frame or from other stores."""
        for at in self._objects:
            outdated = self._outdated[at.plan.object_id]
            settled = at.settle(outdated)
            for other in known:
                settled += at.taken(other, outdated - {record.frame for record in settled})
            self._outdated[at.plan.object_id] -= {record.frame for record in settled}
            for record in settled:
                self._report_frame(record)

    @property
    def is_due(self) -> bool:
        """Whether a matte has to be computed."""
        return any(self._outdated.values())

    def track(self) -> None:
        """Compute what is not up to date; raises Cancelled, after memories were saved to continue from."""
        request, told, settings = self._request, self._told, self._request.settings
        footage, choice, outdated = request.footage, self._choice, self._outdated
        sizes = footage.sizes.upright
        loaded = model_cache.shared.get(
            request.model, self._digest, choice.device, self._seen.size, told.loading
        )
        told.warn(loaded.warnings)
        _choose_arithmetic(loaded.model, request, choice)
        busy = self._busy = [at for at in self._objects if outdated[at.plan.object_id]]
        update = request.update
        alone = update is not None and update.first == update.last
        works = [_schedule(at, outdated[at.plan.object_id], alone=alone) for at in busy]
        starts = [part.frames[0] for work in works for part in work.parts if part.state is not None]
        if starts:
            going_on = f"Continuing where an earlier run stopped, from frame {min(starts)}."
            told.on_log(Log("info", going_on))
        every = with_carried(self._prompts, request.carried)
        photos = [Path(path) for path in footage.paths]
        steps = Sam2Adapter(loaded.model, len(photos), keeps_prompts=OBEYING[settings.obey_clicks])
        close_up = close_ups(steps, photos, settings.raw_photos)
        look = _second_look(request, every, steps, close_up, choice, told.cancelled)
        twice = (
            at.plan.twice.intersection(self._wanted[at.plan.object_id]) for at in self._objects
        )
        total = self._total + sum(map(len, twice))
        writer = ResultWriter(busy, works, outdated, total, footage.sizes, look)

        def leave_out(index: int, problem: DamagedPhoto) -> None:
            self._damaged.add(index + 1, problem)
            writer.leave_out(index + 1)

        def on_result(result: FrameResult) -> None:
            record = writer.take(result)
            if record is not None:
                self._report_frame(record)
            told.on_progress(writer.progress(result))

        session = Session(
            steps,
            FrameSource(
                photos,
                self._seen.size,
                wide=frame_width(sizes, panorama=settings.panorama),
                decoders=_decoders(footage, choice),
                exact=self._seen.exact,
                raw=settings.raw_photos,
                on_damaged=leave_out,
            ),
            sizes,
            works,
            choice,
            panorama=settings.panorama,
            guarded=settings.memory == GUARDED,
            look=click_look(
                steps,
                close_up,
                sizes,
                choice,
                panorama=settings.panorama,
                cancelled=told.cancelled,
            ),
            shelves={at.plan.object_id: at.conditioning for at in busy},
        )
        saver = MemorySaver(busy)
        try:
            with keeping_freed_memory():
                session.run(on_result, cancelled=told.cancelled, on_remembered=saver.remembered)
        except Cancelled:
            saver.save()
            raise
        _require_written(self._store, self._wanted, self._damaged.frames)
        self._warnings += loaded.warnings

    def finish(self) -> PropagateReport:
        """Write into the manifest what the store has now, and return the report."""
        self._takeover.finish(whole=self._request.update is None)
        for at in self._objects:
            at.tidy()
        written = self._missing
        summary = f"Nothing to do: all {self._total} masks are up to date."
        if self._busy:
            left = (self._outdated[at.plan.object_id] & self._damaged.frames for at in self._busy)
            written -= sum(map(len, left))
            seconds = time.monotonic() - self._began
            objects = counted(len(self._busy), "subject")
            summary = f"{counted(written, 'mask')} of {objects} in {seconds:.1f} s."
        warnings = (*self._warnings, *self._damaged.warnings())
        return PropagateReport(summary, written, warnings, self._damaged.names())

    def _report_frame(self, record: MatteRecord) -> None:
        self._store.sync()  # a power cut takes nothing that was reported
        self._told.on_frame_done(FrameDone(record.frame, record.object_id, record.scores))


def _schedule(at: StoredObject, outdated: Collection[int], *, alone: bool) -> ObjectSchedule:
    """Find the least work. A frame ``alone`` goes on from where a preview of it has tracked to."""

    def saved(step: Step) -> BankState | None:
        kept = kept_banks.shared.get(at.keys.steps[step]) if alone else None
        return kept or at.saved(step)

    return schedule_for(at.plan, outdated, saved, at.knows, at.conditioning.has)


def _require_written(
    store: MatteStore, wanted: Mapping[int, Collection[int]], damaged: Collection[int]
) -> None:
    """Raise StoreError if mattes that a run has written are gone at its end."""
    store.require_there()
    for object_id, frames in wanted.items():
        gone = set(frames) - set(damaged) - set(store.frames(object_id))
        if gone:
            raise StoreError(
                f"Masks in {store.folder} were deleted during the run, of frame"
                f" {shorten([str(frame) for frame in sorted(gone)])}.",
                "Don't change the folder during a run, and propagate again.",
            )


def _void(
    store: MatteStore, objects: list[StoredObject], outdated: Mapping[int, Collection[int]]
) -> dict[int, dict[int, str]]:
    """Return the keys of mattes that belong to another run, by object and frame."""
    void = void_keys(store)
    for at in objects:
        object_id = at.plan.object_id
        void[object_id] = at.void(outdated[object_id], void.get(object_id, {}))
    return void


class _Damaged:
    """The photos of a run that don't decode whole. The store lists them.

    They have no matte and are not remembered: tracking goes from the photo before to the photo
    after. Photos that an earlier run found damaged are not tried again while the photos are the
    same.
    """

    def __init__(
        self,
        request: PropagateRequest,
        prompts: PromptSet,
        store: MatteStore,
        on_log: Callable[[Log], None],
    ) -> None:
        self._request = request
        self._prompted = {at.frame for entry in prompts.objects for at in entry.frames}
        self._store = store
        self._on_log = on_log
        self._found = read_damaged(store.folder, request.footage.fingerprint)
        if request.strict and self._found:
            first = self._found[min(self._found)]
            raise DamagedPhoto(first.reason, "Copy or export this photo again, or remove it.")

    @property
    def frames(self) -> frozenset[int]:
        """The frames that are known to be damaged."""
        return frozenset(self._found)

    def add(self, frame: int, problem: DamagedPhoto) -> None:
        """Note a damaged photo; raises DamagedPhoto if the run can't continue without it."""
        if self._request.strict:
            raise problem
        if frame in self._prompted:
            raise DamagedPhoto(
                problem.message,
                f"Frame {frame} has clicks or a drawn mask. Replace the photo with a good copy, or"
                " remove these, then propagate again.",
            ) from problem
        if frame not in self._found:
            found = DamagedFrame.of(frame, self._request.footage.name_of(frame), problem)
            self._found[frame] = found
            write_damaged(self._store.folder, self._request.footage.fingerprint, self._found)
            self._on_log(Log("warning", f"Left out, frame {frame}: {problem.message}"))

    def warnings(self) -> tuple[str, ...]:
        """Return a sentence for the user, if there are any."""
        return (left_out(self._found.values()),) if self._found else ()

    def names(self) -> tuple[str, ...]:
        """Return their file names, by frame."""
        return tuple(self._found[frame].name for frame in sorted(self._found))


def _decoders(footage: FootageFiles, choice: DeviceChoice) -> int:
    """Return the number of threads that read photos: a GPU is faster than one reading thread."""
    if choice.device.type == "cpu":
        return 1
    held = footage.sizes.most_pixels * _DECODED_BYTES
    room = total_memory() // 4 // max(1, held)
    return max(1, min((os.cpu_count() or 1) // 2, _MAX_DECODERS, room))


def _second_look(
    request: PropagateRequest,
    prompts: PromptSet,
    steps: Sam2Adapter,
    close_up: CloseUp,
    choice: DeviceChoice,
    cancelled: Callable[[], bool],
) -> Callable[[FrameResult], FrameResult]:
    """Return the function that turns results into what is written."""
    footage, wanted = request.footage, request.settings.second_look
    answered = answers_clicks(steps, panorama=request.settings.panorama)
    by_itself = wanted == OWN_LOOK
    if by_itself:
        exact = request.settings.speed == "quality"
        wanted = PARTS_LOOK if answered and exact else NO_LOOK
    if wanted == NO_LOOK:
        return lambda result: result
    look = SecondLook(
        steps,
        close_up,
        footage.sizes.upright,
        choice,
        closer=LOOKS.index(wanted) - LOOKS.index(WHOLE_LOOK),
        answered=answered,
        as_previewed=by_itself,
        cancelled=cancelled,
    )
    given = {
        (entry.id, at.frame): upright_frame(at, footage.sizes.shape(at.frame))
        for entry in prompts.objects
        for at in entry.frames
        if not at.is_empty
    }
    return lambda result: look.at(result, given.get((result.object_id, result.frame)))


def objects_of(
    request: PropagateRequest, loaded: LoadedModel, choice: DeviceChoice, threads: int
) -> list[StoredObject]:
    """Return what a run of the request would compute and what it already has.

    It also makes the model ready for that run. Nothing is written. Raises SplatError if the request
    is wrong.
    """
    size = loaded.model.image_size
    manifest = _manifest(request, _prompts_of(request), loaded.sha256, size, choice, threads)
    _choose_arithmetic(loaded.model, request, choice)
    return _objects(manifest, request.footage, MatteStore(Path(request.store)))


def _prompts_of(request: PropagateRequest) -> PromptSet:
    footage = request.footage
    prompts = with_edited(request.prompts, request.edited, footage.sizes)
    return prompts.checked(footage.sizes, len(footage.paths))


def _manifest(
    request: PropagateRequest,
    prompts: PromptSet,
    digest: str,
    input_size: int,
    choice: DeviceChoice,
    threads: int,
) -> RunManifest:
    footage = request.footage
    return RunManifest(
        footage=footage.fingerprint,
        width=footage.width,
        height=footage.height,
        frame_count=len(footage.paths),
        model=request.model.name,
        checkpoint_sha256=digest,
        settings=request.settings,
        machine=_machine(choice, threads),
        prompts=prompts,
        input_size=input_size,
        carried=request.carried,
    )


def _objects(manifest: RunManifest, footage: FootageFiles, store: MatteStore) -> list[StoredObject]:
    """Plan each object. Plans have the prompts of the upright photos."""
    settings, run_key = manifest.settings, manifest.key()
    span = span_of(settings, manifest.frame_count)
    plans = [
        plan_object(
            entry,
            span,
            settings.direction,
            settings.nearby_prompts,
            both_sides=settings.both_sides,
            near=is_near(entry.frames, footage.sizes.upright, panorama=settings.panorama),
            cuts=footage.cuts,
        )
        for entry in (
            upright_object(entry, footage.sizes)
            for entry in with_carried(manifest.prompts, manifest.carried).objects
        )
    ]
    origin = manifest.origin()
    return [StoredObject(plan, matte_keys(plan, run_key), store, origin) for plan in plans]


def _choose_arithmetic(model: SAM2Base, request: PropagateRequest, choice: DeviceChoice) -> None:
    kind: AttentionKind = "sam2"
    if speed_named(request.settings.speed).pooled:
        kind = "pooled"
    elif choice.device.type == "cpu":
        kind = "folded"
    set_attention(model, kind)
    set_neck(model, folded=choice.device.type == "cpu")
    set_products(model, bfloat16=choice.multiplies_in_bfloat16)


def _in_range(plan: ObjectPlan, update: FrameRange | None) -> range:
    """Return the results that the request wants up to date; raises PromptError for an empty range."""
    if update is None:
        return plan.results
    if update.first > update.last:
        raise PromptError(
            f"There is no frame from {update.first} to {update.last}.",
            "Choose a first frame that is not after the last.",
        )
    return range(max(plan.results.start, update.first), min(plan.results.stop, update.last + 1))


def _machine(choice: DeviceChoice, threads: int) -> Machine:
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "pillow", "sam2")}
    return Machine(
        device=choice.name,
        dtype=choice.dtype_name,
        threads=threads,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        versions={**versions, "torch": str(torch.__version__), "engine": ENGINE_VERSION},
    )
