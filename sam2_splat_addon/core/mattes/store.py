# SPDX-License-Identifier: GPL-3.0-or-later
"""The matte store: results on disk, one atomic file per object and frame; core, numpy, msgspec.

Layout of a store folder::

    sam2_splat_folder.json      says that it is ours (core/system/owned_folder.py)
    manifest.json               what made it (core/mattes/run_manifest.py)
    unfinished.json             which mattes are of the run before it (core/mattes/unfinished_run.py)
    earlier/                    runs over the photos as they were before (core/mattes/earlier_runs.py)
    objects/001/000001.matte    object 1, frame 1
    cleared/002/                object 2, which the user has cleared and may want back
    state/damaged.json          which photos are damaged (core/footage/damaged_photos.py)
    state/001/                  what later runs of object 1 can go on from (the engine's own)

A ``.matte`` file is ``b"S2SM"``, a format byte, the length of the header (4 bytes, little endian),
the header (MessagePack), the logits (little-endian float16, zlib), and the CRC-32 of everything
before it. The same record gives the same bytes. Its bytes are on the disk before it takes an earlier
one's place; its name follows within a second, or at once with `MatteStore.sync`.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..footage.damaged_photos import DAMAGED_NAME
from ..system.atomic_file import (
    FolderSync,
    make_folder,
    sweep_temporaries,
    sync_folder,
    write_atomic,
)
from ..system.links import is_link
from ..system.owned_folder import FolderKind, OwnNames
from ..system.safe_read import is_folder, read_plain, reason
from .run_lock import no_run
from .run_manifest import MANIFEST_NAME, is_manifest, is_torn

_MAGIC = b"S2SM"
_FORMAT = 1
_PREFIX = struct.Struct("<4sBI")
_CRC = struct.Struct("<I")
_ZLIB_LEVEL = 1
_SUFFIX: Final = ".matte"
UNFINISHED_NAME: Final = "unfinished.json"
EARLIER: Final = "earlier"
_MAX_SIDE = 65535
_MAX_LOGITS = 1 << 25  # far above what any model gives, four times as fine
# What damaged bytes can raise; bad UTF-8 is a ValueError.
_UNREADABLE = (ValueError, struct.error, RecursionError, msgspec.MsgspecError)

Logits = NDArray[np.float16]


class MatteScores(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the model thinks of one matte.

    Attributes
    ----------
    object_score
        The object score logit: positive when the model sees the object on this frame.
    predicted_iou
        The model's own estimate of the matte's IoU, about 0 to 1.
    area
        The part of the frame that the matte covers, 0 to 1.
    agreement
        The IoU of the mattes tracked from the prompted frames before and after, 0 to 1; 1 when
        both see nothing. None on frames that were not tracked from both sides.
    """

    object_score: float
    predicted_iou: float
    area: float
    agreement: float | None = None


class MatteRecord(msgspec.Struct, frozen=True, eq=False):
    """The matte of one object on one frame.

    Attributes
    ----------
    object_id, frame
        Both count from 1.
    width, height
        The footage's size, px, that the matte is stretched to.
    logits
        (h, w) float16 at the model's own size; inside is > 0.
    scores
        What the model thinks of it.
    prompted
        Whether this is a conditioning frame of the object.
    key
        What made it: equal keys, equal mattes; empty when unknown.
    origin
        The run that made it, as far as all its mattes have that alike (`core/mattes/run_manifest.py`); empty
        when unknown.
    """

    object_id: int
    frame: int
    width: int
    height: int
    logits: Logits
    scores: MatteScores
    prompted: bool = False
    key: str = ""
    origin: bytes = b""


@dataclass(frozen=True)
class MatteMark:
    """What tells a matte from others of its object and frame.

    Attributes
    ----------
    key, origin
        As in `MatteRecord`.
    checksum
        Of all its bytes.
    """

    key: str
    origin: bytes
    checksum: int


