# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure a matte in a few numbers, so that frames can be compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry.components import Bools, part_sizes
from ..mattes.store import Logits, MatteRecord, MatteScores

Floats = NDArray[np.float64]

# A silhouette samples the matte at this many places per side ...
_GRID = 48
# ... up to this many spreads from the centroid. A disc reaches 2 spreads, a thin rod 2.45.
_REACH = 2.75
# Parts below this share of the matte are specks. An option of the bake drops them.
_PART = 0.01


@dataclass(frozen=True)
class MatteShape:
    """The measures of one matte.

    Attributes
    ----------
    frame
        Counts from 1.
    prompted
        Whether the user prompted this frame.
    scores
        The model's own scores of the matte.
    area
        Share of the photo that is inside, 0 to 1.
    centroid
        (x, y) in units of the longer side of the photo.
    spread
        Root mean square distance from the centroid along one axis, in the same units.
    parts
        Number of separate parts that are more than specks.
    specks
        Share of the matte that is specks, 0 to 1.
    border
        Share of the photo's border that is inside, 0 to 1.
    sureness
        The IoU with the truth that the probabilities of the matte promise, 0 to 1.
    silhouette
        (48, 48) bits, packed: the matte, moved so that its centroid is in the middle and scaled so that
        its spread is 1.
    key
        The key of the matte; see `MatteRecord`.
    """

    frame: int
    prompted: bool
    scores: MatteScores
    area: float
    centroid: tuple[float, float]
    spread: float
    parts: int
    specks: float
    border: float
    sureness: float
    silhouette: bytes
    key: str = ""

    @property
    def absent(self) -> bool:
        """Whether the matte is empty."""
        return self.area == 0.0

    @property
    def outline(self) -> Bools:
        """Return the unpacked silhouette, (48, 48)."""
        bits = np.frombuffer(self.silhouette, dtype=np.uint8)
        return np.unpackbits(bits)[: _GRID * _GRID].astype(np.bool_).reshape(_GRID, _GRID)


def measure(record: MatteRecord) -> MatteShape:
    """Measure one matte at the size of its logits, as it lies in the upright photo."""
    logits = np.ascontiguousarray(record.shape.mask_to_upright(record.logits))
    width, height = record.shape.upright
    inside = logits > 0  # (h, w)
    area = float(inside.mean()) if inside.size else 0.0
    if area == 0.0:
        return MatteShape(
            record.frame,
            record.prompted,
            record.scores,
            0.0,
            (0.0, 0.0),
            0.0,
            0,
            0.0,
            0.0,
            0.0,
            b"",
            record.key,
        )
    longer = max(width, height)
    rows, columns = inside.shape
    # The distance between neighbouring logits, in units of the longer side.
    step_x, step_y = width / longer / columns, height / longer / rows
    (mean_x, variance_x), (mean_y, variance_y) = (
        _moments(inside.sum(axis=0), step_x),
        _moments(inside.sum(axis=1), step_y),
    )
    # A single logit has a size too: that of its square.
    spread = float(np.sqrt((variance_x + variance_y + (step_x**2 + step_y**2) / 12.0) / 2.0))
    sizes = part_sizes(inside)
    whole = sizes >= _PART * sizes.sum()
    return MatteShape(
        record.frame,
        record.prompted,
        record.scores,
        area,
        (mean_x, mean_y),
        spread,
        int(np.count_nonzero(whole)),
        float(sizes[~whole].sum() / sizes.sum()),
        _border_share(inside),
        _sureness(logits, inside),
        _silhouette(inside, (mean_x / step_x, mean_y / step_y), (spread / step_x, spread / step_y)),
        record.key,
    )


def agreement(one: MatteShape, other: MatteShape) -> float:
    """Return the IoU of two mattes after their centroids and spreads are made equal, 0 to 1.

    An object seen from a slightly different side, distance or place agrees well with itself. A matte
    that lost a leg, or took in the chair behind it, does not.
    """
    if one.absent or other.absent:
        return float(one.absent and other.absent)
    first, second = one.outline, other.outline
    return float((first & second).sum() / max((first | second).sum(), 1))


def _moments(counts: NDArray[np.int64], step: float) -> tuple[float, float]:
    """Return mean and variance of the positions (i + 0.5) * step, each taken ``counts[i]`` times."""
    at = (np.arange(len(counts)) + 0.5) * step
    mean = float((at * counts).sum() / counts.sum())
    return mean, float(((at - mean) ** 2 * counts).sum() / counts.sum())


def _border_share(inside: Bools) -> float:
    rim = np.concatenate([inside[0], inside[-1], inside[1:-1, 0], inside[1:-1, -1]])
    return float(rim.mean())


def _sureness(logits: Logits, inside: Bools) -> float:
    """Return expected intersection over expected union, as if the logits were true probabilities."""
    probability = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float32), -30.0, 30.0)))
    hit = float(probability[inside].sum())
    missed = float(probability.sum()) - hit
    return hit / (float(np.count_nonzero(inside)) + missed)


def _silhouette(inside: Bools, middle: tuple[float, float], spread: tuple[float, float]) -> bytes:
    """Look up the matte on the grid; ``middle`` and ``spread`` are (x, y) in logits."""
    offsets = (np.arange(_GRID) + 0.5) * (2.0 * _REACH / _GRID) - _REACH
    rows, columns = inside.shape
    column = np.floor(middle[0] + offsets * spread[0]).astype(np.int64)
    row = np.floor(middle[1] + offsets * spread[1]).astype(np.int64)
    within = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))[None, :]
    looked_up = inside[row.clip(0, rows - 1)[:, None], column.clip(0, columns - 1)[None, :]]
    return np.packbits(looked_up & within).tobytes()
