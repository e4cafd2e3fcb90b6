# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a matte a second time, close up.

SAM 2 sees every photo whole, resized to a square. If an object fills half of each side, it gets
only a quarter of the model's pixels, and a quarter of the result's cells. The second look crops the
photo to the first look's matte, with a little room around it, and asks the same model again. The
model gets that matte as earlier logits, a few places deep inside it, and the user's clicks. The two
answers are averaged on a grid twice as fine. The crop is mirrored: then the two looks are wrong in
different places, and their average is better. Other frames still remember the first look, so
tracking does not change.

If the photo is large enough, we can look even closer. First at four overlapping parts of the crop,
averaged on a grid twice as fine again. Then at nine smaller parts. Each look starts from what is
known so far.

A click is worth a closer look by itself: the subject is small on many photos, and the user looks at
just this place. So the bundled model answers clicks with one (`SecondLook.of_clicks`), before the
frame is remembered. Its tracked photos get a second look and one at parts, if the user does not
choose otherwise.
SAM 2.1 has four times the pixels and does what upstream does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...core.footage.sizes import PhotoSizes
from ...core.prompts import FramePrompts
from ...core.settings import RawSource
from ..images.frame_source import normalised
from ..models.device import DeviceChoice
from ..tracking.kept_prompts import inside_box, obeys
from ..tracking.prompt_tensors import PromptTensors, prompt_tensors
from ..tracking.results import FrameResult
from ..tracking.sam2_adapter import ImageFeatures, Prediction, Sam2Adapter
from ..tracking.session import ClickLook, stop_if
from .crops import CropReader, Part

FINER: Final = 2
"""Cells of a second look's result along each side, for one cell of the first look's logits."""

FINEST: Final = 4
"""The same, where parts were looked at too."""

PLACES: Final = 3
"""Number of places inside the matte that are given to the model as clicks."""

_ROOM: Final = 0.08  # room on every side of the matte, as a part of its width and height
_WORTH_IT: Final = 0.8  # of the photo's area: a crop that is hardly smaller shows nothing new
_CRUMB: Final = 0.03  # of the matte's area: smaller pieces don't widen the crop, and don't grow
_SHARP: Final = 0.75  # of the model's input: parts of a photo with fewer px show nothing new
_TRUST: Final = 0.65  # weight of a closer look in the average
_TRUST_AT_CLICKS: Final = 0.7  # the same, if the user's clicks say what is looked for
_LATTICE: Final = 16  # parts of a photo's side: so that the next click mostly has the same crop
_TAKEN: Final = 0.1  # of the known matte in a part: a look must not remove more
_NEARBY: Final = np.ones((17, 17), np.uint8)  # cells: pieces with a smaller gap belong together
_AGREE: Final = 0.5  # IoU: a second look that agrees less saw something else
_CELL: Final = 4  # px of the model's input for one cell of its logits

CloseUp = Callable[[int, Part, bool], ImageFeatures]
"""Index of a photo, from 0, a part of it, and whether to mirror it -> what the model sees."""

Floats = NDArray[np.float32]
_Place = tuple[float, float, int]  # x and y as fractions of the crop, and sam2's label


class _Level(NamedTuple):
    """How closely parts of a crop are looked at: their number along each side, and their size."""

    sides: int
    share: float


_CLOSER: Final = (_Level(2, 0.6), _Level(3, 0.5))


@dataclasses.dataclass(frozen=True)
class _Crop:
    """A part of the photo, in cells of a grid. Ends are not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def cells(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def scaled(self, factor: int) -> _Crop:
        """Return the same part on a grid ``factor`` times as fine."""
        return _Crop(
            factor * self.top, factor * self.left, factor * self.bottom, factor * self.right
        )

    def rounded(self, grid: tuple[int, ...]) -> _Crop:
        """Return the smallest crop around this one whose sides lie on the lattice."""
        down, across = (max(1, side // _LATTICE) for side in grid)
        return _Crop(
            self.top // down * down,
            self.left // across * across,
            min(grid[0], -(-self.bottom // down) * down),
            min(grid[1], -(-self.right // across) * across),
        )

    def part(self, grid: tuple[int, ...]) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom, as fractions of a picture whose grid has this shape."""
        height, width = grid
        return self.left / width, self.top / height, self.right / width, self.bottom / height


