# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of one photo's clicks and masks, for a person's eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sam2_splat_addon.core.prompts import PointPrompt
from tools.contact_sheet import SIDE, pasted, tinted

Mask = NDArray[np.bool_]

_RADIUS = 4  # px, of a click
_INCLUDE = (70, 235, 90)
_EXCLUDE = (240, 70, 70)


def write_clicks_sheet(
    photo: Path, steps: Sequence[tuple[str, Mask, Sequence[PointPrompt]]], target: Path
) -> None:
    """Write a JPEG with a cell for each step.

    Parameters
    ----------
    photo
        The photo.
    steps
        Title, mask at the photo's size, and the clicks that gave it.
    target
        The JPEG to write. Its folder is made.
    """
    with Image.open(photo) as image:
        whole = image.convert("RGB")
    scale = SIDE * 2 / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    small = whole.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    cells = []
    for title, mask, clicks in steps:
        alpha = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize(
            size, Image.Resampling.BOX
        )
        cell = tinted(small, alpha, title)
        draw = ImageDraw.Draw(cell)
        for click in clicks:
            x, y = click.x * scale, click.y * scale
            around = (x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS)
            draw.ellipse(around, fill=_INCLUDE if click.include else _EXCLUDE, outline=(0, 0, 0))
        cells.append(cell)
    target.parent.mkdir(parents=True, exist_ok=True)
    pasted(cells, columns=4).save(target, quality=88)
