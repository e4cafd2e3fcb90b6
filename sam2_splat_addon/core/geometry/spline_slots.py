# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide which outline of each frame goes into which spline of a mask layer.

Blender stores the keys of a layer as flat lists of vertices. So a layer has the same splines with the
same number of points on every frame. A *slot* is one such spline. Outlines are followed from frame to
frame as *tracks*. Tracks that never appear on the same frame share a slot. On frames without an
outline a slot is *parked*: it is a tiny circle just above the picture's left corner, where all of them
together look like one dot. (Points all in one place would also render nothing, but Blender takes half a
minute for sixty such points.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .simplify import fit_count, point_importances
from .trace import Contour

Points = NDArray[np.float64]

# Leaving points out moves the outline by about half the tolerance. The tolerances are shares of the
# object's area divided by the length of its outline. So they cost about 0.25% and 0.5% of the area.
_FINE_TOLERANCE = 0.005
_COARSE_TOLERANCE = 0.010
# The limit for any outline: the time in Blender grows with the square of the points of a spline.
_MOST_POINTS = 1024
_FEWEST_POINTS = 4
# More splines than this are slow to draw: then parts of any size are dropped.
_MOST_SLOTS = 64
# A part below this share of the object's area on all frames may be dropped.
_SPECK = 0.001
# How far above the picture slots are parked, their radius, and the way from one to the next, as
# shares of its longer side. Blender draws such tiny circles as quickly as large ones.
_PARKING_DISTANCE = 0.02
_PARKING_RADIUS = 0.0001
_PARKING_STEP = 0.0004
# Two outlines on successive frames are the same part if they differ by less than this.
_SAME_PART = 1.5
# A part that was away for more frames than this counts as another part.
_LONGEST_ABSENCE = 8
# Frames of which the points are weighed together.
_TOGETHER = 16


@dataclass(frozen=True)
class Slot:
    """One spline of the layer: its number of points, and whether it bounds a hole."""

    count: int
    is_hole: bool


@dataclass(frozen=True)
class _Outline:
    """One outline of one frame, with as many points as it needs."""

    points: NDArray[np.float32]
    is_hole: bool
    area: float
    parent: int
    low: Points
    high: Points


@dataclass
class _Track:
    """One part followed through the frames: frame index -> index of its outline there."""

    is_hole: bool
    outlines: dict[int, int] = field(default_factory=dict)
    seen: int = -1
    low: Points = field(default_factory=lambda: np.zeros(2))
    high: Points = field(default_factory=lambda: np.zeros(2))
    motion: Points = field(default_factory=lambda: np.zeros(2))
    area: float = 0.0
    total_area: float = 0.0


@dataclass(frozen=True)
class SlotPlan:
    """The splines of one layer, and the outline that each has on every frame.

    Attributes
    ----------
    slots
        The splines of the layer, in order; slots of large parts come first.
    dropped
        Area of the outlines that found no slot, px², (frames,).
    """

    slots: tuple[Slot, ...]
    dropped: Points
    _held: tuple[dict[int, Points], ...]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.dropped)

    @property
    def point_count(self) -> int:
        """Number of points of all slots together."""
        return sum(slot.count for slot in self.slots)

    def points(self, index: int, width: int, height: int) -> Points:
        """Return the points of all slots on one frame, (point_count, 2), slot after slot.

        They are in footage pixels. `width` and `height` are the size of the footage in px.
        """
        parked = self.parked(width, height)
        start = 0
        for number, slot in enumerate(self.slots):
            outline = self._held[index].get(number)
            if outline is not None:
                parked[start : start + slot.count] = outline
            start += slot.count
        return parked

    def parked(self, width: int, height: int) -> Points:
        """Return the same as `points` for a frame without any outline."""
        side = max(width, height)
        away = max(_PARKING_DISTANCE * side, 8.0)
        radius = _PARKING_RADIUS * side
        parts = []
        for number, slot in enumerate(self.slots):
            angle = np.arange(slot.count) * (2.0 * np.pi / slot.count)
            across = (number + 0.5) * _PARKING_STEP * side + radius * np.cos(angle)
            turn = 1.0 if slot.is_hole else -1.0
            parts.append(np.stack([across, turn * radius * np.sin(angle) - away], axis=1))
        return np.concatenate(parts) if parts else np.zeros((0, 2))

    def present(self, index: int) -> NDArray[np.bool_]:
        """Return which slots have an outline on one frame, (slots,)."""
        return np.array([number in self._held[index] for number in range(len(self.slots))], bool)


