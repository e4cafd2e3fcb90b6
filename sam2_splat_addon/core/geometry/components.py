# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the separate parts of a mask (connected components) without an image library.

A run is a stretch of inside pixels along a row. Runs of neighbouring rows that touch are joined
(union-find).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Runs:
    """The runs of a mask, (rows, columns), row by row.

    Attributes
    ----------
    pitch
        Places per row: one more than the mask has columns.
    starts, stops
        The first place inside each run, and the first place after it, (runs,).
    roots
        The number of the part that each run belongs to, (runs,).
    """

    pitch: int
    starts: Ints
    stops: Ints
    roots: Ints


def part_sizes(inside: Bools) -> Ints:
    """Return the sizes of the separate parts of a mask, px, in no order, (parts,).

    Pixels that touch at a corner belong to one part.
    """
    runs = _runs(inside, corners=True)
    if not len(runs.starts):
        return np.zeros(0, dtype=np.int64)
    sizes = np.bincount(runs.roots, weights=runs.stops - runs.starts).astype(np.int64)
    return sizes[sizes > 0]


def small_parts(
    support: Bools, core: Bools, smaller_than: float, *, corners: bool, enclosed: bool
) -> Bools:
    """Mark the small separate parts of a mask.

    Parameters
    ----------
    support
        (rows, columns): the pixels that make up the parts.
    core
        (rows, columns): the pixels that are counted.
    smaller_than
        A part with fewer px of ``core`` than this is small.
    corners
        Whether pixels that touch at a corner belong to one part.
    enclosed
        Leave out parts that touch the border of the mask.

    Returns
    -------
    (rows, columns) bool
    """
    rows, columns = support.shape
    runs = _runs(support, corners=corners)
    if not len(runs.starts):
        return np.zeros(support.shape, dtype=np.bool_)
    # How much of the core lies before each place: the share of a run is then a difference.
    padded = np.zeros((rows, columns + 1), dtype=np.int64)
    padded[:, :-1] = core & support
    before = np.concatenate([[0], np.cumsum(padded.ravel())])
    held = before[runs.stops] - before[runs.starts]
    sizes = np.bincount(runs.roots, weights=held, minlength=len(runs.starts))
    small = sizes < smaller_than
    if enclosed:
        row, column = np.divmod(runs.starts, runs.pitch)
        end = runs.stops - row * runs.pitch
        at_border = (row == 0) | (row == rows - 1) | (column == 0) | (end == columns)
        small[runs.roots[at_border]] = False
    chosen = small[runs.roots]
    change = np.zeros(rows * runs.pitch + 1, dtype=np.int8)
    change[runs.starts[chosen]] = 1
    change[runs.stops[chosen]] -= 1
    found: Bools = np.cumsum(change[:-1], dtype=np.int8).reshape(rows, runs.pitch)[:, :-1] > 0
    return found


def _runs(inside: Bools, *, corners: bool) -> _Runs:
    height, width = inside.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = inside
    # Changes along the rows come in pairs, begin and end. The last change of a row always lies before
    # the first change of the next row.
    pitch = width + 1
    changes = np.flatnonzero(np.diff(padded, axis=1))
    starts, stops = changes[0::2], changes[1::2]
    # Run i touches the runs first <= j < last of the next row. At a corner, one run stops where the
    # other starts.
    reach = 0 if corners else 1
    first = np.searchsorted(stops, starts + pitch + reach, side="left")
    last = np.searchsorted(starts, stops + pitch - reach, side="right")
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(starts)), counts)
    below = np.arange(len(above)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    # There are only a few hundred runs: a plain loop is faster than array operations.
    labels = list(range(len(starts)))
    for one, other in zip(above.tolist(), below.tolist(), strict=True):
        root, joined = _root(labels, one), _root(labels, other)
        labels[max(root, joined)] = min(root, joined)
    roots = np.array([_root(labels, label) for label in labels], dtype=np.int64)
    return _Runs(pitch, starts, stops, roots)


def _root(labels: list[int], label: int) -> int:
    """Return the label of a part, and shorten the path to it."""
    while labels[label] != label:
        labels[label] = label = labels[labels[label]]
    return label
