# SPDX-License-Identifier: GPL-3.0-or-later
"""A matte looked at once more, close up; imports core, torch, numpy and OpenCV.

SAM 2 sees every photo whole, squashed to a square: an object that fills half of each side gets a
quarter of what the model can see, and of the cells it answers in. The second look crops the photo to
the first look's matte, with a little room around, and asks the same model again: by that matte, as
earlier logits are corrected, by a few places deep inside it, and by the user's own clicks. The two
answers are averaged, on a grid twice as fine. What is remembered for other frames stays the first
look's, so tracking does not change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ..core.prompts import FramePrompts
from .device import DeviceChoice
from .frames import close_up, normalised
from .prompt_tensors import PromptTensors
from .sam2_steps import Sam2Steps
from .session import FrameResult

FINER: Final = 2
"""Cells of the result along each side, to one cell of the first look's logits."""

PLACES: Final = 3
"""Places inside the matte that are pointed at."""

_ROOM: Final = 0.08  # around the matte, of its width and height, on every side
_WORTH_IT: Final = 0.8  # of the photo's area: a crop that is hardly smaller shows nothing new
_PART: Final = 0.03  # of the matte's area: smaller parts don't widen the crop
_TRUST: Final = 0.5  # of the second look in the average
_AGREE: Final = 0.5  # IoU: a second look that agrees less looked at something else
_CELL: Final = 4  # px of the model's input to a cell of its logits

Floats = NDArray[np.float32]
_Place = tuple[float, float, int]  # x and y as shares of the crop, and 1 for inside, 0 for outside


@dataclasses.dataclass(frozen=True)
class _Crop:
    """A part of the photo, in cells of the first look's grid; the last row and column not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def cells(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def part(self, grid: tuple[int, ...]) -> tuple[float, float, float, float]:
        """Left, top, right and bottom as shares of a picture whose grid has this shape."""
        height, width = grid
        return self.left / width, self.top / height, self.right / width, self.bottom / height


class SecondLook:
    """Looks again at what a session found.

    Parameters
    ----------
    steps
        Of the model that looked first.
    photos
        In frame order.
    size
        The footage's (width, height), px: what the prompts are measured in.
    choice
        Device and number format.
    """

    def __init__(
        self,
        steps: Sam2Steps,
        photos: Sequence[Path],
        size: tuple[int, int],
        choice: DeviceChoice,
    ) -> None:
        self._steps = steps
        self._photos = tuple(photos)
        self._size = size
        self._choice = choice
        self._side = steps.model.image_size

    def at(self, result: FrameResult, prompts: FramePrompts | None) -> FrameResult:
        """The result after a second look, its logits on a grid `FINER` times as fine.

        It stays the first look's, only finer, where there is nothing to look at, where the object
        fills the photo, where the user gave the mask, and where the second look finds something
        else.

        Parameters
        ----------
        result
            Of the session.
        prompts
            The user's for this object on this frame, if any.

        Raises
        ------
        FootageError
            The photo can't be read.
        """
        first = result.logits
        fine = _resized(first, FINER * first.shape[1], FINER * first.shape[0])
        given = prompts is not None and prompts.mask is not None
        crop = None if given else _crop_to(first)
        if crop is not None:
            clicks = _clicks(prompts, self._size, first.shape, crop)
            again = self._look(result.frame, first, crop, clicks)
            if again is not None:
                rows, columns = (slice(FINER * s.start, FINER * s.stop) for s in crop.cells)
                close = _resized(again, columns.stop - columns.start, rows.stop - rows.start)
                fine[rows, columns] += np.float32(_TRUST) * (close - fine[rows, columns])
        scores = msgspec.structs.replace(result.scores, area=float((fine > 0).mean()))
        return dataclasses.replace(result, logits=fine, scores=scores)

    def _look(self, frame: int, first: Floats, crop: _Crop, clicks: list[_Place]) -> Floats | None:
        """The second look's logits over the crop, (S / 4, S / 4); None: it saw something else."""
        side, cells = self._side, self._side // _CELL
        prior = _resized(first[crop.cells], cells, cells)
        device = self._choice.device
        places = torch.tensor([[*clicks, *deep_inside(prior)]], dtype=torch.float32)  # (1, P, 3)
        prompts = PromptTensors(
            (places[..., :2] * side - 0.5).to(device), places[..., 2].int().to(device), None
        )
        photo = close_up(self._photos[frame - 1], crop.part(first.shape), side)
        with self._choice.computing():
            image = self._steps.encode(normalised(photo))
            known = torch.from_numpy(prior)[None, None].to(device)  # (1, 1, S / 4, S / 4)
            seen = self._steps.reconsider(frame - 1, image, prompts, known)
        logits: Floats = seen.logits[0, 0].to(torch.float32).cpu().numpy()
        both, either = (logits > 0) & (prior > 0), (logits > 0) | (prior > 0)
        return logits if both.sum() > _AGREE * either.sum() else None


