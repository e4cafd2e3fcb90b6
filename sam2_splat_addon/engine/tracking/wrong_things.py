# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a whole thing out of a mask where one exclude click rejects it.

On a tracked photo the mask may lie on another thing, for example on what hides the subject. An
exclude click in the middle of it then means all of it. But a model that refines what was tracked
takes away only what is near the click, and the user has to click again and again.

So the model is asked what thing is at the click. If that thing is the piece of the mask around the
click, the whole piece goes. Three things tell other clicks from such a click. A leak lies near the
edge of its piece, because the piece is mostly the subject. In a hole that the mask fills, such as
those of a wheel or a rack, the model sees no whole thing. And of the subject it is surer when it
tracks it than when it only knows the click.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ENOUGH: Final = 0.35
"""Depth of a click in its piece, times the part of the piece that is the clicked thing.

It was measured with clicks in the largest error. Clicks into leaks of real videos had at most 0.17.
Clicks on what hides the subject of rendered orbits had 0.38 to 0.95.
"""

_ONE_THING: Final = 0.75
"""Estimate of the IoU from which on the model sees one whole thing at the click.

What hides the subject had 0.77 to 0.89. Holes of bicycles and racks, filled by the mask, had 0.42 to
0.71.
"""

CRUMBS: Final = 0.02
"""Part of a mask that does not count as left over: the model would make a whole mask of it again."""

Bools = NDArray[np.bool_]


def rejected_piece(
    logits: Tensor,
    place: tuple[int, int],
    includes: Bools,
    thing: Callable[[], tuple[Tensor, float]],
) -> Bools | None:
    """Return the cells, (h, w), of the piece that an exclude click takes away. None if none.

    Parameters
    ----------
    logits
        (1, 1, h, w), the mask without the click. Inside is > 0.
    place
        Row and column of the click's cell.
    includes
        (h, w), the cells with an include click. A piece with one of them stays.
    thing
        Returns the logits, (1, 1, h, w), of what the model sees at the click, and its estimate of
        their IoU. Only called if the click is deep enough.
    """
    mask = _numpy(logits)
    inside = mask > 0
    if not inside[place]:
        return None
    _, pieces = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
    piece: Bools = pieces == pieces[place]
    depths = cv2.distanceTransform(np.pad(piece.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    depth = float(depths[place] / depths.max())
    if depth < _ENOUGH or (piece & includes).any():
        return None
    found, estimate = thing()
    seen = _numpy(found)[piece]  # of the piece's cells
    covered = seen > 0
    if estimate < _ONE_THING or depth * float(covered.mean()) < _ENOUGH:
        return None
    return piece if seen[covered].mean() > mask[piece][covered].mean() else None


def _numpy(logits: Tensor) -> NDArray[np.float32]:
    """Return (1, 1, h, w) of any device as (h, w)."""
    return np.asarray(logits[0, 0].to(torch.float32).cpu().numpy())
