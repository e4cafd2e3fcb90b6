# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a bake: its options, the version of the output folder, and the names of the files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath

from .errors import BakeError
from .footage.scan import name_below
from .settings import BakeSettings
from .targets import DEFAULT, SEVERAL, Target, targets_named

MAX_NAME_BYTES = 255  # the limit of most disks
LONGEST_WHOLE = 1600  # px: nerfstudio takes smaller copies of larger images


class BakeOptions(BakeSettings, frozen=True):
    """The settings of a bake, and the objects, frames and trainers to bake.

    Attributes
    ----------
    objects
        Ids of the objects that take part; empty means all.
    frames
        Frames to bake; empty means all that have a matte.
    removed, ignored
        Ids of the objects that are taken out of what is kept, and of those that are not trained. All
        others are kept. If no object is kept, the whole scene is.
    targets
        Names of rows of `core/targets.py`.

    Raises
    ------
    BakeError
        A value is not one of those declared in `BakeSettings`, an object has two roles, or there is no
        such target.
    """

    objects: tuple[int, ...] = ()
    frames: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    targets: tuple[str, ...] = (DEFAULT,)

    def __post_init__(self) -> None:
        """Check all values."""
        super().__post_init__()
        targets_named(self.targets)
        both = sorted(set(self.removed) & set(self.ignored))
        if both:
            raise BakeError(
                f"Subject {both[0]} can't be both removed and ignored.", "Choose one role for it."
            )
        if self.invert and (self.removed or self.ignored):
            raise BakeError(
                "Invert can't be used together with subjects to remove or ignore.",
                "Switch Invert off, and give the subjects the role Remove.",
            )

    def kept(self, objects: Iterable[int]) -> tuple[int, ...]:
        """Return those of some objects that are kept."""
        return tuple(i for i in objects if i not in self.removed and i not in self.ignored)


@dataclass(frozen=True)
class SmallerFiles:
    """Copies of an image and its mask at a fraction of the size: 2 is half of each side."""

    factor: int
    image: Path
    mask: Path


