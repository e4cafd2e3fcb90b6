# SPDX-License-Identifier: GPL-3.0-or-later
"""Which photo of before is which one now, after some came or went; imports core and msgspec.

Clicks and masks stand on frame numbers, and photos that come or go move the numbers of all behind
them: so a clip remembers the photos of its frames.
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
    """What is remembered of a photo: its name, and its size in bytes."""

    name: str
    size: int


def known_photos(footage: Footage) -> tuple[KnownPhoto, ...]:
    """The photos of a footage as they are remembered, frame 1 first."""
    return tuple(KnownPhoto(_plain(frame.path), frame.byte_size) for frame in footage.frames)


def to_text(photos: Sequence[KnownPhoto]) -> str:
    """As compact JSON."""
    return msgspec.json.encode(photos).decode()


def from_text(text: str) -> tuple[KnownPhoto, ...]:
    """What `to_text` was given; nothing for an empty or damaged text: a clip that remembers none."""
    try:
        return msgspec.json.decode(text, type=tuple[KnownPhoto, ...]) if text else ()
    except UNREADABLE:
        return ()


def first_other(before: Sequence[KnownPhoto], now: Sequence[KnownPhoto]) -> int | None:
    """The first frame that has a photo of another name than before, None where there is none."""
    frames = enumerate(zip(before, now, strict=False), 1)
    return next((frame for frame, (old, new) in frames if old.name != new.name), None)


def moved_frames(before: Sequence[KnownPhoto], now: Sequence[KnownPhoto]) -> dict[int, int]:
    """The frame of before -> its photo's frame now; photos that are gone are left out.

    A renamed photo is known by its size, as long as no other photo has that; one that was edited by
    its name, and one that was exported in another format by its name without the extension.
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
        lambda photo: PurePath(photo.name).stem.casefold(),
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


def _plain(path: PurePath) -> str:
    """A photo's name, the same on every system and fit for any text."""
    return unicodedata.normalize("NFC", path.name).encode("utf-8", "replace").decode()
