# SPDX-License-Identifier: GPL-3.0-or-later
"""The run manifest: everything that decides the bytes of a run, and the keys made from it.

On one machine, two runs with equal manifests give equal mattes. But not everything in a manifest decides
every matte. So each matte has a key of its own in its file. The engine makes it from
:meth:`RunManifest.key` and the prompts that reach that frame. A store keeps a matte as long as its key
is the same.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import msgspec

from ..errors import StoreError
from ..prompts import PromptSet
from ..settings import RunSettings
from ..system.atomic_file import write_atomic
from ..system.safe_read import UNREADABLE, read_plain

MANIFEST_NAME = "manifest.json"

MANIFEST_VERSION = 3
_BEGIN = b'{\n  "footage":'  # the first bytes of a manifest of any version


class Machine(msgspec.Struct, frozen=True):
    """The facts of a machine that decide the last bits of a result."""

    device: str
    dtype: str
    threads: int
    cpu_capability: str
    versions: dict[str, str]


class RunManifest(msgspec.Struct, frozen=True):
    """One run of propagation.

    Attributes
    ----------
    input_size
        Side of the model's input, px. It follows from the model and the speed.
    carried
        Clicks that were carried from the prompts to other photos, where their subject has no prompts.
    """

    footage: str
    width: int
    height: int
    frame_count: int
    model: str
    checkpoint_sha256: str
    settings: RunSettings
    machine: Machine
    prompts: PromptSet
    input_size: int = 0
    version: int = MANIFEST_VERSION
    carried: PromptSet = PromptSet(())

    def key(self) -> str:
        """Return the hash of what decides all mattes: all but prompts and the way through the frames."""
        common = self._common()
        return hashlib.sha256(msgspec.json.encode(common, order="deterministic")).hexdigest()

    def origin(self) -> bytes:
        """Return the same data as bytes for `from_origin`; every matte has them."""
        return msgspec.msgpack.encode(self._common(), order="deterministic")

    def _common(self) -> RunManifest:
        settings = self.settings.without_way()
        nothing = PromptSet(())
        return msgspec.structs.replace(self, prompts=nothing, carried=nothing, settings=settings)


class Photos(msgspec.Struct, frozen=True):
    """The photos of the mattes in a store. They identify the capture even if some photos changed.

    `core.mattes.run_record.photos_of` makes it.

    Attributes
    ----------
    folder
        Digest of the path of their folder.
    digests
        Digest of each photo, frame 1 first.
    """

    folder: str = ""
    digests: tuple[str, ...] = ()


UNKNOWN = Photos()


class _Stored(RunManifest, frozen=True):
    """A manifest as its file has it."""

    photos: Photos = UNKNOWN


def manifest_bytes(manifest: RunManifest, photos: Photos = UNKNOWN) -> bytes:
    """Return the bytes that `write_manifest` writes."""
    fields = {name: getattr(manifest, name) for name in RunManifest.__struct_fields__}
    stored = msgspec.convert({**fields, "photos": photos}, _Stored)
    data = msgspec.json.encode(stored, order="deterministic")
    return msgspec.json.format(data, indent=2) + b"\n"


def write_manifest(path: Path, manifest: RunManifest, photos: Photos = UNKNOWN) -> None:
    """Write indented JSON, completely or not at all; equal manifests give the same bytes.

    Raises
    ------
    StoreError
        It can't be written.
    """
    try:
        write_atomic(path, manifest_bytes(manifest, photos))
    except OSError as error:
        raise StoreError(
            f"The manifest {path} can't be written: {error.strerror}.",
            "Free some disk space, or choose another folder for the mattes.",
        ) from error


def is_manifest(path: Path) -> bool | None:
    """Whether the file is a manifest of any version; None if there is no file.

    A file that a power cut has emptied counts as missing.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        data = read_plain(path)
        if not data.strip(b"\0"):
            return None
        found = msgspec.json.decode(data)
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE):
        return False
    return isinstance(found, dict) and {"checkpoint_sha256", "footage"} <= found.keys()


def is_torn(path: Path) -> bool:
    """Whether the file begins as a manifest of ours, but was cut off."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    data = read_plain(path).rstrip(b"\0")
    return data[: len(_BEGIN)] == _BEGIN[: len(data)]


def read_manifest(path: Path) -> RunManifest | None:
    """Read the manifest of the last run of a store; None if there is none or it has another version.

    A manifest that was cut off or emptied counts as missing. Raises StoreError if it can't be read.
    """
    stored = _stored(path)
    if stored is None:
        return None
    return RunManifest(*(getattr(stored, name) for name in RunManifest.__struct_fields__))


def read_photos(path: Path) -> Photos:
    """Read the photos in a manifest; `UNKNOWN` if it has none."""
    stored = _stored(path)
    return stored.photos if stored is not None else UNKNOWN


def _stored(path: Path) -> _Stored | None:
    try:
        manifest = msgspec.json.decode(read_plain(path), type=_Stored)
    except FileNotFoundError:
        return None
    except UNREADABLE:
        # It has another version or was cut off: nothing is known for sure of these mattes.
        return None
    except OSError as error:
        raise StoreError(
            f"The manifest {path} can't be read: {error.strerror}.",
            "Check that you may read this file.",
        ) from error
    return manifest if manifest.version == MANIFEST_VERSION else None


def from_origin(origin: bytes) -> RunManifest | None:
    """Return the run that made a matte, without its prompts; None if the matte does not say."""
    try:
        manifest = msgspec.msgpack.decode(origin, type=RunManifest)
    except UNREADABLE:
        return None
    return manifest if manifest.version == MANIFEST_VERSION else None
