# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one picture of many upright frames, with the matte over each photo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps, UnidentifiedImageError

from sam2_splat_addon.engine.images.colors import to_8_bit
from sam2_splat_addon.engine.images.decode import decode

SIDE = 220
"""Longer side of a frame on a sheet, px."""

_GAP = 4
_TINT = np.array((0.0, 160.0, 230.0))
_EDGE = (255, 235, 60)


def contact_sheet(pairs: Sequence[tuple[Path, Path]], target: Path, columns: int = 8) -> None:
    """Write a JPEG of small frames: the subject in colour, the rest darker, the edge drawn.

    Parameters
    ----------
    pairs
        The photo and the RGBA image of each frame; the alpha of the image is the matte.
    target
        The JPEG to write.
    """
    cells = [_cell(photo, matte) for photo, matte in pairs]
    if cells:
        pasted(cells, columns).save(target, quality=88)


def pasted(cells: Sequence[Image.Image], columns: int = 8) -> Image.Image:
    """Join all cells into one picture, row by row. At least one cell is needed."""
    width = max(cell.width for cell in cells) + _GAP
    height = max(cell.height for cell in cells) + _GAP
    columns = min(columns, len(cells))
    rows = math.ceil(len(cells) / columns)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), (24, 24, 24))
    for index, cell in enumerate(cells):
        row, column = divmod(index, columns)
        sheet.paste(cell, (_GAP + column * width, _GAP + row * height))
    return sheet


def _cell(photo: Path, matte: Path) -> Image.Image:
    small = _upright(photo)
    scale = SIDE / max(small.size)
    size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
    small = small.resize(size, Image.Resampling.BOX)
    with Image.open(matte) as image:
        upright = ImageOps.exif_transpose(image)
        alpha = upright.getchannel("A").resize(size, Image.Resampling.BOX)
    return tinted(small, alpha, photo.stem)


def _upright(photo: Path) -> Image.Image:
    """Read an upright photo, a JPEG no larger than needed."""
    try:
        with Image.open(photo) as image:
            image.draft("RGB", (SIDE * 2, SIDE * 2))
            return ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError:  # HEIC, JPEG XL and camera RAW
        return Image.fromarray(to_8_bit(decode(photo).upright))


def tinted(photo: Image.Image, alpha: Image.Image, title: str) -> Image.Image:
    """Draw a matte over its photo of the same size. The matte is grey, 255 inside."""
    inside = np.asarray(alpha, dtype=np.float32)[..., None] / 255.0
    pixels = np.asarray(photo, dtype=np.float32)
    shown = inside * (0.75 * pixels + 0.25 * _TINT) + (1.0 - inside) * (0.35 * pixels)
    cell = Image.fromarray(shown.astype(np.uint8))
    hard = alpha.point(lambda value: 255 if value > 127 else 0)
    edge = hard.filter(ImageFilter.FIND_EDGES)
    cell.paste(_EDGE, mask=edge)
    ImageDraw.Draw(cell).text((3, 2), title, fill=(255, 255, 255))
    return cell
