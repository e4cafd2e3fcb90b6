# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run uses the store: what is there already, what it writes, what later runs can reuse."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final

from ...core.footage.sizes import PhotoSizes
from ...core.geometry.orientation import PhotoShape
from ...core.mattes import earlier_runs, unfinished_run
from ...core.mattes.run_manifest import Photos, RunManifest, manifest_bytes, write_manifest
from ...core.mattes.run_record import last_run
from ...core.mattes.store import MatteRecord, MatteStore
from ...core.protocol import Progress
from ...core.system.process_memory import peak_memory_mb
from ..tracking.bidirectional import Sides
from ..tracking.cache_keys import MatteKeys
from ..tracking.conditioning_memory import ConditioningStore
from ..tracking.memory_bank import BankState, MemoryBank
from ..tracking.memory_checkpoints import MemoryCheckpoints
from ..tracking.plan import DIRECTIONS, ObjectPlan, Step
from ..tracking.results import FrameResult
from ..tracking.schedule import ObjectSchedule

SAVE_SECONDS: Final = 15.0
"""How often a run saves its memories. A killed run loses at most this much work."""

SHELF_FRAMES: Final = 8
SHELF_PLACES: Final = 16
"""Memories stay on disk every `SHELF_FRAMES` frames, at no more than `SHELF_PLACES` places.

So on disk an object takes at most 16 times the size of its bank (3 MB at 1024 px, and 0.5 MB more
for every corrected frame in reach). And at most 8 frames are tracked again on the way to a
corrected frame, or a sixteenth of long footage.
"""

_RATE_WINDOW: Final = 24  # mattes over which the speed is measured


class Takeover:
    """Make a store a run's own when its first matte is written. Before that nothing is changed.

    Parameters
    ----------
    store, manifest
        Of the run.
    photos
        What the manifest says about the photos (`core.mattes.run_record.photos_of`).
    void
        Keys of the mattes that the run will replace. They include those that an unfinished run did
        not replace.
    """

    def __init__(
        self, store: MatteStore, manifest: RunManifest, photos: Photos, void: unfinished_run.Keys
    ) -> None:
        self._store = store
        self._manifest = manifest
        self._photos = photos
        self._void = void
        self._begun = False

    def write(self, record: MatteRecord) -> None:
        """Put a matte into the store and replace an earlier one; raises StoreError."""
        if self._begun:
            self._store.require_there()
            self._store.write(record)
            return
        first = (record.object_id, record.frame, record.key)
        self._take(first)
        self._store.write(record)
        self._store.sync()  # else a power cut could leave neither this matte nor a valid earlier one
        unfinished_run.note_begun(self._store)

    def finish(self, *, whole: bool) -> None:
        """Note that the run has finished its work; raises StoreError.

        Parameters
        ----------
        whole
            Whether the run covered all its frames. Then mattes of other photos are of no use any
            more.
        """
        if not self._begun:
            self._take(None)
        self._store.sync()
        left = {
            object_id: {
                frame: key
                for frame, key in keys.items()
                if self._store.key(object_id, frame) == key
            }
            for object_id, keys in self._void.items()
        }
        unfinished_run.note_rest(self._store, left)
        if whole and self._store.objects():  # otherwise nothing replaced those set aside
            earlier_runs.drop(self._store)

    def _take(self, first: tuple[int, int, str] | None) -> None:
        before = last_run(self._store)
        stored = manifest_bytes(self._manifest, self._photos)
        unfinished_run.note_void(self._store, stored, first, self._void)
        if before is not None and before.footage != self._manifest.footage:
            earlier_runs.set_aside(self._store, before)
        write_manifest(self._store.manifest_path, self._manifest, self._photos)
        self._begun = True


