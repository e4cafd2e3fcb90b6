# SPDX-License-Identifier: GPL-3.0-or-later
"""Refine mattes along the photo's own edges, in steps of about twice the size.

SAM 2's matte is a small grid. On a photo of 6000x9000 px one cell is 35 px wide. The edge model
(`edge_model.py`) brings the matte to the photo's size in steps of about two. The first step sees
the whole photo, small. Later steps see only tiles where something is undecided. So the cost grows
with the length of the outline, not with the area. Memory holds only one more copy of the matte, at
half the size.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..images.alpha import soft_levels
from .edge_model import CERTAIN, COARSEST, UNDECIDED, EdgeModel, load_edge_model

_FIRST_CELLS: Final = 4  # px of the first step for one cell of the matte: what SAM 2 itself sees
_TILE: Final = 256  # px, side of the model's input
_MARGIN: Final = 24  # px at a tile's rim that are only seen, not computed
_BATCH: Final = 4  # tiles at once
_GPU_BATCH: Final = 16  # the same on a GPU, which a few tiles would not fill
_FIRST_REACH: Final = 8  # px that an edge may move in the first step: two cells
_REACH: Final = 5  # px that it may move in each later step
_TRUST: Final = 0.5  # part of the model's change that is applied: the coarser scale counts too

Photo = NDArray[np.unsignedinteger[Any]]  # (H, W, 3) uint8 or uint16
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Refined:
    """A matte at the photo's size, and the work it took.

    Attributes
    ----------
    alpha
        (H, W) uint8, 0 to 255.
    computed
        Pixels that the edge model computed, over all steps.
    """

    alpha: NDArray[np.uint8]
    computed: int


_CPU: Final = torch.device("cpu")
_on_gpu = threading.Lock()  # one thread at a time, so GPU memory does not grow with threads


@functools.cache
def edge_model(device: torch.device = _CPU) -> EdgeModel:
    """Return the bundled edge model on a device. It is loaded once for each device."""
    return load_edge_model().to(device)


def steps(width: int, height: int, grid: int) -> list[tuple[int, int]]:
    """Return sizes (width, height) from near the matte's grid to the photo's, each about twice the last.

    Parameters
    ----------
    width, height
        Size of the photo, px.
    grid
        Longer side of the matte, cells.
    """
    first = _FIRST_CELLS * grid
    long = max(width, height)
    count = max(0, round(math.log2(long / first))) if long > first else 0
    sizes = []
    for number in range(count):
        scale = first / long * (long / first) ** (number / count)
        sizes.append((max(1, round(width * scale)), max(1, round(height * scale))))
    return [*sizes, (width, height)]


def refine(
    photo: Photo,
    logits: NDArray[np.floating[Any]],
    *,
    soft: bool = False,
    model: EdgeModel | None = None,
    go_on: Callable[[], None] = lambda: None,
) -> Refined:
    """Refine one object's matte to the photo's size.

    Parameters
    ----------
    photo
        (H, W, 3) RGB.
    logits
        (h, w), inside is > 0.
    soft
        True: keep the model's uncertainty as partial alpha. False: alpha is 0 or 255.
    model
        Another edge model. None is the bundled one on the CPU. Tiles are computed on the model's
        device.
    go_on
        Called after every few tiles. It may raise to stop.

    Returns
    -------
    Refined
        The alpha. It is empty where the logits have nothing inside.

    Examples
    --------
    >>> photo = np.full((600, 400, 3), 255, np.uint8)
    >>> photo[200:400, 100:300] = (180, 40, 30)
    >>> logits = np.full((60, 40), -8, np.float32)
    >>> logits[20:40, 10:30] = 8
    >>> found = refine(photo, logits)
    >>> found.alpha.shape, int(found.alpha[300, 200]), int(found.alpha[10, 10])
    ((600, 400), 255, 0)
    """
    height, width = photo.shape[:2]
    if not (logits > 0).any():
        return Refined(np.zeros((height, width), dtype=np.uint8), 0)
    net = model or edge_model()
    sizes = steps(width, height, max(logits.shape))
    photos = _smaller_copies(photo, sizes)
    state = logits.astype(np.float32)
    computed = 0
    for copy, size in zip(photos[:-1], sizes[:-1], strict=True):
        finer = np.empty((size[1], size[0]), dtype=np.float32)
        for box, values, count in _tiles(net, copy, state, everything=computed == 0):
            finer[box] = values
            computed += count
            go_on()
        state = finer
    alpha = np.empty((height, width), dtype=np.uint8)
    for box, values, count in _tiles(net, photo, state, everything=computed == 0, harden=soft):
        alpha[box] = (
            soft_levels(values, 255) if soft else np.where(values > 0, np.uint8(255), np.uint8(0))
        )
        computed += count
        go_on()
    return Refined(alpha, computed)


def _smaller_copies(photo: Photo, sizes: list[tuple[int, int]]) -> list[Photo]:
    copies = [photo]
    for size in reversed(sizes[:-1]):
        copies.append(np.asarray(cv2.resize(copies[-1], size, interpolation=cv2.INTER_AREA)))
    return copies[::-1]


def _hardened(logits: Floats) -> Floats:
    """Make everything certain, except within reach of the edge: doubt farther away is no edge."""
    sure = np.where(logits > 0, np.float32(CERTAIN), np.float32(-CERTAIN))
    return np.asarray(np.where(_near_edge(logits, _REACH), logits, sure), dtype=np.float32)


_Box = tuple[slice, slice]


def _tiles(
    net: EdgeModel, photo: Photo, coarse: Floats, *, everything: bool, harden: bool = False
) -> Iterator[tuple[_Box, Floats, int]]:
    """Yield logits at the photo's size, tile by tile without overlap.

    Each item has the tile's box, its values, and the number of px given to the model.
    """
    height, width = photo.shape[:2]
    undecided = _undecided(coarse, 1)
    reach = _FIRST_REACH if everything else _REACH
    core = _TILE - 2 * _MARGIN
    batch = _BATCH if _device(net) == _CPU else _GPU_BATCH
    waiting: list[tuple[_Box, int, int]] = []
    for top in range(0, height, core):
        for left in range(0, width, core):
            bottom, right = min(top + core, height), min(left + core, width)
            box = (slice(top, bottom), slice(left, right))
            if everything or undecided[_below(box, coarse.shape, (height, width))].any():
                waiting.append((box, top - _MARGIN, left - _MARGIN))
                if len(waiting) == batch:
                    yield from _computed(net, photo, coarse, waiting, reach, harden=harden)
                    waiting.clear()
            else:
                values = _sampled(coarse, photo.shape, top, left, bottom - top, right - left)
                yield box, _hardened(values) if harden else values, 0
    if waiting:
        yield from _computed(net, photo, coarse, waiting, reach, harden=harden)


def _device(net: EdgeModel) -> torch.device:
    return next(net.parameters()).device


def _undecided(coarse: Floats, reach: int) -> NDArray[np.bool_]:
    """Find the cells within reach (px) of the coarse edge, and those with logits near 0."""
    return np.asarray(_near_edge(coarse, reach) | (np.abs(coarse) < UNDECIDED))


def _near_edge(logits: Floats, reach: int) -> NDArray[np.bool_]:
    inside = (logits > 0).astype(np.uint8)
    around = np.ones((2 * reach + 1,) * 2, dtype=np.uint8)
    return np.asarray(cv2.dilate(inside, around) != cv2.erode(inside, around))


def _below(box: _Box, small: tuple[int, ...], large: tuple[int, int]) -> _Box:
    """Return the cells of the coarse matte under a box of the fine one, and one more on each side."""
    rows, columns = box
    fy, fx = small[0] / large[0], small[1] / large[1]
    return (
        slice(max(0, math.floor(rows.start * fy) - 1), math.ceil(rows.stop * fy) + 1),
        slice(max(0, math.floor(columns.start * fx) - 1), math.ceil(columns.stop * fx) + 1),
    )


def _sampled(
    coarse: Floats, shape: tuple[int, ...], top: int, left: int, rows: int, columns: int
) -> Floats:
    """Return a box of the coarse matte at the fine size, bilinear with half-pixel centres."""
    fy, fx = coarse.shape[0] / shape[0], coarse.shape[1] / shape[1]
    place = np.array(
        [[fx, 0.0, (left + 0.5) * fx - 0.5], [0.0, fy, (top + 0.5) * fy - 0.5]], dtype=np.float64
    )
    values = cv2.warpAffine(
        coarse,
        place,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(values, dtype=np.float32)


def _computed(
    net: EdgeModel,
    photo: Photo,
    coarse: Floats,
    waiting: list[tuple[_Box, int, int]],
    reach: int,
    *,
    harden: bool,
) -> Iterator[tuple[_Box, Floats, int]]:
    full = float(np.iinfo(photo.dtype).max)
    height, width = photo.shape[:2]
    pictures, priors = [], []
    for _, top, left in waiting:
        # Outside the photo its outermost pixels are repeated.
        down = np.clip(np.arange(top, top + _TILE), 0, height - 1)
        across = np.clip(np.arange(left, left + _TILE), 0, width - 1)
        pictures.append(photo[np.ix_(down, across)])
        priors.append(_sampled(coarse, photo.shape, top, left, _TILE, _TILE))
    given = torch.from_numpy(np.stack(pictures).astype(np.float32) / full).permute(0, 3, 1, 2)
    known_so_far = torch.from_numpy(np.stack(priors))[:, None]
    device = _device(net)
    with torch.inference_mode(), contextlib.nullcontext() if device == _CPU else _on_gpu:
        found = net(given.to(device), known_so_far.to(device))[:, 0].cpu().numpy()
    for (box, top, left), prior, fine in zip(waiting, priors, found, strict=True):
        rows, columns = box
        known = np.clip(prior, -CERTAIN, CERTAIN)
        moved = known + np.float32(_TRUST) * (fine - known)
        values = np.where(_undecided(prior, reach), moved, prior)
        if harden:
            values = _hardened(values)
        yield (
            box,
            values[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left],
            _TILE * _TILE,
        )


assert _TILE % COARSEST == 0
