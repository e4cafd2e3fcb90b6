# SPDX-License-Identifier: GPL-3.0-or-later
"""Memories of conditioning frames, on disk and in the process.

A run that continues need not encode its prompted frames again. And a run with hundreds of them
holds no more in the process than one frame attends to.

There is one file for each frame: ``<object>/conditioning/<frame>.safetensors``. Its metadata holds
the matte's key and a check sum. A file is written whole or not at all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import torch

from ...core.errors import StoreError
from .memory_bank import FrameMemory
from .memory_checkpoints import MEMORY_SUFFIX, read_memories, sweep_memories, write_memories

HELD: Final = 48
"""Memories of an object that stay in the process even though they lie on disk. They take 24 MB at 1024 px.

A frame attends to at most 16, and to those within 15 frames.
"""

_METADATA_KEY: Final = "conditioning"


@dataclass(frozen=True)
class Conditioned:
    """What is remembered of a conditioning frame.

    Attributes
    ----------
    memory
        With its features.
    roll
        Brings its matte to the middle of a panorama's view; see `panorama`.
    """

    memory: FrameMemory
    roll: int = 0


class _Header(msgspec.Struct, frozen=True):
    key: str
    roll: int


class ConditioningStore:
    """The memories of one object's conditioning frames on disk. Frames count from 1.

    Parameters
    ----------
    folder
        A folder for them alone. It is made at the first save.
    keys
        Frame -> key of its matte. A file with another key counts as missing.
    """

    def __init__(self, folder: Path, keys: Mapping[int, str]) -> None:
        self._folder = folder
        self._keys = keys

    def has(self, frame: int) -> bool:
        """Whether the frame has a file, and its check sum is right."""
        return self._read(frame) is not None

    def load(self, frame: int) -> Conditioned:
        """Read one memory; raises StoreError when it is missing or can't be read."""
        conditioned = self._read(frame)
        if conditioned is None:
            raise StoreError(
                f"The memory of frame {frame} can't be read from {self._path(frame)}.",
                "Propagate again. The file is then made again.",
            )
        return conditioned

    def _read(self, frame: int) -> Conditioned | None:
        """Return one memory if its file is there, has the right key and is not damaged."""
        memories = read_memories(self._path(frame), _METADATA_KEY, _Header)
        if memories is None:
            return None
        header, tensors = memories
        if header.key != self._keys[frame] or not {"features", "pointer"} <= tensors.keys():
            return None
        return Conditioned(FrameMemory(tensors["features"], tensors["pointer"]), header.roll)

    def save(self, frame: int, conditioned: Conditioned) -> None:
        """Write one memory and replace an earlier one; raises StoreError."""
        memory = conditioned.memory
        if memory.features is None:
            raise ValueError("a conditioning frame's memory has features")
        tensors = {
            "features": memory.features.cpu().contiguous(),
            "pointer": memory.pointer.cpu().contiguous(),
        }
        header = _Header(self._keys[frame], conditioned.roll)
        write_memories(self._path(frame), _METADATA_KEY, header, tensors, self._folder)

    def sweep(self, frames: Container[int]) -> None:
        """Remove all files except those of these frames with the right keys; raises StoreError."""
        sweep_memories(self._folder, lambda frame, _: frame in frames and self.has(frame))

    def _path(self, frame: int) -> Path:
        return self._folder / f"{frame:06d}{MEMORY_SUFFIX}"


class ConditioningMemories:
    """The conditioning memories of one object in a session. Indices count from 0.

    Parameters
    ----------
    store
        Where they lie on disk. None keeps all of them in the process.
    device
        Where they are used.
    writes
        Whether new ones are written to disk. Otherwise they stay in the process.
    """

    def __init__(
        self, store: ConditioningStore | None, device: torch.device, *, writes: bool = True
    ) -> None:
        self._checkpoints = store
        self._device = device
        self._writes = writes and store is not None
        self._own: dict[int, Conditioned] = {}  # nowhere else
        self._held: OrderedDict[int, Conditioned] = OrderedDict()  # on disk too
        self._rolls: dict[int, int] = {}

    def add(self, index: int, conditioned: Conditioned) -> None:
        """Remember a frame; raises StoreError when it can't be written."""
        self._rolls[index] = conditioned.roll
        if self._checkpoints is not None and self._writes:
            self._checkpoints.save(index + 1, conditioned)
            self._hold(index, conditioned)
        else:
            self._own[index] = conditioned

    def of(self, indices: Sequence[int]) -> Mapping[int, FrameMemory]:
        """Return the memories of these frames as a mapping. Each is read on access, which may
        raise StoreError."""
        return _View(self, indices)

    def roll(self, index: int) -> int:
        """Return the roll that brings the frame's matte to the middle; raises StoreError when it
        can't be read."""
        if index not in self._rolls:
            self._rolls[index] = self.get(index).roll
        return self._rolls[index]

    def get(self, index: int) -> Conditioned:
        """Return one memory; raises StoreError when it can't be read."""
        if index in self._own:
            return self._own[index]
        if index in self._held:
            self._held.move_to_end(index)
            return self._held[index]
        if self._checkpoints is None:
            raise KeyError(index)
        there = self._checkpoints.load(index + 1)
        conditioned = Conditioned(there.memory.to(self._device), there.roll)
        self._hold(index, conditioned)
        return conditioned

    def _hold(self, index: int, conditioned: Conditioned) -> None:
        self._held[index] = conditioned
        self._held.move_to_end(index)
        if len(self._held) > HELD:
            self._held.popitem(last=False)


class _View(Mapping[int, FrameMemory]):
    """Some of the memories, by rising index."""

    def __init__(self, memories: ConditioningMemories, indices: Sequence[int]) -> None:
        self._memories = memories
        self._indices = tuple(indices)

    def __getitem__(self, index: int) -> FrameMemory:
        if index not in self._indices:
            raise KeyError(index)
        return self._memories.get(index).memory

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)
