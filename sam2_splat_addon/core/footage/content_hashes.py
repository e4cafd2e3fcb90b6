# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes of whole files, remembered as long as the files stay the same.

Reading hundreds of photos takes seconds. So a file is read again only when its size, time or inode
has changed (see `file_stamps`).
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import zlib
from pathlib import Path
from typing import Final

import msgspec

from ..system.atomic_file import write_atomic
from ..system.links import is_link
from ..system.safe_read import open_plain, read_plain
from .file_stamps import Stamp, stamp_of

HASHES_NAME: Final = "photo_hashes"
"""Name of the file of hashes in the cache."""

_SETTLED_NS: Final = 2_500_000_000
"""A file that changed less than this ago may change again and keep its stamp: some file systems count
time in steps of 2 s."""

_MOST: Final = 100_000  # files remembered: the ones asked for last
_MAX_BYTES: Final = 1 << 27
_CHECK_BYTES: Final = 4
_BEGIN: Final = b"SAM2 Splat photo hashes\n"  # the first bytes of our file


class ContentHashes:
    """SHA-256 of files, remembered in this process and, if wanted, in a file.

    Parameters
    ----------
    file
        Keeps the hashes after this process ends; None keeps nothing. A damaged file counts as empty.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[Stamp, bytes] = {}
        self._has_new = False
        if file is not None:
            self._known = _read(file)

    def of(self, path: Path) -> bytes:
        """Return the hash of all bytes of a file, 32 bytes; raises OSError."""
        stamp = stamp_of(path)
        digest = self._known.pop(stamp, None)
        if digest is None:
            began = time.time_ns()
            with open_plain(path) as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
            self._has_new = True
            is_settled = max(stamp.changed_ns, stamp.touched_ns) < began - _SETTLED_NS
            if not is_settled or stamp_of(path) != stamp:
                return digest
        self._known[stamp] = digest  # at the end: the order is that of the last request
        return digest

    def keep(self) -> None:
        """Write new hashes into the file. If that fails, nothing is lost but time."""
        if self._file is None or not self._has_new:
            return
        latest = list(self._known.items())[-_MOST:]
        data = msgspec.msgpack.encode([(*stamp, digest) for stamp, digest in latest])
        with contextlib.suppress(OSError):
            if is_link(self._file) or not _is_ours(self._file):
                return  # it is not our file
            self._file.parent.mkdir(parents=True, exist_ok=True)
            check = zlib.crc32(data).to_bytes(_CHECK_BYTES, "little")
            write_atomic(self._file, _BEGIN + data + check)
        self._has_new = False


_Entry = tuple[str, int, int, int, int, bytes]


def _is_ours(file: Path) -> bool:
    """Whether a file is ours, complete or cut off, or missing; raises OSError."""
    try:
        with open_plain(file) as stream:
            start = stream.read(len(_BEGIN))
    except FileNotFoundError:
        return True
    return _BEGIN.startswith(start.rstrip(b"\0"))


def _read(file: Path) -> dict[Stamp, bytes]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            return {}
        data = read_plain(file)
        if not data.startswith(_BEGIN):
            return {}
        held, check = data[len(_BEGIN) : -_CHECK_BYTES], data[-_CHECK_BYTES:]
        if zlib.crc32(held).to_bytes(_CHECK_BYTES, "little") != check:
            return {}
        entries = msgspec.msgpack.decode(held, type=list[_Entry])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return {Stamp(*entry[:5]): entry[5] for entry in entries}
