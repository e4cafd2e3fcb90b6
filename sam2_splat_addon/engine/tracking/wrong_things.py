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
from functools import partial
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .prompt_tensors import EXCLUDE, INCLUDE

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

_CRUMBS: Final = 0.02
"""Part of a mask that does not count as left over: the model would make a whole mask of it again."""

_OUTSIDE: Final = -10.0  # logit of what a click took away

Bools = NDArray[np.bool_]
Thing = tuple[Tensor, float]
"""The logits, (1, 1, h, w), of what the model sees at a place, and its estimate of their IoU."""


def without_wrong_things(
    logits: Tensor, points: dict[str, Tensor], side: int, thing_at: Callable[[Tensor], Thing]
) -> Tensor:
    """Return logits without the pieces that exclude clicks reject; the same tensor if there are none.

    Parameters
    ----------
    logits
        (1, 1, h, w), the mask as tracked. Inside is > 0.
    points
        "point_coords" (1, P, 2), pixel indices of the model's input; "point_labels" (1, P).
    side
        Side of the model's input, px.
    thing_at
        Gets one place, (1, 1, 2), as in the points. It is only asked about clicks that are deep
        enough.
    """
    places, labels = points["point_coords"], points["point_labels"][0].cpu().numpy()
    high, wide = logits.shape[-2:]
    x, y = (places[0].cpu().numpy().T + 0.5) / side  # (P) each, 0 to 1
    rows = np.minimum(y * high, high - 1).astype(int)  # a click may be on the rim itself
    columns = np.minimum(x * wide, wide - 1).astype(int)
    includes = np.zeros((high, wide), np.bool_)
    includes[rows[labels == INCLUDE], columns[labels == INCLUDE]] = True
    left = logits
    for at in np.flatnonzero(labels == EXCLUDE):
        ask = partial(thing_at, places[:, at : at + 1])
        piece = rejected_piece(left, (rows[at], columns[at]), includes, ask)
        if piece is not None:
            left = left.masked_fill(torch.from_numpy(piece).to(left.device), _OUTSIDE)
    if left is logits or not only_excludes(points):
        return left
    few = bool((left > 0).sum() <= _CRUMBS * (logits > 0).sum())
    return left.masked_fill(left > 0, _OUTSIDE) if few else left


def only_excludes(points: dict[str, Tensor]) -> bool:
    """Whether no click or box says that the subject is on the photo."""
    return bool((points["point_labels"] == EXCLUDE).all())


def rejected_piece(
    logits: Tensor, place: tuple[int, int], includes: Bools, thing: Callable[[], Thing]
) -> Bools | None:
    """Return the cells, (h, w), of the piece that an exclude click takes away. None if none.

    Parameters
    ----------
    logits
        (1, 1, h, w), the mask without the click.
    place
        Row and column of the click's cell.
    includes
        (h, w), the cells with an include click. A piece with one of them stays.
    thing
        Returns what the model sees at the click.
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