class _Header(msgspec.Struct, frozen=True, array_like=True):
    object_id: int
    frame: int
    width: int
    height: int
    rows: int
    columns: int
    scores: MatteScores
    prompted: bool
    key: str = ""
    origin: bytes = b""


def encode_record(record: MatteRecord) -> bytes:
    """The bytes of a ``.matte`` file."""
    rows, columns = record.logits.shape
    header = msgspec.msgpack.encode(
        _Header(
            record.object_id,
            record.frame,
            record.width,
            record.height,
            rows,
            columns,
            record.scores,
            record.prompted,
            record.key,
            record.origin,
        )
    )
    payload = zlib.compress(np.ascontiguousarray(record.logits, dtype="<f2").tobytes(), _ZLIB_LEVEL)
    body = _PREFIX.pack(_MAGIC, _FORMAT, len(header)) + header + payload
    return body + _CRC.pack(zlib.crc32(body))


def _opened(data: bytes) -> tuple[_Header, bytes]:
    """The header and the compressed logits of a ``.matte`` file; raises where it is damaged."""
    body, (checksum,) = data[: -_CRC.size], _CRC.unpack(data[-_CRC.size :])
    magic, version, header_size = _PREFIX.unpack_from(body)
    if magic != _MAGIC:
        raise ValueError("it is no matte")
    if version != _FORMAT:
        raise ValueError(f"it is of format {version}, this program reads {_FORMAT}")
    if zlib.crc32(body) != checksum:
        raise ValueError("its check sum is wrong")
    end = _PREFIX.size + header_size
    header = msgspec.msgpack.decode(body[_PREFIX.size : end], type=_Header)
    _check(header)
    return header, body[end:]


def _check(header: _Header) -> None:
    """Raise ValueError for sizes and scores that no matte has."""
    sizes_given = all(1 <= side <= _MAX_SIDE for side in (header.width, header.height))
    if not sizes_given or not all(0 <= side <= _MAX_SIDE for side in (header.rows, header.columns)):
        raise ValueError("its header gives no size")
    if header.rows * header.columns > _MAX_LOGITS:
        raise ValueError("its header gives a size that no matte has")
    # One score that is no number would make those of a whole review none.
    scores = (score for score in msgspec.structs.astuple(header.scores) if score is not None)
    if not all(map(math.isfinite, scores)):
        raise ValueError("its scores are no numbers")


def _checksum(data: bytes) -> int:
    number: int = _CRC.unpack(data[-_CRC.size :])[0]
    return number


def decode_record(data: bytes, source: str = "The matte") -> MatteRecord:
    """Decode a ``.matte`` file; raises StoreError that names ``source`` when it is damaged."""
    try:
        header, payload = _opened(data)
        size = 2 * header.rows * header.columns
        # No more is unpacked than the header asks for, whatever the data would give.
        stream = zlib.decompressobj()
        unpacked = stream.decompress(payload, size + 1)
        if len(unpacked) != size or stream.decompress(stream.unconsumed_tail, 1) or not stream.eof:
            raise ValueError("it holds more or less than its header says")
        logits = np.frombuffer(unpacked, dtype="<f2").reshape(header.rows, header.columns)
    except (*_UNREADABLE, zlib.error) as error:
        raise StoreError(
            f"{source} can't be used: {reason(error)}.", "Propagate this object again."
        ) from error
    return MatteRecord(
        header.object_id,
        header.frame,
        header.width,
        header.height,
        logits,
        header.scores,
        header.prompted,
        header.key,
        header.origin,
    )


def _knows_unmarked(folder: Path) -> bool:
    """Whether a folder without a marker holds mattes all the same.

    Its manifest says so; where a power cut took that, the mattes, with nothing else in our places.
    """
    roots = [folder / name for name in ("objects", "cleared", "state")]
    is_ours = is_manifest(folder / MANIFEST_NAME)
    if is_ours is False or any(is_link(root) for root in roots):
        return False
    if is_ours:
        return True
    found = [entry for root in roots for entry in root.rglob("*")]
    mattes: list[Path] = []
    for entry in found:
        path = entry.relative_to(folder).as_posix()
        if entry.is_dir():
            if is_link(entry) or not MATTES.names.holds_folder(path):
                return False
        elif MATTES.names.holds(path):
            mattes += [entry] if entry.suffix == ".matte" else []
        elif not entry.name.startswith("."):  # what is left of a killed run, and of file managers
            return False
    return all(map(_may_be_matte, mattes[:1]))


