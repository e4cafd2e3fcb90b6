# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts made from the truth, as a user would give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.errors import PromptError
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
)
from tools.research.bench.evaluation.sources import Clip, Subject

PromptKind = Literal["1click", "3clicks", "box", "mask"]
PROMPT_KINDS: Final[tuple[PromptKind, ...]] = get_args(PromptKind)

_CLICK_DEPTH: Final = 3.0  # px: a click's distance from the edge, if the object is thick enough

Mask = NDArray[np.bool_]
Places = tuple[tuple[float, float], ...]
Placing = Callable[[Mask, int, Places], list[tuple[float, float]]]
"""How clicks are placed, such as `place_clicks`: mask, how many, places known to be good."""


def place_clicks(truth: Mask, count: int, given: Places = ()) -> list[tuple[float, float]]:
    """Return clicks on a mask: the given ones, then the deepest point, then points far from all others.

    Parameters
    ----------
    truth
        (H, W), not empty.
    count
        Number of clicks.
    given
        Places that are known to be good, best first.

    Returns
    -------
    list of (x, y)
        Centres of pixels inside, px from the top left corner.
    """
    depth = depths(truth)
    chosen = list(given[:count])
    if not chosen:
        chosen = [deepest(depth)]
    rows, columns = np.nonzero(depth >= min(_CLICK_DEPTH, float(depth.max())))
    candidates = np.stack([columns, rows], axis=1) + 0.5  # (N, 2) x, y
    while len(chosen) < count:
        gaps = np.linalg.norm(candidates[:, None] - np.array(chosen)[None], axis=2).min(axis=1)
        x, y = candidates[int(gaps.argmax())]
        chosen.append((float(x), float(y)))
    return chosen


def depths(mask: Mask) -> NDArray[np.float32]:
    """Return each mask pixel's distance from the outside, px. Outside the picture counts as outside."""
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.asarray(depth, dtype=np.float32)


def deepest(depth: NDArray[np.float32]) -> tuple[float, float]:
    """Return the centre (x, y) of the deepest pixel; of equal ones the topmost, then the leftmost."""
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(column) + 0.5, float(row) + 0.5


def prompts_for(clip: Clip, kind: PromptKind, place: Placing = place_clicks) -> PromptSet:
    """Prompt every subject on the first frame that shows it. The same clip gives the same prompts.

    Raises
    ------
    PromptError
        The truth shows a subject on no frame.
    """
    objects = []
    height = width = 0
    for subject in clip.subjects:
        index, truth = _first_sight(clip, subject)
        height, width = truth.shape
        frame = _prompt(truth, kind, subject.clicks if index == 0 else (), index + 1, place)
        objects.append(ObjectPrompts(subject.id, subject.name, (frame,)))
    return PromptSet(tuple(objects), width, height)


def prompts_at(clip: Clip, kind: PromptKind, indices: Sequence[int]) -> PromptSet:
    """Prompt the first subject on these frames (from 0), all of which show it."""
    subject = clip.subjects[0]
    frames = []
    height = width = 0
    for index in indices:
        truth = clip.truth(index, subject)
        if truth is None or not truth.any():
            raise PromptError(
                f"{clip.name}: the truth shows no {subject.name} on frame {index + 1}.",
                "Prompt another frame.",
            )
        height, width = truth.shape
        frames.append(_prompt(truth, kind, subject.clicks if index == 0 else (), index + 1))
    thing = ObjectPrompts(subject.id, subject.name, tuple(frames))
    return PromptSet((thing,), width, height)


def well_seen(clip: Clip, share: float = 0.3) -> list[int]:
    """Return indices of the frames that show at least this part of the subject's largest visible area."""
    truths = [clip.truth(index, clip.subjects[0]) for index in range(len(clip.photos))]
    areas = [0 if truth is None else int(truth.sum()) for truth in truths]
    return [index for index, area in enumerate(areas) if area and area >= share * max(areas)]


def _first_sight(clip: Clip, subject: Subject) -> tuple[int, Mask]:
    for index in range(len(clip.photos)):
        truth = clip.truth(index, subject)
        if truth is not None and truth.any():
            return index, truth
    raise PromptError(
        f"{clip.name}: the truth shows {subject.name} on no frame.",
        "Leave this clip out, or mark the object.",
    )


def _prompt(
    truth: Mask, kind: PromptKind, given: Places, frame: int, place: Placing = place_clicks
) -> FramePrompts:
    if kind == "mask":
        return FramePrompts(frame, mask=MaskPrompt.from_array(truth))
    if kind == "box":
        return FramePrompts(frame, box=box_around(truth))
    clicks = place(truth, 1 if kind == "1click" else 3, given)
    return FramePrompts(frame, points=tuple(PointPrompt(x, y) for x, y in clicks))


def box_around(truth: Mask) -> BoxPrompt:
    """The smallest box that holds a mask, which must not be empty."""
    left, top, width, height = cv2.boundingRect(truth.astype(np.uint8))
    return BoxPrompt(left, top, left + width, top + height)
