# SPDX-License-Identifier: GPL-3.0-or-later
"""Enlarge small logits to the size of the footage, in stripes.

The interpolation is bilinear with half-pixel centres. Output pixel i takes the value at (i + 0.5) *
n_in / n_out - 0.5, clamped to the outermost samples. This equals `interpolate(mode="bilinear",
align_corners=False)` of PyTorch, with weights rounded to float32 in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Rows per stripe: 64 rows of 6000 float32 are 1.5 MB and stay in the cache of the processor.
STRIPE_ROWS = 64


def _taps(
    size_in: int, size_out: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return lower sample, upper sample and weight of the upper one, (size_out,) each."""
    scale = np.float32(size_in) / np.float32(size_out)
    # PyTorch uses a fused multiply-add in float32: so compute exactly here and round once.
    exact = np.float64(scale) * (np.arange(size_out, dtype=np.float64) + 0.5) - 0.5
    at = np.maximum(exact.astype(np.float32), np.float32(0.0))
    lower = np.minimum(at.astype(np.int64), size_in - 1)
    upper = np.minimum(lower + 1, size_in - 1)
    return lower, upper, (at - lower.astype(np.float32)).astype(np.float32)


def stripes(
    logits: NDArray[np.floating[Any]], width: int, height: int, rows: int = STRIPE_ROWS
) -> Iterator[tuple[int, Floats]]:
    """Interpolate in horizontal stripes, so that the whole picture never exists as float.

    Parameters
    ----------
    logits
        (h, w), any floating type.
    width, height
        Size to interpolate to, px.
    rows
        Height of a stripe, px. The last stripe may have fewer rows.

    Yields
    ------
    top : int
        First row of the stripe.
    stripe : NDArray
        (up to `rows`, width) float32.
    """
    left, right, x_weight = _taps(logits.shape[1], width)
    upper, lower, y_weight = _taps(logits.shape[0], height)
    small = logits.astype(np.float32, copy=False)
    # Widen once: (h, width) float32.
    wide = small[:, left]
    wide += (small[:, right] - wide) * x_weight
    for top in range(0, height, rows):
        at = slice(top, top + rows)
        yield top, _blend(wide, upper[at], lower[at], y_weight[at])


def _blend(
    wide: Floats, upper: NDArray[np.int64], lower: NDArray[np.int64], weight: Floats
) -> Floats:
    """Blend the rows `upper` and `lower`, in place for speed."""
    here: Floats = wide[upper]
    change: Floats = wide[lower]
    change -= here
    change *= weight[:, None]
    here += change
    return here


def upsample(logits: NDArray[np.floating[Any]], width: int, height: int) -> Floats:
    """Interpolate (h, w) to (height, width) float32 in one array; for small sizes."""
    out = np.empty((height, width), dtype=np.float32)
    for top, stripe in stripes(logits, width, height):
        out[top : top + len(stripe)] = stripe
    return out


def upsample_binary(
    logits: NDArray[np.floating[Any]], width: int, height: int
) -> NDArray[np.bool_]:
    """Return where the interpolated logits are above 0, (height, width) bool.

    Only rows and columns that can have an inside pixel are interpolated. The others are outside.
    """
    out = np.zeros((height, width), dtype=np.bool_)
    inside = logits > 0
    if not inside.any():
        return out
    rows = _reached(inside.any(axis=1), height)
    columns = _reached(inside.any(axis=0), width)
    left, right, x_weight = _taps(logits.shape[1], width)
    upper, lower, y_weight = _taps(logits.shape[0], height)
    small = logits.astype(np.float32, copy=False)
    wide = small[:, left[columns]]
    wide += (small[:, right[columns]] - wide) * x_weight[columns]
    for top in range(rows.start, rows.stop, STRIPE_ROWS):
        at = slice(top, min(top + STRIPE_ROWS, rows.stop))
        here = _blend(wide, upper[at], lower[at], y_weight[at])
        np.greater(here, 0, out=out[at, columns])
    return out


def _reached(inside: NDArray[np.bool_], size_out: int) -> slice:
    """Return the range of output positions with an inside sample among their two samples."""
    lower, upper, _ = _taps(len(inside), size_out)
    reached = np.flatnonzero(inside[lower] | inside[upper])
    return slice(int(reached[0]), int(reached[-1]) + 1)
