# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill closed outlines into a binary matte, at pixel centres."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def fill(outlines: Iterable[Points], width: int, height: int) -> NDArray[np.bool_]:
    """Fill closed outlines as the mask rasteriser of Blender does.

    Parameters
    ----------
    outlines
        (n, 2) arrays in footage pixels (pixel-edge coordinates, y down). A pixel is inside if the
        winding number of the outlines around its centre is not zero. So an outline inside another one
        with the opposite direction is a hole.
    width, height
        Size of the matte in px.

    Returns
    -------
    (height, width) bool
    """
    winding = np.zeros((height, width + 1), dtype=np.int16)
    for outline in outlines:
        if len(outline) < 3:
            continue
        begin = np.asarray(outline, dtype=np.float64)
        end = np.roll(begin, -1, axis=0)
        # An edge crosses the centres of the rows first <= row < last.
        at_begin = np.ceil(begin[:, 1] - 0.5).clip(0, height).astype(np.int64)
        at_end = np.ceil(end[:, 1] - 0.5).clip(0, height).astype(np.int64)
        first, last = np.minimum(at_begin, at_end), np.maximum(at_begin, at_end)
        rows_per_edge = last - first
        edge = np.repeat(np.arange(len(begin)), rows_per_edge)
        offset = np.cumsum(rows_per_edge) - rows_per_edge
        row = np.arange(len(edge)) - offset[edge] + first[edge]
        along = (row + 0.5 - begin[edge, 1]) / (end[edge, 1] - begin[edge, 1])
        x = begin[edge, 0] + along * (end[edge, 0] - begin[edge, 0])
        column = np.ceil(x - 0.5).clip(0, width).astype(np.int64)
        turn = np.where(at_end[edge] > at_begin[edge], 1, -1).astype(np.int16)
        np.add.at(winding, (row, column), turn)
    np.cumsum(winding, axis=1, out=winding)
    filled: NDArray[np.bool_] = winding[:, :width] != 0
    return filled
