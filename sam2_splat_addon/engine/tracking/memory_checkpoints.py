# SPDX-License-Identifier: GPL-3.0-or-later
"""Memories of tracked frames on disk, so that a later run can continue from them.

There is one file for each object, pass and frame: ``<object>/<direction>/<frame>.safetensors``. It
holds the bank after that frame. The tensors are named ``<group>/<index>/<part>``. The metadata
holds the matte's key and a check sum of everything. A file is written whole or not at all. A
damaged file counts as missing, and its frame is tracked again.

The same inputs decide the bank and the matte. So a file serves every run that gives this frame the
same key in this pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from ...core.errors import StoreError
from ...core.system.atomic_file import write_atomic
from .memory_bank import BankState, FrameMemory, FrameQuality, LastView
from .plan import DIRECTIONS, Direction, Step

Header = TypeVar("Header", bound=msgspec.Struct)

_METADATA_KEY: Final = "bank"
MEMORY_SUFFIX: Final = ".safetensors"
"""Of the files of memories."""
_GROUPS: Final = ("corrected", "recent")
# The errors that a damaged safetensors file, or the JSON inside it, can raise.
_UNREADABLE: Final = (
    OSError,
    LookupError,
    ValueError,
    RecursionError,
    TypeError,
    safetensors.SafetensorError,
    msgspec.MsgspecError,
)


class _Layout(msgspec.Struct, frozen=True):
    """The part of safetensors' own header that programs may fill."""

    metadata: dict[str, str] = msgspec.field(name="__metadata__")


class _Header(msgspec.Struct, frozen=True):
    """What the tensors' names don't tell."""

    key: str
    indices: dict[str, list[int]]  # in the bank's order
    # The files keep the older names of these two.
    last_view: LastView | None = msgspec.field(default=None, name="sight")
    qualities: tuple[FrameQuality, ...] = msgspec.field(default=(), name="seen")


class MemoryCheckpoints:
    """The saved memories of one object.

    Parameters
    ----------
    folder
        A folder for this object alone. It is made at the first save.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, step: Step, key: str, state: BankState) -> None:
        """Write the bank that a pass has after a frame; raises StoreError."""
        tensors: dict[str, Tensor] = {}
        groups = dict(zip(_GROUPS, (state.corrected, state.recent), strict=True))
        for group, memories in groups.items():
            for at, memory in memories.items():
                tensors[f"{group}/{at}/pointer"] = memory.pointer.cpu().contiguous()
                if memory.features is not None:
                    tensors[f"{group}/{at}/features"] = memory.features.cpu().contiguous()
        indices = {group: list(memories) for group, memories in groups.items()}
        header = _Header(key, indices, state.last_view, state.qualities)
        write_memories(self._path(step), _METADATA_KEY, header, tensors, self._folder)

    def load(self, step: Step, key: str) -> BankState | None:
        """Return the bank after a frame if it was saved under this key, otherwise None.

        An unreadable file counts as missing. The frames before it are then tracked again.
        """
        path = self._path(step)
        header = _header(path)
        if header is None or header.key != key:
            return None
        memories = read_memories(path, _METADATA_KEY, _Header)
        if memories is None:
            return None
        header, tensors = memories
        try:
            corrected, recent = (_group(group, header, tensors) for group in _GROUPS)
        except KeyError:
            return None
        return BankState(corrected, recent, header.last_view, header.qualities)

    def sweep(self, keeps: Callable[[Step], bool], keys: Mapping[Step, str]) -> None:
        """Remove all files except those to keep that have these keys; raises StoreError."""
        for direction in DIRECTIONS:

            def stays(frame: int, path: Path, direction: Direction = direction) -> bool:
                step, header = Step(direction, frame), _header(path)
                return header is not None and keeps(step) and header.key == keys.get(step)

            sweep_memories(self._folder / direction, stays)

    def remove(self, step: Step) -> None:
        """Remove the file of one frame in one pass."""
        self._path(step).unlink(missing_ok=True)

    def _path(self, step: Step) -> Path:
        return self._folder / step.direction / f"{step.frame:06d}{MEMORY_SUFFIX}"


def sweep_memories(folder: Path, stays: Callable[[int, Path], bool]) -> None:
    """Remove the memory files of a folder, except those that stay; raises StoreError.

    Parameters
    ----------
    stays
        Asked for each file, with its frame's number.
    """
    try:
        for path in sorted(folder.glob(f"[0-9]*{MEMORY_SUFFIX}")):
            name = path.name.removesuffix(MEMORY_SUFFIX)
            if name.isdecimal() and not stays(int(name), path):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"Memory files of earlier runs can't be removed from {folder}: {error.strerror}.",
            "Close programs that use that folder, and check that it is writable.",
        ) from error


def write_memories(
    path: Path,
    metadata_key: str,
    header: msgspec.Struct,
    tensors: Mapping[str, Tensor],
    folder: Path,
) -> None:
    """Write one file of memories and replace an earlier one; raises StoreError."""
    said = msgspec.json.encode(header).decode()
    # One entry only. Several entries have no fixed order, so equal memories could give other bytes.
    metadata = {metadata_key: f"{_check_sum(said, tensors)} {said}"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # If a power cut destroys the file, the frames are only tracked again.
        write_atomic(path, save(dict(tensors), metadata), synced=False)
    except OSError as error:
        raise StoreError(
            f"The run's memory files can't be written to {folder}: {error.strerror}.",
            "Free some disk space, or choose another cache folder in the add-on's preferences.",
        ) from error


def read_memories(
    path: Path, metadata_key: str, kind: type[Header]
) -> tuple[Header, dict[str, Tensor]] | None:
    """Read one file of memories.

    Returns None when it is missing, can't be read, or has a wrong check sum.
    """
    try:
        data = path.read_bytes()
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        metadata = msgspec.json.decode(data[8 : 8 + size], type=_Layout).metadata
        check, said = metadata[metadata_key].split(" ", 1)
        if check != _check_sum(said, tensors):
            return None
        return msgspec.json.decode(said, type=kind), tensors
    except _UNREADABLE:
        return None


def _check_sum(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of everything in a file of memories, in hex."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().tobytes())
    return digest.hexdigest()


def read_header(path: Path, metadata_key: str, kind: type[Header]) -> Header | None:
    """Read only the header of such a file. Returns None when it is missing or can't be read."""
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
        said = metadata[metadata_key].split(" ", 1)[1]
        return msgspec.json.decode(said, type=kind)
    except _UNREADABLE:
        return None


def _header(path: Path) -> _Header | None:
    return read_header(path, _METADATA_KEY, _Header)


def _group(name: str, header: _Header, tensors: Mapping[str, Tensor]) -> dict[int, FrameMemory]:
    return {
        at: FrameMemory(
            tensors.get(f"{name}/{at}/features"),
            tensors[f"{name}/{at}/pointer"],
        )
        for at in header.indices[name]
    }
