# SPDX-License-Identifier: GPL-3.0-or-later
"""The matte store: results on disk, one atomic file per object and frame; core, numpy, msgspec.

Layout of a store folder::

    manifest.json               what made it (core/manifest.py)
    objects/001/000001.matte    object 1, frame 1
    cleared/002/                object 2, which the user has cleared and may want back
    state/001/                  what later runs of object 1 can go on from (the engine's own)

A ``.matte`` file is ``b"S2SM"``, a format byte, the length of the header (4 bytes, little endian),
the header (MessagePack), the logits (little-endian float16, zlib), and the CRC-32 of everything
before it. The same record gives the same bytes.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Container
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from .atomic import sweep_temporaries, write_atomic
from .errors import StoreError

_MAGIC = b"S2SM"
_FORMAT = 1
_PREFIX = struct.Struct("<4sBI")
_CRC = struct.Struct("<I")
_ZLIB_LEVEL = 1

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
    """

    object_id: int
    frame: int
    width: int
    height: int
    logits: Logits
    scores: MatteScores
    prompted: bool = False
    key: str = ""


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
    return msgspec.msgpack.decode(body[_PREFIX.size : end], type=_Header), body[end:]


def decode_record(data: bytes, source: str = "The matte") -> MatteRecord:
    """Decode a ``.matte`` file; raises StoreError that names ``source`` when it is damaged."""
    try:
        header, payload = _opened(data)
        logits = np.frombuffer(zlib.decompress(payload), dtype="<f2")
        logits = logits.reshape(header.rows, header.columns)
    except (ValueError, struct.error, zlib.error, msgspec.MsgspecError) as error:
        raise StoreError(
            f"{source} can't be used: {error}.", "Propagate this object again."
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
    )


