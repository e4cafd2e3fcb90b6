# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a bake: how a folder of images was made."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from ...core.bake_plan import BakeOptions, BakePlan, TargetFolder
from ...core.protocol import BakeRequest
from ...core.settings import RawSource
from ...core.system.atomic_file import write_atomic
from ...core.targets import DEFAULT

MANIFEST_NAME = "manifest.json"


class BakedImage(msgspec.Struct, frozen=True):
    """One image.

    Attributes
    ----------
    frame
        Counts from 1.
    source
        The name of the photo: its path below the folder of the footage, with "/".
    image, mask
        The image made from it, or the photo itself, and its mask: paths below the folder, with "/".
        Without a mask in this folder, ``mask`` is empty.
    objects
        Ids of the objects whose mattes make its alpha.
    edited
        Ids among them whose matte the user drew.
    """

    frame: int
    source: str
    image: str
    objects: tuple[int, ...]
    edited: tuple[int, ...]
    mask: str = ""


class BakeManifest(msgspec.Struct, frozen=True):
    """How a folder of images was made. It is written last, so a folder that has it is complete.

    It holds no times and no absolute paths: the same input gives the same bytes.

    Attributes
    ----------
    device
        The device that refined the edges, named as in a run's manifest. Empty if none were refined.
    raw_photos
        What was taken from camera RAW photos; see `core.settings.RunSettings`.
    target
        The trainer that this folder is for: a name in `core/targets.py`.
    """

    footage: str
    width: int
    height: int
    options: BakeOptions
    images: tuple[BakedImage, ...]
    without_matte: tuple[int, ...]
    incomplete: tuple[int, ...]
    versions: dict[str, str]
    device: str = ""
    version: int = 1
    target: str = DEFAULT
    raw_photos: RawSource = "developed"


def describe(
    plan: BakePlan,
    place: TargetFolder,
    request: BakeRequest,
    edited: AbstractSet[tuple[int, int]],
    versions: dict[str, str],
    device: str,
) -> BakeManifest:
    """Return the manifest of a finished plan for one of its targets.

    Parameters
    ----------
    plan, place, request
        What was baked, and the target with its folder.
    edited
        (object id, frame) of drawn mattes.
    versions
        Versions of the packages that decide an image's bytes.
    device
        See `BakeManifest`.
    """
    images = []
    for item in plan.items:
        output = next(one for one in item.outputs if one.target == place.target)
        mask = output.mask
        images.append(
            BakedImage(
                item.frame,
                item.name,
                output.image.relative_to(place.folder).as_posix(),
                item.objects,
                tuple(i for i in item.objects if (i, item.frame) in edited),
                mask.relative_to(place.folder).as_posix()
                if mask is not None and mask.is_relative_to(place.folder)
                else "",
            )
        )
    return BakeManifest(
        footage=request.footage.fingerprint,
        width=request.footage.width,
        height=request.footage.height,
        options=request.options,
        images=tuple(images),
        without_matte=plan.without_matte,
        incomplete=plan.incomplete,
        versions=versions,
        device=device,
        target=place.target.name,
        raw_photos=request.raw_photos,
    )


def write_manifest(folder: Path, manifest: BakeManifest) -> None:
    """Write the manifest into the folder, whole or not at all; raises OSError."""
    data = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"))
    write_atomic(folder / MANIFEST_NAME, data)