def _crop_to(logits: Floats) -> _Crop | None:
    """Around the matte's larger parts; None without any, or when there is no coming closer."""
    inside = (logits > 0).astype(np.uint8)
    _, _, parts, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    large = parts[1:][parts[1:, cv2.CC_STAT_AREA] >= _PART * inside.sum()]
    if not len(large):
        return None
    left, top = large[:, cv2.CC_STAT_LEFT].min(), large[:, cv2.CC_STAT_TOP].min()
    right = (large[:, cv2.CC_STAT_LEFT] + large[:, cv2.CC_STAT_WIDTH]).max()
    bottom = (large[:, cv2.CC_STAT_TOP] + large[:, cv2.CC_STAT_HEIGHT]).max()
    across, down = _ROOM * (right - left), _ROOM * (bottom - top)
    height, width = logits.shape
    crop = _Crop(
        max(0, int(top - down)),
        max(0, int(left - across)),
        min(height, int(np.ceil(bottom + down))),
        min(width, int(np.ceil(right + across))),
    )
    area = (crop.right - crop.left) * (crop.bottom - crop.top)
    return crop if area < _WORTH_IT * width * height else None


def _clicks(
    prompts: FramePrompts | None, size: tuple[int, int], grid: tuple[int, ...], crop: _Crop
) -> list[_Place]:
    """The user's clicks that lie within the crop."""
    left, top, right, bottom = crop.part(grid)
    placed = []
    for point in () if prompts is None else prompts.points:
        x = (point.x / size[0] - left) / (right - left)
        y = (point.y / size[1] - top) / (bottom - top)
        if 0 <= x < 1 and 0 <= y < 1:
            placed.append((x, y, int(point.include)))
    return placed


def deep_inside(logits: Floats) -> list[_Place]:
    """Places inside a matte, (h, w), farthest from its edge and from each other, `PLACES` at most.

    Each is x and y as shares of width and height, and 1, sam2's label for "inside".
    """
    # The crop's rim is an edge too: what lies beyond it is not known.
    left: Any = np.pad((logits > 0).astype(np.uint8)[1:-1, 1:-1], 1)
    found: list[_Place] = []
    for _ in range(PLACES):
        depth = cv2.distanceTransform(left, cv2.DIST_L2, 3)
        row, column = divmod(int(depth.argmax()), depth.shape[1])
        deepest = float(depth[row, column])
        if deepest <= 0:
            break
        found.append(((column + 0.5) / depth.shape[1], (row + 0.5) / depth.shape[0], 1))
        cv2.circle(left, (column, row), int(max(4, 1.2 * deepest)), (0,), -1)
    return found


def _resized(logits: Floats, width: int, height: int) -> Floats:
    """Bilinear with half-pixel centres."""
    return np.asarray(cv2.resize(logits, (width, height)), dtype=np.float32)
