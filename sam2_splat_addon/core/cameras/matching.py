# SPDX-License-Identifier: GPL-3.0-or-later
"""Say which camera belongs to which photo, by name.

Programs change names: they add folders, drop folders, turn .jpg into .png, drop the extension, or write
another case. So four ways are tried, and only what is certain counts: no two photos, and no two cameras,
may have the name in question.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from ..footage.scan import IMAGE_EXTENSIONS


def matched(photos: Sequence[Path], names: Sequence[str]) -> dict[int, int]:
    """Return place of a photo -> place of its camera's name.

    Parameters
    ----------
    photos
        Absolute paths.
    names
        Names or paths as the file of the cameras has them, with either kind of slash.
    """
    whole = [_parts(str(photo)) for photo in photos]
    given = [_parts(name) for name in names]
    longest = max(map(len, given), default=1)
    found: dict[int, int] = {}
    for length in range(min(longest, 6), 1, -1):  # folder/name, as far as the file has folders

        def end(parts: tuple[str, ...], length: int = length) -> Hashable:
            return parts[-length:] if len(parts) >= length else None

        _by(end, whole, given, found)
    _by(lambda parts: parts[-1], whole, given, found)
    _by(lambda parts: _stem(parts[-1]), whole, given, found)
    return found


def _by(
    way: Callable[[tuple[str, ...]], Hashable],
    photos: Sequence[tuple[str, ...]],
    names: Sequence[tuple[str, ...]],
    found: dict[int, int],
) -> None:
    """Add the pairs whose key is the same and that of no other photo or camera which is still free."""
    taken = set(found.values())
    free = [at for at in range(len(names)) if at not in taken]
    keys = {at: way(names[at]) for at in free}
    counts = Counter(keys.values())
    places = {key: at for at, key in keys.items() if key is not None and counts[key] == 1}
    waiting = {at: way(parts) for at, parts in enumerate(photos) if at not in found}
    wanted = Counter(waiting.values())
    for at, key in waiting.items():
        if key in places and wanted[key] == 1:
            found[at] = places[key]


def _parts(name: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFC", name).casefold().replace("\\", "/")
    return tuple(part for part in plain.split("/") if part not in ("", ".")) or ("",)


def _stem(name: str) -> str:
    """Return the name without its extensions of images, of which trainers' masks have two."""
    while "." in name[1:] and name[name.rindex(".") :] in IMAGE_EXTENSIONS:
        name = name[: name.rindex(".")]
    return name