def _is_anothers(folder: Path) -> bool:
    """Whether there is a manifest that no version of ours wrote, whole, torn or emptied."""
    return is_manifest(folder / MANIFEST_NAME) is False and not is_torn(folder / MANIFEST_NAME)


def _may_be_matte(path: Path) -> bool:
    """Whether a file begins as a matte, or as little as a power cut leaves of one."""
    with path.open("rb") as stream:
        start = stream.read(len(_MAGIC))
    return start == _MAGIC or not any(start)


MATTES: Final = FolderKind(
    "mattes",
    OwnNames(
        MANIFEST_NAME,
        UNFINISHED_NAME,
        "objects/#/#.matte",
        "cleared/#/#.matte",
        f"{EARLIER}/*/{MANIFEST_NAME}",
        *(f"{EARLIER}/*/{name}/#/#.matte" for name in ("objects", "cleared")),
        "state/#/conditioning/#.safetensors",
        *(f"state/#/{direction}/#.safetensors" for direction in ("forward", "backward")),
        DAMAGED_NAME,
        *(f"state/#/sides/{direction}/objects/#/#.matte" for direction in ("forward", "backward")),
    ),
    StoreError,
    "Choose another folder for the mattes, or move what is there away.",
    _knows_unmarked,
    _is_anothers,
)
"""Folders of mattes, and all that a run and its engine write into them."""


