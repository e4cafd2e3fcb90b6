# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the subject of a capture without a click.

A capture goes round its subject, so the optical axes meet near it. The meeting point itself may be empty: a
table is hollow there. So several places around it are tried, and the sparse points near it if there are any.
Each place is clicked on a few photos from all sides. Where these masks agree in space on one thing that
stands free in the photos, there the subject is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...core.cameras.find import PhotoCamera, PhotoCameras
from ...core.errors import CameraError
from ...core.geometry.resample import upsample_binary
from ...core.prompts import FramePrompts, PointPrompt
from .aim import Floats, Mask, meeting_point
from .hull import Stop, carve, never
from .outline import Bools, Outlines, deep_places, grid_of, overlap
from .sparse import unhidden

Segment = Callable[[FramePrompts], NDArray[np.floating[Any]] | None]
"""Gives the mask of prompts on a photo, as logits on the grid of a matte; None for a damaged photo."""

LOOKED_AT: Final = 8
"""Photos on which good places are clicked."""

PROPOSED: Final = 3
"""Photos that get the clicks that are proposed."""

LEAST_AGREEMENT: Final = 0.4
"""Under this agreement of the masks nothing is proposed."""

_MOST_OFF: Final = math.radians(20)  # the usual angle by which axes may miss their meeting point
_LEAST_ROUND: Final = math.radians(12)  # the least angle between two directions to the subject
_SAME: Final = 1e-6  # cameras so near to each other are at one place
_AHEAD: Final = 0.7  # of the cameras must have the meeting point before them
_STEPS: Final = (0.22, 0.45)  # of half of what a photo shows there: how far from the meeting point
_FEWEST_POINTS: Final = 40  # sparse points around the meeting point that say something
_FROM_POINTS: Final = 8  # places that are taken from sparse points
_ACROSS: Final = 48  # voxels
_COARSE_SIDE: Final = 56  # px of the longer side of a photo
_ROOM: Final = 1.2  # how far the grid reaches, in halves of what a photo shows
_FIRST: Final = (
    4  # photos on which every place is clicked; only good places are clicked on the others
)
_HOPEFUL: Final = 0.8  # of the best score
_HELD: Final = 0.7  # of the photos that see a voxel
_FINER: Final = 128  # voxels
_EDGE: Final = 0.25  # share of the photo's edge that a mask of a subject may touch
_LARGER: Final = 0.2  # how much a larger thing counts more: a whole and not its part
_WORTHLESS: Final = 0.4  # a mask that fits the hull less than this says nothing
_SURE: Final = 0.9  # share of the masks of a photo
_CLOSE_FIT: Final = 0.15  # photos whose mask fits by so much less may get clicks too
_CLICKS: Final = 3
_LEAST_FIT: Final = 0.5  # of the mask that clicks give on a photo


@dataclass(frozen=True, eq=False)
class Focus:
    """Where the optical axes meet.

    Attributes
    ----------
    point
        (3,).
    reach
        Half of what a usual photo shows at this distance, in units of the world.
    up
        The usual direction up, a unit vector (3,).
    """

    point: Floats
    reach: float
    up: Floats


@dataclass(frozen=True, eq=False)
class Found:
    """What was found.

    Attributes
    ----------
    prompts
        Clicks on photos from several sides, frames rising.
    place
        A place of the subject's surface or inside it, (3,).
    agreement
        How far the masks agree in space, 0 to 1.
    """

    prompts: tuple[FramePrompts, ...]
    place: Floats
    agreement: float


def focus_of(cameras: PhotoCameras) -> Focus:
    """Return where the optical axes meet.

    Raises
    ------
    CameraError
        They meet nowhere: the photos are a panorama, a flight, or a row from one side.
    """
    views = [cameras.by_frame[frame] for frame in sorted(cameras.by_frame)]
    origins = np.array([view.position for view in views])
    axes = np.array([view.axis for view in views])
    point, missed = meeting_point(origins, axes)
    apart = float(np.ptp(origins, axis=0).max())
    away = point - origins
    far = np.linalg.norm(away, axis=1)
    ahead = (away * axes).sum(axis=1) > 0
    off = np.arcsin((missed / np.maximum(far, 1e-12)).clip(0, 1))
    towards = away / np.maximum(far, 1e-12)[:, None]
    round_it = min(
        math.acos(float(np.clip((ways @ ways.T).min(), -1, 1))) for ways in (towards, axes)
    )
    if (
        apart <= _SAME * max(1.0, float(np.abs(origins).max()))
        or ahead.mean() < _AHEAD
        or not np.isfinite(point).all()
        or float(np.median(off)) > _MOST_OFF
        or round_it < _LEAST_ROUND
    ):
        raise CameraError(
            "The cameras of these photos do not look at one place from several sides.",
            "Click on the subject.",
        )
    up = -np.mean([view.camera.rotation[1] for view in views], axis=0)
    length = float(np.linalg.norm(up))
    upright = up / length if length > 0.1 else -views[0].camera.rotation[1]
    return Focus(point, reach_at(cameras, point), upright)


