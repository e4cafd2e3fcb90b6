# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the frames of a video that become photos: sharp ones, spread by how far the view moved.

The way of the view is cut into windows of the same length, one for each photo. In time they are long
where the camera stands and short where it moves fast. Each window gives one frame. Dynamic programming
finds the choice with the best sum of sharpness and even gaps. A quick turn may have no sharp frame at
all. There the sharpest of the blurred frames closes a gap that would be too wide.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .video_scores import VideoScores

RULES: Final = 2
"""Version of this choice. It grows when other frames would be chosen."""

LEAST_MOVE: Final = 0.004
"""Views that differ by less than this share of the picture's width count as the same."""

_BLURRED: Final = 0.7  # of the sharpness around: below this a frame is blurred
_AROUND: Final = 1.0  # s to either side that are compared
_BLOCK: Final = 0.25  # s that share one comparison
_BEST: Final = 90.0  # percentile of the frames around that counts as sharp
_OF_ALL: Final = 0.5  # of the usual sharpness: what counts as sharp is never less
_CANDIDATES: Final = 48  # of one window
_ENOUGH: Final = 1.5  # of the sharpness around: more is not better
_SHARP_WEIGHT: Final = 1.5  # of the square of missing sharpness, against that of a gap
_MOST_WINDOWS: Final = 4  # times the wanted photos
# The widest gap between two photos, as a share of the picture's width, and in usual gaps. The larger
# counts: programs that find cameras want more than two thirds of a view in the next one.
_WIDEST: Final = 0.25
_WIDEST_STEPS: Final = 3.0
_NEAR_MIDDLE: Final = 0.2  # of the gap: as far from its middle may the frame be that closes it
_MOST_TRIES: Final = 5

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class VideoChoice:
    """Which frames become photos, and why others do not.

    Attributes
    ----------
    chosen
        (k,) indices into the scores, ascending.
    blurred
        (n,) flags of frames that are blurred in comparison with the frames around. The few chosen ones
        among them close a gap.
    alike
        (n,) flags of frames that are left out because a chosen frame already has their view.
    wanted
        How many photos were asked for.
    """

    chosen: Indices
    blurred: Flags
    alike: Flags
    wanted: int

    @property
    def blurred_photos(self) -> Indices:
        """The chosen frames that are blurred."""
        found: Indices = self.chosen[self.blurred[self.chosen]]
        return found

    def sentence(self) -> str:
        """Say in one sentence what is taken and what is left out."""
        taken, frames = len(self.chosen), len(self.blurred)
        blurred = int(self.blurred.sum()) - len(self.blurred_photos)
        alike = int(self.alike.sum())
        return (
            f"{taken} of {frames} frames become photos ({blurred} are blurred, {alike} have the view of"
            " a photo)"
        )


def choose(scores: VideoScores, wanted: int) -> VideoChoice:
    """Choose at most ``wanted`` frames. The same scores always give the same choice.

    Fewer are chosen if there are fewer views that differ, or fewer sharp frames.
    """
    sharpness = scores.sharpness.astype(np.float64)
    places = np.maximum.accumulate(scores.places.astype(np.float64))
    good = _good_sharpness(scores)
    blurred = sharpness < _BLURRED * good
    usable = np.flatnonzero(~blurred)
    way = float(places[-1] - places[0])
    most = min(wanted, len(usable), int(way / LEAST_MOVE) + 1)
    lost = np.square(np.maximum(_ENOUGH - sharpness / np.maximum(good, 1e-9), 0.0))
    chosen = _bridged(usable, places, lost, most)
    alike = _near(places, places[chosen]) & ~blurred
    alike[chosen] = False
    return VideoChoice(chosen, blurred, alike, wanted)


@functools.lru_cache(maxsize=1)  # a user tries many numbers of photos
def _good_sharpness(scores: VideoScores) -> Floats:
    """Return what counts as sharp at each frame: what the sharp frames around it have."""
    seconds, sharpness = scores.seconds, scores.sharpness.astype(np.float64)
    usual = float(np.percentile(sharpness, 75.0)) * _OF_ALL
    blocks, block_of = np.unique(np.floor(seconds / _BLOCK), return_inverse=True)
    first = np.searchsorted(seconds, (blocks + 0.5) * _BLOCK - _AROUND)
    last = np.searchsorted(seconds, (blocks + 0.5) * _BLOCK + _AROUND, side="right")
    around = np.array(
        [
            np.percentile(sharpness[low:high], _BEST)
            for low, high in zip(first.tolist(), last.tolist(), strict=True)
        ]
    )
    good: Floats = np.maximum(around[block_of], usual)
    return good


