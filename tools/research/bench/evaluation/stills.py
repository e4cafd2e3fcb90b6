# SPDX-License-Identifier: GPL-3.0-or-later
"""Click on single photos until they are right, with the product's preview.

Each next click goes where the mask is most wrong (`clicking.next_click`). We count what the field
counts (Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive
Segmentation", ICIP 2022). We also check whether the mask does what the last click said.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.geometry.resample import upsample_binary
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import ModelChoice, PreviewRequest
from sam2_splat_addon.core.settings import ObeyClicks, RunSettings
from sam2_splat_addon.engine.jobs import preview
from tools.research.bench.evaluation.clicking import next_click, obeys
from tools.research.bench.evaluation.measures import region_iou
from tools.research.bench.evaluation.prompting import box_around
from tools.research.bench.evaluation.real import Still

MOST_CLICKS: Final = 20
"""After this many clicks we give up a photo."""

GOOD_ENOUGH: Final = 0.95
"""From this IoU on nobody clicks any more."""

FALL: Final = 0.02
"""An added click is harmful if it lowers IoU by more than this."""

Mask = NDArray[np.bool_]
OnMask = Callable[[FramePrompts, Mask, float], None]
"""Gets the prompts, the mask that came, and its IoU."""


class ClickScore(msgspec.Struct, frozen=True):
    """One click, and the mask from it and all earlier clicks.

    Attributes
    ----------
    x, y, include
        As in `PointPrompt`.
    obeyed
        Whether the mask has the click's own pixel as the click says.
    iou
        Of the mask with the truth.
    cpu_seconds
        CPU time of the preview. For the first click it includes reading and encoding the photo.
    """

    x: float
    y: float
    include: bool
    obeyed: bool
    iou: float
    cpu_seconds: float

    def prompt(self) -> PointPrompt:
        return PointPrompt(self.x, self.y, self.include)


class StillScore(msgspec.Struct, frozen=True):
    """One photo.

    Attributes
    ----------
    group, name
        See `real.Still`.
    clicks
        In order. They end early if IoU reached `GOOD_ENOUGH`.
    box_iou
        Of the mask from the object's own box.
    box_outside
        The part of that mask that lies outside the box.
    """

    group: str
    name: str
    clicks: tuple[ClickScore, ...]
    box_iou: float
    box_outside: float

    def iou_after(self, clicks: int) -> float:
        """IoU after a number of clicks. A photo that ended earlier keeps its last IoU."""
        return self.clicks[min(clicks, len(self.clicks)) - 1].iou

    def clicks_to(self, iou: float) -> int | None:
        """Number of clicks to reach an IoU. None if it is never reached."""
        for number, click in enumerate(self.clicks, start=1):
            if click.iou >= iou:
                return number
        return None

    def falls(self) -> list[bool]:
        """For each added click, whether it lowered IoU by more than `FALL`."""
        ious = [click.iou for click in self.clicks]
        return [after < before - FALL for before, after in itertools.pairwise(ious)]


class Clicker:
    """Click on one photo and see what the product shows.

    Parameters
    ----------
    model, image_size
        As in `tracking.track`.
    still
        The photo.
    on_mask
        Called for every mask.
    obey_clicks
        As in `RunSettings`.

    Raises
    ------
    FootageError
        Its label can't be read.
    """

    def __init__(
        self,
        model: ModelChoice,
        image_size: int,
        still: Still,
        on_mask: OnMask = lambda prompts, mask, iou: None,
        *,
        obey_clicks: ObeyClicks = "automatic",
    ) -> None:
        self._model = model
        self._image_size = image_size
        self._still = still
        self._on_mask = on_mask
        self._obey_clicks = obey_clicks
        self.truth, self.counts = still.truth()

    def mask(self, prompts: FramePrompts) -> Mask:
        """The mask that a preview of these prompts shows, (H, W); raises SplatError."""
        height, width = self.truth.shape
        thing = ObjectPrompts(1, "subject", (prompts,))
        request = PreviewRequest(
            str(self._still.photo.resolve()),
            width,
            height,
            1,
            PromptSet((thing,), width, height),
            self._model,
            settings=RunSettings(obey_clicks=self._obey_clicks),
        )
        (matte,) = preview.run(request, lambda: False, self._image_size)
        return upsample_binary(matte.array(), width, height)

    def iou(self, mask: Mask) -> float:
        """Of a mask with the truth, over the pixels that count."""
        return region_iou(mask & self.counts, self.truth)

    def click(self, most: int = MOST_CLICKS) -> tuple[ClickScore, ...]:
        """Click where the mask is most wrong, until it is good enough; raises SplatError."""
        mask = np.zeros_like(self.truth)
        scores: list[ClickScore] = []
        while len(scores) < most:
            click = next_click(mask, self.truth, self.counts)
            if click is None:
                break
            prompts = FramePrompts(1, (*(score.prompt() for score in scores), click))
            began = time.process_time()
            mask = self.mask(prompts)
            seconds = time.process_time() - began
            iou = self.iou(mask)
            self._on_mask(prompts, mask, iou)
            scores.append(
                ClickScore(click.x, click.y, click.include, obeys(mask, click), iou, seconds)
            )
            if iou >= GOOD_ENOUGH:
                break
        return tuple(scores)

    def score(self) -> StillScore:
        """Click, and draw a box once; raises SplatError."""
        clicks = self.click()
        box = box_around(self.truth)
        prompts = FramePrompts(1, box=box)
        mask = self.mask(prompts)
        iou = self.iou(mask)
        self._on_mask(prompts, mask, iou)
        inside = mask[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)]
        outside = int(mask.sum()) - int(inside.sum())
        return StillScore(
            self._still.group,
            self._still.name,
            clicks,
            iou,
            outside / max(1, int(mask.sum())),
        )


def mean_iou(scores: Sequence[StillScore], clicks: int) -> float:
    """Mean IoU after a number of clicks. There must be a photo."""
    return float(np.mean([score.iou_after(clicks) for score in scores]))


def clicks_needed(scores: Sequence[StillScore], iou: float) -> tuple[float, float]:
    """Return NoC, the mean number of clicks to an IoU, and the part of photos that never reach it.

    Those count as `MOST_CLICKS`.
    """
    needed = [score.clicks_to(iou) for score in scores]
    return (
        float(np.mean([MOST_CLICKS if number is None else number for number in needed])),
        float(np.mean([number is None for number in needed])),
    )


def obeyed(
    scores: Sequence[StillScore],
    *,
    include: bool | None = None,
    first: int = 1,
    last: int = MOST_CLICKS,
) -> tuple[float | None, int]:
    """Return the part of clicks obeyed at their own pixel, and the number of clicks.

    Parameters
    ----------
    scores
        The photos.
    include
        Only include or only exclude clicks. None is both.
    first, last
        Which clicks of each photo count, by number from 1.
    """
    found = [
        click.obeyed
        for score in scores
        for click in score.clicks[first - 1 : last]
        if include is None or click.include == include
    ]
    return (float(np.mean(found)) if found else None), len(found)


def share_of_falls(scores: Sequence[StillScore]) -> tuple[float | None, int]:
    """Return the part of added clicks that lowered IoU by more than `FALL`, and their number."""
    found = [fell for score in scores for fell in score.falls()]
    return (float(np.mean(found)) if found else None), len(found)