def close_ups(steps: Sam2Adapter, photos: Sequence[Path], raw: RawSource = "developed") -> CloseUp:
    """Return what reads parts of photos and encodes them. ``photos`` are in frame order."""
    reader = CropReader(photos, steps.model.image_size, raw)
    return lambda index, part, mirrored: steps.encode(
        normalised(seen_as(reader.at(index, part), mirrored=mirrored))
    )


def seen_as(picture: NDArray[Any], *, mirrored: bool) -> NDArray[Any]:
    """Return a picture, (h, w) or (h, w, 3), with left and right exchanged if it is ``mirrored``."""
    return np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture


class SecondLook:
    """Look again, close up, at the results of a session.

    Parameters
    ----------
    steps
        Of the model that looked first.
    close_up
        Shows parts of photos, as `close_ups` does. Photos have to be upright.
    sizes
        Of the photos. Prompts are measured in pixels of their own photo.
    choice
        Device and number format.
    closer
        0: only the whole object. 1: also four parts of it. 2: then nine smaller parts too.
    answered
        Whether `of_clicks` has looked at the photos with clicks, so that `at` need not look at their
        subjects as a whole.
    as_previewed
        Whether photos with clicks stay as `of_clicks` answered them: a preview shows just that.
    cancelled
        Called before every look.

    Examples
    --------
    Refine every result of ``session`` before it is kept. ``model`` is the session's model.

    >>> steps = Sam2Adapter(model, len(photos))
    >>> look = SecondLook(steps, close_ups(steps, photos), PhotoSizes(1920, 1080), choice)
    >>> finer = {}
    >>> session.run(lambda result: finer.update({result.frame: look.at(result, None)}))
    """

    def __init__(
        self,
        steps: Sam2Adapter,
        close_up: CloseUp,
        sizes: PhotoSizes,
        choice: DeviceChoice,
        *,
        closer: int = 0,
        answered: bool = False,
        as_previewed: bool = False,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._steps = steps
        self._close_up = close_up
        self._sizes = sizes
        self._choice = choice
        self._closer = _CLOSER[:closer]
        self._answered = answered
        self._as_previewed = as_previewed
        self._cancelled = cancelled
        self._side = steps.model.image_size

    def of_clicks(self, prediction: Prediction, prompts: FramePrompts) -> Prediction:
        """Return the model's answer to a photo's clicks after a closer look at the whole subject.

        Its grid is `FINER` times as fine. It is the same answer if there is nothing to look at, if
        the closer look finds something else, or would not obey a click.

        Parameters
        ----------
        prediction
            Of the whole photo.
        prompts
            The user's clicks or box on it.

        Raises
        ------
        FootageError
            The photo can't be read.
        Cancelled
            As soon as ``cancelled`` returns True.
        """
        first: Floats = prediction.logits[0, 0].to(torch.float32).cpu().numpy()
        crop = _crop_to(first)
        crop = None if crop is None else crop.rounded(first.shape)
        if crop is None or crop.area >= _WORTH_IT * first.size:
            return prediction
        known = _finer(first)
        whole = crop.scaled(FINER)
        again = self._look(prompts.frame, known, whole, prompts, advised=False)
        if again is None:
            return prediction
        known[whole.cells] += np.float32(_TRUST_AT_CLICKS) * (again - known[whole.cells])
        points = self._points(prompts)
        logits = torch.from_numpy(known)[None, None]  # (1, 1, S / 2, S / 2)
        if points is not None:
            logits = inside_box(logits, points, self._side)
            if self._steps.keeps_prompts and not obeys(logits, points, self._side):
                return prediction
        logits = logits.to(prediction.logits)
        at_input = F.interpolate(
            logits, size=(self._side, self._side), mode="bilinear", align_corners=False
        )
        return dataclasses.replace(prediction, logits=logits, logits_at_input=at_input)

    def at(self, result: FrameResult, prompts: FramePrompts | None) -> FrameResult:
        """Return the result after closer looks.

        Its grid is `FINER` times as fine, or `FINEST` if the photo has enough pixels for its parts.

        A photo with clicks that `of_clicks` has looked at is only looked at in parts, and not even
        that if it is to stay ``as_previewed``. In these cases it stays the first look's result, only on the
        finer grid: there is nothing to look at, the user gave the mask, a closer look finds something
        else, or the new result would not obey a click. If an object fills the photo, only its parts
        are looked at.

        Parameters
        ----------
        result
            A result of the session.
        prompts
            The user's prompts for this object on this frame, if any.

        Raises
        ------
        FootageError
            The photo can't be read.
        Cancelled
            As soon as ``cancelled`` returns True.
        """
        answered = self._answered and result.prompted
        if answered and (self._as_previewed or not self._closer):
            return result
        first = result.logits
        is_finer = first.shape[0] > self._side // _CELL
        start = first if is_finer else _finer(first)
        if is_finer:
            first = _resized(first, first.shape[1] // FINER, first.shape[0] // FINER)
        known = start.copy()
        given = prompts is not None and prompts.mask is not None
        looked = is_finer or answered
        crop = None if given else _crop_to(first)
        if crop is not None and crop.area < _WORTH_IT * first.size and not looked:
            whole = crop.scaled(FINER)
            again = self._look(result.frame, known, whole, prompts)
            if again is not None:
                known[whole.cells] += np.float32(_TRUST) * (again - known[whole.cells])
        size = self._sizes.of(result.frame)
        sharp = [
            one for one in self._closer if crop and self._is_sharp(crop, first, size, one.share)
        ]
        if crop is not None and sharp:
            known, start = _finer(known), _finer(start)
            for level in sharp:
                parts = _parts(crop.scaled(FINEST), level)
                known = known + self._shown_by_parts(result.frame, known, parts, prompts)
            known = _without_grown_crumbs(known, start)
        if prompts is not None and self._steps.keeps_prompts and not self._obeys(known, prompts):
            known = start
        scores = msgspec.structs.replace(result.scores, area=float((known > 0).mean()))
        return dataclasses.replace(result, logits=known, scores=scores)

    def _obeys(self, known: Floats, prompts: FramePrompts) -> bool:
        """Whether the result still obeys the clicks on this photo."""
        points = self._points(prompts)
        return points is None or obeys(torch.from_numpy(known)[None, None], points, self._side)

    def _points(self, prompts: FramePrompts) -> dict[str, Tensor] | None:
        size = self._sizes.of(prompts.frame)
        return prompt_tensors(prompts, *size, self._side, torch.device("cpu")).points

    def _shown_by_parts(
        self,
        frame: int,
        known: Floats,
        parts: list[tuple[_Crop, Floats]],
        prompts: FramePrompts | None,
    ) -> Floats:
        """Return the weighted change of what is known, (h, w), from looks at the parts."""
        change = np.zeros_like(known)
        for part, weight in parts:
            here = known[part.cells]
            again = None if (here > 0).all() else self._look(frame, known, part, prompts)
            if again is not None:
                change[part.cells] += weight * _believed(here, again)
        return np.float32(_TRUST) * change

    def _is_sharp(self, crop: _Crop, first: Floats, size: tuple[int, int], share: float) -> bool:
        """Whether the photo has enough pixels for a part of the crop to show something new."""
        left, top, right, bottom = crop.part(first.shape)
        longer = max(size[0] * (right - left), size[1] * (bottom - top))
        return bool(share * longer >= _SHARP * self._side)

    def _look(
        self,
        frame: int,
        known: Floats,
        crop: _Crop,
        prompts: FramePrompts | None,
        *,
        advised: bool = True,
    ) -> Floats | None:
        """Return the model's answer for the crop, (h, w), in cells of what is known.

        None if there is nothing to look for, or the model saw something else. If it is not
        ``advised`` by places inside what is known, it only has the user's own prompts, and sees the
        crop as it is: then the next click has the same one.
        """
        side, cells = self._side, self._side // _CELL
        mirrored = advised
        prior = _resized(known[crop.cells], cells, cells)
        seen = _placed(prompts, self._sizes.of(frame), known.shape, crop, boxed=not advised)
        if advised:
            seen += deep_inside(prior)
        if not seen:
            return None
        if mirrored:
            seen = [(1 - x, y, kind) for x, y, kind in seen]
        stop_if(self._cancelled)
        device = self._choice.device
        places = torch.tensor([seen], dtype=torch.float32)  # (1, P, 3)
        points = PromptTensors(
            (places[..., :2] * side - 0.5).to(device), places[..., 2].int().to(device), None
        )
        with self._choice.computing():
            image = self._close_up(frame - 1, crop.part(known.shape), mirrored)
            before = torch.from_numpy(seen_as(prior, mirrored=mirrored))
            before = before[None, None].to(device)  # (1, 1, S / 4, S / 4)
            found = self._steps.refine_from_logits(frame - 1, image, points, before, advice=advised)
        logits: Floats = found.logits[0, 0].to(torch.float32).cpu().numpy()
        logits = seen_as(logits, mirrored=mirrored)
        both, either = (logits > 0) & (prior > 0), (logits > 0) | (prior > 0)
        if not both.sum() > _AGREE * either.sum():
            return None
        return _resized(logits, crop.right - crop.left, crop.bottom - crop.top)


def click_look(
    steps: Sam2Adapter,
    close_up: CloseUp,
    sizes: PhotoSizes,
    choice: DeviceChoice,
    *,
    panorama: bool,
    cancelled: Callable[[], bool],
) -> ClickLook | None:
    """Return the closer look at clicks, or None for a model or a panorama that gets none.

    Parameters are as in `SecondLook`.
    """
    if not answers_clicks(steps, panorama=panorama):
        return None
    return SecondLook(steps, close_up, sizes, choice, cancelled=cancelled).of_clicks


def answers_clicks(steps: Sam2Adapter, *, panorama: bool) -> bool:
    """Whether photos with clicks get a closer look by themselves."""
    return steps.takes_turns and not panorama


def _believed(known: Floats, again: Floats) -> Floats:
    """Return the change from a look at a part. A look that would remove much may only add."""
    change = again - known
    taken = ((again <= 0) & (known > 0)).sum()
    return np.maximum(change, 0) if taken > _TAKEN * (known > 0).sum() else change


def _parts(crop: _Crop, level: _Level) -> list[tuple[_Crop, Floats]]:
    """Return overlapping parts, as many as the level says. Their weights add up to 1 in every cell."""
    return [
        (_Crop(top, left, bottom, right), np.outer(down, across))
        for top, bottom, down in _spans(crop.top, crop.bottom, *level)
        for left, right, across in _spans(crop.left, crop.right, *level)
    ]


def _spans(start: int, stop: int, count: int, share: float) -> list[tuple[int, int, Floats]]:
    """Divide a range into overlapping spans with weights. Where spans overlap, they fade into each other."""
    length = math.ceil(share * (stop - start))
    first = [start + round(at * (stop - start - length) / (count - 1)) for at in range(count)]
    weights = np.zeros((count, stop - start), np.float32)
    ramp = np.arange(length, dtype=np.float32) + np.float32(0.5)
    for at, begin in enumerate(first):
        weight = np.ones(length, np.float32)
        if at > 0:
            weight = np.minimum(weight, ramp / max(1, first[at - 1] + length - begin))
        if at < count - 1:
            weight = np.minimum(weight, ramp[::-1] / max(1, begin + length - first[at + 1]))
        weights[at, begin - start : begin - start + length] = weight
    weights /= weights.sum(axis=0)
    return [
        (begin, begin + length, weights[at, begin - start : begin - start + length])
        for at, begin in enumerate(first)
    ]


def _without_grown_crumbs(known: Floats, before: Floats) -> Floats:
    """Keep the first look's result for pieces that lie apart from its larger pieces.

    Such a small piece may be something else. A very close look, with hardly any of the object in
    it, would follow that.
    """
    _, pieces, about = _pieces(before)
    large = np.isin(pieces, _larger(about))
    count, pieces, _ = _pieces(known)
    is_crumb = np.ones(count, dtype=bool)
    is_crumb[pieces[cv2.dilate(large.astype(np.uint8), _NEARBY) > 0]] = False
    is_crumb[0] = False  # the outside
    return np.where(is_crumb[pieces], np.minimum(known, before), known)


def _pieces(logits: Floats) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """Return their count with the outside, the piece of each cell (0 outside), OpenCV's statistics."""
    inside = (logits > 0).astype(np.uint8)
    count, pieces, about, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    return count, np.asarray(pieces, np.int32), np.asarray(about, np.int32)


def _larger(about: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the numbers of the larger pieces."""
    areas = about[1:, cv2.CC_STAT_AREA]
    return 1 + np.flatnonzero(areas >= _CRUMB * float(areas.sum()))


def _crop_to(logits: Floats) -> _Crop | None:
    """Return a crop around the matte's larger pieces. None if there are none."""
    _, _, about = _pieces(logits)
    large = about[_larger(about)]
    if not len(large):
        return None
    left, top = large[:, cv2.CC_STAT_LEFT].min(), large[:, cv2.CC_STAT_TOP].min()
    right = (large[:, cv2.CC_STAT_LEFT] + large[:, cv2.CC_STAT_WIDTH]).max()
    bottom = (large[:, cv2.CC_STAT_TOP] + large[:, cv2.CC_STAT_HEIGHT]).max()
    across, down = _ROOM * (right - left), _ROOM * (bottom - top)
    height, width = logits.shape
    return _Crop(
        max(0, int(top - down)),
        max(0, int(left - across)),
        min(height, int(np.ceil(bottom + down))),
        min(width, int(np.ceil(right + across))),
    )


def _placed(
    prompts: FramePrompts | None,
    size: tuple[int, int],
    grid: tuple[int, ...],
    crop: _Crop,
    *,
    boxed: bool,
) -> list[_Place]:
    """Return the user's clicks inside the crop, after the corners of the box if it is ``boxed``."""
    if prompts is None:
        return []
    left, top, right, bottom = crop.part(grid)

    def at(x: float, y: float) -> tuple[float, float]:
        return (x / size[0] - left) / (right - left), (y / size[1] - top) / (bottom - top)

    box = prompts.box if boxed else None
    corners = [] if box is None else [(*at(box.x0, box.y0), 2), (*at(box.x1, box.y1), 3)]
    clicks = [(*at(point.x, point.y), int(point.include)) for point in prompts.points]
    return corners + [(x, y, kind) for x, y, kind in clicks if 0 <= x < 1 and 0 <= y < 1]


def deep_inside(logits: Floats) -> list[_Place]:
    """Return at most `PLACES` places inside a matte, (h, w), far from its edge and from each other.

    Each is x and y as fractions of width and height, and 1, sam2's label for "inside".
    """
    # The crop's rim counts as an edge too, because nothing is known outside of it.
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


def _finer(logits: NDArray[Any]) -> Floats:
    return _resized(logits.astype(np.float32), 2 * logits.shape[1], 2 * logits.shape[0])


def _resized(logits: Floats, width: int, height: int) -> Floats:
    """Resize, bilinear with half-pixel centres."""
    return np.asarray(cv2.resize(logits, (width, height)), dtype=np.float32)