class MatteStore:
    """Mattes of one footage on disk. Reading needs no lock: files appear whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> MatteStore:
        """Open a store; raises StoreError.

        With ``create``, for the one process that writes into it, the folder is made and what a
        killed run left half-written is swept away.
        """
        if create:
            try:
                (folder / "objects").mkdir(parents=True, exist_ok=True)
                sweep_temporaries(folder)
            except OSError as error:
                raise StoreError(
                    f"The matte folder {folder} can't be made: {error.strerror}.",
                    "Choose another cache folder in the add-on's preferences.",
                ) from error
        elif not folder.is_dir():
            raise StoreError(f"There are no mattes in {folder}.", "Press Propagate first.")
        return cls(folder)

    @property
    def manifest_path(self) -> Path:
        return self.folder / "manifest.json"

    def state_folder(self, object_id: int) -> Path:
        """Where the engine keeps what later runs can go on from, for one object."""
        return self.folder / "state" / f"{object_id:03d}"

    def prune_state(self) -> None:
        """Remove the folders of that which hold nothing; raises StoreError."""
        root = self.folder / "state"
        folders = [entry for entry in root.rglob("*") if entry.is_dir()]
        try:
            for folder in (*sorted(folders, reverse=True), root):  # inner ones first
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        except OSError as error:
            raise self._not_removable(error) from error

    def _object_folder(self, object_id: int) -> Path:
        return self.folder / "objects" / f"{object_id:03d}"

    def path(self, object_id: int, frame: int) -> Path:
        return self._object_folder(object_id) / f"{frame:06d}.matte"

    def write(self, record: MatteRecord) -> None:
        """Write one record whole or not at all; raises StoreError."""
        path = self.path(record.object_id, record.frame)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, encode_record(record))
        except OSError as error:
            raise StoreError(
                f"The matte {path} can't be written: {error.strerror}.",
                "Free some disk space, or choose another cache folder in the add-on's preferences.",
            ) from error

    def read(self, object_id: int, frame: int) -> MatteRecord:
        """Read one record; raises StoreError when it is missing or damaged."""
        path = self.path(object_id, frame)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise StoreError(
                f"Object {object_id} has no matte on frame {frame}.", "Press Propagate first."
            ) from error
        except OSError as error:
            raise StoreError(f"The matte {path} can't be read: {error.strerror}.") from error
        return decode_record(data, f"The matte {path}")

    def has(self, object_id: int, frame: int) -> bool:
        return self.path(object_id, frame).is_file()

    def objects(self) -> list[int]:
        """The ids of all objects that have a matte, rising."""
        root = self.folder / "objects"
        if not root.is_dir():
            return []
        ids = [int(entry.name) for entry in root.iterdir() if entry.name.isdigit()]
        return sorted(object_id for object_id in ids if self.frames(object_id))

    def frames(self, object_id: int) -> list[int]:
        """The frames on which the object has a matte, rising."""
        folder = self._object_folder(object_id)
        if not folder.is_dir():
            return []
        # Cloud folders leave files such as "000003 (conflicted copy).matte" behind.
        return sorted(int(path.stem) for path in folder.glob("*.matte") if path.stem.isdecimal())

    def key(self, object_id: int, frame: int) -> str | None:
        """What made a matte; None when it is missing or damaged. Quicker than `read`."""
        try:
            header, _ = _opened(self.path(object_id, frame).read_bytes())
        except (OSError, ValueError, struct.error, msgspec.MsgspecError):
            return None
        return header.key

    def remove(self, object_id: int, frames: Container[int] | None = None) -> None:
        """Forget the object's mattes, all or those on ``frames``; raises StoreError.

        With all of them goes what later runs could go on from.
        """
        try:
            if frames is None:
                shutil.rmtree(self.state_folder(object_id), ignore_errors=True)
            for frame in self.frames(object_id):
                if frames is None or frame in frames:
                    self.path(object_id, frame).unlink(missing_ok=True)
        except OSError as error:
            raise self._not_removable(error) from error

    def set_aside(self, object_id: int) -> None:
        """Hide all of an object's mattes, so that `put_back` can undo it; raises StoreError.

        What later runs could go on from is not kept: it only saves time.
        """
        try:
            shutil.rmtree(self.state_folder(object_id), ignore_errors=True)
            shutil.rmtree(self._aside_folder(object_id), ignore_errors=True)
            if self._object_folder(object_id).is_dir():
                self._aside_folder(object_id).parent.mkdir(exist_ok=True)
                self._object_folder(object_id).rename(self._aside_folder(object_id))
        except OSError as error:
            raise self._not_removable(error) from error

    def put_back(self, object_id: int) -> None:
        """Bring back what was set aside, unless the object has new mattes; raises StoreError."""
        try:
            if self.frames(object_id):
                self.drop_aside(object_id)
            elif self._aside_folder(object_id).is_dir():
                shutil.rmtree(self._object_folder(object_id), ignore_errors=True)
                self._aside_folder(object_id).rename(self._object_folder(object_id))
        except OSError as error:
            raise self._not_removable(error) from error

    def drop_aside(self, object_id: int) -> None:
        """Forget what was set aside of an object."""
        shutil.rmtree(self._aside_folder(object_id), ignore_errors=True)

    def aside(self) -> list[int]:
        """The ids of the objects whose mattes are set aside, rising."""
        root = self.folder / "cleared"
        if not root.is_dir():
            return []
        return sorted(int(entry.name) for entry in root.iterdir() if entry.name.isdigit())

    def _aside_folder(self, object_id: int) -> Path:
        return self.folder / "cleared" / f"{object_id:03d}"

    def clear(self) -> None:
        """Forget everything in the store; raises StoreError."""
        try:
            # The manifest goes first: without it nothing that is left counts as a result.
            self.manifest_path.unlink(missing_ok=True)
            for name in ("objects", "cleared", "state"):
                if (self.folder / name).exists():
                    shutil.rmtree(self.folder / name)
        except OSError as error:
            raise self._not_removable(error) from error

    def _not_removable(self, error: OSError) -> StoreError:
        return StoreError(
            f"The mattes in {self.folder} can't be removed: {error.strerror}.",
            "Close programs that use that folder, and see that it is writable.",
        )
