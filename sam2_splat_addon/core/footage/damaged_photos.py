# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of damaged photos that runs have found.

A photo is known as damaged once a run has tried to decode it. A store remembers the list as long as
the photos are the same. So the next run need not try them again, and the review can name them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ..errors import DamagedPhoto, StoreError
from ..system.atomic_file import write_atomic
from ..system.safe_read import UNREADABLE, read_plain
from .scan import shorten

DAMAGED_NAME: Final = "state/damaged.json"
"""The file of the list, within a store."""

_MAX_BYTES: Final = 1 << 26


class DamagedFrame(msgspec.Struct, frozen=True):
    """A damaged photo: its frame, from 1, its name, and what is wrong, as a sentence.

    The name is that of `core.footage.scan.FrameFile`.
    """

    frame: int
    name: str
    reason: str

    @classmethod
    def of(cls, frame: int, name: str, error: DamagedPhoto) -> DamagedFrame:
        """Make the entry of a frame from the decoder's error."""
        return cls(frame, name, error.message)


class _Listed(msgspec.Struct, frozen=True):
    footage: str
    photos: tuple[DamagedFrame, ...]


def read_damaged(store: Path, footage: str) -> dict[int, DamagedFrame]:
    """Return the damaged photos that runs into this store have found, by frame.

    Parameters
    ----------
    store
        The folder of the store.
    footage
        Fingerprint of the footage. A list of other footage counts as empty.
    """
    path = store / DAMAGED_NAME
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}
        listed = msgspec.json.decode(read_plain(path), type=_Listed)
    except (OSError, *UNREADABLE):
        return {}
    return {at.frame: at for at in listed.photos} if listed.footage == footage else {}


def write_damaged(store: Path, footage: str, photos: Mapping[int, DamagedFrame]) -> None:
    """Replace the list of damaged photos; raises StoreError."""
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
            f"The list of damaged photos {path} can't be written: {error.strerror}.",
            "Free some disk space, or choose another folder for the mattes.",
        ) from error


def left_out(photos: Iterable[DamagedFrame]) -> str:
    """Return a sentence that names the photos; empty if there are none."""
    named = [f"{at.name} (frame {at.frame})" for at in sorted(photos, key=lambda at: at.frame)]
    if not named:
        return ""
    what = "this photo is" if len(named) == 1 else "these photos are"
    return f"Left out, as {what} damaged: {shorten(named)}."
