# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what the pictures of Blender's window show of the photo; numpy and Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.window.play import Played

Rgb = NDArray[np.float32]
Mask = NDArray[np.bool_]


def photo_on(played: Played, name: str, size: tuple[int, int]) -> Rgb:
    """Cut the photo out of a picture of the window, at a size of one's own.

    Parameters
    ----------
    played
        The play that took the picture, with the whole photo in view.
    name
        The picture's name.
    size
        Width and height of the result, px.

    Returns
    -------
    Rgb
        (height, width, 3), 0 to 255.
    """
    box = played.seen["pictures"][name]["photo"]
    with Image.open(played.folder / f"{name}.png") as picture:
        cut = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR, box=tuple(box))
    return np.asarray(cut, dtype=np.float32)


def changed(before: Rgb, after: Rgb, levels: float = 12.0) -> Mask:
    """Return where two pictures differ by more than some levels of 255 in any channel."""
    return np.asarray(np.abs(after - before).max(axis=2) > levels)


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0
