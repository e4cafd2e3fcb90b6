# SPDX-License-Identifier: GPL-3.0-or-later
"""Show on small logits what the bake will do with holes, specks and soft edges.

The bake closes holes and drops specks of the union of all objects, at the size of the photo. Here the
union is sampled a few times per logit, so sizes are right to some percent. The rest of the logits is
unchanged, and so is the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .components import small_parts
from .resample import upsample

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

SOFT_LOGIT: Final = 4.0
"""Beyond this logit a soft matte is fully inside or outside (the sigmoid is 0.018 or 0.982)."""

# Samples per logit along each side. Odd, so that one sample lies on the logit itself.
_SAMPLES = 3
# Large masks, such as those that the user drew, have enough samples already.
_MOST_SAMPLES = 1024
# The least value of a changed logit: float16 must keep its sign.
_LEAST = 1e-3


def feather_sigma(width: float) -> float:
    """Return the sigma of the Gaussian that makes a soft edge of about this width; both in px."""
    return width / 4.0


def soft_band(logits: NDArray[np.floating[Any]]) -> Floats:
    """Return logits whose sigmoid is the soft alpha, (h, w) float32.

    They are clipped. Logits more than one cell from the edge are set fully inside or outside, because
    uncertainty there is not part of the edge.
    """
    inside = logits > 0
    near_edge = _spread(inside) & _spread(~inside)
    far = np.where(inside, SOFT_LOGIT, -SOFT_LOGIT).astype(np.float32)
    return np.where(near_edge & (np.abs(logits) <= SOFT_LOGIT), logits, far).astype(np.float32)


def tidied(
    mattes: Sequence[NDArray[np.floating[Any]]],
    size: tuple[int, int],
    *,
    fill_px: int,
    drop_px: int,
    soft: bool = False,
) -> list[NDArray[np.floating[Any]]]:
    """Close small holes in the union of several objects, and drop its specks.

    Parameters
    ----------
    mattes
        (h, w) each, of any sizes; inside is > 0.
    size
        Width and height of the photo, px.
    fill_px
        Holes with fewer px of the photo than this are closed.
    drop_px
        Separate parts with fewer px of the photo than this are dropped.
    soft
        Whether the mattes are soft bands. Then pixels that are barely inside still connect parts.

    Returns
    -------
    list
        One matte for each given one, (h, w). An unchanged matte is the given array itself.
    """
    if not mattes or not (fill_px or drop_px):
        return list(mattes)
    rows, columns = (
        min(_SAMPLES * max(matte.shape[axis] for matte in mattes), _MOST_SAMPLES) for axis in (0, 1)
    )
    each = rows * columns / (size[0] * size[1])  # samples per px of the photo
    values = [upsample(matte, columns, rows) for matte in mattes]
    union = np.max(values, axis=0)
    rim = SOFT_LOGIT * (1.0 - 1e-3) if soft else 0.0
    out = [np.array(matte, dtype=np.float32) for matte in mattes]
    changed = [False] * len(mattes)
    if fill_px:
        holes = small_parts(
            union < rim if soft else union <= 0.0,
            union <= 0.0,
            fill_px * each,
            corners=False,
            enclosed=True,
        )
        union[holes] = SOFT_LOGIT
        # Each hole goes to the object with the highest logit there.
        owner = np.argmax(values, axis=0)
        for number, matte in enumerate(out):
            own = _at_logits(holes & (owner == number), matte.shape)
            if own.any():
                # One logit farther where another object begins, so that no seam is left between them.
                own |= _spread(own) & _at_logits(union > 0.0, matte.shape)
                matte[own] = np.maximum(np.abs(matte[own]), SOFT_LOGIT if soft else _LEAST)
                changed[number] = True
    if drop_px:
        specks = small_parts(
            union > -rim, union > 0.0, drop_px * each, corners=True, enclosed=False
        )
        for number, matte in enumerate(out):
            own = _at_logits(specks, matte.shape) & (matte > -rim)
            if own.any():
                matte[own] = -np.maximum(np.abs(matte[own]), SOFT_LOGIT if soft else _LEAST)
                changed[number] = True
    return [new if other else old for new, old, other in zip(out, mattes, changed, strict=True)]


def _at_logits(mask: Bools, shape: tuple[int, ...]) -> Bools:
    """Look up a mask of samples at the places of the logits."""
    rows, columns = (
        ((np.arange(count) + 0.5) * samples / count).astype(np.int64)
        for count, samples in zip(shape, mask.shape, strict=True)
    )
    found: Bools = mask[rows[:, None], columns[None, :]]
    return found


def _spread(mask: Bools) -> Bools:
    """Grow a mask by one cell in all eight directions; nothing enters across the border."""
    wide = mask.copy()
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall
