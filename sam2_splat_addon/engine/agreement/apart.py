# SPDX-License-Identifier: GPL-3.0-or-later
"""Leave out of a hull what stands apart from the clicked thing.

Masks that take look-alikes on most photos agree on them too: their hull has several things. In space they
stand apart, and a click says which of them is meant: the first one that its ray meets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...core.geometry.resample import upsample_binary
from .aim import Floats, Floats32, Mask
from .hull import Hull
from .outline import deep_places, grid_of

_CELLS: Final = 96  # across the ball; things that are nearer to each other than a cell are one
_LARGE: Final = 0.1  # of the clicked things' volume: a smaller part may be a piece of one of them
_MOST_PARTS: Final = 64  # that are told apart

Cells = NDArray[np.bool_]
Labels = NDArray[np.int32]


def without_others(hull: Hull, masks: Sequence[Mask], limit: float) -> Hull:
    """Return the hull without large things that stand apart and have no click.

    Parameters
    ----------
    hull
        Of these masks.
    masks
        Those of photos with prompts are `fixed`. One without clicks counts as clicked deep inside.
    limit
        The share with which the hull begins, 0 to 1.

    Returns
    -------
    Hull
        The same one if there is nothing to leave out, or no click meets it.
    """
    held = hull.shares >= limit
    if not held.any():
        return hull
    grid = _Grid.of(hull)
    labels, count = _parts(grid.cells(hull.centres[held], hull.sizes[held]))
    clicked = {label for mask in masks if mask.fixed for label in _met(mask, hull, grid, labels)}
    volumes = np.bincount(labels.ravel(), minlength=count + 1)
    least = _LARGE * sum(int(volumes[label]) for label in clicked)
    others = [
        label for label in range(1, count + 1) if label not in clicked and volumes[label] > least
    ]
    if not clicked or not others:
        return hull
    left_out = np.isin(labels, others)
    away = _nearer_to(left_out, (labels > 0) & ~left_out, grid.cells(hull.centres, hull.sizes))
    kept = ~away[grid.at(hull.centres)]
    return replace(
        hull,
        centres=hull.centres[kept],
        sizes=hull.sizes[kept],
        shares=hull.shares[kept],
        others=len(others),
    )


@dataclass(frozen=True)
class _Grid:
    """Cells over the whole hull: their size, and the corner of the first one, from the hull's centre."""

    corner: Floats32
    size: float
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, hull: Hull) -> _Grid:
        size = 2 * hull.radius / _CELLS
        edge = float(hull.sizes.max()) / 2 + size
        corner = hull.centres.min(axis=0) - np.float32(edge)
        far = hull.centres.max(axis=0) + np.float32(edge)
        x, y, z = (int(number) + 1 for number in np.ceil((far - corner) / size))
        return cls(corner, size, (x, y, z))

    def at(self, points: Floats32) -> tuple[NDArray[np.intp], ...]:
        """Return the index of the cell in which each point lies."""
        found = np.floor((points - self.corner) / np.float32(self.size)).astype(np.intp)
        return tuple(found.T)

    def cells(self, centres: Floats32, sizes: Floats32) -> Cells:
        """Return which cells the voxels fill."""
        filled = np.zeros(self.shape, bool)
        for size in np.unique(sizes):
            some = centres[sizes == size]
            across = max(1, int(np.ceil(float(size) / self.size)))
            steps = ((np.arange(across) + 0.5) / across - 0.5) * float(size)
            for offset in np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3):
                filled[self.at(some + offset.astype(np.float32))] = True
        return filled


def _parts(cells: Cells) -> tuple[Labels, int]:
    """Number the parts that touch nowhere, from 1; 0 for empty cells. Very many parts share a number."""
    labels = np.zeros(cells.shape, np.int32)
    left = cells.copy()
    count = 0
    while left.any():
        count += 1
        part = np.zeros_like(left)
        part[np.unravel_index(int(left.argmax()), left.shape)] = True
        part = left.copy() if count == _MOST_PARTS else _filled(part, left)
        labels[part] = count
        left &= ~part
    return labels, count


def _filled(part: Cells, within: Cells) -> Cells:
    """Return all cells that are reached from a part."""
    size = int(part.sum())
    while True:
        part = _grown(part) & within
        now = int(part.sum())
        if now == size:
            return part
        size = now


def _grown(cells: Cells) -> Cells:
    """Return the cells and all that touch them, with a side, an edge or a corner."""
    grown = cells.copy()
    for axis in range(3):
        before = np.moveaxis(grown.copy(), axis, 0)
        now = np.moveaxis(grown, axis, 0)
        now[1:] |= before[:-1]
        now[:-1] |= before[1:]
    return grown


def _nearer_to(one: Cells, other: Cells, within: Cells) -> Cells:
    """Return the cells that ``one`` reaches before ``other`` does, both growing a cell at a time."""
    while True:
        free = within & ~one & ~other
        new_other = _grown(other) & free
        new_one = _grown(one) & free & ~new_other
        if not new_one.any() and not new_other.any():
            return one
        one, other = one | new_one, other | new_other


def _met(mask: Mask, hull: Hull, grid: _Grid, labels: Labels) -> set[int]:
    """Return the parts that the clicks of a photo meet first."""
    directions = mask.camera.rays(_clicks(mask))
    place: Floats = mask.camera.position - hull.centre
    near = max(float(np.linalg.norm(place)) - 2 * hull.radius, 0.0)
    steps = near + np.arange(0, 4 * hull.radius, grid.size / 2)
    found = set()
    for direction in directions[np.isfinite(directions).all(axis=1)]:
        points = (place + steps[:, None] * direction).astype(np.float32)
        cells = np.stack(grid.at(points), axis=-1)
        inside = ((cells >= 0) & (cells < grid.shape)).all(axis=1)
        along = labels[tuple(cells[inside].T)]
        if along.any():
            found.add(int(along[along > 0][0]))
    return found


def _clicks(mask: Mask) -> Floats:
    """Return the clicks of a photo, (n, 2) px; if there are none, the place deepest in its mask."""
    if len(mask.clicks):
        return np.asarray(mask.clicks, np.float64)
    columns, rows = grid_of(mask.camera.width, mask.camera.height)
    inside = upsample_binary(mask.logits, columns, rows)
    places = np.array(deep_places(inside, 1), np.float64).reshape(-1, 2)[:, ::-1]
    return (places + 0.5) * (mask.camera.width / columns, mask.camera.height / rows)
