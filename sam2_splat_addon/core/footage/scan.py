# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage: which photos, in which order, of which sizes.

`scan` turns a folder of photos with any names into an ordered `Footage`. `staging` then makes the
folder of numbered links that Blender opens as one clip.

Which folders count is one rule. Photos directly in the folder are the footage. If there are none, or
the user asks for them, the photos in all its subfolders are too; see `subfolders`.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath

from ..errors import DamagedPhoto, FootageError
from ..geometry.orientation import PhotoShape
from ..printable import as_text, is_text
from ..system.background_task import Report, unwatched
from ..system.safe_read import is_there, require_plain_file
from .content_hashes import ContentHashes
from .found_masks import masks_among, masks_beside
from .headers import ImageHeader, RawReader, read_header
from .raw_header import RAW_EXTENSIONS
from .raw_photos import RawPhoto, RawPhotosUnknown
from .sizes import PhotoSizes
from .subfolders import subfolders
from .video_scores import VIDEO_EXTENSIONS

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".webp", ".exr", ".avif"}
    | {".heic", ".heif", ".hif", ".jxl"}
    | RAW_EXTENSIONS
)

_NAMES_SHOWN = 5


@dataclass(frozen=True)
class FrameFile:
    """One photo of the footage; `index` counts from 0, its frame number is `index + 1`.

    Attributes
    ----------
    name
        The path below the folder of the footage, with "/": "left/IMG_1.JPG". It is the photo's name
        wherever the file name alone could mean another photo.
    byte_size, changed_ns
        Size of the file, and when it last changed, ns.
    """

    index: int
    path: Path
    name: str
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
    name
        As in `FrameFile`.
    reason
        What is wrong, as a sentence.
    is_damaged
        Whether the bytes of the file are damaged.
    is_file
        False for something that can't be a photo: a pipe, a socket, a device, a link to itself.
    """

    path: Path
    name: str
    reason: str
    is_damaged: bool = False
    is_file: bool = True


@dataclass(frozen=True)
class Footage:
    """Photos in order.

    Attributes
    ----------
    folder
        The folder that was chosen, absolute. Photos lie in it or in its subfolders.
    frames
        Usable photos in natural order; `frames[i].index == i`.
    unreadable
        Files with the extension of an image that could not be read.
    with_subfolders
        Whether photos in subfolders count too.
    """

    folder: Path
    frames: tuple[FrameFile, ...]
    unreadable: tuple[UnreadableFile, ...]
    with_subfolders: bool = False

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The photos in frame order, frame 1 first."""
        return tuple(frame.path for frame in self.frames)

    @cached_property
    def masks(self) -> dict[int, Path]:
        """Masks that lie beside the photos, by frame; see `found_masks`. It lists folders of a disk."""
        found = masks_beside(self.folder, [at.name for at in self.frames], IMAGE_EXTENSIONS)
        return {self.frame_of(name): path for name, path in found.items()}

    @cached_property
    def sizes(self) -> PhotoSizes:
        """The size of each photo, and how it is turned upright."""
        return PhotoSizes.among(
            PhotoShape(at.header.width, at.header.height, at.header.orientation)
            for at in self.frames
        )

    @property
    def is_shown_itself(self) -> bool:
        """Whether Blender can show all photos as one clip, upright, without copies of them."""
        return not self.sizes.odd and all(at.header.is_shown_itself for at in self.frames)

    @property
    def width(self) -> int:
        """The width of most photos, px."""
        return self.sizes.width

    @property
    def height(self) -> int:
        """The height of most photos, px."""
        return self.sizes.height

    @cached_property
    def _frames_by_name(self) -> dict[str, int]:
        return {at.name: at.frame for at in self.frames}

    def frame_of(self, name: str) -> int:
        """Return the frame number, from 1, of the photo with this name; see `FrameFile.name`.

        Raises
        ------
        FootageError
            No photo has that name.
        """
        frame = self._frames_by_name.get(name)
        if frame is None:
            raise FootageError(
                f"{name} is not one of the loaded photos in {self.folder}.",
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

        It is made from the name (with subfolders) and all bytes of every photo. Time stamps and the name
        of the folder do not count, so a copy of the photos has the same fingerprint.

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
        return hash_photos(self.folder, self.paths, hashes, report)


def from_file(footage: Footage, name: str) -> Footage:
    """Return the photos from one photo on. Raises FootageError if it is not among them."""
    start = footage.frame_of(name) - 1
    frames = tuple(
        replace(frame, index=index) for index, frame in enumerate(footage.frames[start:])
    )
    return replace(footage, frames=frames)


def hash_photos(
    folder: Path,
    paths: Collection[Path],
    hashes: ContentHashes | None = None,
    report: Report = unwatched,
) -> str:
    """Return the `Footage.fingerprint` of some photos in a folder, frame 1 first."""
    digest, hashes = hashlib.sha256(), hashes or ContentHashes()
    try:
        for done, path in enumerate(paths):
            report(done, len(paths))
            digest.update(name_below(folder, path).encode("utf-8", "surrogateescape") + b"\0")
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


def name_below(folder: Path, path: Path) -> str:
    """Return the name of a photo, as `FrameFile.name` has it."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def cuts_between(names: Sequence[str]) -> tuple[int, ...]:
    """Return the first frame of each further subfolder, from the names of all photos."""
    folders = [name.rpartition("/")[0] for name in names]
    pairs = enumerate(itertools.pairwise(folders), start=2)
    return tuple(frame for frame, (before, now) in pairs if now != before)


def path_key(name: str) -> tuple[object, ...]:
    """Return the sort key of natural order for names with "/".

    A folder's own photos come before those in its subfolders.
    """
    if "/" not in name:
        return ((0, natural_key(name)),)
    *folders, file = name.split("/")
    return (*((1, natural_key(folder)) for folder in folders), (0, natural_key(file)))


def natural_key(name: str) -> tuple[list[str | int], str, str]:
    """Return the sort key of natural order: IMG_2 comes before IMG_10, and case does not count.

    No two names have the same key. The stem is compared before the extension, so "DSC_0007.png" comes
    before "DSC_0007 (1).png".
    """
    stem, extension = os.path.splitext(name)  # noqa: PTH122 - thousands of names
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


def scan(
    path: Path,
    report: Report = unwatched,
    *,
    with_subfolders: bool = False,
    raw: RawReader | None = None,
) -> Footage:
    """Find the photos of a capture.

    Hidden files and files without the extension of an image are ignored. A photo whose header can't be
    read is listed in `Footage.unreadable`, and the others stay usable. Something that is not a file,
    such as a pipe, is listed there too and never opened.

    Parameters
    ----------
    path
        A folder, or any photo in it. A photo stands for its own folder alone, if that is not asked
        for ``with_subfolders``.
    report
        Called with the number of files done, and of all files.
    with_subfolders
        Whether photos in subfolders count too. They count in any case if the folder itself has none.
    raw
        Tells the size of a camera RAW photo, as in `read_header`.

    Returns
    -------
    Footage
        Photos in natural order, frame 1 first.

    Raises
    ------
    RawPhotosUnknown
        The SAM 2 process must look at some RAW photos first.
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
        read_header(path, _size_later)
        folder = path.parent
    else:
        folder = path
    if not is_text(str(folder)):
        raise FootageError(
            f"The name of the folder {as_text(str(folder))} is not valid text.", "Rename it."
        )
    frames: list[FrameFile] = []
    photos, unreadable = _candidates(folder, "")
    has_own = photos or any(is_photo_name(other.name) for other in unreadable)
    with_subfolders = with_subfolders or not has_own
    if with_subfolders:
        below, others = _below(folder, report)
        photos, unreadable = photos + below, unreadable + others
    names = sorted(_without_pairs(photos), key=path_key)
    unknown: list[Path] = []
    for done, name in enumerate(names):
        report(done, len(names))
        if not is_text(name):
            file = folder / as_text(name)
            said = f"The name {file.name} is not valid text."
            unreadable.append(UnreadableFile(file, as_text(name), said))
            continue
        file = folder / name
        try:
            header, status = read_header(file, raw), file.stat()
        except RawPhotosUnknown:
            unknown.append(file)
        except FootageError as problem:
            is_damaged = isinstance(problem, DamagedPhoto)
            unreadable.append(UnreadableFile(file, name, problem.message, is_damaged))
        except OSError as problem:  # the file was removed in this moment
            said = f"{name} can't be opened: {problem.strerror}."
            unreadable.append(UnreadableFile(file, name, said))
        else:
            size, changed = status.st_size, status.st_mtime_ns
            frames.append(FrameFile(len(frames), file, name, header, size, changed))
    if unknown:
        raise RawPhotosUnknown(unknown)
    if not frames:
        if unreadable:
            named = shorten([file.name for file in unreadable])
            raise FootageError(
                f"None of the photos in {folder} can be read: {named}.",
                f"The first one: {unreadable[0].reason} Copy or export the photos again.",
            )
        raise FootageError(f"{folder} has no photos{_what_else(folder)}.", _what_instead(folder))
    return Footage(folder, tuple(frames), tuple(unreadable), with_subfolders)


def _size_later(path: Path) -> RawPhoto:
    return RawPhoto(1, 1)


def _without_pairs(names: Sequence[str]) -> list[str]:
    """Leave out each RAW that lies beside another photo of the same name, as cameras write pairs."""
    if not any(name.lower().endswith(tuple(RAW_EXTENSIONS)) for name in names):
        return list(names)
    stems = {
        str(PurePosixPath(name).with_suffix("")).casefold()
        for name in names
        if PurePosixPath(name).suffix.lower() not in RAW_EXTENSIONS
    }
    return [
        name
        for name in names
        if PurePosixPath(name).suffix.lower() not in RAW_EXTENSIONS
        or str(PurePosixPath(name).with_suffix("")).casefold() not in stems
    ]


def _supported() -> str:
    return "Choose a folder of JPEG, PNG, TIFF, WebP, AVIF, HEIC, JPEG XL, RAW or EXR photos."


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
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS  # noqa: PTH122 - thousands of names


def _candidates(folder: Path, below: str) -> tuple[list[str], list[UnreadableFile]]:
    """Return the names of the photos in one folder, and the entries that can't be photos.

    Masks of other photos there are neither; see `found_masks`.

    Parameters
    ----------
    below
        The folder's own name below that of the footage, with "/" at its end; or nothing.
    """
    photos, others = [], []
    for entry in _visible_entries(folder):
        name = below + entry.name
        try:
            if entry.is_dir():
                continue
            if is_photo_name(entry.name):
                if entry.is_symlink() or not entry.is_file():
                    require_plain_file(Path(entry.path))
                photos.append(name)
        except OSError as problem:
            file = folder / as_text(entry.name)
            if problem.errno == errno.ELOOP:
                reason = f"{file.name} is a link that leads back to itself."
            elif problem.errno == errno.EINVAL:
                reason = f"{file.name} can't be read: {problem.strerror}."
            else:  # reading it will show what is wrong
                photos.append(name)
                continue
            others.append(UnreadableFile(file, as_text(name), reason, is_file=False))
    masks = masks_among([name[len(below) :] for name in photos])
    photos = [name for name in photos if name[len(below) :] not in masks]
    return photos, sorted(others, key=lambda other: path_key(other.name))


def _below(folder: Path, report: Report) -> tuple[list[str], list[UnreadableFile]]:
    """Return the same as `_candidates`, from all subfolders that may hold photos of the user."""
    photos: list[str] = []
    others: list[UnreadableFile] = []
    for subfolder in subfolders(folder, report):
        name = subfolder.relative_to(folder).as_posix()
        try:
            found, strange = _candidates(subfolder, f"{name}/")
        except FootageError as problem:
            others.append(UnreadableFile(subfolder, name, problem.message))
            continue
        photos += found
        others += strange
    return photos, others


def _most_common(folder: Path) -> tuple[str, int]:
    """Return the most common extension in a folder without photos, and how many files have it."""
    extensions = Counter(PurePath(entry.name).suffix.lower() for entry in _visible_entries(folder))
    extensions.pop("", None)
    return extensions.most_common(1)[0] if extensions else ("", 0)


def _what_else(folder: Path) -> str:
    """Name the most common other extension: it may be a video, or another program's files."""
    extension, count = _most_common(folder)
    return f" that can be used, only other files such as {count} {extension}" if count else ""


def _what_instead(folder: Path) -> str:
    if _most_common(folder)[0] in VIDEO_EXTENSIONS:
        return "Choose one of the videos in it, or a folder of photos."
    return _supported()
