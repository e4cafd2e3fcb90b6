# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove small pieces of a mask that the model is unsure of, and fill such holes.

The bundled model leaves crumbs on tracked photos: bits of what stands behind and looks alike, and
gaps in folds and shadows. Its logits tell them from thin parts and from real gaps: crumbs are weak
everywhere.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_PIECE: Final = 0.2  # of the largest piece: a larger one stays
_SURE_PIECE: Final = 4.0  # a piece stays if its highest logit is no lower
_GAP: Final = 2  # cells: a piece that is as near to the largest one may be a thin part of it
_SURE_THIN: Final = 1.0  # and stays from this logit on
_HOLE: Final = 0.02  # of the mask: a larger hole stays
_SURE_HOLE: Final = -2.0  # a hole stays if its lowest logit is no higher
_WEAK: Final = 0.5  # the logit, on the other side of 0, of what is changed


def without_unsure_parts(logits: Floats) -> Floats:
    """Return a mask's logits, (h, w), without weak crumbs and weak holes. Inside is > 0.

    Holes that reach the photo's edge stay.
    """
    inside = logits > 0
    changed = logits.copy()
    pieces, sizes, highest = _parts(inside, logits, corners=True)
    largest = int(sizes.max(initial=0))
    crumbs = (sizes < _PIECE * largest) & (highest < _SURE_PIECE)
    around = np.ones((2 * _GAP + 1, 2 * _GAP + 1), np.uint8)
    near = cv2.dilate((pieces == sizes.argmax()).astype(np.uint8), around) > 0
    beside = np.unique(pieces[near & inside])
    crumbs[beside] &= highest[beside] < _SURE_THIN
    crumbs[0] = False
    where = crumbs[pieces]
    changed[where] = np.minimum(changed[where], -_WEAK)
    holes, sizes, highest = _parts(~inside, -logits, corners=False)
    weak = (sizes < _HOLE * inside.sum()) & (highest < -_SURE_HOLE)
    weak[0] = False
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        weak[edge] = False
    where = weak[holes]
    changed[where] = np.maximum(changed[where], _WEAK)
    return changed


def _parts(
    inside: NDArray[np.bool_], values: Floats, *, corners: bool
) -> tuple[NDArray[np.int32], NDArray[np.int64], Floats]:
    """Return the number of each cell's part (0: none), and by number its size and highest value."""
    count, found = cv2.connectedComponents(
        inside.astype(np.uint8), connectivity=8 if corners else 4
    )
    numbers = found.astype(np.int32, copy=False)
    sizes = np.bincount(numbers[inside], minlength=count)
    highest = np.full(count, -np.inf, np.float32)
    np.maximum.at(highest, numbers[inside], values[inside])
    return numbers, sizes, highest
