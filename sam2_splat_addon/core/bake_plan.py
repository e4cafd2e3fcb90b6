# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a bake: its options, the version of the output folder, and the names of the files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from .errors import BakeError
from .settings import BakeSettings

MAX_NAME_BYTES = 255  # the limit of most disks


class BakeOptions(BakeSettings, frozen=True):
    """The settings of a bake, and the objects and frames to bake.

    Attributes
    ----------
    objects
        Ids of the objects whose union is kept; empty means all.
    frames
        Frames to bake; empty means all that have a matte.

    Raises
    ------
    BakeError
        A value is not one of those declared in `BakeSettings`.
    """

    objects: tuple[int, ...] = ()
    frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class BakeItem:
    """One image to write. `frame` counts from 1; the mattes of `objects` make its alpha."""

    frame: int
    source: Path
    target: Path
    mask: Path | None
    objects: tuple[int, ...]


@dataclass(frozen=True)
class BakePlan:
    """All that a bake will write.

    Attributes
    ----------
    folder
        The folder of the images.
    masks_folder
        The folder of the sidecar masks, or None.
    items
        In frame order.
    without_matte
        Frames that are left out because no object has a matte there.
    incomplete
        Frames that are baked although some objects have no matte there.
    """

    folder: Path
    masks_folder: Path | None
    items: tuple[BakeItem, ...]
    without_matte: tuple[int, ...]
    incomplete: tuple[int, ...]


def next_output_folder(footage_folder: Path, name: str = "postshot") -> Path:
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


def target_names(sources: Sequence[Path]) -> tuple[str, ...]:
    """Return a name for each photo: its stem and ".png". On no system are two names equal.

    If stems are equal, or differ only in case, the names have the extension too: "a.jpg" and "a.png"
    become "a_jpg.png" and "a_png.png".
    """
    stems = Counter(source.stem.casefold() for source in sources)
    taken = {stem for stem, count in stems.items() if count == 1}
    names = []
    for source in sources:
        name = source.stem
        if stems[name.casefold()] > 1:
            base = name = f"{source.stem}_{source.suffix[1:]}"
            number = 2
            while name.casefold() in taken:
                name, number = f"{base}_{number}", number + 1
            taken.add(name.casefold())
        names.append(f"{name}.png")
    return tuple(names)


def plan_bake(
    sources: Sequence[Path],
    folder: Path,
    options: BakeOptions,
    matted: Mapping[int, AbstractSet[int]],
) -> BakePlan:
    """Decide what to write.

    Parameters
    ----------
    sources
        The photos in frame order, frame 1 first.
    folder
        The output folder, for example from `next_output_folder`.
    options
        What to bake.
    matted
        For every object id, the frames on which it has a matte.

    Raises
    ------
    BakeError
        A chosen object or frame does not exist, nothing has a matte, or the name of a file would be too
        long for disks.
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
    masks_folder = None
    if options.sidecar_masks != "none":
        masks_folder = folder.with_name(f"{folder.name}_masks")
    names = target_names(sources)
    items: list[BakeItem] = []
    without_matte: list[int] = []
    incomplete: list[int] = []
    for frame in sorted(set(options.frames)) or range(1, len(sources) + 1):
        present = tuple(i for i in objects if frame in matted[i])
        if not present:
            without_matte.append(frame)
            continue
        if len(present) < len(objects):
            incomplete.append(frame)
        name = names[frame - 1]
        mask = None
        if masks_folder is not None:
            kind = options.sidecar_masks
            seen = sources[frame - 1].name if kind == "colmap_photos" else name
            mask = masks_folder / (name if kind == "postshot" else f"{seen}.png")
        for path in (folder / name, mask):
            if path is not None and len(os.fsencode(path.name)) > MAX_NAME_BYTES:
                raise BakeError(
                    f"{path.name} can't be written: its name has {len(os.fsencode(path.name))} bytes, but"
                    f" disks allow only {MAX_NAME_BYTES}.",
                    "Give that photo a shorter name, or bake without mask files.",
                )
        items.append(BakeItem(frame, sources[frame - 1], folder / name, mask, present))
    if not items:
        raise BakeError(
            "None of the chosen frames has a mask.", "Propagate over these frames first."
        )
    return BakePlan(folder, masks_folder, tuple(items), tuple(without_matte), tuple(incomplete))
