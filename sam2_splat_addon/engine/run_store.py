# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's side of the store: what is there already, what comes, what later runs can go on from.

Imports core and its siblings of the engine.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Mapping
from typing import Final

from ..core.matte_store import MatteRecord, MatteStore
from ..core.memory import peak_memory_mb
from ..core.protocol import Progress
from .memory_bank import BankState, MemoryBank
from .memory_shelf import MemoryShelf
from .plan import ObjectPlan
from .session import FrameResult
from .work import ObjectWork

SAVE_SECONDS: Final = 15.0
"""How often a run saves its memories: what a kill costs at most."""

SHELF_FRAMES: Final = 8
SHELF_PLACES: Final = 16
"""Memories stay on the shelf after every so many frames, at no more than so many places.

So an object's shelf takes at most 16 times what its bank takes (3 MB at 1024 px), and what is
tracked again on the way to a corrected frame is at most 8 frames, or a sixteenth of long footage.
"""

_RATE_WINDOW: Final = 24  # mattes that the speed is measured over


class StoredObject:
    """One object of a run: its plan, its keys, and what the store has of it."""

    def __init__(self, plan: ObjectPlan, keys: Mapping[int, str], store: MatteStore) -> None:
        self.plan = plan
        self.keys = keys
        self._store = store
        self._shelf = MemoryShelf(store.state_folder(plan.object_id))
        longest = max((len(stretch.frames) for stretch in plan.stretches), default=0)
        every = max(SHELF_FRAMES, -(-longest // SHELF_PLACES))
        self._kept = {
            frame for stretch in plan.stretches for frame in stretch.frames[every - 1 :: every]
        }

    def outdated(self, wanted: range) -> frozenset[int]:
        """The wanted frames that have no matte, or one of another key."""
        return frozenset(
            frame
            for frame in wanted
            if self._store.key(self.plan.object_id, frame) != self.keys[frame]
        )

    def write(self, result: FrameResult, width: int, height: int) -> MatteRecord:
        """Put a result into the store, as of footage of this size in px; raises StoreError."""
        record = MatteRecord(
            self.plan.object_id,
            result.frame,
            width,
            height,
            result.half_logits(),
            result.scores,
            result.prompted,
            self.keys[result.frame],
        )
        self._store.write(record)
        return record

    def saved(self, frame: int) -> BankState | None:
        """The bank after this frame, when the shelf has it."""
        return self._shelf.load(frame, self.keys[frame])

    def keeps(self, frame: int) -> bool:
        """Whether the bank after this frame stays on the shelf when the run is over."""
        return frame in self._kept

    def save(self, frame: int, bank: MemoryBank) -> None:
        """Put the bank as it is after this frame on the shelf; raises StoreError."""
        self._shelf.save(frame, self.keys[frame], bank.state())

    def forget(self, frame: int) -> None:
        """Take the bank after this frame off the shelf."""
        self._shelf.remove(frame)

    def tidy(self) -> None:
        """Take everything off the shelf that this run's plan does not keep there."""
        self._shelf.sweep(self.keeps, self.keys)


class ResultWriter:
    """Writes results into the store and measures how fast they come."""

    def __init__(
        self,
        objects: list[StoredObject],
        works: list[ObjectWork],
        outdated: Mapping[int, Collection[int]],
        total: int,
        size: tuple[int, int],
    ) -> None:
        self._objects = {at.plan.object_id: at for at in objects}
        self._outdated = outdated
        self._size = size
        self._total = total
        self._done = total - sum(map(len, outdated.values()))
        self._left = sum(work.size for work in works)
        self._times: deque[float] = deque([time.monotonic()], maxlen=_RATE_WINDOW)

    def take(self, result: FrameResult) -> MatteRecord | None:
        """Write a result; None when it was only needed on the way to others."""
        self._times.append(time.monotonic())
        self._left -= 1
        if result.frame not in self._outdated[result.object_id]:
            return None
        record = self._objects[result.object_id].write(result, *self._size)
        self._done += 1
        return record

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
    """Puts memories on the shelf: some to stay, and where the run stands every `SAVE_SECONDS`."""

    def __init__(self, objects: list[StoredObject]) -> None:
        self._objects = {at.plan.object_id: at for at in objects}
        self._latest: dict[int, tuple[int, MemoryBank]] = {}
        self._passing: dict[int, int] = {}  # frames on the shelf that are not to stay
        self._saved = time.monotonic()

    def remembered(self, object_id: int, frame: int, bank: MemoryBank) -> None:
        """Take note of a bank (see `Session.run`), and save what is due; raises StoreError."""
        self._latest[object_id] = (frame, bank)
        if self._objects[object_id].keeps(frame):
            self._objects[object_id].save(frame, bank)
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Save where every object stands, in place of where it stood at the last save."""
        for object_id, (frame, bank) in self._latest.items():
            at, passed = self._objects[object_id], self._passing.get(object_id)
            if at.keeps(frame) or passed == frame:
                continue
            at.save(frame, bank)
            if passed is not None:
                at.forget(passed)
            self._passing[object_id] = frame
        self._saved = time.monotonic()
