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

# Far more than the rounding errors of an interpolation in float32, in parts of the largest sample.
_ROUNDING = 1e-5


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

    Between four samples of one sign all values have this sign, so only the other places are
    interpolated: a large photo takes a tenth of the time.
    """
    out = np.zeros((height, width), dtype=np.bool_)
    if not (logits > 0).any():
        return out
    small = logits.astype(np.float32, copy=False)
    left, right, x_weight = _taps(small.shape[1], width)
    upper, lower, y_weight = _taps(small.shape[0], height)
    row_starts, column_starts = _cells(upper), _cells(left)
    rows, columns = upper[row_starts], left[column_starts]
    sure, inside = _signs(small, rows, lower[row_starts], columns, right[column_starts])
    column_sizes = np.diff(column_starts, append=width)
    for number, top in enumerate(row_starts):
        bottom = row_starts[number + 1] if number + 1 < len(row_starts) else height
        if inside[number].any():
            out[top:bottom] = np.repeat(inside[number], column_sizes)
        if sure[number].all():
            continue
        at = np.flatnonzero(np.repeat(~sure[number], column_sizes))
        weight = x_weight[at]
        two = []  # the rows above and below, widened
        for row in (upper[top], lower[top]):
            wide = small[row, left[at]]
            wide += (small[row, right[at]] - wide) * weight
            two.append(wide)
        values = two[1] - two[0]
        values = values * y_weight[top:bottom, None]
        values += two[0]
        out[top:bottom, at] = values > 0
    return out


def _cells(lower: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the output begins to lie between the next two samples."""
    return np.flatnonzero(np.diff(lower, prepend=-1))


def _signs(
    small: Floats,
    rows: NDArray[np.int64],
    rows_below: NDArray[np.int64],
    columns: NDArray[np.int64],
    columns_after: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which cells between four samples have one sign, and which are surely inside.

    A value so near to 0 that rounding might change its sign counts as neither.
    """
    corners = [small[np.ix_(r, c)] for r in (rows, rows_below) for c in (columns, columns_after)]
    lowest, highest = np.minimum.reduce(corners), np.maximum.reduce(corners)
    with np.errstate(invalid="ignore"):  # infinite samples, which are interpolated like others
        margin = np.maximum(np.abs(lowest), np.abs(highest)) * _ROUNDING
        inside, outside = lowest > margin, highest < -margin
    return inside | outside, inside
