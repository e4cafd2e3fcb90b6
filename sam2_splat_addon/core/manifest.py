# SPDX-License-Identifier: GPL-3.0-or-later
"""The run manifest: everything that decides a run's bytes, and keys made from it; core, msgspec.

Two runs with equal manifests on one machine give equal mattes. Objects don't influence each other,
so each object has a key of its own: a store keeps what it has for an object as long as its key is
the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from .atomic import write_atomic
from .errors import StoreError
from .prompts import PromptSet


class RunSettings(msgspec.Struct, frozen=True):
    """What the user may change about a run.

    Attributes
    ----------
    first_frame, last_frame
        The frames to propagate over, both included; 0 means the footage's end.
    direction
        ``both``, ``forward`` or ``backward`` from the prompted frames.
    image_size
        Side of the model's square input, px; 0 is the model's own.
    """

    first_frame: int = 1
    last_frame: int = 0
    direction: str = "both"
    image_size: int = 0


MANIFEST_VERSION = 1


class Machine(msgspec.Struct, frozen=True):
    """What of the machine decides the last bits of a result."""

    device: str
    dtype: str
    threads: int
    cpu_capability: str
    versions: dict[str, str]


class RunManifest(msgspec.Struct, frozen=True):
    """One run of propagation."""

    footage: str
    width: int
    height: int
    frame_count: int
    model: str
    checkpoint_sha256: str
    settings: RunSettings
    machine: Machine
    prompts: PromptSet
    version: int = MANIFEST_VERSION

    def object_key(self, object_id: int) -> str:
        """Hash of everything that decides this object's mattes (hex, 64 digits).

        The object's name is left out: renaming it changes no matte.
        """
        own = self.prompts.object(object_id)
        prompts = PromptSet(
            (msgspec.structs.replace(own, name=""),), self.prompts.width, self.prompts.height
        )
        alone = msgspec.structs.replace(self, prompts=prompts)
        return hashlib.sha256(msgspec.json.encode(alone, order="deterministic")).hexdigest()


class StoreManifest(msgspec.Struct, frozen=True):
    """What a store's ``manifest.json`` holds: the last run and the key behind each object."""

    run: RunManifest
    object_keys: dict[str, str]


def write_manifest(path: Path, manifest: StoreManifest) -> None:
    """Write as indented JSON, whole or not at all; the same bytes for equal manifests."""
    data = msgspec.json.encode(manifest, order="deterministic")
    try:
        write_atomic(path, msgspec.json.format(data, indent=2) + b"\n")
    except OSError as error:
        raise StoreError(f"The manifest {path} can't be written: {error.strerror}.") from error


def read_manifest(path: Path) -> StoreManifest | None:
    """Read a store's manifest; None when there is none or it is of another version."""
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=StoreManifest)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError:
        # Written by another version: what the store holds can't be vouched for.
        return None
    except OSError as error:
        raise StoreError(f"The manifest {path} can't be read: {error.strerror}.") from error
    return manifest if manifest.run.version == MANIFEST_VERSION else None