class StoredObject:
    """One object of a run: its plan, its keys, and what the store holds of it.

    Parameters
    ----------
    plan, keys
        Of the object.
    store
        The mattes.
    origin
        What a matte notes about its run (`core.mattes.run_manifest.RunManifest.origin`).

    Attributes
    ----------
    put
        Writes a matte into the store.
    spacing
        Number of frames from one saved memory to the next.
    """

    def __init__(
        self, plan: ObjectPlan, keys: MatteKeys, store: MatteStore, origin: bytes = b""
    ) -> None:
        self.plan = plan
        self.keys = keys
        self.put: Callable[[MatteRecord], None] = store.write
        self._store = store
        self._origin = origin
        self._sides = Sides(plan, keys, store)
        folder = store.state_folder(plan.object_id)
        self._checkpoints = MemoryCheckpoints(folder)
        self.conditioning = ConditioningStore(folder / "conditioning", keys.mattes)
        longest = max((len(segment.frames) for segment in plan.segments), default=0)
        self.spacing = every = max(SHELF_FRAMES, -(-longest // SHELF_PLACES))
        self._kept = {
            segment.step(at)
            for segment in plan.segments
            for at in range(every - 1, len(segment.frames), every)
        }

    def outdated(self, wanted: range) -> frozenset[int]:
        """Return the wanted frames that have no matte, or one with another key."""
        return frozenset(
            frame
            for frame in wanted
            if self._store.key(self.plan.object_id, frame) != self.keys.mattes[frame]
        )

    def void(self, outdated: Collection[int], before: Mapping[int, str]) -> dict[int, str]:
        """Return the keys of mattes that belong to another run.

        A matte that one side of this run has given already does not count.

        Parameters
        ----------
        outdated
            Frames that are to be written.
        before
            Frame -> key of what an unfinished run left.
        """
        object_id = self.plan.object_id
        keys = {frame: self._store.key(object_id, frame) for frame in outdated} | dict(before)
        return {
            frame: key
            for frame, key in sorted(keys.items())
            if key is not None and key not in self._own_keys(frame)
        }

    def _own_keys(self, frame: int) -> set[str]:
        own = {self.keys.mattes[frame]} if frame in self.keys.mattes else set()
        if frame in self.plan.twice:
            own |= {self.keys.steps[Step(direction, frame)] for direction in DIRECTIONS}
        return own

    def settle(self, outdated: Collection[int]) -> list[MatteRecord]:
        """Write the mattes among these whose two sides are both known; raises StoreError."""
        settled: list[MatteRecord] = []
        for frame in sorted(self.plan.twice.intersection(outdated)):
            step = Step("forward", frame)
            known = self._sides.find(step)
            if known is not None and self.knows(step.other_side):
                settled.append(self._sides.settled(step, known))
                self.put(settled[-1])
        return settled

    def taken(self, known: MatteStore, outdated: Collection[int]) -> list[MatteRecord]:
        """Write the mattes among these that another store has, and take its memories; raises StoreError."""
        object_id = self.plan.object_id
        found: list[MatteRecord] = []
        for frame in sorted(outdated):
            if known.key(object_id, frame) == self.keys.mattes[frame]:
                found.append(known.read(object_id, frame))
                self.put(found[-1])
        if found:
            self._take_memories(MemoryCheckpoints(known.state_folder(object_id)))
        return found

    def _take_memories(self, known: MemoryCheckpoints) -> None:
        """Keep the memories of another store that this run would have kept."""
        for step in sorted(self._kept):
            key = self.keys.steps[step]
            if self._checkpoints.load(step, key) is None:
                state = known.load(step, key)
                if state is not None:
                    self._checkpoints.save(step, key, state)

    def knows(self, step: Step) -> bool:
        """Whether this pass's result is known, for a frame that is tracked from both sides."""
        return self._sides.find(step) is not None

    def record(self, result: FrameResult, photo: PhotoShape) -> MatteRecord:
        """Turn a result into a record of the photo's stored pixels."""
        step = result.step
        return MatteRecord(
            self.plan.object_id,
            result.frame,
            photo.width,
            photo.height,
            photo.mask_to_stored(result.half_logits()),
            result.scores,
            result.prompted,
            self.keys.mattes[result.frame] if step is None else self.keys.steps[step],
            self._origin,
            photo.orientation,
        )

    def write(self, result: FrameResult, photo: PhotoShape) -> MatteRecord:
        """Put a result into the store, for a photo of this shape; raises StoreError.

        If the frame is tracked from both sides, the better result is written as soon as both are
        known.
        """
        record = self.record(result, photo)
        if result.step is not None and result.frame in self.plan.twice:
            record = self._sides.settled(result.step, record)
        self.put(record)
        return record

    def saved(self, step: Step) -> BankState | None:
        """Return the bank that a pass had after this frame, if it is on disk."""
        return self._checkpoints.load(step, self.keys.steps[step])

    def keeps(self, step: Step) -> bool:
        """Whether the bank after this frame stays on disk after the run."""
        return step in self._kept

    def save(self, step: Step, state: BankState) -> None:
        """Write the bank after this frame to disk; raises StoreError."""
        self._checkpoints.save(step, self.keys.steps[step], state)

    def forget(self, step: Step) -> None:
        """Remove the bank after this frame from disk."""
        self._checkpoints.remove(step)

    def tidy(self) -> None:
        """Remove everything that this run's plan does not use; raises StoreError."""
        self._checkpoints.sweep(self.keeps, self.keys.steps)
        self.conditioning.sweep(
            self.plan.refined.union(entry.frame for entry in self.plan.conditioning)
        )
        self._sides.sweep()
        self._store.prune_state()


class ResultWriter:
    """Write results into the store and measure the speed.

    Parameters
    ----------
    objects, works
        The objects, and what is computed for each.
    outdated
        Object id -> the frames to write.
    total
        Number of mattes after the run, old and new. Frames tracked from both sides count twice.
    sizes
        Of the photos.
    finish
        Turns each result into what is written.
    """

    def __init__(
        self,
        objects: list[StoredObject],
        works: list[ObjectSchedule],
        outdated: Mapping[int, Collection[int]],
        total: int,
        sizes: PhotoSizes,
        finish: Callable[[FrameResult], FrameResult] = lambda result: result,
    ) -> None:
        self._objects = {at.plan.object_id: at for at in objects}
        self._sizes = sizes
        self._finish = finish
        self._total = total
        self._due = {
            (work.plan.object_id, frame, direction)
            for work in works
            for frame, direction in work.results(outdated[work.plan.object_id])
        }
        self._done = total - len(self._due)
        self._left = sum(work.size for work in works)
        self._times: deque[float] = deque([time.monotonic()], maxlen=_RATE_WINDOW)

    def take(self, result: FrameResult) -> MatteRecord | None:
        """Write a result. Returns None if it was only needed on the way to other frames."""
        self._times.append(time.monotonic())
        self._left -= 1
        due = (result.object_id, result.frame, result.direction)
        if due not in self._due:
            return None
        self._due.remove(due)
        self._done += 1
        photo = self._sizes.shape(result.frame)
        return self._objects[result.object_id].write(self._finish(result), photo)

    def leave_out(self, frame: int) -> None:
        """Expect no matte on a frame whose photo is damaged."""
        gone = {due for due in self._due if due[1] == frame}
        self._due -= gone
        self._total -= len(gone)
        self._left -= len(gone)

    def progress(self, result: FrameResult) -> Progress:
        per_matte = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return Progress(
            "propagating",
            self._done,
            self._total,
            result.frame,
            self._objects[result.object_id].plan.name,
            per_matte * len(self._objects),
            per_matte * self._left,
            peak_memory_mb(),
        )


class MemorySaver:
    """Write memories to disk: some to stay, and every `SAVE_SECONDS` where the run stands."""

    def __init__(self, objects: list[StoredObject]) -> None:
        self._objects = {at.plan.object_id: at for at in objects}
        self._latest: dict[int, tuple[Step, BankState]] = {}
        self._passing: dict[int, Step] = {}  # on disk, to be removed later
        self._saved = time.monotonic()

    def remembered(self, object_id: int, step: Step, bank: MemoryBank) -> None:
        """Take a bank (see `Session.run`), and save what is due; raises StoreError."""
        # The bank itself will hold the next frame before that frame's result is taken.
        state = bank.state()
        self._latest[object_id] = (step, state)
        if self._objects[object_id].keeps(step):
            self._objects[object_id].save(step, state)
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Save where every object stands, and remove what the last save wrote."""
        for object_id, (step, state) in self._latest.items():
            at, passed = self._objects[object_id], self._passing.get(object_id)
            if at.keeps(step) or passed == step:
                continue
            at.save(step, state)
            if passed is not None:
                at.forget(passed)
            self._passing[object_id] = step
        self._saved = time.monotonic()
