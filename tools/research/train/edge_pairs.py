# SPDX-License-Identifier: GPL-3.0-or-later
"""Training data of the edge model: places at two scales.

A place is cut from a capture, with one of these mattes:

- a matte of the bundled model;
- the average of that and a closer look;
- the truth, made coarse and damaged;
- the truth, only made coarse: the model must not change it.

Or a place is a drawn shape: one photo pasted on another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE: Final = 128  # px of a crop at the coarser of the two scales
PER_CELL: Final = (3.0, 4.6)  # px of the whole photo at that scale, for one cell of the matte
IDEAL: Final = 0.25  # fraction of mattes without errors, among those cut from a capture
LOOKED_AT: Final = 0.2  # fraction of mattes as from a second look, among the same
PASTED: Final = 0.3  # fraction of drawn shapes
GOOD_ENOUGH: Final = 0.75  # IoU of a coarse matte that is worth refining

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shot:
    """One photo: (H, W, 3) RGB, (H, W) ids, and coarse logits (h, w) of the subject (id 1)."""

    photo: Image
    ids: Image
    coarse: tuple[NDArray[np.float16], ...]


def read_shots(roots: list[Path], coarse: Path) -> list[Shot]:
    """Read all captures under the roots that have coarse mattes."""
    shots: list[Shot] = []
    for folder in sorted(path for root in roots for path in root.iterdir()):
        mattes = coarse / f"{folder.name}.npz"
        if not mattes.is_file():
            continue
        kept = np.load(mattes)
        stacks = [kept[name] for name in kept.files if kept[name].ndim == 3]
        for number, path in enumerate(sorted(folder.glob("[0-9]*.jpg"))):
            photo = np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)
            ids = np.asarray(
                cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_GRAYSCALE), np.uint8
            )
            right = [stack[number] for stack in stacks if _agrees(stack[number], ids == 1)]
            if right:
                shots.append(Shot(photo, ids, tuple(right)))
    return shots


def _agrees(logits: NDArray[np.float16], truth: NDArray[np.bool_]) -> bool:
    """Whether a coarse matte shows the subject at all. Edges can't decide what to keep."""
    height, width = logits.shape
    small = _area(truth.astype(np.float32), (width, height)) > 0.5
    inside = logits > 0
    return bool((small & inside).sum() > GOOD_ENOUGH * max((small | inside).sum(), 20))


