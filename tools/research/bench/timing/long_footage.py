# SPDX-License-Identifier: GPL-3.0-or-later
"""Make footage of any length and size from a few photos, and clicks on it."""

from __future__ import annotations

import itertools
from pathlib import Path

from PIL import Image

from sam2_splat_addon.core.footage.scan import Footage, scan
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet

from .baking import enlarged

_PHOTOS = 8  # number of different photos; enough that no frame equals the last one


def parsed_size(text: str) -> tuple[int, int]:
    """Width and height from ``WxH``, px."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def long_footage(photos: Path, size: tuple[int, int] | None, frames: int, scratch: Path) -> Footage:
    """Repeat some of the photos.

    Parameters
    ----------
    photos
        A folder of JPEGs.
    size
        Width and height, px. Photos are enlarged (with grain) or reduced. None is their own size.
    frames
        Number of frames.
    scratch
        Gets two folders, ``made`` and ``photos``. The second one is the footage and contains only
        links.
    """
    chosen = sorted(photos.iterdir())[:_PHOTOS]
    if size is not None:
        (scratch / "made").mkdir()
        chosen = [_resized(photo, scratch / "made" / photo.name, size) for photo in chosen[:frames]]
    folder = scratch / "photos"
    folder.mkdir()
    for index, photo in zip(range(frames), itertools.cycle(chosen), strict=False):
        (folder / f"frame_{index + 1:06d}.jpg").symlink_to(photo.resolve())
    return scan(folder)


def _resized(source: Path, target: Path, size: tuple[int, int]) -> Path:
    with Image.open(source) as photo:
        if photo.width < size[0]:
            return enlarged(source, target, *size)
        photo.resize(size).save(target, quality=93)
    return target


def clicks(footage: Footage, objects: int) -> PromptSet:
    """Return one click for each object on the first frame, one below the other."""
    width, height = footage.width, footage.height
    entries = (
        ObjectPrompts(
            at + 1,
            f"object {at + 1}",
            (FramePrompts(1, (PointPrompt(width / 2, height * (0.5 + 0.1 * at)),)),),
        )
        for at in range(objects)
    )
    return PromptSet(tuple(entries)).checked(footage.sizes, len(footage))
