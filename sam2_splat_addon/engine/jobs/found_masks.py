# SPDX-License-Identifier: GPL-3.0-or-later
"""Read masks that lie beside the photos, to become the user's first masks.

White is the subject. A set of masks where white lies along the edges of most photos is refused,
because it is most likely of a program where black is the subject.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.errors import Cancelled, FootageError
from ...core.footage.scan import shorten
from ...core.geometry.orientation import back, turned, turned_size
from ...core.prompts import MaskPrompt, have_one_shape
from ...core.protocol import FoundMask, MasksRequest, Progress
from ..images.colors import to_8_bit
from ..images.decode import decode

LONG_SIDE: Final = 1024
"""The longest side of a mask prompt, px: the input of the largest model. A .blend file holds them all."""

_INVERTED: Final = 0.5  # of the edges of the photos


def read_masks(
    request: MasksRequest, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> tuple[dict[int, MaskPrompt], tuple[str, ...]]:
    """Read all masks.

    Returns
    -------
    tuple
        Frame -> the mask, in stored pixels of its photo; and warnings. Masks without anything inside
        or outside are left out, since they do not say where the subject is.

    Raises
    ------
    Cancelled
        The user cancelled.
    FootageError
        A mask can't be read, does not fit its photo, has more than two values and none of them white,
        or the masks look inverted.
    """
    found: dict[int, MaskPrompt] = {}
    rims: list[float] = []
    bare: list[str] = []
    for done, one in enumerate(request.masks, start=1):
        if cancelled():
            raise Cancelled
        inside = _fitted(_inside(one), one)
        if request.invert:
            inside = ~inside
        rims.append(_on_rim(inside))
        if inside.all() or not inside.any():
            bare.append(Path(one.mask).name)
        else:
            found[one.frame] = MaskPrompt.from_array(_small(inside))
        on_progress(Progress("masks", done, len(request.masks), one.frame))
    if rims and median(rims) > _INVERTED:
        raise FootageError(
            "Along the edges of most photos the masks are white. So they seem to be inverted:"
            " white must be the subject.",
            "Choose Invert if black is the subject in these masks.",
        )
    warnings = []
    if bare:
        warnings.append(f"Masks that are all black or all white are left out: {shorten(bare)}.")
    return found, tuple(warnings)


def _inside(one: FoundMask) -> NDArray[np.bool_]:
    """Return where a mask file is white, (h, w)."""
    pixels = decode(Path(one.mask))
    if pixels.alpha is not None and pixels.alpha.min() < pixels.alpha.max():
        grey = to_8_bit(pixels.alpha)  # a cut-out
    else:
        grey = to_8_bit(pixels.array).max(axis=2)
    inside = grey >= 128
    if inside.any() or not grey.any():
        return inside
    values = np.flatnonzero(np.bincount(grey.ravel(), minlength=256))
    if len(values) > 2:
        raise FootageError(
            f"{Path(one.mask).name} has {len(values)} dark values and no white, so it is no mask in"
            " black and white.",
            "Export the masks in black and white, or move them away.",
        )
    return np.asarray(grey == values[-1])  # such as 0 and 1


def _fitted(inside: NDArray[np.bool_], one: FoundMask) -> NDArray[np.bool_]:
    """Return a mask in the stored order of its photo; raises FootageError if it does not fit."""
    own = inside.shape[1], inside.shape[0]
    photo = one.width, one.height
    if have_one_shape(own, photo):
        return inside
    if have_one_shape(own, turned_size(*photo, one.orientation)):  # made of the upright photo
        return np.ascontiguousarray(turned(inside, back(one.orientation)))
    raise FootageError(
        f"The mask {Path(one.mask).name} has {own[0]}x{own[1]} px, but its photo {one.photo} has"
        f" {photo[0]}x{photo[1]} px.",
        "Export this mask again with the shape of the photo, or move it away.",
    )


def _on_rim(inside: NDArray[np.bool_]) -> float:
    """Return how much of the edge of the picture lies inside, 0 to 1."""
    rim = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    return float(rim.mean())


def _small(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    height, width = inside.shape
    scale = LONG_SIDE / max(height, width)
    if scale >= 1.0:
        return inside
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = cv2.resize(inside.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey >= 128)
