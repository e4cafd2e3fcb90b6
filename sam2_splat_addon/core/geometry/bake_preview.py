# SPDX-License-Identifier: GPL-3.0-or-later
"""Small logits as the bake will take them, for the eye; numpy and core.

The bake closes holes and drops specks of the union at the photo's size. Here the union is looked at
in a few samples for each logit, so sizes are right to some percent; what is kept of the logits is
untouched, and so is its edge.
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
"""Beyond this logit a soft matte is wholly inside or outside (the sigmoid is 0.018 or 0.982)."""

# Samples a logit along each side: odd, so that one lies on the logit itself.
_SAMPLES = 3
# Large masks, as those that the user drew, have samples enough.
_MOST_SAMPLES = 1024
# What a changed logit is at least, so that float16 keeps its sign.
_LEAST = 1e-3


def feather_sigma(width: float) -> float:
    """The Gaussian's sigma that makes a soft edge of about this width; both in px of the photo."""
    return width / 4.0


def soft_band(logits: NDArray[np.floating[Any]]) -> Floats:
    """Logits whose sigmoid is the soft alpha: clipped, and far from the edge wholly in or out.

    Uncertainty farther in than one logit is no edge.
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
    """Close the small holes of several objects' union, and drop its specks.

    Parameters
    ----------
    mattes
        (h, w) of any sizes; inside is > 0.
    size
        The photo's width and height, px.
    fill_px, drop_px
        Holes, and separate parts, of fewer px of the photo than this.
    soft
        Whether they are soft bands: then what is barely inside still holds parts together.

    Returns
    -------
    list
        A matte for each; those that nothing changes in are the given ones.
    """
    if not mattes or not (fill_px or drop_px):
        return list(mattes)
    rows, columns = (
        min(_SAMPLES * max(matte.shape[axis] for matte in mattes), _MOST_SAMPLES) for axis in (0, 1)
    )
    each = rows * columns / (size[0] * size[1])  # samples a px of the photo
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
        # Each hole goes to whom it is nearest to belonging.
        owner = np.argmax(values, axis=0)
        for number, matte in enumerate(out):
            own = _at_logits(holes & (owner == number), matte.shape)
            if own.any():
                # And one logit farther where another object goes on: without a seam between them.
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
    """A mask of samples, looked up where the logits are."""
    rows, columns = (
        ((np.arange(count) + 0.5) * samples / count).astype(np.int64)
        for count, samples in zip(shape, mask.shape, strict=True)
    )
    found: Bools = mask[rows[:, None], columns[None, :]]
    return found


def _spread(mask: Bools) -> Bools:
    """A mask and what lies beside it, corners included; nothing comes in over the border."""
    wide = mask.copy()
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall
