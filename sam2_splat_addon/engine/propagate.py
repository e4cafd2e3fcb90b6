# SPDX-License-Identifier: GPL-3.0-or-later
"""A propagate request from start to end: model, manifest, session, store; imports core and engine.

What is already there stays: an object whose key (see `core.manifest`) is unchanged and whose
mattes are all in the store is not computed again, and a run that was killed or cancelled goes on
where it last saved its memories, to the same bytes as a run that was not.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from ..core.errors import Cancelled
from ..core.manifest import (
    Machine,
    RunManifest,
    StoreManifest,
    read_manifest,
    write_manifest,
)
from ..core.matte_store import MatteRecord, MatteStore
from ..core.memory import peak_memory_mb
from ..core.protocol import FrameDone, Log, Progress, PropagateRequest
from . import model_keeper
from .checkpoints import checkpoint_path, sha256_of
from .device import DeviceChoice, choose_device, use_threads
from .frames import FrameSource
from .plan import ObjectPlan, plan_object, span_of
from .resume_state import load_state, remove_state, save_state
from .session import FrameResult, Session
from .session_state import SessionState, frames_done

ENGINE_VERSION: Final = "1"
"""Part of every object's key: raise it when the same inputs give other mattes than before."""

SAVE_SECONDS: Final = 15.0
"""How often a run saves its memories: what a kill costs at most."""

_RATE_WINDOW: Final = 24  # mattes that the speed is measured over


@dataclass(frozen=True)
class PropagateReport:
    """How a run ended.

    Attributes
    ----------
    summary
        One sentence for the user.
    frames
        Mattes written.
    warnings
        What the user should look at.
    """

    summary: str
    frames: int
    warnings: tuple[str, ...] = ()


def run(
    request: PropagateRequest,
    *,
    on_progress: Callable[[Progress], None],
    on_frame_done: Callable[[FrameDone], None],
    on_log: Callable[[Log], None],
    cancelled: Callable[[], bool],
) -> PropagateReport:
    """Bring the store up to date with the request.

    Parameters
    ----------
    request
        Footage, prompts, store, model and settings.
    on_progress, on_frame_done, on_log
        Called in the thread of the caller, between stages.
    cancelled
        Asked between the stages of a frame.

    Raises
    ------
    SplatError
        Prompts, checkpoint, footage, device or store are not as they should be.
    Cancelled
        ``cancelled`` said so; what was finished is in the store, and the next run goes on from
        there.
    """
    began = time.monotonic()
    footage, settings = request.footage, request.settings
    prompts = request.prompts.checked(footage.width, footage.height, len(footage.paths))
    span = span_of(settings, len(footage.paths))
    plans = [plan_object(entry, span, settings.direction) for entry in prompts.objects]
    warnings = [
        f"{plan.name!r} has no frame to propagate to in this direction and range."
        for plan in plans
        if not len(plan.results)
    ]

    threads = use_threads(request.model.threads)
    choice = choose_device(request.model.device)
    on_log(Log("info", f"Device: {choice.reason} Threads: {threads}."))

    def loading(fraction: float) -> None:
        on_progress(Progress("loading", int(100 * fraction), 100))

    digest = sha256_of(checkpoint_path(request.model.name, request.model.checkpoint), loading)
    manifest = RunManifest(
        footage=footage.fingerprint,
        width=footage.width,
        height=footage.height,
        frame_count=len(footage.paths),
        model=request.model.name,
        checkpoint_sha256=digest,
        settings=settings,
        machine=_machine(choice, threads),
        prompts=prompts,
    )
    store = MatteStore.open(Path(request.store), create=True)
    keys = {plan.object_id: manifest.object_key(plan.object_id) for plan in plans}
    stored = read_manifest(store.manifest_path)
    known = {} if stored is None else stored.object_keys
    outdated = [plan for plan in plans if not _is_up_to_date(plan, keys, known, store)]

    state = None
    if outdated:
        wanted = {plan.object_id: keys[plan.object_id] for plan in outdated}
        state = _resumable(load_state(store.state_folder, wanted), outdated, known, keys, store)
        if state is None:
            # Old mattes go before the manifest names the new run: a kill in between leaves gaps,
            # never mattes of an older run under a new key.
            for plan in outdated:
                store.remove(plan.object_id, plan.results)
    object_keys = {**known, **{str(object_id): key for object_id, key in keys.items()}}
    write_manifest(store.manifest_path, StoreManifest(manifest, object_keys))
    for text in warnings:
        on_log(Log("warning", text))
    if not outdated:
        count = sum(len(plan.results) for plan in plans)
        return PropagateReport(
            f"Nothing to do: all {count} mattes are up to date.", 0, tuple(warnings)
        )

    loaded = model_keeper.shared.get(
        request.model, digest, choice.device, settings.image_size, loading
    )
    for text in loaded.warnings:
        on_log(Log("warning", text))
    paths = [Path(path) for path in footage.paths]
    session = Session(
        loaded.model,
        FrameSource(paths, loaded.model.image_size),
        (footage.width, footage.height),
        outdated,
        choice,
    )
    if state is not None:
        on_log(Log("info", f"Going on where the last run stopped, at frame {state.last_frame}."))
    writer = _Writer(store, outdated, state, (footage.width, footage.height))
    wanted = {plan.object_id: keys[plan.object_id] for plan in outdated}
    saver = _Saver(store.state_folder, session, wanted)

    def on_result(result: FrameResult) -> None:
        record = writer.write(result)
        on_frame_done(FrameDone(record.frame, record.object_id, record.scores))
        on_progress(writer.progress(record))

    try:
        session.run(on_result, cancelled=cancelled, on_step=saver.step, resume=state)
    except Cancelled:
        saver.save()
        raise
    remove_state(store.state_folder)
    warnings += loaded.warnings
    seconds = time.monotonic() - began
    return PropagateReport(
        f"{_count(writer.written, 'matte')} of {_count(len(outdated), 'object')}"
        f" in {seconds:.1f} s.",
        writer.written,
        tuple(warnings),
    )