@dataclass(frozen=True)
class BakeOutput:
    """What one target gets of one photo.

    Attributes
    ----------
    is_photo
        Whether the image is the photo itself, linked or copied.
    """

    target: Target
    image: Path
    mask: Path | None = None
    is_photo: bool = False
    smaller: tuple[SmallerFiles, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All these files."""
        more = (path for one in self.smaller for path in (one.image, one.mask))
        return (self.image, *((self.mask,) if self.mask else ()), *more)


@dataclass(frozen=True)
class BakeItem:
    """What to write of one photo. `frame` counts from 1; the mattes of `objects` make its alpha.

    `name` is that of the photo below the folder of the footage, with "/".
    """

    frame: int
    name: str
    source: Path
    outputs: tuple[BakeOutput, ...]
    objects: tuple[int, ...]


@dataclass(frozen=True)
class TargetFolder:
    """A target and the folder with all its files."""

    target: Target
    folder: Path


@dataclass(frozen=True)
class BakePlan:
    """All that a bake will write.

    Attributes
    ----------
    folder
        The folder of the bake. It is that of the target if there is one; else each has its own in it.
    masks_folder
        The folder of the sidecar masks, or None.
    targets
        The targets and their folders, in the order of each item's outputs.
    items
        In frame order.
    without_matte
        Frames that are left out because no object has a matte there.
    incomplete
        Frames that are baked although some objects have no matte there.
    """

    folder: Path
    masks_folder: Path | None
    targets: tuple[TargetFolder, ...]
    items: tuple[BakeItem, ...]
    without_matte: tuple[int, ...]
    incomplete: tuple[int, ...]


def bake_name(targets: Sequence[str]) -> str:
    """Return the name of a bake's folder without its version: the target's, or that for several."""
    return targets[0] if len(set(targets)) == 1 else SEVERAL


def next_output_folder(footage_folder: Path, name: str = DEFAULT) -> Path:
    """Return the next free version: `postshot_v001`, then `postshot_v002`, and so on.

    The number is one above the highest one there. So the name of a deleted version is not used again
    while later ones exist. Nothing is created.

    Raises
    ------
    BakeError
        The folder of the photos can't be read.
    """
    pattern = re.compile(rf"{re.escape(name)}_v([0-9]{{3,}})(_masks)?", re.IGNORECASE)
    try:
        matches = [pattern.fullmatch(entry.name) for entry in footage_folder.iterdir()]
    except OSError as problem:
        raise BakeError(
            f"The folder {footage_folder} can't be read: {problem.strerror or problem}.",
            "Check that the photos are still there.",
        ) from problem
    highest = max((int(match[1]) for match in matches if match), default=0)
    return footage_folder / f"{name}_v{highest + 1:03d}"


def target_names(sources: Sequence[PurePath]) -> tuple[str, ...]:
    """Return a name for each photo: its path without the extension, and ".png".

    On no system are two names equal. If they would be, or would differ only in case, they have the
    extension too: "a.jpg" and "a.png" become "a_jpg.png" and "a_png.png".

    Parameters
    ----------
    sources
        Paths below the folder of the footage. The names have the same subfolders.
    """
    plain = [source.with_suffix("").as_posix() for source in sources]
    count = Counter(name.casefold() for name in plain)
    taken = {name for name, times in count.items() if times == 1}
    names = []
    for source, name in zip(sources, plain, strict=True):
        if count[name.casefold()] > 1:
            base = name = f"{name}_{source.suffix[1:]}"
            number = 2
            while name.casefold() in taken:
                name, number = f"{base}_{number}", number + 1
            taken.add(name.casefold())
        names.append(f"{name}.png")
    return tuple(names)


def plan_bake(
    photos: Path,
    sources: Sequence[Path],
    folder: Path,
    options: BakeOptions,
    matted: Mapping[int, AbstractSet[int]],
    linkable: Mapping[int, str] | None = None,
    longest_side: int = 0,
    *,
    has_cameras: bool = False,
) -> BakePlan:
    """Decide what to write.

    Parameters
    ----------
    photos
        The folder of the footage. The output has the same subfolders.
    sources
        The photos in frame order, frame 1 first.
    folder
        The output folder, for example from `next_output_folder`.
    options
        What to bake.
    matted
        For every object id, the frames on which it has a matte.
    linkable
        Frames whose photo every trainer reads as it is, with the extension that it then has. Other
        photos become PNGs, also for trainers that read masks.
    longest_side
        Of the largest photo, px. It decides how many smaller copies a trainer needs.
    has_cameras
        Whether cameras are written too. Then nerfstudio looks for smaller copies by file name alone.

    Raises
    ------
    BakeError
        A chosen object or frame does not exist, nothing has a matte, the name of a file would be too
        long for disks, or two files would have one name.
    """
    if not any(matted.values()):
        raise BakeError("There are no masks to bake.", "Press Propagate first.")
    unknown = sorted(set(options.objects) - {i for i, frames in matted.items() if frames})
    if unknown:
        listed = ", ".join(map(str, unknown))
        raise BakeError(
            f"Subject {listed} has no mask.", "Propagate it, or leave it out of the bake."
        )
    outside = sorted(f for f in options.frames if not 1 <= f <= len(sources))
    if outside:
        raise BakeError(
            f"Frame {outside[0]} does not exist: the photos are frames 1 to {len(sources)}.",
            f"Choose frames from 1 to {len(sources)}.",
        )
    objects = sorted(options.objects or (i for i, frames in matted.items() if frames))
    needed = options.kept(objects) or objects
    masks_folder = None
    targets = _folders(folder, options)
    if options.sidecar_masks != "none" and DEFAULT in options.targets:
        beside = next(at.folder for at in targets if at.target.name == DEFAULT)
        masks_folder = beside.with_name(f"{beside.name}_masks")
    known = [name_below(photos, source) for source in sources]
    names = target_names([PurePath(name) for name in known])
    smaller = _smaller_places(names, has_cameras=has_cameras)
    items: list[BakeItem] = []
    without_matte: list[int] = []
    incomplete: list[int] = []
    for frame in sorted(set(options.frames)) or range(1, len(sources) + 1):
        present = tuple(i for i in objects if frame in matted[i])
        if not any(frame in matted[i] for i in needed):
            without_matte.append(frame)
            continue
        if len(present) < len(objects):
            incomplete.append(frame)
        source, name = sources[frame - 1], names[frame - 1]
        extension = (linkable or {}).get(frame, "")
        outputs = [_output(at, name, extension, longest_side, smaller) for at in targets]
        if masks_folder is not None:
            mask = masks_folder / _sidecar_name(options, source, name)
            outputs = [
                replace(one, mask=mask) if one.target.name == DEFAULT else one for one in outputs
            ]
        items.append(BakeItem(frame, known[frame - 1], source, tuple(outputs), present))
    if not items:
        raise BakeError(
            "None of the chosen frames has a mask.", "Propagate over these frames first."
        )
    _require_names(items)
    return BakePlan(
        folder, masks_folder, targets, tuple(items), tuple(without_matte), tuple(incomplete)
    )


def _folders(folder: Path, options: BakeOptions) -> tuple[TargetFolder, ...]:
    targets = targets_named(options.targets)
    if len(targets) == 1:
        return (TargetFolder(targets[0], folder),)
    return tuple(TargetFolder(target, folder / target.name) for target in targets)


Smaller = Callable[[PurePosixPath, int], PurePosixPath]
"""Where a copy of a file at a fraction of its size goes: "images/a.jpg" becomes "images_2/a.jpg"."""


def _output(
    at: TargetFolder, name: str, extension: str, longest_side: int, smaller_of: Smaller | None
) -> BakeOutput:
    """Name the files of a photo for one target. `name` is that of a PNG; see `target_names`."""
    target = at.target
    is_photo = target.images == "photos" and bool(extension)
    image = PurePosixPath(target.images_folder, name)
    if is_photo:
        image = image.with_name(f"{image.stem}{extension}")
    mask = PurePosixPath(target.mask_of(str(image))) if target.has_masks else None
    smaller = []
    for factor in target.pyramid:
        if mask is None or smaller_of is None or longest_side * 2 <= LONGEST_WHOLE * factor:
            break
        own = (at.folder / smaller_of(path, factor) for path in (image, mask))
        smaller.append(SmallerFiles(factor, *own))
    return BakeOutput(
        target, at.folder / image, at.folder / mask if mask else None, is_photo, tuple(smaller)
    )


def _smaller_places(names: Sequence[str], *, has_cameras: bool) -> Smaller | None:
    """Say where smaller copies of some images go. None if a trainer would take one for another.

    Without cameras nerfstudio reads COLMAP's files, and looks in the same subfolders. With cameras it reads
    ``transforms.json``, and looks for the name alone, whatever the subfolder.
    """
    paths = [PurePosixPath(name) for name in names]
    if not has_cameras or not any(path.parent.name for path in paths):
        return lambda path, factor: PurePosixPath(f"{path.parts[0]}_{factor}", *path.parts[1:])
    if len({path.stem.casefold() for path in paths}) < len(paths):
        return None
    return lambda path, factor: PurePosixPath(f"{path.parts[0]}_{factor}", path.name)


def _sidecar_name(options: BakeOptions, source: Path, name: str) -> str:
    """Return the name of a mask for the option *Mask Files*."""
    if options.sidecar_masks == "postshot":
        return name
    seen = name
    if options.sidecar_masks == "colmap_photos":
        seen = str(PurePosixPath(name).with_name(source.name))
    return f"{seen}.png"


def _require_names(items: Sequence[BakeItem]) -> None:
    """Raise BakeError if disks don't allow a name, or if two files would get the same one."""
    taken: dict[str, BakeItem] = {}
    for item in items:
        for path in (path for output in item.outputs for path in output.files):
            size = len(os.fsencode(path.name))
            if size > MAX_NAME_BYTES:
                raise BakeError(
                    f"{path.name} can't be written: its name has {size} bytes, but"
                    f" disks allow only {MAX_NAME_BYTES}.",
                    "Give that photo a shorter name, or bake without mask files.",
                )
            other = taken.setdefault(str(path).casefold(), item)
            if other is not item:
                raise BakeError(
                    f"{path.name} would be a file of both {other.name} and {item.name}.",
                    "Give one of these photos another name.",
                )
