# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage: which photos, in which order, of which size.

`scan` turns a folder of photos with any names into an ordered `Footage`. `staging` then makes the
folder of numbered links that Blender opens as one clip.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

from ..errors import DamagedPhoto, FootageError
from ..printable import as_text, is_text
from ..system.background_task import Report, unwatched
from ..system.safe_read import is_there, require_plain_file
from .content_hashes import ContentHashes
from .headers import ImageHeader, read_header

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".webp", ".exr", ".avif"}
    | {".heic", ".heif", ".hif", ".jxl"}
)

_NAMES_SHOWN = 5


class FrameSizesDiffer(FootageError):  # noqa: N818 - says what is wrong by itself
    """The photos do not all have the same size.

    Attributes
    ----------
    size
        (width, height) of most photos, px.
    odd
        Paths of the photos that have another size, in the order of the footage.
    """

    def __init__(self, size: tuple[int, int], odd: Sequence[FrameFile]) -> None:
        self.size = size
        self.odd = tuple(frame.path for frame in odd)
        named = [f"{f.path.name} ({f.header.width}x{f.header.height})" for f in odd]
        verb = "has" if len(odd) == 1 else "have"
        super().__init__(
            f"Most photos are {size[0]}x{size[1]}, but {shorten(named)} {verb} another size.",
            "Move these photos to another folder: all photos of one clip must have the same size.",
        )


@dataclass(frozen=True)
class FrameFile:
    """One photo of the footage; `index` counts from 0, its frame number is `index + 1`.

    Attributes
    ----------
    byte_size, changed_ns
        Size of the file, and when it last changed, ns.
    """

    index: int
    path: Path
    header: ImageHeader
    byte_size: int
    changed_ns: int

    @property
    def frame(self) -> int:
        """The frame number in the clip, from 1."""
        return self.index + 1


@dataclass(frozen=True)
class UnreadableFile:
    """A file with the extension of an image that could not be read.

    Attributes
    ----------
    reason
        What is wrong, as a sentence.
    is_damaged
        Whether the bytes of the file are damaged.
    is_file
        False for something that can't be a photo: a pipe, a socket, a device, a link to itself.
    """

    path: Path
    reason: str
    is_damaged: bool = False
    is_file: bool = True


