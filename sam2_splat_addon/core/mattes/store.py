# SPDX-License-Identifier: GPL-3.0-or-later
"""The matte store: results on disk, one file per object and frame.

Layout of a store folder::

    sam2_splat_folder.json      marks the folder as ours (core/system/owned_folder.py)
    manifest.json               what made the mattes (core/mattes/run_manifest.py)
    unfinished.json             which mattes are of the run before (core/mattes/unfinished_run.py)
    earlier/                    runs over earlier photos (core/mattes/earlier_runs.py)
    objects/001/000001.matte    object 1, frame 1
    cleared/002/                object 2, which the user has cleared and may bring back
    state/damaged.json          which photos are damaged (core/footage/damaged_photos.py)
    state/parts/                parts of a bake that lie ready (engine/jobs/bake_parts.py)
    state/baked.json            which bakes were made of these mattes
    state/001/                  what later runs of object 1 can continue from (only for the engine),
                                and how its mattes agree in 3D (core/review/agreement.py)

A ``.matte`` file is ``b"S2SM"``, a format byte, the length of the header (4 bytes, little endian), the
header (MessagePack), the logits (little-endian float16, zlib), and the CRC-32 of everything before it.
The same record gives the same bytes. The bytes are on the disk before the file replaces an earlier one.
Its name follows with `MatteStore.sync`, which a run calls before it reports a matte.
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
from ..geometry.orientation import AS_STORED, PhotoShape
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
from .run_lock import LOCK_NAME, no_run
from .run_manifest import MANIFEST_NAME, is_manifest, is_torn

_MAGIC = b"S2SM"
_FORMAT = 1
_PREFIX = struct.Struct("<4sBI")
_CRC = struct.Struct("<I")
_ZLIB_LEVEL = 1
_SUFFIX: Final = ".matte"
STORE_NAME: Final = "sam2_splat_mattes"
"""Name of the folder of mattes, beside the photos or in the cache."""
UNFINISHED_NAME: Final = "unfinished.json"
EARLIER: Final = "earlier"
TRIAL: Final = "trial"
HULL_NAME: Final = "hull.npz"
AGREEMENT_NAME: Final = "agreement.json"
CARRIED_NAME: Final = "carried.json"
AGREED_NAME: Final = "agreed.json"
PARTS: Final = "state/parts"
BAKED_NAME: Final = "state/baked.json"
_MAX_SIDE = 65535
_MAX_LOGITS = 1 << 25  # far above any model, even with masks four times as fine
# The errors that damaged bytes can raise; bad UTF-8 is a ValueError.
_UNREADABLE = (ValueError, struct.error, RecursionError, msgspec.MsgspecError)

Logits = NDArray[np.float16]


class MatteScores(msgspec.Struct, frozen=True, omit_defaults=True):
    """The model's own scores of one matte.

    Attributes
    ----------
    object_score
        The object score logit: positive if the model sees the object on this frame.
    predicted_iou
        The IoU that the model predicts for the matte, about 0 to 1.
    area
        The part of the photo that the matte covers, 0 to 1.
    agreement
        The IoU of the mattes tracked from the prompted frames before and after, 0 to 1; 1 if both are
        empty. None on frames that were not tracked from both sides.
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
        Size of the photo, stored px; the matte is stretched to it.
    logits
        (h, w) float16 at the size that the model gives; inside is > 0.
    scores
        The model's own scores.
    prompted
        Whether this is a conditioning frame of the object.
    key
        Digest of what made it: equal keys mean equal mattes; empty if unknown.
    origin
        The common facts of the run that made it (`core/mattes/run_manifest.py`); empty if unknown.
    orientation
        How the photo is turned upright, 1 to 8 as in EXIF. The logits are not turned.
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
    orientation: int = AS_STORED

    @property
    def shape(self) -> PhotoShape:
        """The size of the photo, and how it is turned upright."""
        return PhotoShape(self.width, self.height, self.orientation)


