# SPDX-License-Identifier: GPL-3.0-or-later
"""The run manifest: everything that decides a run's bytes, and keys made from it; core, msgspec.

Two runs with equal manifests on one machine give equal mattes. Within a run, not everything decides
every matte: so each matte has a key of its own (the engine makes them, from :meth:`RunManifest.key`
and the prompts that reach that frame), which stands in its file, and a store keeps a matte as long
as its key is the same.
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
_BEGIN = b'{\n  "footage":'  # of a manifest of whatever version


class Machine(msgspec.Struct, frozen=True):
    """What of the machine decides the last bits of a result."""

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
        Side of the model's input, px, as it follows from the model and the speed.
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

    def key(self) -> str:
        """Hash of what decides every matte alike: all but prompts and the way through the frames."""
        common = self._common()
        return hashlib.sha256(msgspec.json.encode(common, order="deterministic")).hexdigest()

    def origin(self) -> bytes:
        """The same, to be read again with `from_origin`; stands in every matte."""
        return msgspec.msgpack.encode(self._common(), order="deterministic")

    def _common(self) -> RunManifest:
        settings = self.settings.without_way()
        return msgspec.structs.replace(self, prompts=PromptSet(()), settings=settings)


class Photos(msgspec.Struct, frozen=True):
    """Which photos a store's mattes are of, to know the capture by when some of them are others.

    Attributes
    ----------
    folder
        Digest of their folder's path.
    digests
        Of each, frame 1 first. `core.run_record.photos_of` makes both.
    """

    folder: str = ""
    digests: tuple[str, ...] = ()


UNKNOWN = Photos()


class _Stored(RunManifest, frozen=True):
    """A manifest as it lies in a store."""

    photos: Photos = UNKNOWN


def manifest_bytes(manifest: RunManifest, photos: Photos = UNKNOWN) -> bytes:
    """What `write_manifest` writes."""
    fields = {name: getattr(manifest, name) for name in RunManifest.__struct_fields__}
    stored = msgspec.convert({**fields, "photos": photos}, _Stored)
    data = msgspec.json.encode(stored, order="deterministic")
    return msgspec.json.format(data, indent=2) + b"\n"


def write_manifest(path: Path, manifest: RunManifest, photos: Photos = UNKNOWN) -> None:
    """Write as indented JSON, whole or not at all; the same bytes for equal manifests.

    Raises
    ------
    StoreError
        It can't be written.
    """
    try:
        write_atomic(path, manifest_bytes(manifest, photos))
    except OSError as error:
        raise StoreError(f"The manifest {path} can't be written: {error.strerror}.") from error


def is_manifest(path: Path) -> bool | None:
    """Whether a file of the manifest's name is one, of whatever version; None where there is none.

    One that a power cut has emptied is none.
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
    """Whether a file of the manifest's name begins as one of ours, and has been cut off."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    data = read_plain(path).rstrip(b"\0")
    return data[: len(_BEGIN)] == _BEGIN[: len(data)]


def read_manifest(path: Path) -> RunManifest | None:
    """Read the manifest of a store's last run; None when there is none or it is of another version.

    One that was cut off or emptied counts as none. Raises StoreError when it can't be read.
    """
    stored = _stored(path)
    if stored is None:
        return None
    return RunManifest(*(getattr(stored, name) for name in RunManifest.__struct_fields__))


def read_photos(path: Path) -> Photos:
    """Which photos a manifest says it is of; nothing where it doesn't."""
    stored = _stored(path)
    return stored.photos if stored is not None else UNKNOWN


def _stored(path: Path) -> _Stored | None:
    try:
        manifest = msgspec.json.decode(read_plain(path), type=_Stored)
    except FileNotFoundError:
        return None
    except UNREADABLE:
        # Written by another version, or not whole: what the store holds can't be vouched for.
        return None
    except OSError as error:
        raise StoreError(f"The manifest {path} can't be read: {error.strerror}.") from error
    return manifest if manifest.version == MANIFEST_VERSION else None


def from_origin(origin: bytes) -> RunManifest | None:
    """The run that a matte says it is of, without its prompts; None where it says nothing."""
    try:
        manifest = msgspec.msgpack.decode(origin, type=RunManifest)
    except UNREADABLE:
        return None
    return manifest if manifest.version == MANIFEST_VERSION else None
