# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a bake: how a folder of images was made."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from ...core.bake_plan import BakeOptions, BakePlan
from ...core.protocol import BakeRequest
from ...core.system.atomic_file import write_atomic

MANIFEST_NAME = "manifest.json"


class BakedImage(msgspec.Struct, frozen=True):
    """One image.

    Attributes
    ----------
    frame
        Counts from 1.
    source, image
        File names of the photo and of the image made from it.
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


class BakeManifest(msgspec.Struct, frozen=True):
    """How a folder of images was made. It is written last, so a folder that has it is complete.

    It holds no times and no absolute paths: the same input gives the same bytes.

    Attributes
    ----------
    device
        The device that refined the edges, named as in a run's manifest. Empty if none were refined.
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


def describe(
    plan: BakePlan,
    request: BakeRequest,
    edited: AbstractSet[tuple[int, int]],
    versions: dict[str, str],
    device: str,
) -> BakeManifest:
    """Return the manifest of a finished plan.

    Parameters
    ----------
    plan, request
        What was baked.
    edited
        (object id, frame) of drawn mattes.
    versions
        Versions of the packages that decide an image's bytes.
    device
        See `BakeManifest`.
    """
    images = tuple(
        BakedImage(
            item.frame,
            item.source.name,
            item.target.name,
            item.objects,
            tuple(object_id for object_id in item.objects if (object_id, item.frame) in edited),
        )
        for item in plan.items
    )
    return BakeManifest(
        footage=request.footage.fingerprint,
        width=request.footage.width,
        height=request.footage.height,
        options=request.options,
        images=images,
        without_matte=plan.without_matte,
        incomplete=plan.incomplete,
        versions=versions,
        device=device,
    )


def write_manifest(folder: Path, manifest: BakeManifest) -> None:
    """Write the manifest into the folder, whole or not at all; raises OSError."""
    data = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"))
    write_atomic(folder / MANIFEST_NAME, data)