@dataclass(frozen=True)
class MatteMark:
    """What distinguishes a matte from others of the same object and frame.

    Attributes
    ----------
    key, origin
        As in `MatteRecord`.
    checksum
        CRC-32 of all its bytes.
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
    orientation: int = AS_STORED


def encode_record(record: MatteRecord) -> bytes:
    """Return the bytes of a ``.matte`` file."""
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
            record.orientation,
        )
    )
    payload = zlib.compress(np.ascontiguousarray(record.logits, dtype="<f2").tobytes(), _ZLIB_LEVEL)
    body = _PREFIX.pack(_MAGIC, _FORMAT, len(header)) + header + payload
    return body + _CRC.pack(zlib.crc32(body))


def _opened(data: bytes) -> tuple[_Header, bytes]:
    """Return the header and the compressed logits of a ``.matte`` file; raises if it is damaged."""
    body, (checksum,) = data[: -_CRC.size], _CRC.unpack(data[-_CRC.size :])
    magic, version, header_size = _PREFIX.unpack_from(body)
    if magic != _MAGIC:
        raise ValueError("it is not a matte")
    if version != _FORMAT:
        raise ValueError(f"it has format {version}, but this SAM2 Splat reads format {_FORMAT}")
    if zlib.crc32(body) != checksum:
        raise ValueError("its check sum is wrong")
    end = _PREFIX.size + header_size
    header = msgspec.msgpack.decode(body[_PREFIX.size : end], type=_Header)
    _check(header)
    return header, body[end:]


def _check(header: _Header) -> None:
    """Raise ValueError if sizes or scores are impossible for a matte."""
    sizes_given = all(1 <= side <= _MAX_SIDE for side in (header.width, header.height))
    if not sizes_given or not all(0 <= side <= _MAX_SIDE for side in (header.rows, header.columns)):
        raise ValueError("its header has no size")
    if not 1 <= header.orientation <= 8:
        raise ValueError("its header has an impossible orientation")
    if header.rows * header.columns > _MAX_LOGITS:
        raise ValueError("its header has an impossible size")
    # One score that is not a number would spoil all numbers of a review.
    scores = (score for score in msgspec.structs.astuple(header.scores) if score is not None)
    if not all(map(math.isfinite, scores)):
        raise ValueError("its scores are not numbers")


def _checksum(data: bytes) -> int:
    number: int = _CRC.unpack(data[-_CRC.size :])[0]
    return number


def decode_record(data: bytes, source: str = "The matte") -> MatteRecord:
    """Decode a ``.matte`` file; raises StoreError that names ``source`` if it is damaged."""
    try:
        header, payload = _opened(data)
        size = 2 * header.rows * header.columns
        # Never unpack more than the header says, even if the data has more.
        stream = zlib.decompressobj()
        unpacked = stream.decompress(payload, size + 1)
        if len(unpacked) != size or stream.decompress(stream.unconsumed_tail, 1) or not stream.eof:
            raise ValueError("it has more or less data than its header says")
        logits = np.frombuffer(unpacked, dtype="<f2").reshape(header.rows, header.columns)
    except (*_UNREADABLE, zlib.error) as error:
        raise StoreError(
            f"{source} can't be used: {reason(error)}.", "Propagate this subject again."
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
        header.orientation,
    )


def _knows_unmarked(folder: Path) -> bool:
    """Whether a folder without a marker is a folder of mattes all the same.

    Its manifest tells it. If a power cut damaged that too, the mattes tell it, as long as our folders
    contain nothing else.
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
        elif not entry.name.startswith("."):  # leftovers of killed runs and of file managers
            return False
    return all(map(_may_be_matte, mattes[:1]))


def _is_anothers(folder: Path) -> bool:
    """Whether the manifest is a file of another program: not ours, and not ours cut off or emptied."""
    return is_manifest(folder / MANIFEST_NAME) is False and not is_torn(folder / MANIFEST_NAME)


def _may_be_matte(path: Path) -> bool:
    """Whether a file begins as a matte, or is one that a power cut has emptied."""
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
        f"state/#/{HULL_NAME}",
        f"state/#/{AGREEMENT_NAME}",
        f"state/#/{CARRIED_NAME}",
        f"state/#/{AGREED_NAME}",
        *(f"state/#/{direction}/#.safetensors" for direction in ("forward", "backward")),
        DAMAGED_NAME,
        BAKED_NAME,
        *(f"{PARTS}/*/#/{name}" for name in ("part.json", "said.npz", "#/?")),
        *(f"state/#/sides/{direction}/objects/#/#.matte" for direction in ("forward", "backward")),
    ),
    StoreError,
    "Choose another folder for the mattes, or move these files away.",
    _knows_unmarked,
    _is_anothers,
)
"""Folders of mattes, with all that a run writes into them."""


