# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the photo off pictures of Blender's window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.window.launcher import Played

Rgb = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Height of the strip at the editor's lower edge that shows more than the photo, in px of the screen.
_LOWER_EDGE = 60


def photo_on(played: Played, name: str, size: tuple[int, int]) -> Rgb:
    """Read the photo's pixels off a picture of the window.

    Parameters
    ----------
    played
        The play that took the picture.
    name
        The picture's name.
    size
        Width and height of the photo, px.

    Returns
    -------
    Rgb
        (height, width, 3), 0 to 255: the picture at the centre of each pixel of the photo. NaN where
        this is outside the editor.
    """
    seen = played.seen["pictures"][name]
    left, top, right, bottom = seen["photo"]
    x = np.floor(left + (np.arange(size[0]) + 0.5) * (right - left) / size[0]).astype(int)
    y = np.floor(top + (np.arange(size[1]) + 0.5) * (bottom - top) / size[1]).astype(int)
    with Image.open(played.folder / f"{name}.png") as picture:
        screen = np.asarray(picture.convert("RGB"), dtype=np.float32)
    # Blender draws rulers and the name of the last step over the editor's lower edge.
    edge_left, edge_top, edge_right, edge_bottom = seen["editor"]
    seen_x = (x >= edge_left) & (x < edge_right)
    seen_y = (y >= edge_top) & (y < edge_bottom - _LOWER_EDGE)
    found = np.full((size[1], size[0], 3), np.nan, dtype=np.float32)
    found[np.ix_(seen_y, seen_x)] = screen[np.ix_(y[seen_y], x[seen_x])]
    return found


def visible(pixels: Rgb) -> Mask:
    """Return which pixels of the photo the picture shows."""
    return np.asarray(~np.isnan(pixels[..., 0]))


def changed(before: Rgb, after: Rgb, levels: float = 12.0) -> Mask:
    """Return where two pictures differ in any channel by more than ``levels`` of 255."""
    return np.asarray(np.abs(after - before).max(axis=2) > levels)


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def inner(mask: Mask) -> Mask:
    """Leave out the pixels at a mask's edge, (height, width). On screen they are mixed with others."""
    wide = np.pad(mask, 1)
    beside = [wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]]
    return np.asarray(mask & np.logical_and.reduce(beside))
