# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos that do not decode whole, as runs have found them; standard library and msgspec only.

They are known once they were read. A store remembers them for as long as the photos are the same, so
that the next run need not try them again, and the review can name them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ..errors import DamagedPhoto, StoreError
from ..system.atomic_file import write_atomic
from .scan import shorten

DAMAGED_NAME: Final = "state/damaged.json"
"""Where they are listed, within a store."""

_MAX_BYTES: Final = 1 << 26


class DamagedFrame(msgspec.Struct, frozen=True):
    """A damaged photo: its frame, from 1, its file's name, and what is wrong, as a sentence."""

    frame: int
    name: str
    reason: str

    @classmethod
    def of(cls, frame: int, path: Path, error: DamagedPhoto) -> DamagedFrame:
        """What a decoder has said of a frame."""
        return cls(frame, path.name, error.message)


class _Listed(msgspec.Struct, frozen=True):
    footage: str
    photos: tuple[DamagedFrame, ...]


def read_damaged(store: Path, footage: str) -> dict[int, DamagedFrame]:
    """The damaged photos of a footage, by frame, as far as runs into this store have met them.

    Parameters
    ----------
    store
        Its folder.
    footage
        The footage's fingerprint.
    """
    path = store / DAMAGED_NAME
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}
        listed = msgspec.json.decode(path.read_bytes(), type=_Listed)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return {at.frame: at for at in listed.photos} if listed.footage == footage else {}


def write_damaged(store: Path, footage: str, photos: Mapping[int, DamagedFrame]) -> None:
    """List them in place of what is listed there; raises StoreError."""
    path = store / DAMAGED_NAME
    try:
        if not photos:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
        path.parent.mkdir(exist_ok=True)
        listed = _Listed(footage, tuple(photos[frame] for frame in sorted(photos)))
        write_atomic(path, msgspec.json.format(msgspec.json.encode(listed), indent=2))
    except OSError as error:
        raise StoreError(
            f"The damaged photos can't be listed in {path}: {error.strerror}.",
            "Free some disk space, or choose another folder for the mattes.",
        ) from error


def left_out(photos: Iterable[DamagedFrame]) -> str:
    """A sentence that names them; empty without any."""
    named = [f"{at.name} (frame {at.frame})" for at in sorted(photos, key=lambda at: at.frame)]
    if not named:
        return ""
    what = "this photo is" if len(named) == 1 else "these photos are"
    return f"Left out, as {what} damaged: {shorten(named)}."
