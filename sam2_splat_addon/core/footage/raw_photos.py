# SPDX-License-Identifier: GPL-3.0-or-later
"""What LibRaw says about camera RAW photos, kept in a file of the cache.

LibRaw is in the packages of the SAM 2 process, so Blender can't read the size of such a photo itself. When
photos are loaded, the process looks at the RAW photos that are not known yet.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ..errors import DamagedPhoto, FootageError
from ..system.atomic_file import write_atomic
from ..system.links import is_link
from ..system.safe_read import UNREADABLE, read_plain

FILE_NAME: Final = "raw_photos.json"  # in the cache
_MOST: Final = 100_000  # photos that are remembered: the latest ones
_MAX_BYTES: Final = 1 << 26
_MADE_BY: Final = "SAM2 Splat"


class RawPhotosUnknown(FootageError):  # noqa: N818 - says what is wrong by itself
    """The SAM 2 process has not looked at some RAW photos yet.

    Attributes
    ----------
    paths
        These photos.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        super().__init__(
            f"{self.paths[0].name} is a camera RAW that SAM2 Splat has not looked at yet.",
            "Press Load Photos.",
        )


class RawPhoto(msgspec.Struct, frozen=True):
    """What LibRaw says about a photo.

    Attributes
    ----------
    width, height
        px, in the order of the sensor; 0 if the photo can't be used.
    orientation
        1 to 8, as in EXIF.
    problem
        Why it can't be used, as an end of the sentence "<file> can't be used: ...".
    """

    width: int = 0
    height: int = 0
    orientation: int = 1
    problem: str = ""


class _Kept(msgspec.Struct):
    made_by: str
    photos: dict[str, RawPhoto]


class RawPhotos:
    """What is known about RAW photos. A missing or damaged file counts as empty.

    A photo is known by its file name, its size and the time when it last changed. So it stays known in
    another folder.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @functools.cached_property
    def _known(self) -> dict[str, RawPhoto] | None:
        """The photos by their key; None if the file is damaged, or not ours."""
        try:
            if is_link(self._file) or self._file.stat().st_size > _MAX_BYTES:
                return None
            kept = msgspec.json.decode(read_plain(self._file), type=_Kept)
        except FileNotFoundError:
            return {}
        except (OSError, *UNREADABLE):
            return None
        return kept.photos if kept.made_by == _MADE_BY else None

    def of(self, path: Path) -> RawPhoto:
        """Return what is known about a photo.

        Raises
        ------
        RawPhotosUnknown
            Nothing is.
        DamagedPhoto
            It can't be used.
        OSError
            It is not there.
        """
        found = (self._known or {}).get(_key(path))
        if found is None:
            raise RawPhotosUnknown([path])
        if found.problem:
            raise unusable(path, found.problem)
        return found

    def keep(self, photos: Mapping[Path, RawPhoto]) -> None:
        """Remember photos, and write the file. Raises FootageError."""
        known = dict(self._known or {})
        try:
            for path, photo in photos.items():
                key = _key(path)
                known.pop(key, None)
                known[key] = photo
            if self._known is None:
                # It goes aside, so nothing is lost.
                self._file.replace(self._file.with_name(f"{self._file.name}.old"))
            self._file.parent.mkdir(parents=True, exist_ok=True)
            kept = _Kept(_MADE_BY, dict(list(known.items())[-_MOST:]))
            write_atomic(self._file, msgspec.json.encode(kept))
        except OSError as problem:
            raise FootageError(
                f"{self._file} could not be written: {problem.strerror or problem}.",
                "Choose a cache folder that you may write to, on a disk with free space.",
            ) from problem


def unusable(path: Path, problem: str) -> DamagedPhoto:
    """Return the error of a RAW photo that can't be used."""
    return DamagedPhoto(
        f"{path.name} can't be used: {problem}.",
        "Convert this photo to DNG, export it as 16 bit TIFF, or remove it.",
    )


def _key(path: Path) -> str:
    status = path.stat()
    return f"{path.name} {status.st_size} {status.st_mtime_ns}"
