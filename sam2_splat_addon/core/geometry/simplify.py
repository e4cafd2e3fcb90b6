# SPDX-License-Identifier: GPL-3.0-or-later
"""Give outlines a chosen number of points, and keep the most important ones."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Ints = NDArray[np.int64]


def fit_count(points: Points, count: int, importance: Points | None = None) -> Points:
    """Describe a closed outline with exactly `count` points, (n, 2) to (count, 2).

    The most important points (Douglas and Peucker) are kept, in their order. If there are too few,
    the longest edges are split. With fewer than three points the outline shrinks to its centre. Pass
    `importance`, the result of `point_importance(points)`, if it is known already.
    """
    if count < 1 or len(points) < 1:
        raise ValueError("an outline needs at least one point")
    if count < 3:
        middle = (points.min(axis=0) + points.max(axis=0)) / 2.0
        return np.tile(middle, (count, 1))
    if len(points) > count:
        if importance is None:
            importance = point_importance(points)
        kept: Points = points[_most_important(importance, count)]
        return kept
    return _split_longest(points, count)


def within(outlines: Sequence[Points], tolerance: float) -> list[Points]:
    """Leave out points of closed outlines, (n, 2) each, that move them by at most a tolerance in px."""
    found = []
    for points, importance in zip(outlines, point_importances(outlines), strict=True):
        kept = max(int(np.count_nonzero(importance > tolerance)), 3)
        few: Points = points[_most_important(importance, kept)] if kept < len(points) else points
        found.append(few)
    return found


def point_importance(points: Points) -> Points:
    """Return the tolerance in px up to which Douglas-Peucker keeps each point, (n, 2) to (n,).

    The two anchors of the recursion, the first point and the one farthest from it, are infinitely
    important.
    """
    return point_importances([points])[0]


def point_importances(outlines: Sequence[Points]) -> list[Points]:
    """Return `point_importance` of several outlines: this is faster than one call for each.

    All segments at the same depth of the recursion, of all outlines, are computed together.
    """
    counts = np.array([len(points) for points in outlines], dtype=np.int64)
    if len(outlines) == 0 or counts.min() < 1:
        return [np.zeros(count) for count in counts]
    # All outlines one after the other, each closed with its first point again.
    ring = np.concatenate([part for points in outlines for part in (points, points[:1])])
    begins = np.cumsum(counts + 1) - (counts + 1)
    offset = ring - np.repeat(ring[begins], counts + 1, axis=0)
    reach = (offset**2).sum(axis=1)
    fars = np.array(
        [
            begin + int(np.argmax(reach[begin : begin + count]))
            for begin, count in zip(begins.tolist(), counts.tolist(), strict=True)
        ],
        dtype=np.int64,
    )
    importance = np.zeros(len(ring))
    importance[begins] = np.inf
    importance[fars] = np.inf
    low, high = np.concatenate([begins, fars]), np.concatenate([fars, begins + counts])
    limit = np.full(len(low), np.inf)
    while True:
        inner = high - low - 1
        open_ = inner > 0
        low, high, limit, inner = low[open_], high[open_], limit[open_], inner[open_]
        if len(low) == 0:
            break
        starts = np.cumsum(inner) - inner
        segment = np.repeat(np.arange(len(low)), inner)
        index = np.arange(len(segment)) - starts[segment] + low[segment] + 1
        distance = _distance_to_segment(ring[index], ring[low], ring[high], segment)
        worst = np.maximum.reduceat(distance, starts)
        candidates = np.flatnonzero(distance == worst[segment])
        owners = segment[candidates]
        first = candidates[np.concatenate([[True], owners[1:] != owners[:-1]])]
        split = index[first]
        limit = np.minimum(limit, worst)
        # Points on a straight line are all unimportant: to split there would only cost depth.
        curved = limit > 1e-6
        importance[split[curved]] = limit[curved]
        split, limit = split[curved], limit[curved]
        low, high = np.concatenate([low[curved], split]), np.concatenate([split, high[curved]])
        limit = np.concatenate([limit, limit])
    return [
        importance[begin : begin + count]
        for begin, count in zip(begins.tolist(), counts.tolist(), strict=True)
    ]


def _distance_to_segment(points: Points, begin: Points, end: Points, segment: Ints) -> Points:
    """Return the distance of each point, (n, 2), to its segment, (n,); begin and end are (s, 2)."""
    along = end - begin
    length_squared = (along**2).sum(axis=1)
    length_squared[length_squared == 0.0] = 1.0
    direction = along / length_squared[:, None]
    offset_x = points[:, 0] - begin[segment, 0]
    offset_y = points[:, 1] - begin[segment, 1]
    at = offset_x * direction[segment, 0] + offset_y * direction[segment, 1]
    np.clip(at, 0.0, 1.0, out=at)
    offset_x -= at * along[segment, 0]
    offset_y -= at * along[segment, 1]
    distance: Points = np.hypot(offset_x, offset_y)
    return distance


def _most_important(importance: Points, count: int) -> NDArray[np.bool_]:
    """Mark the `count` most important points. Of equal points the earlier ones win."""
    keep = np.zeros(len(importance), dtype=np.bool_)
    keep[np.argsort(-importance, kind="stable")[:count]] = True
    return keep


def _split_longest(points: Points, count: int) -> Points:
    """Add points to the longest edges of a closed outline until it has `count`."""
    along = np.roll(points, -1, axis=0) - points
    lengths = np.hypot(along[:, 0], along[:, 1])
    parts = [1] * len(points)
    queue = [(-length, index) for index, length in enumerate(lengths.tolist())]
    heapq.heapify(queue)
    for _ in range(count - len(points)):
        _, index = queue[0]
        parts[index] += 1
        heapq.heapreplace(queue, (-float(lengths[index]) / parts[index], index))
    pieces = np.array(parts, dtype=np.int64)
    edge = np.repeat(np.arange(len(points)), pieces)
    step = np.arange(count) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    out: Points = points[edge] + along[edge] * (step / pieces[edge])[:, None]
    return out
