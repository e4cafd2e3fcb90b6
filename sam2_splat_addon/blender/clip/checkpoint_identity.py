# SPDX-License-Identifier: GPL-3.0-or-later
"""The checksum of the checkpoint file of a clip's model, as the file is now.

A file may be replaced by another one of the same name. Reading it takes seconds, so threads do it. They
look at its size and times now and then, and compute the checksum when these have changed.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import bpy

from ...core.system.background_task import BackgroundTask, Report
from ..context import session_state
from ..context.properties import SAM2SPLAT_PG_clip
from ..context.requests import checkpoint_file
from ..context.session_state import SessionPart

_EVERY = 2.0  # s between two looks at a file
_CHUNK = 1 << 20  # bytes between two reports

# Size, times and number of a file. None if there is no file.
_Status = tuple[int, int, int, int] | None


@dataclass
class _Look:
    """What we know about a file, and the thread that looks at it."""

    status: _Status = None
    sha256: str | None = None
    at: float = -_EVERY
    background: BackgroundTask[tuple[_Status, str | None]] | None = None


@dataclass
class _Looks(SessionPart):
    """What we know about each checkpoint file that was asked for."""

    by_file: dict[Path, _Look] = field(default_factory=dict)


def sha256_of(settings: SAM2SPLAT_PG_clip) -> str | None:
    """Return the SHA-256 of the checkpoint of a clip's settings, in hex.

    Empty if there is no such file. None if it is not known yet, for a moment after the file was chosen
    or has changed. Without a window, wait for it.
    """
    path = checkpoint_file(settings)
    look = session_state.part(_Looks).by_file.setdefault(path, _Look())
    rest = 0.0 if bpy.app.background else _EVERY
    while True:
        if look.background is None and time.monotonic() - look.at >= rest:
            look.background = _look_again(path, look)
        if look.background is not None and look.background.poll(
            10.0 if bpy.app.background else 0.0
        ):
            look.status, look.sha256 = look.background.result()
            # If the file is another one, its checksum is computed at once.
            look.background, look.at = (
                None,
                time.monotonic() if look.sha256 is not None else -_EVERY,
            )
        if not bpy.app.background or (look.sha256 is not None and look.background is None):
            return look.sha256


def _look_again(path: Path, look: _Look) -> BackgroundTask[tuple[_Status, str | None]]:
    status, known = look.status, look.sha256

    def work(report: Report) -> tuple[_Status, str | None]:
        try:
            found = path.stat()
            now = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            if now != status:
                return now, None
            return now, known if known is not None else _sum(path, report)
        except OSError:
            return None, ""

    return BackgroundTask(work)


def _sum(path: Path, report: Report) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
            done += len(block)
            report(done, total)
    return digest.hexdigest()
