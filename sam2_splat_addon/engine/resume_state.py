# SPDX-License-Identifier: GPL-3.0-or-later
"""A running session's memories on disk, so that a killed run can go on; core, torch, safetensors.

One file, whole or not at all: tensors as safetensors, named ``<object>/<group>/<index>/<part>``,
and in its metadata the pass, how far it is, and each object's key. A state serves only runs of
the same keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
import safetensors
from safetensors.torch import load, save
from torch import Tensor

from ..core.atomic import write_atomic
from ..core.errors import StoreError
from .memory_bank import FrameMemory
from .session_state import BankState, SessionState

_FILE_NAME: Final = "session.safetensors"
_METADATA_KEY: Final = "session"
_GROUPS: Final = ("conditioning", "corrected", "recent")


class _Header(msgspec.Struct, frozen=True):
    """What safetensors' own names don't say."""

    direction: Literal["forward", "backward"]
    last_frame: int
    object_keys: dict[int, str]
    indices: dict[int, dict[str, list[int]]]  # in the order in which the bank holds them


def save_state(folder: Path, state: SessionState, object_keys: Mapping[int, str]) -> None:
    """Write the state of a session in place of an earlier one; raises StoreError."""
    tensors: dict[str, Tensor] = {"position": state.position.cpu().contiguous()}
    indices: dict[int, dict[str, list[int]]] = {}
    for object_id, bank in state.banks.items():
        indices[object_id] = {}
        for group in _GROUPS:
            memories: Mapping[int, FrameMemory] = getattr(bank, group)
            indices[object_id][group] = list(memories)
            for at, memory in memories.items():
                name = f"{object_id}/{group}/{at}"
                tensors[f"{name}/pointer"] = memory.pointer.cpu().contiguous()
                if memory.features is not None:
                    tensors[f"{name}/features"] = memory.features.cpu().contiguous()
    header = _Header(state.direction, state.last_frame, dict(object_keys), indices)
    data = save(tensors, {_METADATA_KEY: msgspec.json.encode(header).decode()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / _FILE_NAME, data)
    except OSError as error:
        raise StoreError(
            f"The state of the run can't be written to {folder}: {error.strerror}.",
            "Free some disk space, or choose another cache folder in the add-on's preferences.",
        ) from error


def load_state(folder: Path, object_keys: Mapping[int, str]) -> SessionState | None:
    """The saved state, when it holds all these objects under these keys; otherwise None.

    A state that can't be read is none: the run then starts from its prompts.
    """
    path = folder / _FILE_NAME
    try:
        data = path.read_bytes()
        with safetensors.safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
        header = msgspec.json.decode(metadata.get(_METADATA_KEY, ""), type=_Header)
        tensors = load(data)
        if not _same_keys(header.object_keys, object_keys):
            return None
        banks = {at: _bank(at, header.indices[at], tensors) for at in object_keys}
        return SessionState(header.direction, header.last_frame, tensors["position"], banks)
    except FileNotFoundError:
        return None
    except (OSError, KeyError, safetensors.SafetensorError, msgspec.MsgspecError):
        return None


def remove_state(folder: Path) -> None:
    """Forget the saved state, and its folder when nothing else is in it."""
    (folder / _FILE_NAME).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _same_keys(saved: Mapping[int, str], wanted: Mapping[int, str]) -> bool:
    return all(saved.get(object_id) == key for object_id, key in wanted.items())


def _bank(
    object_id: int, indices: Mapping[str, Iterable[int]], tensors: Mapping[str, Tensor]
) -> BankState:
    def group(name: str) -> dict[int, FrameMemory]:
        return {
            at: FrameMemory(
                tensors.get(f"{object_id}/{name}/{at}/features"),
                tensors[f"{object_id}/{name}/{at}/pointer"],
            )
            for at in indices[name]
        }

    return BankState(group("conditioning"), group("corrected"), group("recent"))