@dataclass(frozen=True)
class Footage:
    """Photos of one size, in order.

    Attributes
    ----------
    folder
        The folder that holds the photos, absolute.
    frames
        Usable photos in natural order; `frames[i].index == i`.
    unreadable
        Files with the extension of an image that could not be read.
    width, height
        Size of every photo in stored pixel order, px.
    """

    folder: Path
    frames: tuple[FrameFile, ...]
    unreadable: tuple[UnreadableFile, ...]
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The photos in frame order, frame 1 first."""
        return tuple(frame.path for frame in self.frames)

    @cached_property
    def _frames_by_name(self) -> dict[str, int]:
        return {frame.path.name: frame.frame for frame in self.frames}

    def frame_of(self, path: Path) -> int:
        """Return the frame number, from 1, of a photo. Only the name is compared.

        Raises
        ------
        FootageError
            No photo has that name.
        """
        frame = self._frames_by_name.get(path.name)
        if frame is None:
            raise FootageError(
                f"{path.name} is not one of the loaded photos in {self.folder}.",
                "Load the photos again.",
            )
        return frame

    def path_of(self, frame: int) -> Path:
        """Return the photo of a frame number, from 1.

        Raises
        ------
        FootageError
            The footage has no such frame.
        """
        if not 1 <= frame <= len(self.frames):
            raise FootageError(
                f"Frame {frame} does not exist: the photos are frames 1 to {len(self.frames)}.",
                f"Choose a frame from 1 to {len(self.frames)}.",
            )
        return self.frames[frame - 1].path

    def fingerprint(self, hashes: ContentHashes | None = None, report: Report = unwatched) -> str:
        """Return a SHA-256, in hex, that changes when a photo is added, removed, renamed or changed.

        It is made from the name and all bytes of every photo. Time stamps and the name of the folder
        do not count, so a copy of the photos has the same fingerprint.

        Parameters
        ----------
        hashes
            Hashes that are known already; None reads every photo.
        report
            Called with the number of photos done, and of all photos.

        Raises
        ------
        FootageError
            A photo can't be read any more.
        """
        return hash_photos(self.paths, hashes, report)


def hash_photos(
    paths: Collection[Path], hashes: ContentHashes | None = None, report: Report = unwatched
) -> str:
    """Return the `Footage.fingerprint` of some photos, frame 1 first."""
    digest, hashes = hashlib.sha256(), hashes or ContentHashes()
    try:
        for done, path in enumerate(paths):
            report(done, len(paths))
            digest.update(path.name.encode("utf-8", "surrogateescape") + b"\0")
            try:
                digest.update(hashes.of(path))
            except OSError as problem:
                raise FootageError(
                    f"{path.name} can't be read any more: {problem.strerror or problem}.",
                    "Load the photos again.",
                ) from problem
    finally:
        hashes.keep()  # also when it was cancelled
    return digest.hexdigest()


def natural_key(name: str) -> tuple[list[str | int], str, str]:
    """Return the sort key of natural order: IMG_2 comes before IMG_10, and case does not count.

    No two names have the same key. The stem is compared before the extension, so "DSC_0007.png" comes
    before "DSC_0007 (1).png".
    """
    stem, extension = PurePath(name).stem, PurePath(name).suffix
    # The pieces alternate between text and number, so text is always compared with text.
    parts: list[str | int] = [
        int(part) if i % 2 else part.casefold()
        for i, part in enumerate(re.split(r"([0-9]+)", stem))
    ]
    return parts, extension.casefold(), name


def shorten(names: Sequence[str]) -> str:
    """Name the first few of many as a phrase: "a, b, c, d, e and 12 more"."""
    if len(names) <= _NAMES_SHOWN + 1:
        return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
    return f"{', '.join(names[:_NAMES_SHOWN])} and {len(names) - _NAMES_SHOWN} more"


def scan(path: Path, report: Report = unwatched) -> Footage:
    """Find the photos of a capture.

    Hidden files, sub-folders and files without the extension of an image are ignored. A photo whose
    header can't be read is listed in `Footage.unreadable`, and the others stay usable. Something that
    is not a file, such as a pipe, is listed there too and never opened.

    Parameters
    ----------
    path
        A folder, or any photo in it.
    report
        Called with the number of files done, and of all files.

    Returns
    -------
    Footage
        Photos in natural order, frame 1 first.

    Raises
    ------
    FrameSizesDiffer
        The photos do not all have the same size.
    FootageError
        The path does not exist, is a file that is not an image, or has no readable photo.
    """
    path = path.absolute()
    if not is_there(path):
        raise FootageError(
            f"{path} does not exist.", "Choose a folder of photos, or one of its photos."
        )
    if path.is_file():
        if path.suffix.lower() not in IMAGE_EXTENSIONS:
            raise FootageError(f"{path.name} is not an image.", _supported())
        read_header(path)
        folder = path.parent
    else:
        folder = path
    if not is_text(str(folder)):
        raise FootageError(
            f"The name of the folder {as_text(str(folder))} is not valid text.", "Rename it."
        )
    frames: list[FrameFile] = []
    photos, unreadable = _candidates(folder)
    names = sorted(photos, key=natural_key)
    for done, name in enumerate(names):
        report(done, len(names))
        if not is_text(name):
            file = folder / as_text(name)
            unreadable.append(UnreadableFile(file, f"The name {file.name} is not valid text."))
            continue
        file = folder / name
        try:
            header, status = read_header(file), file.stat()
        except FootageError as problem:
            is_damaged = isinstance(problem, DamagedPhoto)
            unreadable.append(UnreadableFile(file, problem.message, is_damaged))
        except OSError as problem:  # the file was removed in this moment
            unreadable.append(UnreadableFile(file, f"{name} can't be opened: {problem.strerror}."))
        else:
            frames.append(FrameFile(len(frames), file, header, status.st_size, status.st_mtime_ns))
    if not frames:
        if unreadable:
            named = shorten([file.path.name for file in unreadable])
            raise FootageError(
                f"None of the photos in {folder} can be read: {named}.",
                f"The first one: {unreadable[0].reason} Copy or export the photos again.",
            )
        raise FootageError(f"{folder} has no photos{_what_else(folder)}.", _supported())
    sizes = Counter((frame.header.width, frame.header.height) for frame in frames)
    size = sizes.most_common(1)[0][0]
    if len(sizes) > 1:
        odd = [f for f in frames if (f.header.width, f.header.height) != size]
        raise FrameSizesDiffer(size, odd)
    return Footage(folder, tuple(frames), tuple(unreadable), *size)


def _supported() -> str:
    return "Choose a folder of JPEG, PNG, TIFF, WebP, AVIF, HEIC, JPEG XL or EXR photos."


def _visible_entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as problem:
        raise FootageError(
            f"The folder {folder} can't be read: {problem.strerror or problem}.",
            "Check that the folder exists and that you may read it.",
        ) from problem


def is_photo_name(name: str) -> bool:
    """Whether a name has the extension of a photo."""
    return PurePath(name).suffix.lower() in IMAGE_EXTENSIONS


def _candidates(folder: Path) -> tuple[list[str], list[UnreadableFile]]:
    """Return the names of the photos in a folder, and the entries that can't be photos."""
    photos, others = [], []
    for entry in _visible_entries(folder):
        file = folder / as_text(entry.name)
        try:
            if entry.is_dir():
                continue
            if is_photo_name(entry.name):
                if entry.is_symlink() or not entry.is_file():
                    require_plain_file(Path(entry.path))
                photos.append(entry.name)
        except OSError as problem:
            if problem.errno == errno.ELOOP:
                reason = f"{file.name} is a link that leads back to itself."
            elif problem.errno == errno.EINVAL:
                reason = f"{file.name} can't be read: {problem.strerror}."
            else:  # reading it will show what is wrong
                photos.append(entry.name)
                continue
            others.append(UnreadableFile(file, reason, is_file=False))
    return photos, sorted(others, key=lambda other: natural_key(other.path.name))


def _what_else(folder: Path) -> str:
    """Name the most common other extension: the photos may still be raw files or a video."""
    entries = _visible_entries(folder)
    extensions = Counter(PurePath(entry.name).suffix.lower() for entry in entries)
    extensions.pop("", None)
    if not extensions:
        return ""
    extension, count = extensions.most_common(1)[0]
    return f" that can be used, only other files such as {count} {extension}"