def _bridged(usable: Indices, places: Floats, lost: Floats, most: int) -> Indices:
    """Choose frames, and add blurred ones where the gap between two would be too wide."""
    widest = max(_WIDEST, _WIDEST_STEPS * float(places[-1] - places[0]) / max(most - 1, 1))
    added: list[int] = []
    for _ in range(_MOST_TRIES):
        chosen = _spread(usable, places, lost, max(1, most - len(added)))
        ends = zip(chosen.tolist(), chosen[1:].tolist(), strict=False)
        added = [
            at for before, after in ends for at in _between(before, after, places, lost, widest)
        ]
        if len(chosen) + len(added) <= most:
            break
    both: Indices = np.union1d(chosen, np.array(added[: most - len(chosen)], dtype=np.intp))
    return both


def _between(before: int, after: int, places: Floats, lost: Floats, widest: float) -> list[int]:
    """Return frames between two others that leave no gap wider than this, where there are frames."""
    first, last = float(places[before]), float(places[after])
    if last - first <= widest or after - before < 2:
        return []
    inside = np.arange(before + 1, after)
    off = np.abs(places[inside] - (first + last) / 2) / (last - first)
    near = off <= max(_NEAR_MIDDLE, float(off.min()))
    best = int(inside[near][np.argmin(lost[inside[near]] + np.square(off[near]))])
    if min(places[best] - first, last - places[best]) < LEAST_MOVE:
        return []
    return [
        *_between(before, best, places, lost, widest),
        best,
        *_between(best, after, places, lost, widest),
    ]


def _spread(usable: Indices, places: Floats, lost: Floats, most: int) -> Indices:
    """Choose one frame of each window. Use more windows if some have no usable frame."""
    first, way = float(places[0]), float(places[-1] - places[0])
    if most <= 1 or way <= 0.0:
        return usable[[int(np.argmin(lost[usable]))]].astype(np.intp)

    def cells(windows: int) -> Indices:
        found: Indices = ((places[usable] - first) / way * windows).astype(np.intp)
        return np.minimum(found, windows - 1)

    low, high = most, min(int(way / LEAST_MOVE) + 1, _MOST_WINDOWS * most) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if len(np.unique(cells(middle))) <= most:
            low = middle
        else:
            high = middle
    return _best_path(usable, cells(low), places, lost, way / low)


def _best_path(
    usable: Indices, cells: Indices, places: Floats, lost: Floats, step: float
) -> Indices:
    """Choose one candidate of each cell with the least cost of blur and uneven gaps."""
    numbers, begins = np.unique(cells, return_index=True)
    groups = [
        _candidates(group, lost, places, (number + 0.5) * step + float(places[0]))
        for number, group in zip(numbers, np.split(usable, begins[1:]), strict=True)
    ]
    cost = _SHARP_WEIGHT * lost[groups[0]]
    back: list[Indices] = []
    for before, after, cells_between in zip(groups, groups[1:], np.diff(numbers), strict=False):
        gap = (places[after][:, None] - places[before][None, :]) / (step * int(cells_between))
        sums = cost[None, :] + np.square(gap - 1.0)
        best = np.argmin(sums, axis=1)
        back.append(best)
        cost = sums[np.arange(len(after)), best] + _SHARP_WEIGHT * lost[after]
    at = int(np.argmin(cost))
    path = [int(groups[-1][at])]
    for group, best in zip(groups[-2::-1], back[::-1], strict=True):
        at = int(best[at])
        path.append(int(group[at]))
    chosen = np.array(path[::-1], dtype=np.intp)
    kept: Indices = chosen[_apart(places[chosen])]
    return kept


def _candidates(group: Indices, lost: Floats, places: Floats, middle: float) -> Indices:
    """Return the sharpest frames of a window; of equally sharp ones those near its middle."""
    if len(group) <= _CANDIDATES:
        return group
    order = np.lexsort((np.abs(places[group] - middle), lost[group]))
    sharpest: Indices = np.sort(group[order[:_CANDIDATES]])
    return sharpest


def _apart(places: Floats) -> Flags:
    """Return which of some places to keep, so that no two are nearly the same."""
    keep, last = np.zeros(len(places), dtype=bool), -np.inf
    for at, place in enumerate(places.tolist()):
        if place - last >= LEAST_MOVE / 2:
            keep[at], last = True, place
    return keep


def _near(places: Floats, chosen: Floats) -> Flags:
    """Return which places are nearly the same as the nearest chosen one."""
    after = np.clip(np.searchsorted(chosen, places), 0, len(chosen) - 1)
    before = np.maximum(after - 1, 0)
    away = np.minimum(np.abs(places - chosen[after]), np.abs(places - chosen[before]))
    near: Flags = away < LEAST_MOVE
    return near