def reach_at(cameras: PhotoCameras, place: Floats) -> float:
    """Return half of what a usual photo shows at the distance of a place, in units of the world."""
    return float(
        np.median(
            [
                float(np.linalg.norm(place - view.position))
                * min(view.width, view.height)
                / (2 * view.focal)
                for view in cameras.by_frame.values()
            ]
        )
    )


def places_of(cameras: PhotoCameras, focus: Focus) -> Floats:
    """Return the places that are tried, (n, 3), the likeliest first."""
    side = np.cross(focus.up, [1.0, 0.0, 0.0])
    if np.linalg.norm(side) < 0.3:
        side = np.cross(focus.up, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side)
    other = np.cross(focus.up, side)
    near, far = (step * focus.reach for step in _STEPS)
    moves = [np.zeros(3), near * focus.up, -near * focus.up, far * focus.up, -far * focus.up]
    moves += [sign * near * way for way in (side, other) for sign in (1, -1)]
    found = [focus.point + move for move in moves]
    close = np.linalg.norm(cameras.points - focus.point, axis=1) < _STEPS[-1] * focus.reach
    points = cameras.points[close]
    if len(points) >= _FEWEST_POINTS:
        found += list(_spread_points(points, focus))
    return np.array(found)


def _spread_points(points: Floats, focus: Focus) -> Floats:
    """Return points in the densest parts that are far from each other."""
    rng = np.random.default_rng(0)
    some = points if len(points) < 3000 else points[rng.choice(len(points), 3000, replace=False)]
    size = 0.08 * focus.reach
    apart = np.linalg.norm(some[:, None] - some[None, : min(len(some), 1500)], axis=2)
    worth = (apart < size).sum(axis=1).astype(np.float64)
    worth *= 1.2 - np.linalg.norm(some - focus.point, axis=1) / (_STEPS[-1] * focus.reach)
    found = []
    for _ in range(_FROM_POINTS):
        best = int(worth.argmax())
        found.append(some[best])
        gone = np.linalg.norm(some - some[best], axis=1)
        worth = worth * (gone / (0.3 * focus.reach)).clip(0, 1)
    return np.array(found)


def spread_views(
    cameras: Mapping[int, PhotoCamera], centre: Floats, count: int, allowed: Sequence[int]
) -> list[int]:
    """Return frames that see a place from directions that are far from each other.

    Parameters
    ----------
    allowed
        The frames to choose from, the best first: the first of them is taken.
    """
    frames = list(allowed)
    if not frames:
        return []
    ways = np.array([cameras[frame].position - centre for frame in frames])
    ways /= np.maximum(np.linalg.norm(ways, axis=1, keepdims=True), 1e-12)
    chosen = [0]
    apart = 1 - ways @ ways[0]
    while len(chosen) < min(count, len(frames)):
        best = int(apart.argmax())
        chosen.append(best)
        apart = np.minimum(apart, 1 - ways @ ways[best])
    return [frames[at] for at in chosen]