class SlotPlanner:
    """Take the outlines of one object frame by frame, and decide its slots.

    Parameters
    ----------
    max_slots
        Number of splines. Further parts, the smallest ones, are dropped if they are only specks of
        the object on every frame.
    max_points
        Number of points of a spline. A very winding outline may have more, if the loss would be
        visible.
    """

    def __init__(self, *, max_slots: int = 24, max_points: int = 256) -> None:
        self._max_slots = max_slots
        self._max_points = max_points
        self._frames: list[list[_Outline]] = []
        self._areas: list[float] = []
        self._tracks: list[_Track] = []
        self._recent: list[_Track] = []
        self._waiting: list[Sequence[Contour]] = []

    def add(self, contours: Sequence[Contour]) -> None:
        """Take the outlines of the next frame, as `trace` gives them."""
        self._waiting.append(contours)
        if len(self._waiting) >= _TOGETHER:
            self._take_waiting()

    def _take_waiting(self) -> None:
        """Work on the frames that were only noted so far: several together take less time."""
        waiting, self._waiting = self._waiting, []
        points = [contour.points for contours in waiting for contour in contours]
        importances = iter(point_importances(points))
        for contours in waiting:
            self._take(contours, [next(importances) for _ in contours])

    def _take(self, contours: Sequence[Contour], importances: Sequence[Points]) -> None:
        index = len(self._frames)
        outlines = self._reduce(contours, importances)
        matched = self._match(outlines, index)
        for number, outline in enumerate(outlines):
            track = matched.get(number)
            if track is None:
                track = _Track(outline.is_hole)
                self._tracks.append(track)
                self._recent.append(track)
            else:
                outline = _turned(outline, self._frames[track.seen][track.outlines[track.seen]])
                outlines[number] = outline
            _extend(track, outline, index, number)
        self._frames.append(outlines)
        self._areas.append(sum(-one.area if one.is_hole else one.area for one in contours))

    def finish(self) -> SlotPlan:
        """Return the plan for all frames so far."""
        self._take_waiting()
        packed = self._pack()
        slot_of: list[dict[int, int]] = [{} for _ in self._frames]
        for number, tracks in enumerate(packed):
            for track in tracks:
                for index, at in track.outlines.items():
                    slot_of[index][at] = number
        held: list[dict[int, NDArray[np.float32]]] = [{} for _ in self._frames]
        dropped = np.zeros(len(self._frames))
        counts = [_FEWEST_POINTS] * len(packed)
        for index, outlines in enumerate(self._frames):
            kept = {-1}
            # Parents come before their children. Without its parent, a hole would be drawn as a part,
            # and a part as a hole.
            for at, outline in enumerate(outlines):
                slot = slot_of[index].get(at)
                if slot is None or outline.parent not in kept:
                    dropped[index] += outline.area
                    continue
                kept.add(at)
                held[index][slot] = outline.points
                counts[slot] = max(counts[slot], len(outline.points))
        slots = tuple(
            Slot(count, tracks[0].is_hole) for count, tracks in zip(counts, packed, strict=True)
        )
        return SlotPlan(slots, dropped, tuple(_fitted(one, slots) for one in held))

    def _reduce(self, contours: Sequence[Contour], importances: Sequence[Points]) -> list[_Outline]:
        """Keep as few points as the shape of the object on this frame allows."""
        length = sum(_length(contour.points) for contour in contours)
        area = sum(-one.area if one.is_hole else one.area for one in contours)
        room = max(area, 0.0) / length if length > 0 else 0.0
        outlines: list[_Outline] = []
        for contour, importance in zip(contours, importances, strict=True):
            fine = int(np.count_nonzero(importance > _FINE_TOLERANCE * room))
            coarse = int(np.count_nonzero(importance > _COARSE_TOLERANCE * room))
            wanted = min(max(min(fine, self._max_points), coarse, _FEWEST_POINTS), _MOST_POINTS)
            points = contour.points
            if wanted < len(points):
                points = fit_count(points, wanted, importance)
            outlines.append(
                _Outline(
                    points.astype(np.float32),
                    contour.is_hole,
                    contour.area,
                    contour.parent,
                    points.min(axis=0),
                    points.max(axis=0),
                )
            )
        return outlines

    def _match(self, outlines: Sequence[_Outline], index: int) -> dict[int, _Track]:
        """Assign outlines to the tracks that they continue, most similar ones first."""
        # A part that comes back much later may be another part.
        self._recent = [track for track in self._recent if index - track.seen <= _LONGEST_ABSENCE]
        if not outlines or not self._recent:
            return {}
        cost = _differences(self._recent, outlines, index)  # (tracks, outlines)
        rows, columns = np.nonzero(cost < _SAME_PART)
        order = np.argsort(cost[rows, columns], kind="stable")
        matched: dict[int, _Track] = {}
        used: set[int] = set()
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
            if row not in used and column not in matched:
                used.add(row)
                matched[column] = self._recent[row]
        return matched

    def _pack(self) -> list[list[_Track]]:
        """Share slots among tracks that never appear on the same frame, large parts first."""
        packed: list[list[_Track]] = []
        busy: list[set[int]] = []
        for track in sorted(self._tracks, key=lambda one: -one.total_area):
            frames = set(track.outlines)
            slot = next(
                (
                    number
                    for number, tracks in enumerate(packed)
                    if tracks[0].is_hole == track.is_hole and not busy[number] & frames
                ),
                None,
            )
            if slot is None:
                full = len(packed) >= self._max_slots
                if full and (len(packed) >= _MOST_SLOTS or not self._is_seen(track)):
                    continue
                slot = len(packed)
                packed.append([])
                busy.append(set())
            packed[slot].append(track)
            busy[slot] |= frames
        return packed

    def _is_seen(self, track: _Track) -> bool:
        """Whether a part is more than a speck of the object on at least one frame."""
        return any(
            self._frames[index][at].area > _SPECK * self._areas[index]
            for index, at in track.outlines.items()
        )


