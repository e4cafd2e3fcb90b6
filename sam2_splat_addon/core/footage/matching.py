# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the same photos again after some were added or deleted.

Clicks and masks belong to frame numbers. A photo that is added or deleted changes the numbers of all
photos after it. So a clip remembers which photo each frame had.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import PurePath

import msgspec

from ..system.safe_read import UNREADABLE
from .scan import Footage


class KnownPhoto(msgspec.Struct, frozen=True, array_like=True):
    """What a clip remembers of a photo: its name with subfolders, and its size in bytes."""

    name: str
    size: int


def known_photos(footage: Footage) -> tuple[KnownPhoto, ...]:
    """Return what to remember of the photos of a footage, frame 1 first."""
    return tuple(KnownPhoto(_plain(frame.name), frame.byte_size) for frame in footage.frames)


def to_text(photos: Sequence[KnownPhoto]) -> str:
    """Write photos as compact JSON."""
    return msgspec.json.encode(photos).decode()


def from_text(text: str) -> tuple[KnownPhoto, ...]:
    """Read what `to_text` wrote. An empty or damaged text gives no photos."""
    try:
        return msgspec.json.decode(text, type=tuple[KnownPhoto, ...]) if text else ()
    except UNREADABLE:
        return ()


def first_other(before: Sequence[KnownPhoto], now: Sequence[KnownPhoto]) -> int | None:
    """Return the first frame whose photo has another name than before; None if there is none."""
    frames = enumerate(zip(before, now, strict=False), 1)
    return next((frame for frame, (old, new) in frames if old.name != new.name), None)


def moved_frames(before: Sequence[KnownPhoto], now: Sequence[KnownPhoto]) -> dict[int, int]:
    """Return old frame -> new frame of the same photo. Photos that are gone are left out.

    A renamed photo is found by its size, if no other photo has that size. An edited photo is found by
    its name. A photo exported in another format is found by its name without the extension.
    """
    found: dict[int, int] = {}
    sizes = Counter(photo.size for photo in before), Counter(photo.size for photo in now)

    def alone(photo: KnownPhoto) -> Hashable:
        size = photo.size
        return size if sizes[0][size] == sizes[1][size] == 1 else None

    ways: tuple[Callable[[KnownPhoto], Hashable], ...] = (
        lambda photo: photo,
        alone,
        lambda photo: photo.name,
        lambda photo: PurePath(photo.name).with_suffix("").as_posix().casefold(),
    )
    for way in ways:
        taken = set(found.values())
        free: dict[Hashable, list[int]] = {}
        for frame, photo in enumerate(now, 1):
            if frame not in taken:
                free.setdefault(way(photo), []).append(frame)
        for frame, photo in enumerate(before, 1):
            key = way(photo)
            if frame not in found and key is not None and free.get(key):
                found[frame] = free[key].pop(0)
    return found


def _plain(name: str) -> str:
    """Return the name of a photo, the same on every system and valid as text."""
    return unicodedata.normalize("NFC", name).encode("utf-8", "replace").decode()