def find_subject(cameras: PhotoCameras, segment: Segment, go_on: Stop = never) -> Found:
    """Find the subject.

    Parameters
    ----------
    cameras
        Of the photos.
    segment
        Asks the model.
    go_on
        Called between steps; may raise to stop.

    Raises
    ------
    CameraError
        The cameras look at no one place, or nothing stands there that masks agree on.
    """
    focus = focus_of(cameras)
    by_frame = cameras.by_frame
    central = sorted(by_frame, key=lambda frame: (_off_middle(by_frame[frame], focus.point), frame))
    frames = spread_views(
        by_frame, focus.point, LOOKED_AT, central[: max(LOOKED_AT, len(central) * 3 // 4)]
    )
    coarse = Coarse({frame: by_frame[frame] for frame in frames}, focus)
    first, rest = frames[:_FIRST], frames[_FIRST:]
    tried = [
        coarse.judged(place, masks_at(cameras, first, place, segment, go_on), len(first))
        for place in places_of(cameras, focus)
    ]
    if rest:
        worth = _HOPEFUL * max(one.score for one in tried)
        tried = [
            coarse.judged(
                one.place,
                [
                    *one.masks.values(),
                    *masks_at(cameras, rest, one.place, segment, go_on),
                ],
                len(frames),
            )
            for one in tried
            if one.masks and one.score >= worth
        ]
    best = max(tried, key=lambda one: one.score * one.size**_LARGER, default=None)
    prompts: tuple[FramePrompts, ...] = ()
    if best is not None and best.score >= LEAST_AGREEMENT:
        shown = _pooled(best, tried, go_on)
        prompts = _proposal(shown, best.place, by_frame, segment, go_on)
    if best is None or not prompts:
        raise CameraError(
            "No subject was found where the cameras look at.",
            "Click on the subject.",
        )
    return Found(prompts, best.place, best.agreement)


@dataclass(frozen=True, eq=False)
class Tried:
    """What clicks on one place gave.

    Attributes
    ----------
    score
        The agreement, less for masks that look like a ground or a background.
    size
        The masks' usual share of the photos.
    masks
        Frame -> its mask.
    """

    place: Floats
    agreement: float
    score: float
    size: float
    masks: dict[int, Mask]


class Coarse:
    """A coarse grid around the meeting point, to see quickly how far masks of a few photos agree.

    Parameters
    ----------
    views
        Frame -> camera.
    focus
        The middle of the grid, and half of its sides.
    """

    def __init__(self, views: Mapping[int, PhotoCamera], focus: Focus) -> None:
        side = (np.arange(_ACROSS) + 0.5) * (2 / _ACROSS) - 1
        grid = np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(-1, 3)
        grid = grid[np.linalg.norm(grid, axis=1) <= 1]
        self.points = focus.point + grid * (_ROOM * focus.reach)
        self._focus = focus
        self._size: dict[int, tuple[int, int]] = {}
        self._cells: dict[int, NDArray[np.intp]] = {}
        for frame, view in views.items():
            columns, rows = grid_of(view.width, view.height, _COARSE_SIDE)
            pixels, _ = view.project(self.points)
            inside = view.inside(pixels)
            pixels[~inside] = 0
            cells = (pixels[:, 1] * rows / view.height).astype(np.intp) * columns
            cells += (pixels[:, 0] * columns / view.width).astype(np.intp)
            cells[~inside] = -1
            self._size[frame], self._cells[frame] = (columns, rows), cells

    def judged(self, place: Floats, masks: Sequence[Mask], of: int) -> Tried:
        """Return how far masks of so many photos agree; 0 for those that have none."""
        insides = {one.frame: upsample_binary(one.logits, *self._size[one.frame]) for one in masks}
        held, seen = (np.zeros(len(self.points), np.float32) for _ in range(2))
        for frame, inside in insides.items():
            cells = self._cells[frame]
            seen += cells >= 0
            held += (cells >= 0) & inside.ravel()[cells]
        hull = (held >= _HELD * seen) & (seen >= max(3, of / 2))
        if not hull.any():
            return Tried(place, 0.0, 0.0, 0.0, {})
        fits = []
        for frame, inside in insides.items():
            columns, rows = self._size[frame]
            cells = self._cells[frame][hull]
            shape = np.zeros(rows * columns, bool)
            shape[cells[cells >= 0]] = True
            fits.append(overlap(shape.reshape(rows, columns), inside))
        agreement = sum(fits) / of
        touching = float(np.median([_at_edge(inside) for inside in insides.values()]))
        free = float(np.clip(1 - (touching - 0.05) / _EDGE, 0, 1))
        middle = self.points[hull].mean(axis=0)
        off = float(np.linalg.norm(middle - self._focus.point)) / self._focus.reach
        central = float(np.clip(1.5 - off, 0, 1))
        size = float(np.median([inside.mean() for inside in insides.values()]))
        kept = {one.frame: one for one in masks}
        return Tried(place, agreement, agreement * free * central, size, kept)


def masks_at(
    cameras: PhotoCameras,
    frames: Sequence[int],
    place: Floats,
    segment: Segment,
    go_on: Stop,
) -> list[Mask]:
    """Click on a place on those photos that show it, and return the masks."""
    masks: list[Mask] = []
    for frame in frames:
        go_on()
        view = cameras.by_frame[frame]
        pixels, _ = view.project(place[None])
        if not view.inside(pixels)[0] or not unhidden(cameras, frame, place[None])[0]:
            continue
        click = PointPrompt(float(pixels[0, 0]), float(pixels[0, 1]))
        logits = segment(FramePrompts(frame, (click,)))
        if logits is not None:
            masks.append(Mask(frame, view, logits, 1.0 if (logits > 0).any() else 0.0))
    return masks


def _off_middle(view: PhotoCamera, place: Floats) -> float:
    """Return how far a place is from the middle of a photo, in halves of its shorter side."""
    pixels, _ = view.project(place[None])
    off = np.hypot(pixels[0, 0] - view.width / 2, pixels[0, 1] - view.height / 2)
    return float(off / (min(view.width, view.height) / 2)) if np.isfinite(off) else math.inf


def _at_edge(inside: Bools) -> float:
    """Return the share of the photo's edge that is in the mask."""
    edge = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    return float(edge.mean())


@dataclass(frozen=True, eq=False)
class _Shown:
    """What all clicks together say of a photo, on its grid, (rows, columns).

    Attributes
    ----------
    shape
        Where the subject seems to be.
    sure
        Where nearly all good masks of this photo have it, and the hull too.
    fit
        IoU of the shape and the hull, less if the photo is not trusted.
    """

    shape: Bools
    sure: Bools
    fit: float


def _pooled(best: Tried, tried: Sequence[Tried], go_on: Stop) -> dict[int, _Shown]:
    """Return what all clicks say of each photo. A mask counts as much as it fits the best place's hull."""
    hull = carve(list(best.masks.values()), across=_FINER, go_on=go_on)
    outlines = Outlines(hull, list(best.masks.values()), go_on) if hull is not None else None
    shares, masks = {}, []
    for frame, mask in best.masks.items():
        go_on()
        size = grid_of(mask.camera.width, mask.camera.height)
        given = [
            upsample_binary(one.masks[frame].logits, *size) for one in tried if frame in one.masks
        ]
        shape = upsample_binary(mask.logits, *size) if outlines is None else outlines.shape(frame)
        weights = np.array([max(overlap(shape, one) - _WORTHLESS, 1e-6) ** 2 for one in given])
        share = np.tensordot(weights / weights.sum(), np.array(given, np.float32), axes=1)
        shares[frame] = share.astype(np.float32)
        masks.append(replace(mask, logits=(shares[frame] - 0.5) * 16))
    hull = carve(masks, across=_FINER, go_on=go_on)
    outlines = Outlines(hull, masks, go_on) if hull is not None else None
    found = {}
    for frame, share in shares.items():
        shape = share > 0.5
        held, trust = shape, 1.0
        if outlines is not None:
            held, trust = outlines.shape(frame), outlines.hull.trust.get(frame, 0.0)
        found[frame] = _Shown(shape, (share > _SURE) & held, overlap(shape, held) * trust)
    return found


def _proposal(
    shown: Mapping[int, _Shown],
    place: Floats,
    by_frame: Mapping[int, PhotoCamera],
    segment: Segment,
    go_on: Stop,
) -> tuple[FramePrompts, ...]:
    """Return the clicks whose masks fit best, on a few of the photos on which the masks agree."""
    good = sorted(shown, key=lambda frame: (-shown[frame].fit, frame))
    good = [frame for frame in good if shown[frame].fit > shown[good[0]].fit - _CLOSE_FIT]
    found: list[FramePrompts] = []
    for frame in spread_views(by_frame, place, len(good), good):
        if len(found) == PROPOSED:
            break
        shape = shown[frame].shape
        best: tuple[PointPrompt, ...] = ()
        fit = _LEAST_FIT
        for count in (1, _CLICKS):
            go_on()
            clicks = clicks_in(shown[frame].sure, by_frame[frame], count)
            logits = segment(FramePrompts(frame, clicks)) if clicks else None
            if logits is not None:
                own = overlap(shape, upsample_binary(logits, *shape.shape[::-1]))
                best, fit = (clicks, own) if own > fit else (best, fit)
        if best:
            found.append(FramePrompts(frame, best))
    return tuple(sorted(found, key=lambda one: one.frame))


def clicks_in(area: Bools, view: PhotoCamera, count: int) -> tuple[PointPrompt, ...]:
    """Return including clicks deep in an area of a photo's grid."""
    return clicks_at(deep_places(area, count), area.shape, view)


def clicks_at(
    places: Sequence[tuple[int, int]], grid: tuple[int, ...], view: PhotoCamera
) -> tuple[PointPrompt, ...]:
    """Return including clicks at places (row, column) of a photo's grid of (rows, columns)."""
    rows, columns = grid
    return tuple(
        PointPrompt((column + 0.5) * view.width / columns, (row + 0.5) * view.height / rows)
        for row, column in places
    )
