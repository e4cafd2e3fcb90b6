# SPDX-License-Identifier: GPL-3.0-or-later
"""Trace closed outlines, in footage pixels, from logits.

The matte is the bilinear interpolation of the logits. Its edge is where this surface is zero. Between
four neighbouring logits the surface is one bilinear patch, and its extremes are at its corners. So
only patches whose corners differ in sign can have a piece of the edge. These few patches are
subdivided and traced with marching squares. The rest is never computed: the cost grows with the
length of the outline, not with the size of the photo.

A part of a bilinear patch is bilinear too. So the ambiguous case (two opposite corners inside) is
decided exactly: the two corners are joined if the saddle point of the surface is inside (the
asymptotic decider of Nielson and Hamann, 1991).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .shown_photo import ShownPhoto

Points = NDArray[np.float64]
Ints = NDArray[np.int64]

# Sides of a marching-squares cell. Corners have the numbers 1 top-left, 2 top-right, 4 bottom-right,
# 8 bottom-left. Every piece of outline has the inside on its left, as seen on screen. So outer
# outlines run counter-clockwise and holes clockwise.
_TOP, _RIGHT, _BOTTOM, _LEFT, _NONE = 0, 1, 2, 3, -1
_LEAVES = np.full((18, 2), _NONE, dtype=np.int64)
_ENTERS = np.full((18, 2), _NONE, dtype=np.int64)
for _code, _pieces in {
    1: [(_LEFT, _TOP)],
    2: [(_TOP, _RIGHT)],
    3: [(_LEFT, _RIGHT)],
    4: [(_RIGHT, _BOTTOM)],
    5: [(_LEFT, _TOP), (_RIGHT, _BOTTOM)],
    6: [(_TOP, _BOTTOM)],
    7: [(_LEFT, _BOTTOM)],
    8: [(_BOTTOM, _LEFT)],
    9: [(_BOTTOM, _TOP)],
    10: [(_TOP, _RIGHT), (_BOTTOM, _LEFT)],
    11: [(_BOTTOM, _RIGHT)],
    12: [(_RIGHT, _LEFT)],
    13: [(_RIGHT, _TOP)],
    14: [(_TOP, _LEFT)],
    16: [(_RIGHT, _TOP), (_LEFT, _BOTTOM)],  # case 5, joined through the saddle
    17: [(_TOP, _LEFT), (_BOTTOM, _RIGHT)],  # case 10, joined through the saddle
}.items():
    for _slot, (_from, _to) in enumerate(_pieces):
        _LEAVES[_code, _slot] = _from
        _ENTERS[_code, _slot] = _to

# Within a patch the outline is a smooth hyperbola. Straight pieces of this length differ from it by
# only a few hundredths of a px.
_FINE_CELL_PX = 1.5


@dataclass(frozen=True)
class Contour:
    """One closed outline.

    Attributes
    ----------
    points
        (n, 2) footage pixels (pixel-edge coordinates, y down). The first point is not repeated at the
        end. Outer outlines run counter-clockwise as seen on screen, holes clockwise.
    is_hole
        Whether the outline bounds a hole.
    area
        Enclosed area in px²; holes inside are not subtracted.
    parent
        Index, in the same list, of the closest outline around this one; -1 if there is none.
    """

    points: Points
    is_hole: bool
    area: float
    parent: int


def trace(
    logits: NDArray[np.floating[Any]],
    width: int,
    height: int,
    *,
    max_side: int = 1600,
    min_area: float = 1.0,
) -> list[Contour]:
    """Trace the edge of the matte that small logits describe, at the size of the footage.

    Parameters
    ----------
    logits
        (h, w), positive inside.
    width, height
        Size of the footage in px.
    max_side
        Outlines are as fine as at the size of the footage, but at most as fine as with this many px on
        the longer side.
    min_area
        Outlines that enclose fewer px² of the footage than this are left out.

    Returns
    -------
    list of Contour
        Largest first. Where the shape touches the border of the footage, its outline runs along the
        border itself.
    """
    if not bool((logits > 0).any()):
        return []
    return _contours(_trace_loops(logits, width, height, max_side), min_area)


def trace_pixels(pixels: NDArray[np.bool_], *, min_area: float = 1.0) -> list[Contour]:
    """Trace the edge of a binary matte, (h, w), in its own px.

    Outlines run through the middles of the sides between two pixels. Two pixels that only meet at a
    corner are not joined. Otherwise as `trace`.
    """
    padded = np.pad(pixels, 1).view(np.uint8)
    code = padded[:-1, :-1] + 2 * padded[:-1, 1:] + 4 * padded[1:, 1:] + 8 * padded[1:, :-1]
    stride = code.shape[1]
    cells = np.flatnonzero((code > 0) & (code < 15))
    codes = code.ravel()[cells]
    sides = np.stack([2 * cells, 2 * cells + 3, 2 * (cells + stride), 2 * cells + 1], axis=1)
    first = np.arange(len(cells))
    second = np.flatnonzero(_LEAVES[codes, 1] != _NONE)
    cell = np.concatenate([first, second])
    piece = np.concatenate([np.zeros_like(first), np.ones_like(second)])
    leaves, enters = _LEAVES[codes[cell], piece], _ENTERS[codes[cell], piece]
    row, column = np.divmod(cells[cell], stride)
    x = column + np.array([0.0, 0.5, 0.0, -0.5])[leaves]
    y = row + np.array([-0.5, 0.0, 0.5, 0.0])[leaves]
    loops = _link(sides[cell, leaves], sides[cell, enters], np.stack([x, y], axis=1))
    return _contours(loops, min_area)


def _contours(loops: Sequence[Points], min_area: float) -> list[Contour]:
    """Make contours from traced loops, whose direction says which ones are holes."""
    contours: list[Contour] = []
    for points, area, around in _nested(loops, min_area):
        is_hole = area < 0
        parents = [at for at in around if contours[at].is_hole != is_hole]
        contours.append(Contour(points, is_hole, abs(area), parents[-1] if parents else -1))
    return contours


def trace_shown(logits: NDArray[np.floating[Any]], shown: ShownPhoto) -> list[Contour]:
    """Trace a matte of the stored photo where a clip shows it. The outlines are in shown px."""
    return trace_part(shown.mask_to_shown(logits), shown.part)


def trace_part(logits: NDArray[np.floating[Any]], part: tuple[int, int, int, int]) -> list[Contour]:
    """Trace a matte that covers a part of a picture: left, top, right and bottom, px of the picture."""
    left, top, right, bottom = part
    found = trace(logits, right - left, bottom - top)
    if (left, top) == (0, 0):
        return found
    return [replace(one, points=one.points + np.array([left, top])) for one in found]


def from_outlines(outlines: Sequence[Points], *, min_area: float = 1.0) -> list[Contour]:
    """Make contours from outlines of any direction, such as those that a person drew.

    Parameters
    ----------
    outlines
        Closed outlines in footage pixels, (n, 2) each. An outline inside an odd number of others is a
        hole.
    min_area
        Outlines that enclose fewer px² than this are left out.

    Returns
    -------
    list of Contour
        Largest first, each in the direction that `Contour` states.
    """
    contours: list[Contour] = []
    for points, area, around in _nested(outlines, min_area):
        is_hole = len(around) % 2 == 1
        if (area < 0) != is_hole:
            points = points[::-1].copy()
        contours.append(Contour(points, is_hole, abs(area), around[-1] if around else -1))
    return contours


def _nested(
    outlines: Sequence[Points], min_area: float
) -> Iterator[tuple[Points, float, list[int]]]:
    """Yield outlines, largest first, each with its signed area and the outlines around it.

    Those around it are indices into the same order; the innermost comes last.
    """
    measured = [(points, signed_area(points)) for points in outlines if len(points) >= 3]
    kept = [(points, area) for points, area in measured if abs(area) >= min_area]
    kept.sort(key=lambda item: (-abs(item[1]), item[0][0, 1], item[0][0, 0]))
    boxes = [(points.min(axis=0), points.max(axis=0)) for points, _ in kept]
    for index, (points, area) in enumerate(kept):
        low, high = boxes[index]
        around = [
            other
            for other in range(index)
            if bool((low >= boxes[other][0]).all() and (high <= boxes[other][1]).all())
            and contains(kept[other][0], points[0])
        ]
        yield points, area, around


def signed_area(points: Points) -> float:
    """Return the area in px² that a closed outline encloses; positive if counter-clockwise on screen."""
    x, y = points[:, 0] - points[0, 0], points[:, 1] - points[0, 1]
    return 0.5 * float(np.dot(np.roll(x, -1), y) - np.dot(x, np.roll(y, -1)))


def contains(points: Points, point: Points) -> bool:
    """Whether a closed outline, (n, 2), encloses a point, (2,), by the even-odd rule."""
    x0, y0 = points[:, 0], points[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    crosses = (y0 > point[1]) != (y1 > point[1])
    at = (point[1] - y0[crosses]) / (y1[crosses] - y0[crosses])
    right = x0[crosses] + at * (x1[crosses] - x0[crosses]) > point[0]
    return bool(np.count_nonzero(right) % 2)


def _trace_loops(
    logits: NDArray[np.floating[Any]], width: int, height: int, max_side: int
) -> list[Points]:
    """Return all closed loops of the zero level; each starts at its topmost, then leftmost point."""
    rows, columns = logits.shape
    # The first ring repeats the outermost logits up to the border, as clamped interpolation does. The
    # second ring has no width and lies on the border. It is outside, and so closes the outline there.
    surface = np.pad(logits.astype(np.float64), 1, mode="edge")
    surface = np.pad(surface, 1, constant_values=-1.0)  # (rows + 4, columns + 4)
    xs = _node_positions(columns, width)
    ys = _node_positions(rows, height)
    shrink = min(1.0, max_side / max(width, height))
    steps = int(np.ceil(max(width * shrink / columns, height * shrink / rows) / _FINE_CELL_PX))
    steps = min(max(steps, 1), 16)

    inside = surface > 0
    corners = inside[:-1, :-1].astype(np.int8) + inside[:-1, 1:] + inside[1:, :-1] + inside[1:, 1:]
    patch_row, patch_column = np.nonzero((corners > 0) & (corners < 4))
    u = np.arange(steps + 1) / steps
    left, right = (1.0 - u)[None, :], u[None, :]
    top = (
        surface[patch_row, patch_column][:, None] * left
        + surface[patch_row, patch_column + 1][:, None] * right
    )
    bottom = (
        surface[patch_row + 1, patch_column][:, None] * left
        + surface[patch_row + 1, patch_column + 1][:, None] * right
    )
    # (patches, steps + 1, steps + 1). Values at corners and edges are exact, so neighbouring patches
    # agree on every shared value.
    fine = top[:, None, :] * (1.0 - u)[None, :, None] + bottom[:, None, :] * u[None, :, None]

    inner = fine > 0
    codes = (
        inner[:, :-1, :-1].astype(np.int8)
        + 2 * inner[:, :-1, 1:]
        + 4 * inner[:, 1:, 1:]
        + 8 * inner[:, 1:, :-1]
    )
    patch, sub_row, sub_column = np.nonzero((codes > 0) & (codes < 15))
    code = codes[patch, sub_row, sub_column].astype(np.int64)
    value_tl = fine[patch, sub_row, sub_column]
    value_tr = fine[patch, sub_row, sub_column + 1]
    value_bl = fine[patch, sub_row + 1, sub_column]
    value_br = fine[patch, sub_row + 1, sub_column + 1]
    twist = value_tl * value_br - value_tr * value_bl
    code[(code == 5) & (twist > 0)] = 16
    code[(code == 10) & (twist < 0)] = 17

    # Every crossing lies on one side of the fine grid. Both cells at that side use the same number.
    fine_row = patch_row[patch] * steps + sub_row
    fine_column = patch_column[patch] * steps + sub_column
    stride = (columns + 3) * steps + 1
    vertex = fine_row * stride + fine_column
    sides = np.stack(
        [2 * vertex, 2 * (vertex + 1) + 1, 2 * (vertex + stride), 2 * vertex + 1], axis=1
    )
    x0, x1 = _fine_positions(xs, patch_column[patch], sub_column, steps)
    y0, y1 = _fine_positions(ys, patch_row[patch], sub_row, steps)

    first = np.arange(len(code))
    second = np.flatnonzero(_LEAVES[code, 1] != _NONE)
    cell = np.concatenate([first, second])
    piece = np.concatenate([np.zeros_like(first), np.ones_like(second)])
    leaves, enters = _LEAVES[code[cell], piece], _ENTERS[code[cell], piece]
    source, target = sides[cell, leaves], sides[cell, enters]

    # A side connects two corners of its cell: here are the values and places at both ends.
    horizontal = (leaves == _TOP) | (leaves == _BOTTOM)
    begin = np.where(leaves == _RIGHT, value_tr[cell], value_tl[cell])
    begin = np.where(leaves == _BOTTOM, value_bl[cell], begin)
    end = np.where(leaves == _TOP, value_tr[cell], value_br[cell])
    end = np.where(leaves == _LEFT, value_bl[cell], end)
    at = begin / (begin - end)
    fixed_x = np.where(leaves == _RIGHT, x1[cell], x0[cell])
    fixed_y = np.where(leaves == _BOTTOM, y1[cell], y0[cell])
    x = np.where(horizontal, x0[cell] + (x1 - x0)[cell] * at, fixed_x)
    y = np.where(horizontal, fixed_y, y0[cell] + (y1 - y0)[cell] * at)
    return _link(source, target, np.stack([x, y], axis=1))


def _node_positions(count: int, size: int) -> Points:
    """Return the places of the padded logits, px: border twice, half-pixel centres, border twice."""
    centres = (np.arange(count) + 0.5) * (size / count)
    return np.concatenate([[0.0, 0.0], centres, [float(size), float(size)]])


def _fine_positions(nodes: Points, patch: Ints, sub: Ints, steps: int) -> tuple[Points, Points]:
    """Return both ends of a fine cell along one axis, px."""
    begin, size = nodes[patch], nodes[patch + 1] - nodes[patch]
    return begin + size * (sub / steps), begin + size * ((sub + 1) / steps)


def _link(source: Ints, target: Ints, points: Points) -> list[Points]:
    """Chain directed pieces, from source side to target side, into loops."""
    order = np.argsort(source)
    following = np.searchsorted(source[order], target).astype(np.int64)[order].tolist()
    points = points[order]
    used = bytearray(len(following))
    loops: list[Points] = []
    for begin in range(len(following)):
        if used[begin]:
            continue
        chain: list[int] = []
        at = begin
        while not used[at]:
            used[at] = 1
            chain.append(at)
            at = following[at]
        loop = points[chain]
        loop = loop[(loop != np.roll(loop, 1, axis=0)).any(axis=1)]
        if len(loop) >= 3:
            start = int(np.lexsort((loop[:, 0], loop[:, 1]))[0])
            loops.append(np.roll(loop, -start, axis=0))
    return loops