def spoil(coverage: Floats, rng: np.random.Generator) -> Floats:
    """Make logits (h, w) as from a coarse model, from the truth's coverage (h, w)."""
    blurred = _blurred(coverage, rng.uniform(0.3, 1.2))
    logits = (blurred - rng.uniform(0.3, 0.65)) * rng.uniform(6, 20)
    h, w = coverage.shape
    for scale, strength in ((6, 2.0), (2, 1.5)):
        noise = rng.normal(0, strength * rng.random(), (h // scale + 2, w // scale + 2))
        logits += _linear(noise, (w, h))
    return np.asarray(logits, np.float32)


def ideal(coverage: Floats, rng: np.random.Generator) -> Floats:
    """Make logits (h, w) of a model that knows each cell's coverage (h, w): the log-odds of it."""
    least = np.exp(rng.uniform(math.log(0.003), math.log(0.03)))
    return np.asarray(np.log((coverage + least) / (1 + least - coverage)), np.float32)


def look(photo: Floats, rng: np.random.Generator) -> Floats:
    """Change the exposure, sharpness and noise of a photo (H, W, 3) in 0..1."""
    if rng.random() < 0.5:
        photo = photo[..., rng.permutation(3)]
    gain = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.08, 3))
    photo = np.clip(photo * gain, 0, 1) ** np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.4:
        photo = _blurred(photo, rng.uniform(0.3, 1.3))
    if rng.random() < 0.6:
        photo = photo + rng.normal(0, rng.uniform(0, 0.04), photo.shape)
    if rng.random() < 0.3:
        code = cv2.imencode(
            ".jpg", (np.clip(photo, 0, 1) * 255).astype(np.uint8), [1, int(rng.integers(40, 92))]
        )[1]
        photo = cv2.imdecode(code, cv2.IMREAD_COLOR) / 255.0
    return np.clip(photo, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Pair:
    """One place at two scales: photo (3, s, s) and coverage (1, s, s); logits (1, s, s) at the first."""

    low_photo: Floats
    low_truth: Floats
    low_logits: Floats
    high_photo: Floats
    high_truth: Floats


def pasted_pair(shot: Shot, other: Shot, rng: np.random.Generator) -> Pair:
    """Paste a drawn shape with one photo's colours on another photo. Its edge leaves no doubt."""
    side = 2 * SIDE
    shape: Any = np.zeros((side, side), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.4:
            middle, axes = rng.integers(0, side, 2), rng.integers(10, side // 2, 2)
            cv2.ellipse(
                shape, middle.tolist(), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, (1,), -1
            )
        elif rng.random() < 0.5:
            corners: Any = rng.integers(-30, side + 30, (int(rng.integers(3, 7)), 2), np.int32)
            cv2.fillPoly(shape, [corners], (1,))
    for _ in range(int(rng.integers(0, 4))):
        begin, end = rng.integers(-20, side + 20, (2, 2)).tolist()
        cv2.line(shape, begin, end, (1,), int(rng.integers(4, 24)))
    for _ in range(int(rng.integers(0, 3))):
        middle = rng.integers(0, side, 2).tolist()
        cv2.circle(shape, middle, int(rng.integers(6, 40)), (0,), -1)
    truth = _blurred(shape.astype(np.float32), 0.6)
    grounds = []
    for source in (shot, other):
        span = int(rng.integers(side // 3, side + 1))
        height, width = source.ids.shape
        top, left = (
            int(rng.integers(max(1, height - span))),
            int(rng.integers(max(1, width - span))),
        )
        part = source.photo[top : top + span, left : left + span].astype(np.float32) / 255
        part = _linear(part, (side, side))
        grounds.append(np.clip(part * np.exp(rng.normal(0, 0.4, 3)), 0, 1))
    photo = grounds[0] * truth[..., None] + grounds[1] * (1 - truth[..., None])
    photo = look(photo.astype(np.float32), rng)
    small_truth = _area(truth, (SIDE, SIDE))
    cells = int(SIDE / rng.uniform(3, 5))
    known = _area(truth, (cells, cells))
    if rng.random() < 0.3:
        logits = (_blurred(small_truth, 0.8) - rng.uniform(0.3, 0.7)) * 12
    else:
        logits = _linear(spoil(known, rng), (SIDE, SIDE))
    low_photo = _area(photo, (SIDE, SIDE))
    arrays = [low_photo, small_truth[..., None], logits[..., None], photo, truth[..., None]]
    return Pair(*(np.ascontiguousarray(a.transpose(2, 0, 1), np.float32) for a in arrays))


def draw_pair(shot: Shot, other: Shot, rng: np.random.Generator) -> Pair:
    """Cut a place near the subject's edge at two scales."""
    if rng.random() < PASTED:
        return pasted_pair(shot, other, rng)
    height, width = shot.ids.shape
    truth = (shot.ids == 1).astype(np.float32)
    size, logits = _matte(shot, truth, rng)
    small_truth = _area(truth, size)
    # A place where the matte is uncertain.
    rows, columns = np.nonzero(np.abs(small_truth - 0.5) < 0.4)
    if len(rows) and rng.random() < 0.95:
        at = int(rng.integers(len(rows)))
        y, x = int(rows[at]), int(columns[at])
    else:
        y, x = int(rng.integers(size[1])), int(rng.integers(size[0]))
    top = int(np.clip(y - rng.integers(SIDE), 0, size[1] - SIDE))
    left = int(np.clip(x - rng.integers(SIDE), 0, size[0] - SIDE))
    fx, fy = width / size[0], height / size[1]
    # The same place twice as fine, directly from the photo.
    high = 2 * SIDE
    x0, x1 = math.floor(left * fx), min(width, math.ceil((left + SIDE) * fx))
    y0, y1 = math.floor(top * fy), min(height, math.ceil((top + SIDE) * fy))
    patch, part = shot.photo[y0:y1, x0:x1], truth[y0:y1, x0:x1]
    to = cv2.INTER_AREA if (x1 - x0) > high else cv2.INTER_LINEAR
    high_photo = cv2.resize(patch, (high, high), interpolation=to).astype(np.float32) / 255.0
    high_truth = cv2.resize(part, (high, high), interpolation=to)
    high_photo = look(high_photo, rng)
    low_photo = _area(high_photo, (SIDE, SIDE))
    low_truth = _area(high_truth, (SIDE, SIDE))
    low_logits = logits[top : top + SIDE, left : left + SIDE]
    arrays = [
        low_photo,
        low_truth[..., None],
        low_logits[..., None],
        high_photo,
        high_truth[..., None],
    ]
    across, over = (-1 if rng.random() < 0.5 else 1), (-1 if rng.random() < 0.15 else 1)
    return Pair(
        *(
            np.ascontiguousarray(array[::over, ::across].transpose(2, 0, 1), np.float32)
            for array in arrays
        )
    )


def _matte(shot: Shot, truth: Floats, rng: np.random.Generator) -> tuple[tuple[int, int], Floats]:
    """Return a size (width, height) of the whole photo, and the subject's logits at this size."""
    kind = rng.random()
    is_ideal, is_looked_at = kind < IDEAL, kind < IDEAL + LOOKED_AT
    first = shot.coarse[rng.integers(len(shot.coarse))].astype(np.float32)
    grid = 128 if is_looked_at else max(first.shape)
    if is_looked_at and (not is_ideal or rng.random() < 0.5):
        grid = 256
    height, width = truth.shape
    long = max(height, width)
    low_long = min(rng.uniform(*PER_CELL) * grid, long if grid > 128 else long / 1.5)
    tidy = not is_looked_at and rng.random() < 0.2  # as from a later step: nearly right already
    scale = low_long / long * (float(rng.uniform(1.0, 1.2)) if tidy else 1.0)
    size = (max(SIDE, round(width * scale)), max(SIDE, round(height * scale)))
    if is_ideal:
        return size, _linear(ideal(_area(truth, (grid, grid)), rng), size)
    if tidy:
        half = _area(truth, (size[0] // 2, size[1] // 2))
        half = _blurred(half, rng.uniform(0.3, 0.8))
        logits = _linear((half - rng.uniform(0.4, 0.6)) * rng.uniform(8, 16), size)
        return size, logits + _linear(rng.normal(0, 0.7, (size[1] // 8, size[0] // 8)), size)
    if not is_looked_at and rng.random() < 0.35:
        cells = int(rng.choice((112, 128, 160, 192, 256)))
        return size, _linear(spoil(_area(truth, (cells, cells)), rng), size)
    if rng.random() < 0.3:
        noise = _linear(rng.normal(0, 1, (12, 12)), (first.shape[1], first.shape[0]))
        first = first + noise * rng.uniform(0, 2.0)
    logits = _linear(first, size) * np.exp(rng.normal(0.2, 0.4))
    if is_looked_at:
        closer = _linear(spoil(_area(truth, (grid, grid)), rng), size)
        logits = 0.5 * (logits + closer)
    return size, np.asarray(logits, np.float32)


def _area(array: NDArray[Any], size: tuple[int, int]) -> Floats:
    """Resize to (width, height). Each pixel is the mean of the area it covers."""
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA), np.float32)


def _linear(array: NDArray[Any], size: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(array.astype(np.float32), size), np.float32)


def _blurred(array: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(array, (0, 0), float(sigma)), np.float32)
