# SPDX-License-Identifier: GPL-3.0-or-later
"""The hull: the part of space that the masks of most photos hold.

Each voxel gets the share of the photos that see it and hold it in their mask. Photos whose mask disagrees
with the others count less, so a share of wrong masks does no harm. Voxels are refined like an octree: a
voxel is cut into eight only if, by the most and the least that each mask has near it, the surface may go
through it. So thin parts are never lost in a large voxel, and fine voxels exist only near the surface.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from .aim import FULL, UNSEEN, Aimed, Bytes, Floats, Floats32, Mask, aim, axes_meet, masks_meet

DOUBTFUL: Final = 0.6
"""A voxel with a smaller share is not kept. Which share the hull begins with: see `outline.Outlines`."""

ACROSS: Final = 384
"""Most voxels across the ball in which the subject is."""

_FEWEST_PX: Final = 96
_A_CELL: Final = 2.2  # voxels across a cell of the masks' grid: more of them show nothing new
_WORTH: Final = 1.4  # how much finer voxels must be to be worth it
_BELOW, _ABOVE = 0.1, 0.02  # shares around the limit through which the surface may go
_SURE: Final = 0.96  # a voxel with this least share is not cut
_COARSE_LIMITS: Final = (0.5, 0.6, 0.7, 0.8, 0.9)  # shares at which a coarse hull may begin
_SEEN: Final = 0.4  # of the votes of all photos must see a voxel
_COARSE: Final = 48  # voxels across, for place and trust
_COARSE_PX: Final = 96
_WIDE: Final = 4.0  # the first ball, in medians of the size of a mask
_NEAREST: Final = 0.8  # of the cameras' usual distance: cameras stand outside of the ball
_BALL_ROUNDS: Final = 3
_ROOM: Final = 1.08  # the ball is larger than the coarse hull by this factor
_BALL: Final = 0.85  # share that a voxel of the ball may have at most
_TRUST_ROUNDS: Final = 4
_LEAST_TRUST: Final = 0.02
_CHUNK: Final = 1 << 16
_THREADS: Final = 2
_MOST_VOXELS: Final = 24_000_000  # that are looked at in one size; it limits the memory
_MOST_LOOKUPS: Final = 800_000_000  # voxels times photos in one size; it limits the time
_FIXED_TRUST: Final = 3.0
_WIDEST_SPLAT: Final = 64  # px

_NO_TABLE: Final = np.zeros((0, 0, 2), np.float32)

Stop = Callable[[], None]


def never() -> None:
    """Stop nothing."""


@dataclass(frozen=True, eq=False)
class Hull:
    """The voxels that photos hold.

    Attributes
    ----------
    centres
        (n, 3) float32, in order of rising shares, from ``centre``: cameras on a map are millions of
        metres from its origin, which float32 can't hold to the centimetre.
    sizes
        (n,) float32: length of each voxel's side.
    shares
        (n,) float32: `DOUBTFUL` to 1.
    centre, radius
        The ball in which the hull was searched.
    trust
        Frame -> how much its mask counted, 0 to 1.
    voxel
        Length of the side of the smallest voxels.
    others
        Number of things that were left out because they stand apart and have no click (`apart`).
    """

    centres: Floats32
    sizes: Floats32
    shares: Floats32
    centre: Floats
    radius: float
    trust: dict[int, float]
    voxel: float
    others: int = 0


def carve(masks: Sequence[Mask], *, across: int = ACROSS, go_on: Stop = never) -> Hull | None:
    """Make the hull of masks.

    Parameters
    ----------
    masks
        One for each photo with a camera and a matte.
    across
        Most voxels across the ball.
    go_on
        Called between steps; may raise to stop.

    Returns
    -------
    Hull or None
        None if fewer than three photos have a mask, or no part of space is held by most of them.
    """
    voting = [mask for mask in masks if mask.trust > 0 and mask.middle() is not None]
    if len(voting) < 3:
        return None
    found = _ball(voting, go_on)
    if found is None:
        return None
    centre, radius, trust = found
    size = _picture_size(voting, centre, radius, across)
    views = []
    for mask in voting:
        views.append(_View.of(mask, centre, radius, size, trust[mask.frame]))
        go_on()
    voxels = _refined(views, radius, size, go_on)
    if not len(voxels[0]):
        return None
    order = np.argsort(voxels[2], kind="stable")
    centres, sizes, shares = (part[order] for part in voxels)
    return Hull(centres, sizes, shares, centre, radius, trust, float(sizes.min()))


@dataclass(frozen=True, eq=False)
class _View:
    """An aimed photo with its mask.

    Attributes
    ----------
    most, least
        The mask at rising sizes of pixels, 2^level px: the most and the least of it in and around each.
        Level 0 of both is the mask itself. Each has a frame of one unseen pixel.
    """

    aimed: Aimed
    most: list[Bytes]
    least: list[Bytes]
    weight: float

    @classmethod
    def of(cls, mask: Mask, centre: Floats, radius: float, size: int, weight: float) -> _View:
        aimed = aim(mask.camera, centre, radius, size)
        picture = aimed.aimed(mask.logits)
        aimed = replace(aimed, table=_NO_TABLE)  # it is large, and only the mask needed it
        return cls(aimed, _pyramid(picture, most=True), _pyramid(picture, most=False), weight)

    def level_of(self, radius: float, nearest: float) -> int:
        """Return the level whose pixels are as large as a ball of this radius at this distance."""
        px = self.aimed.focal * radius / max(nearest, 1e-12)
        return min(max(0, math.ceil(math.log2(max(px, 1e-9)))), len(self.most) - 1)


def _pyramid(picture: Bytes, *, most: bool) -> list[Bytes]:
    """Return the mask in rising sizes of pixels. A pixel has the extreme of its neighbours' values too."""
    neutral = 0 if most else FULL
    levels = [_framed(picture)]
    unseen = picture == UNSEEN
    # An unseen pixel neither raises nor lowers what is seen beside it.
    plain = np.where(unseen, np.uint8(neutral), picture)
    while min(plain.shape) > 2:
        high, wide = (plain.shape[0] + 1) // 2 * 2, (plain.shape[1] + 1) // 2 * 2
        pad = ((0, high - plain.shape[0]), (0, wide - plain.shape[1]))
        plain = np.pad(plain, pad, constant_values=neutral)
        unseen = np.pad(unseen, pad, constant_values=True)
        blocks = plain.reshape(high // 2, 2, wide // 2, 2)
        plain = blocks.max(axis=(1, 3)) if most else blocks.min(axis=(1, 3))
        unseen = unseen.reshape(high // 2, 2, wide // 2, 2).all(axis=(1, 3))
        around = np.ones((3, 3), np.uint8)
        move = cv2.dilate if most else cv2.erode
        wider = move(plain, around).astype(np.uint8)
        levels.append(_framed(np.where(unseen, np.uint8(UNSEEN), wider)))
    return levels


def _framed(picture: Bytes) -> Bytes:
    framed: Bytes = np.pad(picture, 1, constant_values=UNSEEN)
    return np.ascontiguousarray(framed)


_SHARES = np.append(np.arange(FULL + 1, dtype=np.float32) / FULL, np.float32(0.0))
_IS_SEEN = np.append(np.ones(FULL + 1, np.float32), np.float32(0.0))


def _looked_up(
    views: Sequence[_View], centres: Floats32, size: float, *, exact: bool
) -> tuple[Floats32, Floats32]:
    """Return the most and the least share that voxels can have, (n,) each; the same if ``exact``."""
    total = sum(view.weight for view in views)
    count = len(centres)
    high, low, seen = (np.zeros(count, np.float32) for _ in range(3))
    ball = size * math.sqrt(3) / 2
    for view in views:
        matrix = view.aimed.matrix
        flat = centres @ matrix[:, :3].T
        flat += matrix[:, 3]
        depth = flat[:, 2]
        level = 0 if exact else view.level_of(ball, float(depth.min()) - ball)
        np.maximum(depth, np.float32(1e-9), out=depth)
        scale = np.float32(1.0) / depth
        scale *= np.float32(0.5**level)
        rows, columns = view.most[level].shape
        x = (flat[:, 0] * scale + np.float32(1.0)).clip(0, columns - 1).astype(np.int32)
        y = (flat[:, 1] * scale + np.float32(1.0)).clip(0, rows - 1).astype(np.int32)
        at = y * np.int32(columns) + x
        values = view.most[level].ravel().take(at)
        weight = np.float32(view.weight)
        high += weight * _SHARES.take(values)
        seen += weight * _IS_SEEN.take(values)
        if not exact:
            low += weight * _SHARES.take(view.least[level].ravel().take(at))
    known = seen >= _SEEN * total
    seen = np.where(known, seen, np.float32(np.inf))
    high /= seen
    return high, high if exact else low / seen


def _grid(radius: float, count: int) -> tuple[Floats32, float]:
    """Return the voxels of a cube around the ball, (count^3, 3) from its centre, and their size."""
    size = 2 * radius / count
    at = (np.arange(count, dtype=np.float64) + 0.5) * size - radius
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    points = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=-1)
    inside = (points**2).sum(axis=1) <= (radius + size) ** 2
    return points[inside].astype(np.float32), size


def _ball(masks: Sequence[Mask], go_on: Stop) -> tuple[Floats, float, dict[int, float]] | None:
    """Return the ball that holds the coarse hull, and the trust of each frame."""
    centre = masks_meet(masks)
    if centre is None:
        centre = axes_meet([mask.camera for mask in masks])
    reaches = []
    for mask in masks:
        away = float(np.linalg.norm(mask.camera.position - centre))
        height, width = mask.logits.shape
        px = (mask.logits > 0).sum() * mask.camera.width * mask.camera.height / (height * width)
        reaches.append(math.sqrt(px / math.pi) * away / mask.camera.focal)
    radius = _WIDE * float(np.median(reaches))
    trust = {mask.frame: mask.trust for mask in masks}
    distances = [float(np.linalg.norm(mask.camera.position - centre)) for mask in masks]
    radius = min(radius, _NEAREST * float(np.median(distances)))
    for _ in range(_BALL_ROUNDS):  # each time in the ball that the time before has found
        if not radius > 0:
            return None
        views = [_View.of(mask, centre, radius, _COARSE_PX, 1.0) for mask in masks]
        points, size = _grid(radius, _COARSE)
        found = _trusted(masks, views, points, size, go_on)
        if found is None:
            return None
        held, trust = found
        low, high = held.min(axis=0) - size, held.max(axis=0) + size
        middle = (low + high) / 2
        radius = min(radius, _ROOM * float(np.linalg.norm(held - middle, axis=1).max() + size))
        centre = centre + middle.astype(np.float64)
    return centre, radius, trust


def _trusted(
    masks: Sequence[Mask], views: Sequence[_View], points: Floats32, size: float, go_on: Stop
) -> tuple[Floats32, dict[int, float]] | None:
    """Return the points that photos hold, and how far each photo agrees with them, by turns."""
    weights = np.array([mask.trust for mask in masks])
    shares, best = np.zeros(len(points), np.float32), 0
    for _ in range(_TRUST_ROUNDS):
        now = [
            replace(view, weight=float(weight) * (_FIXED_TRUST if mask.fixed else 1.0))
            for mask, view, weight in zip(masks, views, weights, strict=True)
        ]
        shares, _ = _looked_up(now, points, size, exact=True)
        go_on()
        kept = shares >= _COARSE_LIMITS[0]
        if not kept.any():
            return None
        agreements = np.array(
            [_agreements(view, points[kept], size, shares[kept]) for view in views]
        )
        best = int(np.argmax((agreements * weights[:, None]).sum(axis=0)))
        usual = max(float(np.quantile(agreements[:, best], 0.75)), 1e-6)
        weights = ((agreements[:, best] / usual - 0.4) / 0.5).clip(_LEAST_TRUST, 1.0)
        weights = np.array(
            [
                1.0 if mask.fixed else weight * mask.trust
                for mask, weight in zip(masks, weights, strict=True)
            ]
        )
    # By the most that a voxel may have, so that the ball also holds parts that are thinner than a voxel.
    now = [replace(view, weight=float(one)) for view, one in zip(views, weights, strict=True)]
    most, _ = _looked_up(now, points, size, exact=False)
    held = points[(most >= _BALL) | (shares >= _COARSE_LIMITS[best])]
    return held, {mask.frame: float(weight) for mask, weight in zip(masks, weights, strict=True)}


def _agreements(view: _View, points: Floats32, size: float, shares: Floats32) -> list[float]:
    """Return the IoU of a mask and the coarse hull in the aimed picture, for each limit."""
    mask = view.most[0][1:-1, 1:-1]
    drawn = splat(view.aimed, points, np.full(len(points), size, np.float32), shares)
    seen = mask != UNSEEN
    inside = (mask > FULL // 2) & seen
    found = []
    for limit in _COARSE_LIMITS:
        hull = (drawn >= limit) & seen
        union = int((inside | hull).sum())
        found.append(int((inside & hull).sum()) / union if union else 0.0)
    return found


def splat(aimed: Aimed, centres: Floats32, sizes: Floats32, values: Floats32) -> Floats32:
    """Draw voxels into an aimed picture, (size, size): each pixel has the greatest value that covers it."""
    flat = centres @ aimed.matrix[:, :3].T + aimed.matrix[:, 3]
    edge = aimed.size + 2
    picture = np.zeros(edge * edge, np.float32)
    ahead = flat[:, 2] > 1e-6
    flat, sizes, values = flat[ahead], sizes[ahead], values[ahead]
    half = sizes * np.float32(aimed.focal / 2) / flat[:, 2]
    left = (
        np.floor(flat[:, 0] / flat[:, 2] - half + np.float32(0.5)).clip(-99, edge).astype(np.int32)
    )
    top = (
        np.floor(flat[:, 1] / flat[:, 2] - half + np.float32(0.5)).clip(-99, edge).astype(np.int32)
    )
    wide = np.ceil(2 * half).clip(1, _WIDEST_SPLAT).astype(np.int32)
    for width in np.flatnonzero(np.bincount(wide)):  # faster than unique
        of = wide == width
        x, y, value = left[of], top[of], values[of]
        for down in range(width):
            row = (y + np.int32(down + 1)).clip(0, edge - 1) * np.int32(edge)
            for right in range(width):
                at = row + (x + np.int32(right + 1)).clip(0, edge - 1)
                np.maximum.at(picture, at, value)
    drawn: Floats32 = picture.reshape(edge, edge)[1:-1, 1:-1]
    return drawn


def _picture_size(masks: Sequence[Mask], centre: Floats, radius: float, across: int) -> int:
    """Return how many px of a photo the ball has across, within bounds."""
    found = [_px_across(mask, centre, radius) for mask in masks]
    return int(min(max(float(np.quantile(found, 0.75)), _FEWEST_PX), across))


def _px_across(mask: Mask, centre: Floats, radius: float) -> float:
    away = float(np.linalg.norm(mask.camera.position - centre))
    return 2 * radius * mask.camera.focal / max(away, radius)


def finer(
    hull: Hull, masks: Sequence[Mask], limit: float, *, across: int, go_on: Stop = never
) -> Hull:
    """Cut the voxels through which the hull's surface goes, if the masks show more than these.

    Parameters
    ----------
    hull
        Of these masks.
    masks
        As in `carve`.
    limit
        The share with which the hull begins.
    across
        Most voxels across the ball.
    go_on
        Called between steps; may raise to stop.

    Returns
    -------
    Hull
        With voxels of about one pixel of a photo at its surface, or half a cell of the masks' grid if that
        is larger.
    """
    voting = [mask for mask in masks if mask.frame in hull.trust]
    px = [_px_across(mask, hull.centre, hull.radius) for mask in voting]
    shown = [
        _A_CELL * one * max(mask.logits.shape) / max(mask.camera.width, mask.camera.height)
        for one, mask in zip(px, voting, strict=True)
    ]
    wanted = min(float(np.quantile(px, 0.75)), float(np.median(shown)), across)
    if wanted < _WORTH * 2 * hull.radius / hull.voxel:
        return hull
    views = []
    for mask in voting:
        weight = hull.trust[mask.frame]
        views.append(_View.of(mask, hull.centre, hull.radius, math.ceil(wanted), weight))
        go_on()
    centres, sizes, shares, voxel = hull.centres, hull.sizes, hull.shares, hull.voxel
    most = min(_MOST_VOXELS, _MOST_LOOKUPS // len(views)) // 2
    while wanted >= _WORTH * 2 * hull.radius / voxel:
        small = sizes == np.float32(voxel)
        points = centres[small]
        crossed = [
            (high >= limit - _BELOW) & (low < limit + _ABOVE)
            for _, high, low in _in_chunks(views, points, voxel, go_on, exact=False)
        ]
        cut = np.concatenate(crossed)
        if not cut.any() or 8 * int(cut.sum()) > most:
            break
        voxel /= 2
        stays = np.ones(len(centres), bool)
        stays[np.flatnonzero(small)[cut]] = False
        found = [
            (part[share >= DOUBTFUL], share[share >= DOUBTFUL])
            for part, share, _ in _in_chunks(
                views, _eighths(points[cut], voxel), voxel, go_on, exact=True
            )
        ]
        centres = np.concatenate([centres[stays], *(part for part, _ in found)])
        shares = np.concatenate([shares[stays], *(share for _, share in found)])
        fine = np.full(len(centres) - int(stays.sum()), voxel, np.float32)
        sizes = np.concatenate([sizes[stays], fine])
    shares = shares.astype(np.float16).astype(np.float32)
    order = np.argsort(shares, kind="stable")
    return replace(
        hull, centres=centres[order], sizes=sizes[order], shares=shares[order], voxel=voxel
    )


def _eighths(points: Floats32, size: float) -> Floats32:
    """Return the eight voxels of this size in each voxel of twice the size, (8 n, 3)."""
    corners = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)], np.float32)
    found: Floats32 = (points[:, None, :] + corners * np.float32(size / 2)).reshape(-1, 3)
    return found


