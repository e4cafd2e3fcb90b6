# SPDX-License-Identifier: GPL-3.0-or-later
"""What LibRaw says about camera RAW photos, kept in a file of the cache.

LibRaw is in the packages of the SAM 2 process, so Blender can't read the size of such a photo itself. When
photos are loaded, the process looks at the RAW photos that are not known yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
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
        self._is_ours = True
        self._known: dict[str, RawPhoto] = {}
        try:
            if is_link(file) or file.stat().st_size > _MAX_BYTES:
                raise ValueError
            kept = msgspec.json.decode(read_plain(file), type=_Kept)
            self._is_ours = kept.made_by == _MADE_BY
            self._known = kept.photos if self._is_ours else {}
        except FileNotFoundError:
            pass
        except (OSError, *UNREADABLE):
            self._is_ours = False

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
        found = self._known.get(_key(path))
        if found is None:
            raise RawPhotosUnknown([path])
        if found.problem:
            raise unusable(path, found.problem)
        return found

    def add(self, path: Path, photo: RawPhoto) -> None:
        """Remember a photo; raises OSError."""
        key = _key(path)
        self._known.pop(key, None)
        self._known[key] = photo

    def keep(self) -> None:
        """Write the file. Raises FootageError."""
        latest = dict(list(self._known.items())[-_MOST:])
        try:
            if not self._is_ours:
                # It is damaged, or not ours: it goes aside, and nothing is lost.
                with contextlib.suppress(FileNotFoundError):
                    self._file.replace(self._file.with_name(f"{self._file.name}.old"))
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._file, msgspec.json.encode(_Kept(_MADE_BY, latest)))
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
