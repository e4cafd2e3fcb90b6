# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake writes where: options, output folder versions, target names; core, msgspec."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from .errors import BakeError

MAX_GROW_PX = 200.0
MAX_FEATHER_PX = 200.0
MAX_EXPOSURE = 32.0  # stops; float32 holds four times that
MAX_NAME_BYTES = 255  # what disks take


class BakeOptions(msgspec.Struct, frozen=True):
    """How mattes become alpha. They apply in the order fill, drop, grow, feather, invert.

    Attributes
    ----------
    alpha
        "binary" is 0 or full, the edge where the logits are 0. "soft" keeps the model's own
        uncertainty in a narrow band around that edge.
    refine_edges
        Take the edge from the photo itself, with the edge model, instead of from the matte's grid.
        Masks that the user drew stay as they are.
    invert
        Keep what the objects do not cover.
    grow_px
        Moves the edge outwards by this distance, px; negative values move it inwards.
    feather_px
        Width of the ramp that replaces a hard edge, px; 0 leaves the edge as it is.
    fill_holes_px, drop_specks_px
        Enclosed holes, and separate parts, of fewer px than this are closed, and removed.
    objects
        Ids of the objects whose union is kept; empty means all.
    frames
        Frames to bake; empty means all that have a matte.
    black_rgb
        Multiply the colours by alpha. For trainers that expect a black ground; off for Postshot.
    exposure
        Stops added to floating-point photos before their view transform.
    sidecar_masks
        Also write black-and-white masks to "<output folder>_masks": "postshot" names them like the
        image; "colmap" appends ".png" to the image's whole name, and "colmap_photos" to the photo's,
        as COLMAP wants it where it is run over the one or the other.

    Raises
    ------
    BakeError
        On a value out of range.
    """

    alpha: Literal["binary", "soft"] = "binary"
    refine_edges: bool = False
    invert: bool = False
    grow_px: float = 0.0
    feather_px: float = 0.0
    fill_holes_px: int = 0
    drop_specks_px: int = 0
    objects: tuple[int, ...] = ()
    frames: tuple[int, ...] = ()
    black_rgb: bool = False
    exposure: float = 0.0
    sidecar_masks: Literal["none", "postshot", "colmap", "colmap_photos"] = "none"

    def __post_init__(self) -> None:
        """Refuse values that no bake can follow."""
        if not -MAX_GROW_PX <= self.grow_px <= MAX_GROW_PX:
            raise BakeError(
                f"The edge can't be moved by {self.grow_px:g} px.",
                f"Choose a distance from {-MAX_GROW_PX:g} to {MAX_GROW_PX:g} px.",
            )
        if not 0 <= self.feather_px <= MAX_FEATHER_PX:
            raise BakeError(
                f"The edge can't be feathered by {self.feather_px:g} px.",
                f"Choose a width from 0 to {MAX_FEATHER_PX:g} px.",
            )
        if self.fill_holes_px < 0 or self.drop_specks_px < 0:
            raise BakeError("Holes and specks can't have a negative size.", "Choose 0 px or more.")
        if not -MAX_EXPOSURE <= self.exposure <= MAX_EXPOSURE:
            raise BakeError(
                f"Photos can't be exposed by {self.exposure:g} stops.",
                f"Choose a number from {-MAX_EXPOSURE:g} to {MAX_EXPOSURE:g}.",
            )


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