def _machine(choice: DeviceChoice, threads: int) -> Machine:
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "pillow", "sam2")}
    return Machine(
        device=choice.name,
        dtype=choice.dtype_name,
        threads=threads,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        versions={**versions, "torch": str(torch.__version__), "engine": ENGINE_VERSION},
    )


def _is_up_to_date(
    plan: ObjectPlan, keys: Mapping[int, str], known: Mapping[str, str], store: MatteStore
) -> bool:
    if known.get(str(plan.object_id)) != keys[plan.object_id]:
        return False
    return set(plan.results) <= set(store.frames(plan.object_id))


def _resumable(
    state: SessionState | None,
    plans: list[ObjectPlan],
    known: Mapping[str, str],
    keys: Mapping[int, str],
    store: MatteStore,
) -> SessionState | None:
    """The state, unless the store lacks one of the mattes that it counts as done."""
    if state is None:
        return None
    for plan in plans:
        if known.get(str(plan.object_id)) != keys[plan.object_id]:
            return None
        if not frames_done(plan, state) <= set(store.frames(plan.object_id)):
            return None
    return state


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class _Writer:
    """Writes results into the store and measures how fast they come."""

    def __init__(
        self,
        store: MatteStore,
        plans: list[ObjectPlan],
        state: SessionState | None,
        size: tuple[int, int],
    ) -> None:
        self._store = store
        self._size = size
        self._names = {plan.object_id: plan.name for plan in plans}
        self._total = sum(len(plan.results) for plan in plans)
        self._before = 0 if state is None else sum(len(frames_done(plan, state)) for plan in plans)
        self.written = 0
        self._times: deque[float] = deque([time.monotonic()], maxlen=_RATE_WINDOW)

    def write(self, result: FrameResult) -> MatteRecord:
        record = MatteRecord(
            result.object_id,
            result.frame,
            *self._size,
            result.half_logits(),
            result.scores,
            result.prompted,
        )
        self._store.write(record)
        self.written += 1
        self._times.append(time.monotonic())
        return record

    def progress(self, record: MatteRecord) -> Progress:
        done = self._before + self.written
        per_matte = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return Progress(
            "propagating",
            done,
            self._total,
            record.frame,
            self._names[record.object_id],
            per_matte * len(self._names),
            per_matte * (self._total - done),
            peak_memory_mb(),
        )


class _Saver:
    """Saves a session's state every `SAVE_SECONDS`."""

    def __init__(self, folder: Path, session: Session, keys: Mapping[int, str]) -> None:
        self._folder = folder
        self._session = session
        self._keys = keys
        self._saved = time.monotonic()

    def step(self) -> None:
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        state = self._session.state()
        if state is not None:
            save_state(self._folder, state, self._keys)
        self._saved = time.monotonic()
