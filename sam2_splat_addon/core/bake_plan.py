# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake writes where: options, output folder versions, target names; core."""

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

MAX_NAME_BYTES = 255  # what disks take


class BakeOptions(BakeSettings, frozen=True):
    """A bake's settings, and what of the clip is baked.

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
    """One image to write: `frame` from 1, `objects` the ids whose mattes make its alpha."""

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
        Frames that are left out because none of the objects has a matte there.
    incomplete
        Frames that are baked although some of the objects have no matte there.
    """

    folder: Path
    masks_folder: Path | None
    items: tuple[BakeItem, ...]
    without_matte: tuple[int, ...]
    incomplete: tuple[int, ...]


def next_output_folder(footage_folder: Path, name: str = "postshot") -> Path:
    """The first version that nothing has used: `postshot_v001`, then `postshot_v002`, and so on.

    The number is one above the highest there, so that a deleted version's name is not taken again
    while later ones exist. Nothing is created.

    Raises
    ------
    BakeError
        The footage's folder can't be read.
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
    """A name for each source: its stem and ".png", no two alike on any system.

    Photos whose stems differ in nothing or only in case carry their extension too: "a.jpg" and
    "a.png" become "a_jpg.png" and "a_png.png".
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
        The footage's photos in frame order, frame 1 first.
    folder
        The output folder, for example from `next_output_folder`.
    options
        What to bake.
    matted
        For every object id the frames on which it has a matte.

    Raises
    ------
    BakeError
        An object or frame asked for does not exist, nothing has a matte, or a file's name would
        be longer than disks take.
    """
    if not any(matted.values()):
        raise BakeError("There are no mattes to bake.", "Press Propagate first.")
    unknown = sorted(set(options.objects) - {i for i, frames in matted.items() if frames})
    if unknown:
        listed = ", ".join(map(str, unknown))
        raise BakeError(
            f"No matte exists for object {listed}.", "Propagate it, or leave it out of the bake."
        )
    outside = sorted(f for f in options.frames if not 1 <= f <= len(sources))
    if outside:
        raise BakeError(
            f"Frame {outside[0]} does not exist; the footage has frames 1 to {len(sources)}.",
            "Choose frames inside the footage.",
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
                    f"{path.name} can't be written: a name of {len(os.fsencode(path.name))} bytes is"
                    f" too long, disks take {MAX_NAME_BYTES}.",
                    "Give that photo a shorter name, or bake without mask files.",
                )
        items.append(BakeItem(frame, sources[frame - 1], folder / name, mask, present))
    if not items:
        raise BakeError(
            "None of the chosen frames has a matte.", "Propagate over these frames first."
        )
    return BakePlan(folder, masks_folder, tuple(items), tuple(without_matte), tuple(incomplete))