def _in_chunks(
    views: Sequence[_View], points: Floats32, size: float, go_on: Stop, *, exact: bool
) -> Iterator[tuple[Floats32, Floats32, Floats32]]:
    """Yield points with their most and least shares, a part at a time and in order, in two threads."""

    def looked_up(part: Floats32) -> tuple[Floats32, Floats32, Floats32]:
        return part, *_looked_up(views, part, size, exact=exact)

    parts = [points[start : start + _CHUNK] for start in range(0, len(points), _CHUNK)]
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for found in pool.map(looked_up, parts):
            yield found
            go_on()
    finally:
        pool.shutdown(cancel_futures=True)


def _refined(
    views: Sequence[_View], radius: float, across: int, go_on: Stop
) -> tuple[Floats32, Floats32, Floats32]:
    """Return centres, sizes and shares of the voxels of at least `DOUBTFUL`."""
    levels = max(0, math.ceil(math.log2(across / _COARSE)))
    first = math.ceil(across / 2**levels)
    points, size = _grid(radius, first)
    kept: list[tuple[Floats32, float, Floats32]] = []

    def keep(part: Floats32, share: Floats32, inner: NDArray[np.bool_]) -> None:
        kept.append((part[inner], size, share[inner]))

    for level in range(levels + 1):
        cut: list[Floats32] = []
        if level < levels:
            for part, high, low in _in_chunks(views, points, size, go_on, exact=False):
                inner = low >= _SURE
                keep(part, low, inner)
                cut.append(part[(high >= DOUBTFUL) & ~inner])
            points = np.concatenate(cut)
        count = 8 * len(points)
        if level == levels or count > min(_MOST_VOXELS, _MOST_LOOKUPS // len(views)):
            for part, share, _ in _in_chunks(views, points, size, go_on, exact=True):
                keep(part, share, share >= DOUBTFUL)
            break
        size /= 2
        points = _eighths(points, size)
    shares = np.concatenate([share for _, _, share in kept])
    return (
        np.concatenate([part for part, _, _ in kept]),
        np.concatenate([np.full(len(part), side, np.float32) for part, side, _ in kept]),
        shares.astype(np.float16).astype(np.float32),  # as the disk keeps them
    )