def _numbers(folder: Path, digits: int, suffix: str = "") -> list[int]:
    """The numbers in a folder's names, rising: of the names that the store itself gives, no others.

    Files with something in them where there is a suffix, else folders. Cloud folders leave files such
    as "000003 (conflicted copy).matte" behind, and power cuts left empty ones.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem = entry.name.removesuffix(suffix)
            ours = stem.isascii() and stem.isdecimal() and entry.name == stem + suffix
            if (
                ours
                and stem == f"{int(stem):0{digits}d}"
                and _is_whole(entry, is_file=bool(suffix))
            ):
                found.append(int(stem))
    return sorted(found)


def _is_whole(entry: os.DirEntry[str], *, is_file: bool) -> bool:
    try:
        if not is_file:
            return entry.is_dir()
        return entry.is_file() and entry.stat().st_size > 0
    except OSError:
        return False  # gone meanwhile


class MatteStore:
    """Mattes of one footage on disk. Reading needs no lock: files appear whole or not at all.

    What deletes or moves raises StoreError for a folder that is not ours.

    Parameters
    ----------
    folder
        Where the mattes are.
    within
        The folder that the marker is in, where that is one further out.
    """

    def __init__(self, folder: Path, *, within: Path | None = None) -> None:
        self.folder = folder
        self._within = within or folder
        self._below = f"{folder.relative_to(within).as_posix()}/" if within else ""
        self._lasts = within is None  # what lies further in saves time, and no more
        self._folders = FolderSync()

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> MatteStore:
        """Open a store; raises StoreError.

        With ``create`` the folder is made, or taken where it is ours or nothing in it bears a name
        of ours.
        """
        if create:
            try:
                MATTES.claim(folder)
                make_folder(folder / "objects")
            except OSError as error:
                raise StoreError(
                    f"The matte folder {folder} can't be made: {error.strerror}.",
                    "Choose another cache folder in the add-on's preferences.",
                ) from error
        elif not is_folder(folder):
            raise StoreError(f"There are no mattes in {folder}.", "Press Propagate first.")
        return cls(folder)

    def require_there(self) -> None:
        """Raise StoreError where somebody has deleted the store of a run that goes on."""
        if not MATTES.owns(self.folder):
            raise StoreError(
                f"The matte folder {self.folder} was deleted or moved while masks were written"
                " into it.",
                "Leave the folder alone during a run, and propagate again.",
            )

    def sweep(self) -> None:
        """Remove what a killed run left half-written; for the one process that holds the lock.

        Raises StoreError.
        """
        MATTES.require(self.folder)
        with self._removing():
            sweep_temporaries(self.folder, below=False)
            for name in ("objects", "cleared", "state", EARLIER):
                if not is_link(self.folder / name):
                    sweep_temporaries(self.folder / name)

    @property
    def manifest_path(self) -> Path:
        return self.folder / MANIFEST_NAME

    def state_folder(self, object_id: int) -> Path:
        """Where the engine keeps what later runs can go on from, for one object."""
        return self.folder / _path("state", object_id)

    def prune_state(self) -> None:
        """Remove the folders of that which hold nothing; raises StoreError."""
        with self._removing():
            MATTES.prune(self.folder, "state")

    def _object_folder(self, object_id: int) -> Path:
        return self.folder / _path("objects", object_id)

    def path(self, object_id: int, frame: int) -> Path:
        return self._object_folder(object_id) / f"{frame:06d}{_SUFFIX}"

    def write(self, record: MatteRecord) -> None:
        """Write one record whole or not at all; raises StoreError."""
        path = self.path(record.object_id, record.frame)
        try:
            MATTES.make(self._within, self._below + _path("objects", record.object_id))
            write_atomic(path, encode_record(record), folders=self._folders, synced=self._lasts)
        except OSError as error:
            raise self._not_written(path, error) from error

    def sync(self) -> None:
        """Wait until all that was written is on the disk, names included; raises StoreError."""
        try:
            self._folders.flush()
        except OSError as error:
            raise self._not_written(self.folder, error) from error

    def read(self, object_id: int, frame: int, mark: MatteMark | None = None) -> MatteRecord:
        """Read one record; raises StoreError when it is missing, damaged, or of another mark.

        A file that was renamed counts as damaged: it would lie on another photo.
        """
        path = self.path(object_id, frame)
        try:
            data = read_plain(path)
        except FileNotFoundError as error:
            raise StoreError(
                f"Object {object_id} has no matte on frame {frame}.", "Press Propagate first."
            ) from error
        except OSError as error:
            raise StoreError(f"The matte {path} can't be read: {error.strerror}.") from error
        record = decode_record(data, f"The matte {path}")
        if (record.object_id, record.frame) != (object_id, frame):
            raise StoreError(
                f"The matte {path} can't be used: it is of object {record.object_id}, frame"
                f" {record.frame}.",
                "Propagate this object again.",
            )
        if mark is not None and _checksum(data) != mark.checksum:
            raise StoreError(
                f"Frame {frame} has got another mask meanwhile: another Blender has propagated.",
                "Look at the masks, then do this again.",
            )
        return record

    def has(self, object_id: int, frame: int) -> bool:
        try:
            return self.path(object_id, frame).stat().st_size > 0
        except OSError:
            return False

    def objects(self) -> list[int]:
        """The ids of all objects that have a matte, rising."""
        root = self.folder / "objects"
        if not is_folder(root):
            return []
        return [object_id for object_id in _numbers(root, 3) if self.frames(object_id)]

    def frames(self, object_id: int) -> list[int]:
        """The frames on which the object has a matte, rising."""
        folder = self._object_folder(object_id)
        if not is_folder(folder):
            return []
        return _numbers(folder, 6, _SUFFIX)

    def key(self, object_id: int, frame: int) -> str | None:
        """What made a matte; None when it is missing or damaged. Quicker than `read`."""
        mark = self.mark(object_id, frame)
        return None if mark is None else mark.key

    def mark(self, object_id: int, frame: int) -> MatteMark | None:
        """What tells a matte from others; None when it is missing or damaged."""
        try:
            data = read_plain(self.path(object_id, frame))
            header, _ = _opened(data)
        except (OSError, *_UNREADABLE):
            return None
        if (header.object_id, header.frame) != (object_id, frame):
            return None  # renamed, or copied from elsewhere
        return MatteMark(header.key, header.origin, _checksum(data))

    def remove(self, object_id: int, frames: Container[int] | None = None) -> None:
        """Forget the object's mattes, all or those on ``frames``; raises StoreError.

        With all of them goes what later runs could go on from.
        """
        MATTES.require(self._within)
        with self._removing():
            if frames is None:
                MATTES.remove(self._within, self._below + _path("state", object_id))
            for path in list(MATTES.files(self._within, self._below + _path("objects", object_id))):
                if frames is None or int(path.stem) in frames:
                    path.unlink(missing_ok=True)

    def set_aside(self, object_id: int) -> None:
        """Hide all of an object's mattes, so that `put_back` can undo it; raises StoreError.

        What later runs could go on from is not kept: it only saves time. Refused while a run goes on.
        """
        with self._removing(), no_run(self.folder):
            MATTES.remove(self.folder, _path("state", object_id))
            MATTES.remove(self.folder, _path("cleared", object_id))
            self.move(_path("objects", object_id), _path("cleared", object_id))

    def put_back(self, object_id: int) -> None:
        """Bring back what was set aside, unless the object has new mattes; raises StoreError.

        Refused while a run goes on.
        """
        with self._removing(), no_run(self.folder):
            if self.frames(object_id):
                self.drop_aside(object_id)
            else:
                self.move(_path("cleared", object_id), _path("objects", object_id))

    def drop_aside(self, object_id: int) -> None:
        """Forget what was set aside of an object; raises StoreError."""
        with self._removing():
            MATTES.remove(self.folder, _path("cleared", object_id))

    def move(self, source: str, target: str) -> None:
        """Move an object's mattes, in one step unless something else lies there too.

        Parameters
        ----------
        source, target
            Folders of ours, as seen from the store's.

        Raises
        ------
        StoreError
            The folder is not ours.
        OSError
            From moving; the caller words it.
        """
        MATTES.require(self.folder)
        mattes = list(MATTES.files(self.folder, source))
        if not mattes:
            return
        folder = MATTES.make(self.folder, target)
        if not any(folder.iterdir()) and len(mattes) == _count(self.folder / source):
            folder.rmdir()  # Windows renames to no folder that is there
            (self.folder / source).rename(folder)
        else:
            for matte in mattes:
                matte.rename(folder / matte.name)
            MATTES.prune(self.folder, source)
        for moved in (folder, folder.parent, (self.folder / source).parent):
            sync_folder(moved)

    def aside(self) -> list[int]:
        """The ids of the objects whose mattes are set aside, rising."""
        root = self.folder / "cleared"
        if not is_folder(root):
            return []
        return _numbers(root, 3)

    def clear(self) -> None:
        """Forget everything in the store that is ours; raises StoreError, also while a run goes on."""
        with self._removing():
            if MATTES.is_empty(self.folder):
                return
            MATTES.require(self.folder)
        with self._removing(), no_run(self.folder):
            # The manifest goes first: without it nothing that is left counts as a result.
            for name in (MANIFEST_NAME, UNFINISHED_NAME):
                (self.folder / name).unlink(missing_ok=True)
            for name in ("objects", "cleared", "state", EARLIER):
                MATTES.remove(self.folder, name)
            MATTES.give_up(self.folder)

    def _not_written(self, path: Path, error: OSError) -> StoreError:
        return StoreError(
            f"The matte {path} can't be written: {error.strerror}.",
            "Free some disk space, or choose another cache folder in the add-on's preferences.",
        )

    @contextlib.contextmanager
    def _removing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"The mattes in {self.folder} can't be removed: {error.strerror}.",
                "Close programs that use that folder, and see that it is writable.",
            ) from error


def _path(name: str, object_id: int) -> str:
    return f"{name}/{object_id:03d}"


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())
