# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of a bake, and what makes them complete: photos, cameras and manifests."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np

from ...core.bake_plan import BakePlan
from ...core.errors import BakeError, Cancelled
from ...core.protocol import BakeRequest
from ...core.system.atomic_file import make_folder, sync_folder, write_atomic
from ...core.system.shared_copy import share
from ..images.png import write_grey
from .bake_frames import FrameBaker
from .bake_manifest import MANIFEST_NAME, describe, write_manifest
from .bake_targets import said_as_bake_error

CAMERA_MASK = "camera_mask.png"
_PACKAGES = (
    "numpy",
    "pillow",
    "simplejpeg",
    "opencv-python-headless",
    "tifffile",
    "OpenEXR",
    "isal",
    "zlib-ng",
)


def finish(
    plan: BakePlan,
    baker: FrameBaker,
    step: Callable[[int], None],
    cancelled: Callable[[], bool],
) -> None:
    """Add what makes folders complete: the photos, cameras, and masks that are one for all photos.

    If this fails or is cancelled, nothing of it stays.

    Parameters
    ----------
    plan
        Only frames that were baked.
    step
        Called with the frame of each photo that was linked.

    Raises
    ------
    BakeError
        A photo has changed, or a file can't be written.
    Cancelled
        ``cancelled`` returned True.
    """
    writer = baker.writer
    made: list[Path] = []
    try:
        for item in plan.items:
            photos = [one.image for one in item.outputs if one.is_photo]
            if not photos:
                continue
            if cancelled():
                raise Cancelled
            baker.require_same(item.source)
            for path in photos:
                made.append(path)
                with said_as_bake_error(path):
                    share(item.source, path, folders=writer.folders)
            step(item.frame)
        common = writer.always_ignored
        if common is not None and common.any():
            values = np.where(common, 0, 255).astype(np.uint8)
            for place in plan.targets:
                if place.target.has_camera_mask:
                    path = place.folder / CAMERA_MASK
                    made.append(path)
                    with said_as_bake_error(path):
                        write_grey(path, values, folders=writer.folders)
        if baker.dataset is not None:
            for place in plan.targets:
                for name, data in baker.dataset.files(place, plan.items).items():
                    path = place.folder / name
                    made.append(path)
                    with said_as_bake_error(path):
                        make_folder(path.parent)
                        write_atomic(path, data, folders=writer.folders)
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):
                path.unlink()
        raise


def write_manifests(
    plan: BakePlan,
    request: BakeRequest,
    edited: AbstractSet[tuple[int, int]],
    refines_on: str,
) -> None:
    """Write the manifest of each target, which says that its folder is complete; raises BakeError."""
    used = image_versions()
    for place in plan.targets:
        manifest = describe(plan, place, request, edited, used, refines_on)
        with said_as_bake_error(place.folder / MANIFEST_NAME):
            write_manifest(place.folder, manifest)


@contextlib.contextmanager
def output_folders(plan: BakePlan) -> Iterator[None]:
    """Make the plan's folders. Remove those that are empty when the bake ends."""
    made: list[Path] = []
    try:
        for folder in _folders_of(plan):
            with said_as_bake_error(folder):
                try:
                    folder.mkdir()
                    sync_folder(folder.parent)
                except FileExistsError:
                    raise BakeError(
                        f"{folder} exists already, and a bake never overwrites.",
                        "Bake again: the next version gets a new name.",
                    ) from None
            made.append(folder)
        yield
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # not empty: finished images stay
                folder.rmdir()


def _folders_of(plan: BakePlan) -> list[Path]:
    """Return all folders that a bake makes, those that hold others first."""
    own = [place.folder for place in plan.targets]
    if plan.masks_folder is not None:
        own.append(plan.masks_folder)
    found = dict.fromkeys([plan.folder, *own])
    files = (path for item in plan.items for output in item.outputs for path in output.files)
    for path in files:
        below = [parent for parent in path.parents if any(top in parent.parents for top in own)]
        found |= dict.fromkeys(reversed(below))
    return list(found)


def image_versions() -> dict[str, str]:
    """Return the versions of the packages that decide an image's bytes."""
    used = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            used[package] = importlib.metadata.version(package)
    return used
