# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at every frame of a video: how sharp it is, and how far the view has moved.

Each frame is shrunk at once, and only a few numbers of it are kept.

**Sharpness** compares neighbouring pixels with pixels eight apart, in four directions. At a sharp
edge one pair of neighbours differs for eight pairs of pixels eight apart; at a wide edge neighbours
hardly differ. The least direction counts, because shake blurs along one direction.

**The way of the view** follows corners from a reference frame (Lucas and Kanade's flow). When they have
moved far, or too few are left, the frame becomes the next reference. So noise and a trembling hand add
nothing up. The movement is the mean over the parts of the picture, each with the median of its corners.
"""

from __future__ import annotations

import time
import zlib
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.errors import Cancelled, DamagedPhoto, FootageError
from ...core.footage.video_scores import Thumbnail, VideoScores, write_scores
from ...core.protocol import Progress, VideoScoresRequest
from ..images import video_colors
from ..images.video import Frame, Video
from ..images.video_colors import Look

Grey = NDArray[np.uint8]
Points = NDArray[np.float32]

_SHARP_SIDE: Final = 1280  # px, the longer side of the copy that sharpness is measured on
_MOVE_SIDE: Final = 320  # px, of the copy that the view is followed on
_FAR: Final = 8  # px between compared pixels

_CORNERS: Final = 240
_FEWEST: Final = 16  # corners that are worth a measure
_LEFT: Final = 0.5  # share of the corners; with fewer, a new reference is taken
_NEXT_AFTER: Final = 0.03  # widths; a view further away becomes the next reference
_BACK: Final = 1.0  # px; a corner that does not come back to its place is lost
_CELLS: Final = 4  # parts of the picture, across and down
_LOST: Final = 0.1  # widths that count as moved where nothing can be followed

_THUMB_SIDE: Final = 128
_MOST_THUMBS: Final = 128
_EARLY: Final = 0.5  # s that may be missing at the end
_REPORT_EVERY: Final = 5  # frames
_COLUMNS: Final = {
    "numbers": "q",
    "seconds": "d",
    "stamps": "q",
    "sharpness": "f",
    "places": "f",
    "checks": "Q",
}


def score_video(
    request: VideoScoresRequest,
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> VideoScores:
    """Measure all frames of a video, and write the scores into their file.

    Raises
    ------
    Cancelled
        The user cancelled. Nothing is kept.
    DamagedPhoto
        No frame decodes, or the file has lost its end.
    FootageError
        The file is no video, or the scores can't be written.
    """
    with Video(Path(request.video)) as video:
        scores = _Measured(video)
        total, began = video.frames_expected, time.monotonic()
        for frame in video.frames():
            if cancelled():
                raise Cancelled
            scores.add(frame)
            if frame.number % _REPORT_EVERY == 0:
                each = (time.monotonic() - began) / frame.number
                done = min(frame.number, total)
                left = (total - done) * each
                on_progress(Progress("watching", done, total, frame.number, "", each, left))
        found = scores.result()
    try:
        write_scores(Path(request.scores), found)
    except OSError as problem:
        raise FootageError(
            f"{request.scores} can't be written: {problem.strerror or problem}.",
            "Choose a cache folder that you may write to, on a disk with free space.",
        ) from problem
    return found


class _Measured:
    """The scores so far."""

    def __init__(self, video: Video) -> None:
        self._video = video
        self._look: Look | None = None
        self._view = _View()
        # A few bytes for a frame: a list of tuples would need hundreds, and films have no limit.
        self._columns: dict[str, array[Any]] = {
            name: array(kind) for name, kind in _COLUMNS.items()
        }
        self._thumbs: list[Thumbnail] = []
        self._thumb_step = 1
        self._other_size = 0
        self._is_interlaced = False
        self._last = 0.0  # s that the last frame is shown

    def add(self, frame: Frame) -> None:
        """Measure one frame."""
        picture = frame.picture
        if self._look is None:
            self._look = video_colors.look_of(picture, self._video.stretch)
        look = self._look
        if (picture.width, picture.height) != (look.width, look.height):
            self._other_size += 1
            return
        self._is_interlaced = self._is_interlaced or bool(picture.interlaced_frame)
        bright = video_colors.luma(picture, _within(look.square, _SHARP_SIDE))
        small = shrunk(bright)
        place = self._view.add(small)
        base = picture.time_base
        self._last = float(picture.duration * base) if picture.duration and base else 0.0
        row = (frame.number, frame.seconds, frame.stamp, sharpness(bright), place, check_of(small))
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        index = len(self._columns["numbers"]) - 1
        if index % self._thumb_step == 0:
            self._thumbs.append(_thumbnail(frame, look, index))
            if len(self._thumbs) > _MOST_THUMBS:
                del self._thumbs[1::2]
                self._thumb_step *= 2

    def result(self) -> VideoScores:
        """Return the scores of all frames; raises DamagedPhoto if there are none."""
        name = self._video.path.name
        if self._look is None or not self._columns["numbers"]:
            raise DamagedPhoto(
                f"No frame of {name} can be decoded.", "Copy the video again from the camera."
            )
        numbers, times, stamps, sharp, places, checks = map(np.asarray, self._columns.values())
        look = self._look
        return VideoScores(
            *look.size,
            numbers.astype(np.int64),
            np.maximum.accumulate(times - times[0]),
            stamps.astype(np.int64),
            sharp.astype(np.float32),
            np.maximum.accumulate(places.astype(np.float32)),
            checks.astype(np.uint32),
            (*look.facts(), *self._odd(float(times[-1] - times[0]) + self._last)),
            self._video.damaged,
            tuple(self._thumbs),
        )

    def _odd(self, seconds: float) -> list[str]:
        """Return sentences about what could not be used."""
        video, said = self._video, []
        assert self._look is not None
        if self._is_interlaced and not self._look.is_interlaced:
            said.append(
                "Parts of the video are interlaced: there photos have every second line, and the lines"
                " between are filled."
            )
        if video.damaged:
            said.append(f"Frames that can't be decoded and were left out: {video.damaged}.")
        expected = video.seconds_expected
        if video.is_cut_off or (expected and seconds < expected - _EARLY - 0.01 * expected):
            said.append(
                f"The end of the video is missing or damaged: it was used up to {seconds:.1f} s."
            )
        if self._other_size:
            said.append(
                f"Frames of another size than the first, which were left out: {self._other_size}."
            )
        return said


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return a size with the same proportions whose longer side is at most ``side``."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrunk(bright: Grey) -> Grey:
    """Return the copy of a frame on which the view is followed, and which its check sum is of."""
    size = _within((bright.shape[1], bright.shape[0]), _MOVE_SIDE)
    return np.asarray(cv2.resize(bright, size, interpolation=cv2.INTER_AREA), np.uint8)


def small_copy(frame: Frame, look: Look) -> Grey:
    """Return the same copy as when the frame was measured."""
    return shrunk(video_colors.luma(frame.picture, _within(look.square, _SHARP_SIDE)))


def check_of(small: Grey) -> int:
    """Return the check sum of a small copy."""
    return zlib.crc32(small.tobytes())


def sharpness(bright: Grey) -> float:
    """Return how sharp a picture is: 1 if its edges are one pixel wide, less if they are wider.

    What the picture shows hardly counts. Noise and very fine patterns give more than 1.

    Parameters
    ----------
    bright
        (height, width).
    """
    height, width = bright.shape
    if min(height, width) <= 2 * _FAR:
        return 1.0
    least = float("inf")
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        near, far = (_difference(bright, down * by, right * by) for by in (1, _FAR))
        least = min(least, _FAR * near / far if far > 0 else 0.0)
    return least


def _difference(bright: Grey, down: int, right: int) -> float:
    """Return the mean square of differences between pixels and those so many px away."""
    height, width = bright.shape
    left, other = max(0, -right), max(0, right)
    here = bright[: height - down, left : width - other]
    there = bright[down:, left + right : width - other + right]
    return cv2.norm(here, there, cv2.NORM_L2SQR) / here.size


class _View:
    """How far the view has moved so far, followed from one reference frame to the next."""

    def __init__(self) -> None:
        self._reference: Grey | None = None
        self._corners: Points = np.empty((0, 1, 2), np.float32)
        self._moved: Points = self._corners
        self._place = 0.0  # of the reference
        self._last: tuple[Grey, float] | None = None

    def add(self, small: Grey) -> float:
        """Return the place of the next frame, in widths of the picture."""
        if self._reference is None or self._last is None:
            self._refer_to(small, 0.0)
            self._last = (small, 0.0)
            return 0.0
        moved, left = self._followed(small)
        if left < _LEFT:  # the frame before may see more of the same
            self._refer_to(*self._last)
            moved, left = self._followed(small)
        if left < _LEFT / 2 and len(self._corners) >= _FEWEST:
            moved = max(moved, _LOST)  # a cut, or a blur too strong to see through
        place = self._place + moved
        if moved > _NEXT_AFTER or left < _LEFT:
            self._refer_to(small, place)
        self._last = (small, place)
        return place

    def _refer_to(self, small: Grey, place: float) -> None:
        self._reference, self._place = small, place
        found = cv2.goodFeaturesToTrack(small, _CORNERS, 0.01, 6)
        self._corners = np.empty((0, 1, 2), np.float32)
        if found is not None:
            self._corners = np.asarray(found, np.float32)
        self._moved = self._corners

    def _followed(self, small: Grey) -> tuple[float, float]:
        """Return how far the corners have moved, in widths, and the share that was found again."""
        if len(self._corners) < _FEWEST or self._reference is None:
            return 0.0, 0.0 if len(self._corners) else 1.0
        there: Any = self._moved.copy()
        back: Any = self._corners.copy()
        how: Any = {"winSize": (15, 15), "maxLevel": 3, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
        there, found, _ = cv2.calcOpticalFlowPyrLK(
            self._reference, small, self._corners, there, **how
        )
        back, returned, _ = cv2.calcOpticalFlowPyrLK(small, self._reference, there, back, **how)
        off = np.linalg.norm(back - self._corners, axis=2)[:, 0]
        good = (found[:, 0] == 1) & (returned[:, 0] == 1) & (off < _BACK)
        if good.sum() < _FEWEST:
            return 0.0, 0.0
        ways = (there - self._corners)[good, 0]
        height, width = small.shape
        at = self._corners[good, 0] * _CELLS // (width, height)
        cells = (at[:, 1] * _CELLS + at[:, 0]).astype(int)
        medians = [np.median(ways[cells == cell], axis=0) for cell in np.unique(cells)]
        typical = np.median(ways, axis=0)
        # The next search begins here: a corner that was lost may be found again.
        self._moved = np.where(good[:, None, None], there, self._corners + typical).astype(
            np.float32
        )
        moved = float(np.mean(np.linalg.norm(medians, axis=1))) / max(width, height)
        return moved, float(good.mean())


def _thumbnail(frame: Frame, look: Look, index: int) -> Thumbnail:
    width, height = _within((look.width, look.height), _THUMB_SIDE)
    small = frame.picture.reformat(width, height, threads=1)
    little = Look(width, height, look.is_deep, look.transfer, look.primaries, False, look.turn, 1.0)
    full = video_colors.photo(small, little, deep=False)
    width, height = _within(look.size, _THUMB_SIDE)
    picture = cv2.resize(full, (width, height), interpolation=cv2.INTER_AREA)
    return Thumbnail(index, width, height, picture.tobytes())