def _numbers(folder: Path, digits: int, suffix: str = "") -> list[int]:
    """Return the numbers in the names in a folder, rising. Only names of the store count.

    With a suffix these are files that are not empty, else folders. Other names occur: cloud services
    leave files such as "000003 (conflicted copy).matte", and power cuts leave empty files.
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
        return False  # deleted in this moment


class MatteStore:
    """The mattes of one footage on disk. Reading needs no lock: files appear completely or not at all.

    Methods that delete or move raise StoreError if the folder is not ours.

    Parameters
    ----------
    folder
        The folder of the mattes.
    within
        The outer folder with the marker, if the marker is not in ``folder`` itself.
    """

    def __init__(self, folder: Path, *, within: Path | None = None) -> None:
        self.folder = folder
        self._within = within or folder
        self._below = f"{folder.relative_to(within).as_posix()}/" if within else ""
        self._lasts = within is None  # mattes further inside only save time
        self._folders = FolderSync()

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> MatteStore:
        """Open a store; raises StoreError.

        With ``create`` the folder is made. A folder that exists is used if it is ours, or if nothing in
        it has one of our names.
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
        """Raise StoreError if the store was deleted during a run."""
        if not MATTES.owns(self.folder):
            raise StoreError(
                f"The matte folder {self.folder} was deleted or moved while masks were written"
                " into it.",
                "Press Propagate again, and leave the folder alone during the run.",
            )

    def sweep(self) -> None:
        """Remove incomplete files of a killed run. Only the process with the lock may call this.

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
        """Return the folder where the engine keeps what later runs of one object continue from."""
        return self.folder / _path("state", object_id)

    def write_state(self, object_id: int, name: str, data: bytes) -> Path:
        """Write a file into `state_folder`, whole or not at all, and return it; raises StoreError."""
        path = self.state_folder(object_id) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)
        except OSError as error:
            raise StoreError(
                f"{path} can't be written: {error.strerror}.",
                "Free some disk space, or choose another folder for the mattes.",
            ) from error
        return path

    def prune_state(self) -> None:
        """Remove empty folders of `state_folder`; raises StoreError."""
        with self._removing():
            MATTES.prune(self.folder, "state")

    def _object_folder(self, object_id: int) -> Path:
        return self.folder / _path("objects", object_id)

    def path(self, object_id: int, frame: int) -> Path:
        return self._object_folder(object_id) / f"{frame:06d}{_SUFFIX}"

    def write(self, record: MatteRecord) -> None:
        """Write one record completely or not at all; raises StoreError."""
        path = self.path(record.object_id, record.frame)
        try:
            MATTES.make(self._within, self._below + _path("objects", record.object_id))
            write_atomic(path, encode_record(record), folders=self._folders, synced=self._lasts)
        except OSError as error:
            raise self._not_written(path, error) from error

    def sync(self) -> None:
        """Wait until all that was written is on the disk, with its names; raises StoreError."""
        try:
            self._folders.flush()
        except OSError as error:
            raise self._not_written(self.folder, error) from error

    def read(self, object_id: int, frame: int, mark: MatteMark | None = None) -> MatteRecord:
        """Read one record; raises StoreError if it is missing, damaged, or has another mark.

        A renamed file counts as damaged: it would show on another photo.
        """
        path = self.path(object_id, frame)
        try:
            data = read_plain(path)
        except FileNotFoundError as error:
            raise StoreError(
                f"Subject {object_id} has no mask on frame {frame}.", "Press Propagate first."
            ) from error
        except OSError as error:
            raise StoreError(
                f"The matte {path} can't be read: {error.strerror}.",
                "Check that you may read this file.",
            ) from error
        record = decode_record(data, f"The matte {path}")
        if (record.object_id, record.frame) != (object_id, frame):
            raise StoreError(
                f"The matte {path} can't be used: it is of subject {record.object_id}, frame"
                f" {record.frame}.",
                "Propagate this subject again.",
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
        """Return the ids of all objects with a matte, rising."""
        root = self.folder / "objects"
        if not is_folder(root):
            return []
        return [object_id for object_id in _numbers(root, 3) if self.frames(object_id)]

    def frames(self, object_id: int) -> list[int]:
        """Return the frames on which the object has a matte, rising."""
        folder = self._object_folder(object_id)
        if not is_folder(folder):
            return []
        return _numbers(folder, 6, _SUFFIX)

    def key(self, object_id: int, frame: int) -> str | None:
        """Return the key of a matte; None if it is missing or damaged. Faster than `read`."""
        mark = self.mark(object_id, frame)
        return None if mark is None else mark.key

    def mark(self, object_id: int, frame: int) -> MatteMark | None:
        """Return the mark of a matte; None if it is missing or damaged."""
        try:
            data = read_plain(self.path(object_id, frame))
            header, _ = _opened(data)
        except (OSError, *_UNREADABLE):
            return None
        if (header.object_id, header.frame) != (object_id, frame):
            return None  # it was renamed, or copied from elsewhere
        return MatteMark(header.key, header.origin, _checksum(data))

    def remove(self, object_id: int, frames: Container[int] | None = None) -> None:
        """Delete the mattes of the object, all or those on ``frames``; raises StoreError.

        If all are deleted, what later runs could continue from is deleted too.
        """
        MATTES.require(self._within)
        with self._removing():
            if frames is None:
                MATTES.remove(self._within, self._below + _path("state", object_id))
            for path in list(MATTES.files(self._within, self._below + _path("objects", object_id))):
                if frames is None or int(path.stem) in frames:
                    path.unlink(missing_ok=True)

    def set_aside(self, object_id: int) -> None:
        """Hide all mattes of an object, so that `put_back` can bring them back; raises StoreError.

        What later runs could continue from is deleted: it only saves time. Refused during a run.
        """
        with self._removing(), no_run(self.folder):
            MATTES.remove(self.folder, _path("state", object_id))
            MATTES.remove(self.folder, _path("cleared", object_id))
            self.move(_path("objects", object_id), _path("cleared", object_id))

    def put_back(self, object_id: int) -> None:
        """Bring back the hidden mattes, unless the object has new ones; raises StoreError.

        Refused during a run.
        """
        with self._removing(), no_run(self.folder):
            if self.frames(object_id):
                self.drop_aside(object_id)
            else:
                self.move(_path("cleared", object_id), _path("objects", object_id))

    def drop_aside(self, object_id: int) -> None:
        """Delete the hidden mattes of an object; raises StoreError."""
        with self._removing():
            MATTES.remove(self.folder, _path("cleared", object_id))

    def move(self, source: str, target: str) -> None:
        """Move the mattes of an object, in one step unless other files are there too.

        Parameters
        ----------
        source, target
            Folders of ours, relative to the store.

        Raises
        ------
        StoreError
            The folder is not ours.
        OSError
            Moving failed; the caller writes the message.
        """
        MATTES.require(self.folder)
        mattes = list(MATTES.files(self.folder, source))
        if not mattes:
            return
        folder = MATTES.make(self.folder, target)
        if not any(folder.iterdir()) and len(mattes) == _count(self.folder / source):
            folder.rmdir()  # Windows does not rename to a folder that exists
            (self.folder / source).rename(folder)
        else:
            for matte in mattes:
                matte.rename(folder / matte.name)
            MATTES.prune(self.folder, source)
        for moved in (folder, folder.parent, (self.folder / source).parent):
            sync_folder(moved)

    def aside(self) -> list[int]:
        """Return the ids of the objects with hidden mattes, rising."""
        root = self.folder / "cleared"
        if not is_folder(root):
            return []
        return _numbers(root, 3)

    def clear(self) -> None:
        """Delete everything of ours in the store; raises StoreError, also during a run."""
        with self._removing():
            if MATTES.is_empty(self.folder):
                self.drop_trial()
                return
            MATTES.require(self.folder)
        with self._removing(), no_run(self.folder):
            # The manifest goes first: without it, what is left does not count as a result.
            for name in (MANIFEST_NAME, UNFINISHED_NAME):
                (self.folder / name).unlink(missing_ok=True)
            for name in ("objects", "cleared", "state", EARLIER):
                MATTES.remove(self.folder, name)
            MATTES.give_up(self.folder)
        self.drop_trial()

    @property
    def trial(self) -> MatteStore:
        """The store within this one for masks that are made to be tried; it may not exist."""
        return MatteStore(self.folder / TRIAL)

    def drop_trial(self) -> None:
        """Delete the masks that were made to be tried; raises StoreError, also during a run of them."""
        trial = self.trial
        if not MATTES.owns(trial.folder):
            return
        trial.clear()
        with contextlib.suppress(OSError):  # something else is in it
            for name in (LOCK_NAME, DAMAGED_NAME):
                (trial.folder / name).unlink(missing_ok=True)
            trial.folder.rmdir()

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
                "Close programs that use that folder, and check that you may write to it.",
            ) from error


def _path(name: str, object_id: int) -> str:
    return f"{name}/{object_id:03d}"


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())