def plan_frame(contours: Sequence[Contour], counts: Sequence[int]) -> SlotPlan:
    """Put the outlines of one frame into existing splines: large outlines into long splines.

    Parameters
    ----------
    contours
        The outlines of the frame, largest first. If there are more outlines than splines, the smallest
        ones are dropped.
    counts
        Number of points of each spline.
    """
    long_first = sorted(range(len(counts)), key=lambda number: -counts[number])
    held = {
        number: contour.points.astype(np.float32)
        for number, contour in zip(long_first, contours, strict=False)
    }
    holes = {number for number, one in zip(long_first, contours, strict=False) if one.is_hole}
    slots = tuple(Slot(count, number in holes) for number, count in enumerate(counts))
    dropped = sum(contour.area for contour in contours[len(counts) :])
    return SlotPlan(slots, np.array([dropped]), (_fitted(held, slots),))


def _fitted(held: Mapping[int, NDArray[np.float32]], slots: Sequence[Slot]) -> dict[int, Points]:
    """Return the outlines of a frame with as many points as their slots have.

    This takes long for many parts. So callers make plans in a thread.
    """
    return {
        number: fit_count(points.astype(np.float64), slots[number].count)
        for number, points in held.items()
    }


def _length(points: Points) -> float:
    along = np.roll(points, -1, axis=0) - points
    return float(np.hypot(along[:, 0], along[:, 1]).sum())


def _differences(
    tracks: Sequence[_Track], outlines: Sequence[_Outline], index: int
) -> NDArray[np.float64]:
    """Return how different tracks and outlines are, (tracks, outlines); 0 is equal place and size.

    The measure is the distance between the centres of their boxes, plus the difference of the sizes.
    Both are divided by the size of the box, so that a large part may move farther than a speck. A part
    that was on the frame before is expected to keep its motion.
    """
    gap = np.array([index - track.seen for track in tracks])
    shift = np.stack([track.motion for track in tracks]) * (gap == 1)[:, None]
    track_low = (np.stack([track.low for track in tracks]) + shift)[:, None]
    track_high = (np.stack([track.high for track in tracks]) + shift)[:, None]
    low = np.stack([outline.low for outline in outlines])[None]
    high = np.stack([outline.high for outline in outlines])[None]
    size, track_size = high - low, track_high - track_low
    scale = np.maximum(np.maximum(size, track_size).max(axis=2), 1.0)
    moved = (low + high - track_low - track_high) / 2.0
    grown = np.abs(size - track_size).sum(axis=2)
    area = np.log([max(outline.area, 1e-3) for outline in outlines])[None]
    track_area = np.log([max(track.area, 1e-3) for track in tracks])[:, None]
    cost: NDArray[np.float64] = (
        (np.hypot(moved[..., 0], moved[..., 1]) + 0.5 * grown) / scale
        + 0.1 * np.abs(area - track_area)
        + 0.02 * (gap - 1)[:, None]
    )
    hole = np.array([outline.is_hole for outline in outlines])[None]
    track_hole = np.array([track.is_hole for track in tracks])[:, None]
    cost[hole != track_hole] = np.inf
    return cost


def _extend(track: _Track, outline: _Outline, index: int, number: int) -> None:
    """Add an outline to a track."""
    if track.seen == index - 1 and track.seen >= 0:
        track.motion = (outline.low + outline.high - track.low - track.high) / 2.0
    else:
        track.motion = np.zeros(2)
    track.outlines[index] = number
    track.seen = index
    track.low, track.high, track.area = outline.low, outline.high, outline.area
    track.total_area += outline.area


def _turned(outline: _Outline, before: _Outline) -> _Outline:
    """Begin an outline at the place where the same part began on the frame before.

    So a point with one number stays near the same place of the part. A person who edits points on
    several frames expects this.
    """
    size = np.maximum(outline.high - outline.low, 1e-6) / np.maximum(before.high - before.low, 1e-6)
    begin = (before.points[0] - before.low) * size + outline.low
    offset = outline.points - begin
    nearest = int(np.argmin((offset**2).sum(axis=1)))
    return _Outline(
        np.roll(outline.points, -nearest, axis=0),
        outline.is_hole,
        outline.area,
        outline.parent,
        outline.low,
        outline.high,
    )
