# SPDX-License-Identifier: GPL-3.0-or-later
"""The separate parts of a mask, without an image library; numpy only.

Works on runs, stretches of inside pixels along a row, and joins those of neighbouring rows that touch
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
    """The runs of a mask of (rows, columns), row by row.

    Attributes
    ----------
    starts, stops
        First place inside and first one after it; a row is ``pitch`` places long, one more than it
        has columns.
    roots
        The part that each run belongs to.
    """

    pitch: int
    starts: Ints
    stops: Ints
    roots: Ints


def part_sizes(inside: Bools) -> Ints:
    """Sizes of a mask's separate parts, px, in no order; what touches at a corner is one part."""
    runs = _runs(inside, corners=True)
    if not len(runs.starts):
        return np.zeros(0, dtype=np.int64)
    sizes = np.bincount(runs.roots, weights=runs.stops - runs.starts).astype(np.int64)
    return sizes[sizes > 0]


def small_parts(
    support: Bools, core: Bools, smaller_than: float, *, corners: bool, enclosed: bool
) -> Bools:
    """The separate parts of a mask that hold little.

    Parameters
    ----------
    support
        (rows, columns): what hangs together.
    core
        (rows, columns): what is counted.
    smaller_than
        Parts with fewer px than this of ``core`` are small.
    corners
        Whether what touches at a corner is one part.
    enclosed
        Leave out parts that touch the mask's border.

    Returns
    -------
    (rows, columns) bool
    """
    rows, columns = support.shape
    runs = _runs(support, corners=corners)
    if not len(runs.starts):
        return np.zeros(support.shape, dtype=np.bool_)
    # How much of the core lies before each place, so that a run's share is a difference.
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
    # Changes along the rows come in pairs, begin and end; a row's last change lies before the next
    # row's first, whatever it holds.
    pitch = width + 1
    changes = np.flatnonzero(np.diff(padded, axis=1))
    starts, stops = changes[0::2], changes[1::2]
    # Runs first <= j < last of the next row touch run i; at a corner, one stops where the other
    # starts.
    reach = 0 if corners else 1
    first = np.searchsorted(stops, starts + pitch + reach, side="left")
    last = np.searchsorted(starts, stops + pitch - reach, side="right")
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(starts)), counts)
    below = np.arange(len(above)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    # There are a few hundred runs: a plain loop beats rounds of array work.
    labels = list(range(len(starts)))
    for one, other in zip(above.tolist(), below.tolist(), strict=True):
        root, joined = _root(labels, one), _root(labels, other)
        labels[max(root, joined)] = min(root, joined)
    roots = np.array([_root(labels, label) for label in labels], dtype=np.int64)
    return _Runs(pitch, starts, stops, roots)


def _root(labels: list[int], label: int) -> int:
    """The label that stands for a part, shortening the way there."""
    while labels[label] != label:
        labels[label] = label = labels[labels[label]]
    return label
